//! Address spaces of the fleet and the profiles of their limits, as their objects say.

use mq_model::custom;
use serde_json::Value;

use super::{address::found, condition::Verdict};
use crate::{
    client::admin::Admin,
    failure::{Failure, Outcome},
};

/// Makes the space what the object says, and returns how it is.
pub(super) async fn ensure(admin: &Admin, object: &Value) -> Outcome<Verdict> {
    let wanted = custom::space(object).map_err(Failure::usage)?;
    let there = found(admin.space(&wanted.metadata.name).await)?;
    let space = match there {
        Some(there) if there.spec == wanted.spec => there,
        _ => {
            admin.put_space(&wanted).await?;
            admin.space(&wanted.metadata.name).await?
        }
    };
    let status = space.status.unwrap_or_default();
    let verdict = if status.unknown_profile {
        Verdict::not_ready(
            "UnknownProfile",
            "the profile of the space does not exist, and gives it no limits",
        )
    } else {
        Verdict::ready("the fleet has the space")
    };
    Ok(verdict.with("addresses", status.addresses).with("users", status.users))
}

/// Makes the profile what the object says.
pub(super) async fn ensure_profile(admin: &Admin, object: &Value) -> Outcome<Verdict> {
    let wanted = custom::profile(object).map_err(Failure::usage)?;
    let there = found(admin.profile(&wanted.metadata.name).await)?;
    let profile = match there {
        Some(there) if there.spec == wanted.spec => there,
        _ => {
            admin.put_profile(&wanted).await?;
            admin.profile(&wanted.metadata.name).await?
        }
    };
    let verdict = Verdict::ready("the fleet has the profile");
    Ok(verdict.with("spaces", profile.status.unwrap_or_default().spaces))
}
