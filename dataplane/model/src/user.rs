//! Users and roles: documents that a user of mq writes, and the admin API speaks.
//!
//! A document holds no password: those are set by themselves, and nothing gives them back.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::grant::Grant;
use crate::manifest::{API_VERSION, API_VERSION_SHORT, Metadata};
use crate::space::{SpaceLimits, SpaceUsage};

/// The `kind` of a [`User`].
pub const USER_KIND: &str = "User";

/// The `kind` of a [`Role`].
pub const ROLE_KIND: &str = "Role";

/// The built-in role that may do everything, users and roles included.
pub const ADMIN_ROLE: &str = "admin";

/// The built-in role that may see everything and change nothing.
pub const VIEWER_ROLE: &str = "viewer";

/// What somebody is called who has not said who he is; no user has this name.
pub const ANONYMOUS: &str = "anonymous";

/// What the certificate of the fleet's administrator calls its owner, and who shows a node's own token is called
/// in AMQP and MQTT; no user has this name.
pub const FLEET_ADMIN: &str = "mq-admin";

/// The space of users and addresses that is there without anybody having made it.
pub const DEFAULT_SPACE: &str = "default";

/// The longest name of a user or a role, in bytes.
pub const MAX_USER_NAME: usize = 128;

/// The most grants of one user, or of one role.
pub const MAX_GRANTS: usize = 256;

/// The most roles of one user.
pub const MAX_ROLES: usize = 64;

/// Somebody who may log in, and what he may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// The group and version of the document's fields.
    #[schemars(extend("enum" = [API_VERSION, API_VERSION_SHORT]))]
    pub api_version: String,
    /// Always `User`.
    #[schemars(extend("const" = USER_KIND))]
    pub kind: String,
    /// Name and labels. The name has 1 to 128 of `a` to `z`, `A` to `Z`, `0` to `9`, `.`, `_` and `-`.
    pub metadata: Metadata,
    /// What is wanted of the user. Without it he may log in and do nothing.
    #[serde(default)]
    pub spec: UserSpec,
    /// Written by the node, ignored when sent to it.
    #[schemars(extend("readOnly" = true))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<UserStatus>,
}

/// What a user may do. Absent fields mean the default; defaults are never written back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct UserSpec {
    /// Whether the user is kept from logging in. One that is has his connections closed.
    #[schemars(extend("default" = false))]
    #[serde(skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// What the user may do, besides what his roles give. At most 256.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// The roles of the user: `admin`, `viewer`, or names of `Role` documents; one that does not exist gives
    /// nothing. At most 64.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// How much the user may take, where that is not what his space's `userLimits` say.
    #[serde(skip_serializing_if = "SpaceLimits::is_empty")]
    pub limits: SpaceLimits,
}

/// What a node knows of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// Whether a password is set; without one nobody logs in by password.
    pub has_password: bool,
    /// When the user was changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
    /// Roles of the user that do not exist, and give nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_roles: Vec<String>,
    /// What the user takes in the fleet; of one without limits, on the node that was asked. Absent while that is nothing.
    #[serde(default, skip_serializing_if = "SpaceUsage::is_nothing")]
    pub usage: SpaceUsage,
}

/// Grants under a name, for any number of users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// The group and version of the document's fields.
    #[schemars(extend("enum" = [API_VERSION, API_VERSION_SHORT]))]
    pub api_version: String,
    /// Always `Role`.
    #[schemars(extend("const" = ROLE_KIND))]
    pub kind: String,
    /// Name and labels. The name has 1 to 128 of `a` to `z`, `A` to `Z`, `0` to `9`, `.`, `_` and `-`.
    pub metadata: Metadata,
    /// What the role gives. Without it the role gives nothing.
    #[serde(default)]
    pub spec: RoleSpec,
    /// Written by the node, ignored when sent to it.
    #[schemars(extend("readOnly" = true))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RoleStatus>,
}

/// What a role gives. Absent fields mean the default; defaults are never written back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RoleSpec {
    /// What those who have the role may do. At most 256.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
}

/// What a node knows of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// Whether the role is there without anybody having made it; it cannot be changed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub built_in: bool,
    /// Users that have the role.
    pub users: u64,
    /// When the role was changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

impl User {
    /// A document without labels and status.
    pub fn new(name: impl Into<String>, spec: UserSpec) -> Self {
        let metadata = Metadata::named(name);
        Self { api_version: API_VERSION.into(), kind: USER_KIND.into(), metadata, spec, status: None }
    }
}

impl Role {
    /// A document without labels and status.
    pub fn new(name: impl Into<String>, spec: RoleSpec) -> Self {
        let metadata = Metadata::named(name);
        Self { api_version: API_VERSION.into(), kind: ROLE_KIND.into(), metadata, spec, status: None }
    }
}

/// Whether a role is there without anybody having made it.
pub fn is_built_in_role(name: &str) -> bool {
    matches!(name, ADMIN_ROLE | VIEWER_ROLE)
}

fn is_false(value: &bool) -> bool {
    !value
}
