//! The work of each command, a file per noun.

use crate::{
    args::{Cli, Command, plane::PlaneCommand},
    client::admin::Admin,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    plane::names::{self, Way},
    settings::{Endpoint, Settings},
};

mod address;
mod bench;
mod bench_verdict;
mod browse;
mod check;
mod connection;
mod connector;
mod context;
mod deploy;
mod files;
mod fleet;
mod login;
mod logs;
mod message;
mod meta;
mod moving;
mod mqtt;
mod node;
mod operator;
mod pod;
mod recv;
mod render;
mod reply;
mod request;
mod rotate;
mod send;
mod session;
mod site;
mod space;
mod stored;
mod subscription;
mod undeploy;
mod user;
mod watch;

/// Does what the command line says, and returns the code that the process ends with.
pub async fn run(cli: Cli, output: &mut Output) -> Outcome<Exit> {
    let global = cli.global;
    if crate::settings::shows_password(std::env::args()) {
        output.warn(
            "a password in a URL can be read in the list of processes; use --user with --password-file, \
             --password-stdin or MQ_PASSWORD",
        );
    }
    match cli.command {
        // These need no settings: they must work when the contexts cannot be read.
        Command::Explain(args) => meta::explain(&args, output),
        Command::Completions(args) => meta::completions(&args, output),
        Command::Generate(args) => meta::generate(&args, output),
        Command::Help(args) => meta::help(&args, output),
        Command::Render(args) => render::run(&args, output),
        Command::Agent(args) => render::agent(args).await,
        Command::Operator(args) => Box::pin(operator::run(&args, global.admin.as_deref(), output)).await,
        Command::Plane(PlaneCommand::Rabbitmq(args)) => {
            Box::pin(crate::plane::rabbitmq(&args.config, output)).await
        }
        Command::Pod(args) => pod::run(&args, global.admin.as_deref(), output).await,
        Command::Deploy(args) => Box::pin(deploy::deploy(*args, &Settings::of_user(global)?, output)).await,
        Command::Scale(args) => Box::pin(deploy::scale(*args, &Settings::of_user(global)?, output)).await,
        Command::Restart(args) => Box::pin(deploy::restart(*args, &Settings::of_user(global)?, output)).await,
        Command::Upgrade(args) => Box::pin(deploy::upgrade(*args, &Settings::of_user(global)?, output)).await,
        Command::Undeploy(args) => undeploy::undeploy(args, &Settings::of_user(global)?, output).await,
        Command::Context(args) => {
            let settings = Settings::of_user(global.clone())?;
            context::run(&args, &global, &settings, output)
        }
        Command::Login(args) => login::login(args, &Settings::of_user(global)?, output).await,
        Command::Logout(_) => login::logout(&Settings::of_user(global)?, output).await,
        Command::Version(args) => meta::version(&args, global, output).await,
        command => with_fleet(command, &Settings::of_user(global)?, output).await,
    }
}

async fn with_fleet(command: Command, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    if settings.trust().is_insecure {
        output.warn("--insecure: whoever answers is believed, and gets what you send");
    }
    settings.renew().await;
    match command {
        Command::Status(args) => node::status(&args, settings, output).await,
        Command::Fleet(args) => fleet::run(&args, settings, output).await,
        Command::Node(args) => node::run(&args, settings, output).await,
        Command::Logs(args) => logs::run(&args, settings, output).await,
        Command::Address(args) => address::run(args, settings, output).await,
        Command::Apply(args) => address::apply(&args, settings, output).await,
        Command::Connection(args) => connection::run(&args, settings, output).await,
        Command::Connector(args) => connector::run(args, settings, output).await,
        Command::Link(args) => connection::links(&args, settings, output).await,
        Command::Space(args) => space::run(args, settings, output).await,
        Command::Profile(args) => space::profiles(args, settings, output).await,
        Command::User(args) => user::run(args, settings, output).await,
        Command::Role(args) => user::roles(args, settings, output).await,
        Command::Check(args) => check::run(&args, settings, output).await,
        Command::Send(args) => send::run(args, settings, output).await,
        Command::Browse(args) => browse::run(&args, settings, output).await,
        Command::Session(args) => session::run(&args, settings, output).await,
        Command::Retained(args) => session::retained(&args, settings, output).await,
        Command::Subscription(args) => subscription::run(&args, settings, output).await,
        Command::Recv(args) => recv::run(args, settings, output).await,
        Command::Request(args) => request::run(args, settings, output).await,
        Command::Reply(args) => reply::run(args, settings, output).await,
        Command::Bench(args) => bench::run(*args, settings, output).await,
        _ => unreachable!("every other command is run without a fleet"),
    }
}

/// The endpoint with the address as the data plane of the fleet calls it.
async fn reached(endpoint: Endpoint, way: Way, settings: &Settings) -> Outcome<Endpoint> {
    if endpoint.dataplane.is_default() || endpoint.scheme.is_mqtt() || names::is_own(&endpoint.address) {
        return Ok(endpoint);
    }
    let addresses = admin(settings)?.addresses().await?;
    let address = names::terminus(&endpoint.address, way, &addresses)?;
    Ok(Endpoint { address, ..endpoint })
}

/// That a command can do something only with `mqd`.
fn only_mqd(is_asked: bool, what: &str, endpoint: &Endpoint) -> Outcome {
    if !is_asked || endpoint.dataplane.is_default() {
        return Ok(());
    }
    let product = endpoint.dataplane.product();
    Err(Failure::usage(format!("{product} has no {what} over AMQP 1.0"))
        .help("leave it out; `mq` does it with a fleet of mqd"))
}

fn admin(settings: &Settings) -> Outcome<Admin> {
    let admin = settings.known(Admin::trusting(settings.admin()?, &settings.admin_trust())?)?;
    Ok(match settings.space()? {
        Some(space) => admin.in_space(&space),
        None => admin,
    })
}
