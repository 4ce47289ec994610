//! Roles of the fleet, as their objects say.

use mq_model::custom;
use serde_json::Value;

use super::{
    address::{found, in_space},
    condition::Verdict,
};
use crate::{
    client::admin::Admin,
    failure::{Failure, Outcome},
};

/// Makes the role what the object says.
pub(super) async fn ensure(admin: &Admin, object: &Value) -> Outcome<Verdict> {
    let wanted = custom::role(object).map_err(Failure::usage)?;
    let admin = &in_space(admin, wanted.metadata.space.as_deref());
    let there = found(admin.role(&wanted.metadata.name).await)?;
    let role = match there {
        Some(there) if there.spec == wanted.spec => there,
        _ => {
            admin.put_role(&wanted).await?;
            admin.role(&wanted.metadata.name).await?
        }
    };
    let verdict = Verdict::ready("the fleet has the role");
    Ok(verdict.with("users", role.status.unwrap_or_default().users))
}
