//! Who asks, and what the roles of the cluster let him do (RBAC).

use serde_json::{Value, json};

use super::kinds::Kind;
use super::store::Store;

/// Whoever is in this group may do everything.
pub(super) const MASTERS: &str = "system:masters";

/// Somebody who has said who he is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
}

impl User {
    pub(super) fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ],
        }
    }

    /// Whether one of the subjects of a binding is this user.
    fn is_among(&self, subjects: &Value, binding: &str) -> bool {
        subjects.as_array().into_iter().flatten().any(|subject| {
            let name = subject["name"].as_str().unwrap_or_default();
            match subject["kind"].as_str() {
                Some("User") => name == self.name,
                Some("Group") => self.groups.iter().any(|group| group == name),
                Some("ServiceAccount") => {
                    let namespace = subject["namespace"].as_str().unwrap_or(binding);
                    self.name == format!("system:serviceaccount:{namespace}:{name}")
                }
                _ => false,
            }
        })
    }

    pub(super) fn review(&self) -> Value {
        json!({ "username": self.name, "groups": self.groups })
    }
}

/// What somebody wants to do.
#[derive(Clone, Debug)]
pub(super) struct Access<'a> {
    pub(super) verb: &'a str,
    pub(super) group: &'a str,
    /// `pods`, or `pods/log`.
    pub(super) resource: String,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl Access<'_> {
    fn is_in(&self, rule: &Value) -> bool {
        let has = |field: &str, wanted: &str| {
            rule[field].as_array().into_iter().flatten().any(|one| one == "*" || one == wanted)
        };
        let of_any = self.resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
        let names = rule["resourceNames"].as_array().filter(|names| !names.is_empty());
        has("verbs", self.verb)
            && has("apiGroups", self.group)
            && (has("resources", &self.resource) || of_any.is_some_and(|any| has("resources", &any)))
            && names.is_none_or(|names| names.iter().any(|name| name == self.name))
    }

    /// What the refusal says.
    pub(super) fn denial(&self, user: &User) -> String {
        let place = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", self.namespace)
        };
        format!(
            "User \"{}\" cannot {} resource \"{}\" in API group \"{}\" {place}",
            user.name, self.verb, self.resource, self.group
        )
    }
}

impl Store {
    pub(super) fn is_allowed(&self, user: &User, access: &Access<'_>) -> bool {
        if user.groups.iter().any(|group| group == MASTERS) {
            return true;
        }
        // Everybody may ask what he may do, as by `system:basic-user`.
        if access.group == "authorization.k8s.io" || access.group == "authentication.k8s.io" {
            return true;
        }
        let cluster = self.all("ClusterRoleBinding");
        let namespaced = self.all("RoleBinding");
        let namespaced = namespaced.iter().filter(|binding| {
            !access.namespace.is_empty() && binding["metadata"]["namespace"] == access.namespace
        });
        cluster.iter().chain(namespaced).any(|binding| {
            let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
            if !user.is_among(&binding["subjects"], namespace) {
                return false;
            }
            let role = binding["roleRef"]["name"].as_str().unwrap_or_default();
            let role = match binding["roleRef"]["kind"].as_str() {
                Some("Role") => self.find("Role", namespace, role),
                _ => self.find("ClusterRole", "", role),
            };
            let rules = role.and_then(|role| role["rules"].as_array());
            rules.is_some_and(|rules| rules.iter().any(|rule| access.is_in(rule)))
        })
    }

    /// Fills in a review of somebody's rights.
    pub(super) fn review(&self, kind: &str, mut review: Value, user: &User) -> Value {
        if kind == "SelfSubjectReview" {
            review["status"] = json!({ "userInfo": user.review() });
            return review;
        }
        let other;
        let user = if kind == "SubjectAccessReview" {
            let groups = review["spec"]["groups"].as_array().into_iter().flatten();
            let groups = groups.filter_map(Value::as_str).map(str::to_owned).collect();
            other = User { name: review["spec"]["user"].as_str().unwrap_or_default().into(), groups };
            &other
        } else {
            user
        };
        let wanted = review["spec"]["resourceAttributes"].clone();
        let text = |name: &str| wanted[name].as_str().unwrap_or_default();
        let resource = match text("subresource") {
            "" => text("resource").to_owned(),
            subresource => format!("{}/{subresource}", text("resource")),
        };
        let access = Access {
            verb: text("verb"),
            group: text("group"),
            resource,
            namespace: text("namespace"),
            name: text("name"),
        };
        let is_allowed = self.is_allowed(user, &access);
        review["status"] = json!({ "allowed": is_allowed });
        review
    }
}

/// What a request to a kind is called in a role.
pub(super) fn resource(kind: &Kind, subresource: Option<&str>) -> String {
    match subresource {
        Some(subresource) => format!("{}/{subresource}", kind.plural),
        None => kind.plural.clone(),
    }
}
