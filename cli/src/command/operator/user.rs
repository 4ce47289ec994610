//! Users of the fleet, as their objects say. Passwords stand in Secrets.

use base64::{Engine, engine::general_purpose::STANDARD};
use mq_model::{
    Secret,
    admin::{NewPassword, NewUser},
    custom,
    user::{DEFAULT_SPACE, User},
};
use serde_json::{Value, json};

use super::{
    address::{found, in_space},
    condition::Verdict,
    secret,
};
use crate::{
    client::admin::Admin,
    cluster::{Cluster, SECRETS, owned_by},
    failure::{Failure, Outcome},
};

/// The field of a Secret with the password, and the one with the name.
const PASSWORD: &str = "password";
const NAME: &str = "username";
/// Random bytes of a password that is made.
const RANDOM: usize = 24;
/// Where the system's random bytes come from.
const SOURCE: &str = "/dev/urandom";

/// A password, and which version of its Secret it is of.
struct Given {
    password: Secret,
    version: String,
}

/// Makes the user what the object says.
pub(super) async fn ensure(admin: &Admin, cluster: &Cluster, object: &Value) -> Outcome<Verdict> {
    let wanted = wanted(object)?;
    let admin = &in_space(admin, wanted.metadata.space.as_deref());
    let given = match object["spec"]["passwordSecret"]["name"].as_str() {
        Some(secret) => Some(given(cluster, object, &wanted, secret).await?),
        None => None,
    };
    let name = wanted.metadata.name.clone();
    let there = found(admin.user(&name).await)?;
    let known = object["status"]["passwordVersion"].as_str();
    let user = match there {
        None => {
            let password = given.as_ref().map(|given| NewPassword { password: given.password.clone() });
            admin.create_user(&NewUser { user: wanted, password }).await?
        }
        Some(there) => {
            let is_as_wanted = there.spec == wanted.spec;
            if !is_as_wanted {
                admin.put_user(&wanted).await?;
            }
            let has_password = there.status.as_ref().is_some_and(|status| status.has_password);
            if let Some(given) = given.as_ref().filter(|given| !has_password || known != Some(&given.version))
            {
                admin.set_password(&name, &NewPassword { password: given.password.clone() }).await?;
            }
            if is_as_wanted { there } else { admin.user(&name).await? }
        }
    };
    let unknown = user.status.map(|status| status.unknown_roles).unwrap_or_default();
    let verdict = if unknown.is_empty() {
        Verdict::ready("the user may log in")
    } else {
        let message = format!("roles that do not exist give nothing: {}", unknown.join(", "));
        Verdict::not_ready("UnknownRole", message)
    };
    Ok(match given {
        Some(given) => verdict.with("passwordVersion", given.version),
        None => verdict,
    })
}

fn wanted(object: &Value) -> Outcome<User> {
    custom::user(object).map_err(Failure::usage)
}

/// The password of the Secret, which is made when it is not there.
async fn given(cluster: &Cluster, object: &Value, user: &User, name: &str) -> Outcome<Given> {
    let secret = match cluster.get(SECRETS, name).await? {
        Some(secret) => secret,
        None => {
            let secret = json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/basic-auth",
                "metadata": owned_by(object, name),
                "data": {
                    NAME: STANDARD.encode(login(user)),
                    PASSWORD: STANDARD.encode(password()?.expose()),
                },
            });
            cluster.create(SECRETS, &secret).await?
        }
    };
    let wrong = |why: &str| Failure::usage(format!("the Secret `{name}` {why}"));
    let password = secret::field(&secret, PASSWORD).map_err(|why| wrong(&why))?;
    let password = password.ok_or_else(|| wrong("holds no `password`"))?;
    Ok(Given { password, version: secret::version(&secret) })
}

/// The name that the user logs in with.
fn login(user: &User) -> String {
    match user.metadata.space.as_deref() {
        Some(space) if space != DEFAULT_SPACE => format!("{}@{space}", user.metadata.name),
        _ => user.metadata.name.clone(),
    }
}

/// A password that nobody can guess.
fn password() -> Outcome<Secret> {
    use std::io::Read;
    let mut bytes = [0; RANDOM];
    std::fs::File::open(SOURCE)
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| Failure::file("read", SOURCE.as_ref(), &error))?;
    Ok(Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_passwords_that_are_made_are_the_same() {
        let [one, other] = [password().unwrap(), password().unwrap()];
        assert_eq!(one.expose().len(), RANDOM.div_ceil(3) * 4);
        assert_ne!(one.expose(), other.expose());
    }
}
