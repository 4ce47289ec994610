//! The OpenAPI 3.1 document, made from the table of routes and the schemas of the types.

use std::sync::LazyLock;

use axum::Json;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::routes::{Answer, Content, PROBLEM, Parameter, Place, Route, routes};

/// Answers that every route may give, whatever it does.
const COMMON: [(u16, &str); 6] = [
    (400, "The request cannot be read"),
    (401, "The request does not say who makes it, or something that is not so"),
    (
        403,
        "Who asks has no right to it, or the request comes from a page of another origin or names another host",
    ),
    (408, "The body did not arrive in time"),
    (429, "Too many log-ins have failed"),
    (503, "A worker does not answer"),
];

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// `GET /api/v1/openapi.json`.
pub(super) async fn show() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

/// The OpenAPI document of the admin API.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let operation = operation(&route, &mut generator);
        let path = paths.entry(route.path.into_owned()).or_insert_with(|| json!({}));
        path[route.method.key()] = operation;
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "mqd admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What one node of an mq fleet says about itself and lets be changed. Errors are \
                            problem documents (RFC 9457).",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "password": { "type": "http", "scheme": "basic", "description": "A user of the fleet" },
                "certificate": {
                    "type": "mutualTLS",
                    "description": "The certificate that `mq deploy` makes for whoever runs the fleet",
                },
            },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "responses": responses(&route.answers, generator),
    });
    // Who may do what stands where generators leave it alone.
    match route.needs.describe() {
        Some(permission) => {
            operation["security"] = json!([{ "password": [] }, { "certificate": [] }, {}]);
            operation["x-permission"] = permission.into();
        }
        None => operation["security"] = json!([]),
    }
    if !route.parameters.is_empty() {
        operation["parameters"] = route.parameters.iter().map(parameter).collect();
    }
    if let Some(schema) = route.request {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema(generator) } },
        });
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": match parameter.place {
            Place::Path => "path",
            Place::Query => "query",
        },
        "required": parameter.place == Place::Path,
        "description": parameter.description,
        "schema": { "type": "string" },
    })
}

fn responses(answers: &[Answer], generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for (status, description) in COMMON {
        responses.insert(status.to_string(), response(description, &Content::Problem, generator));
    }
    // A route's own words are more exact than the common ones.
    for answer in answers {
        let response = response(answer.description, &answer.content, generator);
        responses.insert(answer.status.to_string(), response);
    }
    responses.into()
}

fn response(description: &str, content: &Content, generator: &mut SchemaGenerator) -> Value {
    let (kind, schema) = match content {
        Content::Empty => return json!({ "description": description }),
        Content::Json(schema) => ("application/json", schema(generator).to_value()),
        Content::AnyJson => ("application/json", json!({ "type": "object" })),
        Content::Problem => ("application/problem+json", PROBLEM(generator).to_value()),
        Content::Text(kind) => (*kind, json!({ "type": "string" })),
    };
    json!({ "description": description, "content": { kind: { "schema": schema } } })
}
