//! `mq login` and `mq logout`.

use mq_model::Secret;

use super::admin;
use crate::{
    args::login::Login,
    context::{Access, PasswordSource, Store},
    env,
    exit::Exit,
    failure::{Failure, Outcome},
    keyring::{Kept, Keyring, Place, Tokens},
    oidc::{Oidc, Provider, Way},
    output::Output,
    settings::{Settings, first_line_of},
};

pub(super) async fn login(args: Login, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let context = current(settings)?;
    if args.oidc || args.client_credentials {
        return with_tokens(&args, &context, settings, output).await;
    }
    let Some(user) = settings.user_of_flags() else {
        return Err(Failure::usage("it is not said who is to log in").help(
            "say --user NAME with --password-stdin or --password-file, --oidc, or --client-credentials",
        ));
    };
    let password = Secret::new(settings.password_of_flags(user)?);
    let is_checked = is_right(settings).await?;
    let kept = Kept::Password { user: user.to_owned(), password };
    let place = Keyring::of_user()?.keep(&context, &kept)?;
    change(&context, |access| {
        (access.user, access.password) = (Some(user.to_owned()), Some(PasswordSource::Keyring));
        access.oidc = None;
    })?;
    if !is_checked {
        output.talk("nobody could be asked whether the password is right");
    }
    say_place(&place, output);
    output.line(&format!("changed: commands of the context `{context}` are `{user}`; undo: mq logout"))?;
    Ok(Exit::Ok)
}

/// Whether the password is right; false: there is no admin API to ask.
async fn is_right(settings: &Settings) -> Outcome<bool> {
    match admin(settings)?.knows_who_asks().await {
        Ok(true) => Ok(true),
        Ok(false) => Err(Failure::new(Exit::Denied, "the user name or the password is wrong")),
        Err(failure) if failure.exit == Exit::Unreachable => Ok(false),
        Err(failure) => Err(failure),
    }
}

async fn with_tokens(args: &Login, context: &str, settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let before = settings.access().and_then(|access| access.oidc);
    let issuer = args.issuer.clone().or_else(|| before.as_ref().map(|before| before.issuer.clone()));
    let issuer = issuer.or_else(|| settings.issuer_of_fleet()).ok_or_else(|| {
        Failure::usage("it is not known which identity provider to log in at")
            .help("say it with --issuer URL")
    })?;
    let of_before = |field: fn(Oidc) -> Option<String>| before.clone().and_then(field);
    let client_id = args.client_id.clone().or_else(|| of_before(|before| Some(before.client_id)));
    let oidc = Oidc {
        issuer,
        client_id: client_id.unwrap_or_else(|| "mq".into()),
        scope: args.scope.clone().or_else(|| of_before(|before| before.scope)),
        resource: args.resource.clone().or_else(|| of_before(|before| before.resource)),
    };
    let way = match (args.client_credentials, args.browser) {
        (true, _) => Way::Client(client_secret(args)?),
        (false, true) => Way::Browser,
        (false, false) => Way::Device,
    };
    let provider = Provider::find(&oidc, &settings.trust()).await?;
    let tokens = provider.log_in(&way, output).await?;
    let place = Keyring::of_user()?.keep(context, &Kept::Tokens(tokens))?;
    let issuer = oidc.issuer.clone();
    change(context, |access| {
        (access.user, access.password) = (None, None);
        access.oidc = Some(oidc);
    })?;
    say_place(&place, output);
    output.line(&format!(
        "changed: commands of the context `{context}` have a token of {issuer}; undo: mq logout"
    ))?;
    Ok(Exit::Ok)
}

fn client_secret(args: &Login) -> Outcome<Secret> {
    if let Some(path) = &args.client_secret_file {
        return first_line_of(path, "the secret");
    }
    env::text(env::CLIENT_SECRET).map(Secret::new).ok_or_else(|| {
        Failure::usage("the secret of the client is not said")
            .help(format!("say it with --client-secret-file FILE, or in {}", env::CLIENT_SECRET))
    })
}

pub(super) async fn logout(settings: &Settings, output: &mut Output) -> Outcome<Exit> {
    let context = current(settings)?;
    let keyring = Keyring::of_user()?;
    // What cannot be understood can be forgotten all the same.
    if let Ok(Some(Kept::Tokens(tokens))) = keyring.find(&context)
        && let Some(oidc) = settings.access().and_then(|access| access.oidc)
        && let Err(failure) = take_back(&oidc, &tokens, settings).await
    {
        output.talk(&format!("the tokens are forgotten here, and not at the provider: {}", failure.message));
    }
    let is_forgotten = keyring.forget(&context)?;
    change(&context, |access| {
        // What the keyring does not hold is not this command's.
        if access.password == Some(PasswordSource::Keyring) {
            (access.user, access.password) = (None, None);
        }
        access.oidc = None;
    })?;
    match is_forgotten {
        true => output.line(&format!("changed: what was kept for the context `{context}` is forgotten"))?,
        false => output.line(&format!("unchanged: nothing was kept for the context `{context}`"))?,
    }
    Ok(Exit::Ok)
}

/// Tells the provider that nobody gets tokens with what a context has been given.
async fn take_back(oidc: &Oidc, tokens: &Tokens, settings: &Settings) -> Outcome {
    if tokens.refresh.is_some() {
        Provider::find(oidc, &settings.trust()).await?.revoke(tokens).await?;
    }
    Ok(())
}

/// The context that is logged in to.
fn current(settings: &Settings) -> Outcome<String> {
    settings.named_context()?;
    Ok(settings.context_name().unwrap_or_default().to_owned())
}

fn change(context: &str, change: impl FnOnce(&mut Access)) -> Outcome {
    Store::of_user()?.change(|contexts| {
        contexts.named(context)?;
        if let Some(context) = contexts.contexts.get_mut(context) {
            change(&mut context.access);
        }
        Ok(())
    })
}

fn say_place(place: &Place, output: &Output) {
    if let Place::File(path) = place {
        output.talk(&format!(
            "no keyring of this system is used: it is in {}, for you alone to read",
            path.display()
        ));
    }
}
