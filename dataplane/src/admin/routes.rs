//! The table of routes: the router and the OpenAPI document are both made from it, so they cannot
//! differ.

use std::borrow::Cow;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use mq_model::admin::{
    ChangeRights, ClientSession, Connection, Link, List, LogLevel, Mesh, MoveHome, MoveMessages, Moved,
    NewPassword, NewUser, Node, NodeDrain, Page, Permission, Problem, Purged, Retained, Session, Statistics,
    Subscription,
};
use mq_model::config::DaemonConfig;
use mq_model::connector::{Connector, ConnectorCredentials, NewConnector};
use mq_model::grant::Right;
use mq_model::manifest::Address;
use mq_model::space::{AddressSpace, Profile};
use mq_model::user::{Role, User};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::authorize::Needs;
use super::body::SPACE_PARAMETER;
use super::{
    Api, addresses, clients, connectors, drain, health, mesh, node, openapi, profiles, retained, roles,
    sessions, spaces, subscriptions, users, websocket,
};

/// One method of one path.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: Cow<'static, str>,
    /// Unique among the routes; what generated clients call it.
    pub(super) id: Cow<'static, str>,
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) request: Option<SchemaOf>,
    pub(super) answers: Vec<Answer>,
    /// What who uses it must have.
    pub(super) needs: Needs,
    pub(super) handler: MethodRouter<Api>,
}

/// The methods that the API uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

/// A string in the path or the query.
#[derive(Clone)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) description: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
}

/// An answer that a route may give.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) description: &'static str,
    pub(super) content: Content,
}

#[derive(Clone)]
pub(super) enum Content {
    Empty,
    Json(SchemaOf),
    /// A JSON object that has no schema here.
    AnyJson,
    Problem,
    Text(&'static str),
}

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schema of the error answers.
pub(super) const PROBLEM: SchemaOf = schema::<Problem>;

impl Method {
    /// The key of an operation in the OpenAPI document.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::Post => "post",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Put => MethodFilter::PUT,
            Self::Post => MethodFilter::POST,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

impl Route {
    fn new<H, T>(
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        let handler = on(method.filter(), handler);
        let (parameters, answers) = (vec![], vec![]);
        // Forgetting to say so closes a route, and does not open it.
        let needs = Needs::Admin;
        let (path, id) = (Cow::Borrowed(path), Cow::Borrowed(id));
        Self { method, path, id, summary, parameters, request: None, answers, needs, handler }
    }

    fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }

    fn path_parameter(mut self, name: &'static str, description: &'static str) -> Self {
        self.parameters.push(Parameter { name, place: Place::Path, description });
        self
    }

    fn query_parameter(mut self, name: &'static str, description: &'static str) -> Self {
        self.parameters.push(Parameter { name, place: Place::Query, description });
        self
    }

    fn takes<T: JsonSchema>(self) -> Self {
        self.takes_json(schema::<T>)
    }

    fn takes_json(mut self, schema: SchemaOf) -> Self {
        self.request = Some(schema);
        self.refuses(400, "The body is not JSON")
            .refuses(413, "The body is longer than 1 MiB")
            .refuses(415, "The body is not declared as JSON")
            .refuses(422, "The body is JSON, but not valid")
    }

    fn answers<T: JsonSchema>(self, status: u16, description: &'static str) -> Self {
        self.answer(status, description, Content::Json(schema::<T>))
    }

    fn answers_nothing(self, description: &'static str) -> Self {
        self.answer(204, description, Content::Empty)
    }

    fn refuses(self, status: u16, description: &'static str) -> Self {
        self.answer(status, description, Content::Problem)
    }

    /// The answers of every route that writes to the disk.
    fn stores(self) -> Self {
        self.refuses(500, "The change cannot be stored; nothing has changed")
            .refuses(503, "The node is stopping, or a worker does not answer")
            .refuses(507, "There is no room for the change; nothing has changed")
    }

    fn answer(mut self, status: u16, description: &'static str, content: Content) -> Self {
        self.answers.push(Answer { status, description, content });
        self
    }
}

/// What the paths of the API begin with.
const API: &str = "/api/v1/";

/// Where the spaces are; below each is what there is of it.
pub(super) const SPACES: &str = "/api/v1/spaces";

const SPACE_NAME: &str = "The space's name; `default` is there always";

const LIMIT: &str = "How many a page has at most, 1 to 1,000; 100 when it is left out";
const CONTINUE: &str = "The `continue` of the page before";

/// To see what belongs to all.
const SEE: Needs = Needs::Everywhere(Right::View);

/// To change what belongs to all.
const ORDER: Needs = Needs::Everywhere(Right::Manage);

/// Every route of the API.
pub(super) fn routes() -> Vec<Route> {
    let of_spaces = [
        address_routes(),
        stored_routes(),
        client_routes(),
        mqtt_routes(),
        user_routes(),
        role_routes(),
        connector_routes(),
    ];
    let of_spaces: Vec<Route> = of_spaces.into_iter().flatten().collect();
    let others = [node_routes(), space_routes(), profile_routes(), root_routes()];
    let homes = home_routes();
    let homes_below = homes.iter().map(|route| below_space(route).needs(Needs::FleetAdmin));
    let below: Vec<Route> = of_spaces.iter().map(below_space).chain(homes_below).collect();
    others.into_iter().flatten().chain(of_spaces).chain(homes).chain(below).map(of_any_node).collect()
}

/// The same of the space that the path names. Without one it is of the default space.
fn below_space(route: &Route) -> Route {
    let rest = route.path.strip_prefix(API).unwrap_or(&route.path);
    let space = Parameter { name: SPACE_PARAMETER, place: Place::Path, description: SPACE_NAME };
    let mut parameters = vec![space];
    parameters.extend_from_slice(&route.parameters);
    let mut answers = route.answers.clone();
    if answers.iter().all(|answer| answer.status != 404) {
        let description = "There is no such space";
        answers.push(Answer { status: 404, description, content: Content::Problem });
    }
    Route {
        method: route.method,
        path: format!("{SPACES}/{{{SPACE_PARAMETER}}}/{rest}").into(),
        id: format!("{}OfSpace", route.id).into(),
        summary: route.summary,
        parameters,
        request: route.request,
        answers,
        needs: route.needs,
        handler: route.handler.clone(),
    }
}

/// Any node of a fleet can be asked for the answer of another one.
fn of_any_node(route: Route) -> Route {
    if route.path.starts_with(API) {
        route.query_parameter(
            "node",
            "The node of the fleet that is to answer; the one that is asked when left out",
        )
    } else {
        route
    }
}

fn node_routes() -> Vec<Route> {
    use Method::{Get, Post, Put};
    const NOT_WHOLE: &str = "A worker has ended, and what it holds is not known";
    const UNWRITTEN: &str = "The order cannot be written down, and is not in force";
    vec![
        Route::new(Get, "/api/v1/node", "showNode", "Who the node is and how it is", node::describe)
            .needs(SEE)
            .answers::<Node>(200, "The node"),
        Route::new(Get, "/api/v1/mesh", "showMesh", "The fleet as this node sees it", mesh::show)
            .needs(SEE)
            .answers::<Mesh>(200, "The nodes and the links between them"),
        Route::new(
            Get,
            "/api/v1/node/drain",
            "showDrain",
            "How far the node is from being empty",
            drain::show,
        )
        .needs(SEE)
        .answers::<NodeDrain>(200, "What it holds")
        .refuses(503, NOT_WHOLE),
        Route::new(Post, "/api/v1/node/cordon", "cordonNode", "Give the node no new homes", drain::cordon)
            .needs(ORDER)
            .answers::<NodeDrain>(200, "What it holds")
            .refuses(503, NOT_WHOLE)
            .refuses(500, UNWRITTEN),
        Route::new(
            Post,
            "/api/v1/node/uncordon",
            "uncordonNode",
            "Give the node homes again",
            drain::uncordon,
        )
        .needs(ORDER)
        .answers::<NodeDrain>(200, "What it holds")
        .refuses(503, NOT_WHOLE)
        .refuses(500, UNWRITTEN)
        .refuses(409, "The node is being drained, or a router"),
        Route::new(
            Post,
            "/api/v1/node/drain",
            "drainNode",
            "Begin to give what the node holds to other nodes",
            drain::drain,
        )
        .needs(ORDER)
        .answers::<NodeDrain>(200, "What it holds")
        .refuses(500, UNWRITTEN)
        .refuses(409, "The node belongs to no fleet")
        .refuses(503, "The node reads its message log, or a worker has ended"),
        Route::new(
            Post,
            "/api/v1/node/undrain",
            "undrainNode",
            "Stop giving away what the node holds; it stays cordoned",
            drain::undrain,
        )
        .needs(ORDER)
        .answers::<NodeDrain>(200, "What it holds")
        .refuses(409, "The node is a router")
        .refuses(503, NOT_WHOLE)
        .refuses(500, UNWRITTEN),
        Route::new(
            Get,
            "/api/v1/statistics",
            "showStatistics",
            "Counters since the start, and rates over the last ten seconds",
            node::statistics,
        )
        .needs(SEE)
        .answers::<Statistics>(200, "The counters"),
        Route::new(Get, "/api/v1/config", "showConfig", "The configuration in force", node::config)
            .needs(SEE)
            .answers::<DaemonConfig>(200, "The configuration, secrets as `***`"),
        Route::new(Get, "/api/v1/log-level", "showLogLevel", "The log filter in force", node::log_level)
            .needs(SEE)
            .answers::<LogLevel>(200, "The filter"),
        Route::new(
            Put,
            "/api/v1/log-level",
            "setLogLevel",
            "Change the log filter until the node is restarted",
            node::set_log_level,
        )
        .needs(ORDER)
        .takes::<LogLevel>()
        .answers::<LogLevel>(200, "The filter, now in force"),
    ]
}

fn address_routes() -> Vec<Route> {
    use Method::{Delete, Get, Post, Put};
    const FORCE: &str = "`true`: also drop what is on a node that cannot be reached";
    const ONE: &str = "/api/v1/addresses/{name}";
    const NAME: &str = "The address's name, percent-encoded";
    vec![
        Route::new(Get, "/api/v1/addresses", "listAddresses", "Every address", addresses::list).needs(Needs::Name)
            .answers::<List<Address>>(200, "The addresses in the order of their names"),
        Route::new(Post, "/api/v1/addresses", "createAddress", "Create an address", addresses::create).needs(Needs::Name)
            .takes::<Address>()
            .answers::<Address>(201, "Created: stored, and served by every worker")
            .refuses(409, "An address of that name exists, or a subscription's topic does not")
            .stores(),
        Route::new(Get, ONE, "showAddress", "One address", addresses::show).needs(Needs::Address(Right::View))
            .path_parameter("name", NAME)
            .answers::<Address>(200, "The address")
            .refuses(404, "There is no such address"),
        Route::new(Put, ONE, "putAddress", "Create an address or change it", addresses::put).needs(Needs::Address(Right::Manage))
            .path_parameter("name", NAME)
            .query_parameter("force", FORCE)
            .takes::<Address>()
            .answers::<Address>(200, "Changed, or as it was")
            .answers::<Address>(201, "Created: stored, and served by every worker")
            .refuses(409, "A subscription's topic does not exist, a topic has subscriptions, or nobody can know what is dropped")
            .stores(),
        Route::new(Delete, ONE, "deleteAddress", "Remove an address and close its links", addresses::remove).needs(Needs::Address(Right::Manage))
            .path_parameter("name", NAME)
            .query_parameter("force", FORCE)
            .answers_nothing("Removed")
            .refuses(404, "There is no such address")
            .refuses(409, "The address is built in, or the node that holds it cannot be reached")
            .stores(),
    ]
}

fn stored_routes() -> Vec<Route> {
    use Method::{Delete, Get, Post};
    const NAME: &str = "The address's name, percent-encoded";
    const UNAVAILABLE: &str = "The node reads its message log, or a worker does not answer";
    vec![
        Route::new(
            Post,
            "/api/v1/addresses/{name}/purge",
            "purgeAddress",
            "Remove the messages that no consumer has",
            addresses::purge,
        )
        .needs(Needs::Address(Right::Manage))
        .path_parameter("name", NAME)
        .answers::<Purged>(200, "How many were removed")
        .refuses(404, "There is no such address")
        .refuses(409, "The address keeps no messages")
        .refuses(503, UNAVAILABLE),
        Route::new(
            Post,
            "/api/v1/addresses/{name}/move",
            "moveMessages",
            "Move messages that no consumer has to another address, the oldest first",
            addresses::move_messages,
        )
        .needs(Needs::Address(Right::Manage))
        .path_parameter("name", NAME)
        .takes::<MoveMessages>()
        .answers::<Moved>(200, "How many were moved")
        .refuses(404, "There is no such address")
        .refuses(409, "The address keeps no messages")
        .refuses(503, UNAVAILABLE),
        Route::new(
            Get,
            "/api/v1/subscriptions",
            "listSubscriptions",
            "The subscriptions of topics",
            subscriptions::list,
        )
        .needs(Needs::Name)
        .query_parameter("topic", "Only the subscriptions of this topic")
        .answers::<List<Subscription>>(200, "The subscriptions by topic and name"),
        Route::new(
            Delete,
            "/api/v1/addresses/{name}/subscriptions/{subscription}",
            "endSubscription",
            "End a durable subscription that a client has made",
            subscriptions::remove,
        )
        .needs(Needs::Address(Right::Manage))
        .path_parameter("name", "The topic's name, percent-encoded")
        .path_parameter("subscription", "The subscription's name, percent-encoded")
        .answers_nothing("Ended, with what it held")
        .refuses(404, "There is no such subscription")
        .refuses(409, "The subscription has an address of its own: delete that")
        .refuses(503, UNAVAILABLE),
    ]
}

/// Of the fleet, though it names an address: those of a space know nothing of nodes.
fn home_routes() -> Vec<Route> {
    use Method::Post;
    const NAME: &str = "The address's name, percent-encoded";
    vec![
        Route::new(
            Post,
            "/api/v1/addresses/{name}/move-home",
            "moveHome",
            "Make another node the home of a queue or topic",
            drain::move_home,
        )
        .needs(ORDER)
        .path_parameter("name", NAME)
        .takes::<MoveHome>()
        .answers::<Address>(200, "The address, with its new home")
        .refuses(404, "There is no such address")
        .refuses(409, "The address has no home of its own, or cannot be moved now")
        .refuses(503, "One of the nodes cannot be reached"),
    ]
}

fn client_routes() -> Vec<Route> {
    use Method::{Delete, Get};
    const ONE: &str = "/api/v1/connections/{id}";
    const ID: &str = "The connection's id, such as `c42`";
    vec![
        Route::new(Get, "/api/v1/connections", "listConnections", "Every client connection", clients::list)
            .needs(SEE)
            .answers::<List<Connection>>(200, "The connections, the oldest first"),
        Route::new(Get, ONE, "showConnection", "One client connection", clients::show)
            .needs(SEE)
            .path_parameter("id", ID)
            .answers::<Connection>(200, "The connection")
            .refuses(404, "There is no such connection"),
        Route::new(Delete, ONE, "closeConnection", "Close a client connection", clients::close)
            .needs(ORDER)
            .path_parameter("id", ID)
            .query_parameter("reason", "What the client is told, one line of at most 256 bytes")
            .answers_nothing("Closed with `amqp:connection:forced`, or reason code 0x98 of MQTT")
            .refuses(404, "There is no such connection")
            .refuses(422, "The reason is too long"),
        Route::new(
            Get,
            "/api/v1/connections/{id}/sessions",
            "listSessions",
            "The sessions of a client connection",
            clients::sessions,
        )
        .needs(SEE)
        .path_parameter("id", ID)
        .answers::<List<Session>>(200, "The sessions")
        .refuses(404, "There is no such connection"),
        Route::new(Get, "/api/v1/links", "listLinks", "Links of client connections", clients::links)
            .needs(SEE)
            .query_parameter("address", "Only the links of this address")
            .query_parameter("connection", "Only the links of this connection")
            .answers::<List<Link>>(200, "The links"),
    ]
}

fn mqtt_routes() -> Vec<Route> {
    use Method::{Delete, Get};
    const ONE: &str = "/api/v1/sessions/{client}";
    const CLIENT: &str = "The client identifier, percent-encoded";
    const RETAINED: &str = "/api/v1/retained";
    const UNAVAILABLE: &str = "The node reads its message log, or a worker does not answer";
    vec![
        Route::new(Get, "/api/v1/sessions", "listClientSessions", "Sessions of MQTT clients", sessions::list)
            .needs(SEE)
            .query_parameter("prefix", "Only clients whose identifier begins with this")
            .query_parameter("connected", "`true`: only who is connected; `false`: only who is away")
            .query_parameter("limit", LIMIT)
            .query_parameter("continue", CONTINUE)
            .answers::<Page<ClientSession>>(200, "The sessions in the order of the client identifiers"),
        Route::new(Get, ONE, "showClientSession", "The session of one MQTT client", sessions::show)
            .needs(SEE)
            .path_parameter("client", CLIENT)
            .answers::<ClientSession>(200, "The session with its subscriptions")
            .refuses(404, "The client has no session"),
        Route::new(
            Delete,
            ONE,
            "endClientSession",
            "End the session of an MQTT client, and its connection",
            sessions::remove,
        )
        .needs(ORDER)
        .path_parameter("client", CLIENT)
        .answers_nothing("Ended, with what waited for the client")
        .refuses(404, "The client has no session")
        .refuses(503, UNAVAILABLE),
        Route::new(Get, RETAINED, "listRetained", "Messages that topics retain", retained::list)
            .needs(Needs::Name)
            .query_parameter("filter", "Only for names that match, such as `sensors/#`; `#` when left out")
            .query_parameter("limit", LIMIT)
            .query_parameter("continue", CONTINUE)
            .answers::<Page<Retained>>(200, "The messages by topic and name")
            .refuses(422, "The filter or `continue` is none")
            .refuses(503, UNAVAILABLE),
        Route::new(Delete, RETAINED, "forgetRetained", "Forget retained messages", retained::remove)
            .needs(Needs::Name)
            .query_parameter("filter", "The names whose messages are forgotten, such as `sensors/#`")
            .answers::<Purged>(200, "How many were forgotten")
            .refuses(422, "The filter is none")
            .refuses(503, UNAVAILABLE),
    ]
}

fn space_routes() -> Vec<Route> {
    use Method::{Delete, Get, Patch, Post, Put};
    const ONE: &str = "/api/v1/spaces/{space}";
    const TAKEN: &str = "A space of that name exists, or one of the names is another one's";
    const UNKNOWN: &str = "There is no such space";
    const CASCADE: &str = "`true`: with its addresses, users and roles";
    const FORCE: &str = "`true`: also drop what is on a node that cannot be reached";
    vec![
        Route::new(
            Get,
            SPACES,
            "listSpaces",
            "Address spaces, of those who are of one that one",
            spaces::list,
        )
        .needs(Needs::Name)
        .query_parameter("limit", LIMIT)
        .query_parameter("continue", CONTINUE)
        .answers::<Page<AddressSpace>>(200, "The spaces in the order of their names"),
        Route::new(Post, SPACES, "createSpace", "Create an address space", spaces::create)
            .needs(Needs::FleetAdmin)
            .takes::<AddressSpace>()
            .answers::<AddressSpace>(201, "Created, and in force on this node")
            .refuses(409, TAKEN)
            .stores(),
        Route::new(Get, ONE, "showSpace", "One address space", spaces::show)
            .needs(SEE)
            .path_parameter(SPACE_PARAMETER, SPACE_NAME)
            .answers::<AddressSpace>(200, "The space")
            .refuses(404, UNKNOWN),
        Route::new(Put, ONE, "putSpace", "Create an address space or change it", spaces::put)
            .needs(Needs::FleetAdmin)
            .path_parameter(SPACE_PARAMETER, SPACE_NAME)
            .takes::<AddressSpace>()
            .answers::<AddressSpace>(200, "Changed, or as it was")
            .answers::<AddressSpace>(201, "Created, and in force on this node")
            .refuses(409, TAKEN)
            .stores(),
        Route::new(
            Patch,
            ONE,
            "changeSpace",
            "Change some of an address space, as a JSON merge patch of its document (RFC 7396) says",
            spaces::change,
        )
        .needs(Needs::FleetAdmin)
        .path_parameter(SPACE_PARAMETER, SPACE_NAME)
        .takes_json(any_object)
        .answers::<AddressSpace>(200, "Changed, or as it was")
        .refuses(404, UNKNOWN)
        .refuses(409, TAKEN)
        .stores(),
        Route::new(
            Delete,
            ONE,
            "deleteSpace",
            "Remove an address space and close the connections of its clients",
            spaces::remove,
        )
        .needs(Needs::FleetAdmin)
        .path_parameter(SPACE_PARAMETER, SPACE_NAME)
        .query_parameter("cascade", CASCADE)
        .query_parameter("force", FORCE)
        .answers_nothing("Removed")
        .refuses(404, UNKNOWN)
        .refuses(409, "The space has something in it, or is there by itself, or a node cannot be reached")
        .stores(),
    ]
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "object" })
}

fn profile_routes() -> Vec<Route> {
    use Method::{Delete, Get, Put};
    const ONE: &str = "/api/v1/profiles/{name}";
    const NAME: &str = "The profile's name";
    const UNKNOWN: &str = "There is no such profile";
    vec![
        Route::new(Get, "/api/v1/profiles", "listProfiles", "Limits under a name", profiles::list)
            .needs(SEE)
            .query_parameter("limit", LIMIT)
            .query_parameter("continue", CONTINUE)
            .answers::<Page<Profile>>(200, "The profiles in the order of their names"),
        Route::new(Get, ONE, "showProfile", "One profile", profiles::show)
            .needs(SEE)
            .path_parameter("name", NAME)
            .answers::<Profile>(200, "The profile")
            .refuses(404, UNKNOWN),
        Route::new(Put, ONE, "putProfile", "Create a profile or change it", profiles::put)
            .needs(Needs::FleetAdmin)
            .path_parameter("name", NAME)
            .takes::<Profile>()
            .answers::<Profile>(200, "Changed, or as it was")
            .answers::<Profile>(201, "Created, and in force on this node")
            .stores(),
        Route::new(
            Delete,
            ONE,
            "deleteProfile",
            "Remove a profile; spaces that name it lose its limits",
            profiles::remove,
        )
        .needs(Needs::FleetAdmin)
        .path_parameter("name", NAME)
        .answers_nothing("Removed")
        .refuses(404, UNKNOWN)
        .stores(),
    ]
}

fn user_routes() -> Vec<Route> {
    use Method::{Delete, Get, Post, Put};
    const ALL: &str = "/api/v1/users";
    const ONE: &str = "/api/v1/users/{name}";
    const NAME: &str = "The user's name";
    const UNKNOWN: &str = "There is no such user";
    vec![
        Route::new(Get, ALL, "listUsers", "Users, without their passwords", users::list)
            .needs(SEE)
            .query_parameter("limit", LIMIT)
            .query_parameter("continue", CONTINUE)
            .answers::<Page<User>>(200, "The users in the order of their names"),
        Route::new(Post, ALL, "createUser", "Create a user", users::create)
            .needs(Needs::Admin)
            .takes::<NewUser>()
            .answers::<User>(201, "Created, and in force on this node")
            .refuses(409, "A user of that name exists")
            .stores(),
        Route::new(Get, ONE, "showUser", "One user, without his password", users::show)
            .needs(Needs::EverywhereOrSelf(Right::View))
            .path_parameter("name", NAME)
            .answers::<User>(200, "The user")
            .refuses(404, UNKNOWN),
        Route::new(Put, ONE, "putUser", "Create a user or change what he may do", users::put)
            .needs(Needs::Admin)
            .path_parameter("name", NAME)
            .takes::<User>()
            .answers::<User>(200, "Changed, or as he was; his password stays")
            .answers::<User>(201, "Created, without a password")
            .stores(),
        Route::new(Delete, ONE, "deleteUser", "Remove a user", users::remove)
            .needs(Needs::Admin)
            .path_parameter("name", NAME)
            .answers_nothing("Removed")
            .refuses(404, UNKNOWN)
            .stores(),
        Route::new(
            Post,
            "/api/v1/users/{name}/rights",
            "changeUserRights",
            "Change some of what a user may do",
            users::change,
        )
        .needs(Needs::Admin)
        .path_parameter("name", NAME)
        .takes::<ChangeRights>()
        .answers::<User>(200, "The user, changed")
        .refuses(404, UNKNOWN)
        .stores(),
        Route::new(
            Put,
            "/api/v1/users/{name}/password",
            "setPassword",
            "Set the password of a user",
            users::set_password,
        )
        .needs(Needs::AdminOrSelf)
        .path_parameter("name", NAME)
        .takes::<NewPassword>()
        .answers_nothing("Set; the one before is none any more")
        .refuses(404, UNKNOWN)
        .stores(),
        Route::new(
            Get,
            "/api/v1/users/{name}/permission",
            "showPermission",
            "Whether a user may do something, and why",
            users::permission,
        )
        .needs(Needs::EverywhereOrSelf(Right::View))
        .path_parameter("name", NAME)
        .query_parameter("right", "`send`, `recv`, `browse`, `view` or `manage`")
        .query_parameter("address", "An address, or a topic filter")
        .query_parameter("client", "The client identifier that `${client}` stands for")
        .answers::<Permission>(200, "The answer")
        .refuses(404, UNKNOWN),
    ]
}

fn role_routes() -> Vec<Route> {
    use Method::{Delete, Get, Post, Put};
    const ALL: &str = "/api/v1/roles";
    const ONE: &str = "/api/v1/roles/{name}";
    const NAME: &str = "The role's name";
    const UNKNOWN: &str = "There is no such role";
    const BUILT_IN: &str = "The role is built in";
    vec![
        Route::new(Get, ALL, "listRoles", "Roles, built-in ones too", roles::list)
            .needs(SEE)
            .query_parameter("limit", LIMIT)
            .query_parameter("continue", CONTINUE)
            .answers::<Page<Role>>(200, "The roles in the order of their names"),
        Route::new(Post, ALL, "createRole", "Create a role", roles::create)
            .needs(Needs::Admin)
            .takes::<Role>()
            .answers::<Role>(201, "Created, and in force on this node")
            .refuses(409, "A role of that name exists")
            .stores(),
        Route::new(Get, ONE, "showRole", "One role", roles::show)
            .needs(SEE)
            .path_parameter("name", NAME)
            .answers::<Role>(200, "The role")
            .refuses(404, UNKNOWN),
        Route::new(Put, ONE, "putRole", "Create a role or change what it gives", roles::put)
            .needs(Needs::Admin)
            .path_parameter("name", NAME)
            .takes::<Role>()
            .answers::<Role>(200, "Changed, or as it was")
            .answers::<Role>(201, "Created, and in force on this node")
            .stores(),
        Route::new(Delete, ONE, "deleteRole", "Remove a role; who has it loses what it gives", roles::remove)
            .needs(Needs::Admin)
            .path_parameter("name", NAME)
            .answers_nothing("Removed")
            .refuses(404, UNKNOWN)
            .refuses(409, BUILT_IN)
            .stores(),
        Route::new(
            Post,
            "/api/v1/roles/{name}/rights",
            "changeRoleRights",
            "Change some of what a role gives",
            roles::change,
        )
        .needs(Needs::Admin)
        .path_parameter("name", NAME)
        .takes::<ChangeRights>()
        .answers::<Role>(200, "The role, changed")
        .refuses(404, UNKNOWN)
        .refuses(409, BUILT_IN)
        .stores(),
    ]
}

fn connector_routes() -> Vec<Route> {
    use Method::{Delete, Get, Patch, Post, Put};
    const ALL: &str = "/api/v1/connectors";
    const ONE: &str = "/api/v1/connectors/{name}";
    const NAME: &str = "The connector's name";
    const UNKNOWN: &str = "There is no such connector";
    const CHANGE: &str = "Change some of a connector, as a JSON merge patch of its document (RFC 7396) says; its connection begins anew";
    // Whoever makes one has the nodes connect to where he says.
    vec![
        Route::new(
            Get,
            ALL,
            "listConnectors",
            "Connections that the fleet opens to other brokers",
            connectors::list,
        )
        .needs(SEE)
        .query_parameter("limit", LIMIT)
        .query_parameter("continue", CONTINUE)
        .answers::<Page<Connector>>(200, "The connectors in the order of their names"),
        Route::new(Post, ALL, "createConnector", "Create a connector", connectors::create)
            .needs(Needs::FleetAdmin)
            .takes::<NewConnector>()
            .answers::<Connector>(201, "Created, and in force on this node")
            .refuses(409, "A connector of that name exists")
            .stores(),
        Route::new(Get, ONE, "showConnector", "One connector, and how its connection is", connectors::show)
            .needs(SEE)
            .path_parameter("name", NAME)
            .answers::<Connector>(200, "The connector")
            .refuses(404, UNKNOWN),
        Route::new(Put, ONE, "putConnector", "Create a connector or change it", connectors::put)
            .needs(Needs::FleetAdmin)
            .path_parameter("name", NAME)
            .takes::<Connector>()
            .answers::<Connector>(200, "Changed, or as it was")
            .answers::<Connector>(201, "Created, and in force on this node")
            .stores(),
        Route::new(Patch, ONE, "changeConnector", CHANGE, connectors::change)
            .needs(Needs::FleetAdmin)
            .path_parameter("name", NAME)
            .takes_json(any_object)
            .answers::<Connector>(200, "Changed, or as it was")
            .refuses(404, UNKNOWN)
            .stores(),
        Route::new(
            Delete,
            ONE,
            "deleteConnector",
            "Remove a connector and close its connection",
            connectors::remove,
        )
        .needs(Needs::FleetAdmin)
        .path_parameter("name", NAME)
        .answers_nothing("Removed")
        .refuses(404, UNKNOWN)
        .stores(),
        Route::new(
            Put,
            "/api/v1/connectors/{name}/credentials",
            "setConnectorCredentials",
            "Set or remove what a connector logs in with; nothing gives it back",
            connectors::set_credentials,
        )
        .needs(Needs::FleetAdmin)
        .path_parameter("name", NAME)
        .takes::<ConnectorCredentials>()
        .answers_nothing("In force on this node")
        .refuses(404, UNKNOWN)
        .stores(),
    ]
}

fn root_routes() -> Vec<Route> {
    use Method::Get;
    const PLAIN: &str = "text/plain; charset=utf-8";
    const UPGRADE: &str = "Turn the connection into a WebSocket that carries MQTT (subprotocol `mqtt`)";
    const UNAVAILABLE: &str = "The node reads its message log, or a worker does not answer";
    vec![
        Route::new(Get, "/mqtt", "openWebSocket", UPGRADE, websocket::upgrade)
            .needs(Needs::Nothing)
            .answer(101, "The connection is a WebSocket", Content::Empty)
            .answer(426, "The client wants another version than 13", Content::Empty)
            .refuses(400, "This is no opening handshake, or the subprotocol `mqtt` is not offered")
            .refuses(503, UNAVAILABLE),
        Route::new(Get, "/api/v1/openapi.json", "showOpenApi", "This document", openapi::show)
            .needs(Needs::Nothing)
            .answer(200, "The OpenAPI 3.1 document of the API", Content::AnyJson),
        Route::new(Get, "/livez", "showLiveness", "Whether the node lives", health::alive)
            .needs(Needs::Nothing)
            .answer(200, "It does", Content::Text(PLAIN)),
        Route::new(Get, "/readyz", "showReadiness", "Whether clients should be sent here", health::ready)
            .needs(Needs::Nothing)
            .answer(200, "They should", Content::Text(PLAIN))
            .answer(503, "They should not, and why", Content::Text(PLAIN)),
        Route::new(Get, "/metrics", "showMetrics", "Metrics in the OpenMetrics text format", health::metrics)
            .needs(SEE)
            .answer(200, "The metrics", Content::Text(crate::metrics::CONTENT_TYPE)),
    ]
}
