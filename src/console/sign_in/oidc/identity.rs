//! Whom the claims of an id token name, as Kubernetes is asked about them. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::id_token::Claims;
use crate::store::console::User;

/// Names that Kubernetes gives itself: `system:masters` may do everything.
const RESERVED: &str = "system:";

/// Groups of one user.
const MAX_GROUPS: usize = 1000;

/// Longest name of a user or a group, with its prefix, in characters.
const MAX_NAME: usize = 1024;

/// Which claims name somebody, and what stands before their names. As the API server has them
/// (`--oidc-username-claim`, …), so that a `RoleBinding` means the same person here and there.
#[derive(Clone, Debug)]
pub struct Naming {
    pub username_claim: String,
    pub username_prefix: String,
    pub groups_claim: String,
    pub groups_prefix: String,
}

/// Why claims name nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNamed {
    #[error("does not say in its claim {0} who you are")]
    Missing(String),
    #[error("has not verified your address")]
    NotVerified,
    #[error("has something else than up to {MAX_GROUPS} names in its claim {0}")]
    BadGroups(String),
    #[error("gives you a name or a group that begins with {RESERVED}, which is Kubernetes' own")]
    Reserved,
}

impl Naming {
    pub fn user(&self, claims: &Claims) -> Result<User, NotNamed> {
        let missing = || NotNamed::Missing(self.username_claim.clone());
        let name = claims.get(&self.username_claim).and_then(Value::as_str).ok_or_else(missing)?;
        // As the API server does it: who may write any address into their profile is nobody yet.
        let verified = claims.get("email_verified").is_none_or(|verified| *verified == Value::Bool(true));
        if self.username_claim == "email" && !verified {
            return Err(NotNamed::NotVerified);
        }
        let name = named(&self.username_prefix, name).ok_or_else(missing)?;
        let groups = self.groups(claims).ok_or_else(|| NotNamed::BadGroups(self.groups_claim.clone()))?;
        if groups.iter().chain([&name]).any(|name| name.starts_with(RESERVED)) {
            return Err(NotNamed::Reserved);
        }
        Ok(User { name, uid: String::new(), groups, extra: BTreeMap::new() })
    }

    /// A list of names, or one name alone. Without the claim: none.
    fn groups(&self, claims: &Claims) -> Option<Vec<String>> {
        let groups = match claims.get(&self.groups_claim) {
            None | Some(Value::Null) => return Some(Vec::new()),
            Some(Value::Array(groups)) => groups.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        let named = groups.iter().map(|group| named(&self.groups_prefix, group.as_str()?));
        named.collect::<Option<Vec<_>>>().filter(|groups| groups.len() <= MAX_GROUPS)
    }
}

fn named(prefix: &str, name: &str) -> Option<String> {
    let full = format!("{prefix}{name}");
    let fits = !name.is_empty() && full.chars().count() <= MAX_NAME && !full.contains(char::is_control);
    fits.then_some(full)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn naming(username_claim: &str, prefix: &str) -> Naming {
        Naming {
            username_claim: username_claim.to_owned(),
            username_prefix: prefix.to_owned(),
            groups_claim: "groups".to_owned(),
            groups_prefix: prefix.to_owned(),
        }
    }

    #[test]
    fn claims_name_a_user_and_groups() {
        let missing = |claim: &str| Err(NotNamed::Missing(claim.to_owned()));
        let bad_groups = || Err(NotNamed::BadGroups("groups".to_owned()));
        for (claim, prefix, claims, named) in [
            ("sub", "oidc:", json!({"sub": "ada", "groups": ["web", "pay"]}), Ok("oidc:ada oidc:web oidc:pay")),
            ("sub", "", json!({"sub": "ada", "groups": "web"}), Ok("ada web")),
            ("sub", "", json!({"sub": "ada"}), Ok("ada")),
            ("sub", "", json!({"sub": "ada", "groups": null}), Ok("ada")),
            ("email", "", json!({"email": "ada@example.org", "email_verified": true}), Ok("ada@example.org")),
            ("email", "", json!({"email": "ada@example.org"}), Ok("ada@example.org")),
            ("email", "", json!({"email": "ada@example.org", "email_verified": false}), Err(NotNamed::NotVerified)),
            ("email", "", json!({"email": "ada@example.org", "email_verified": "true"}), Err(NotNamed::NotVerified)),
            ("sub", "", json!({"sub": "ada", "email_verified": false}), Ok("ada")),
            ("name", "oidc:", json!({"sub": "ada"}), missing("name")),
            ("name", "oidc:", json!({"name": ""}), missing("name")),
            ("name", "oidc:", json!({"name": 7}), missing("name")),
            ("name", "oidc:", json!({"name": "a\nb"}), missing("name")),
            ("name", "oidc:", json!({"name": "a".repeat(1020)}), missing("name")),
            ("sub", "", json!({"sub": "ada", "groups": {"web": true}}), bad_groups()),
            ("sub", "", json!({"sub": "ada", "groups": ["web", 7]}), bad_groups()),
            ("sub", "", json!({"sub": "ada", "groups": [""]}), bad_groups()),
            ("sub", "", json!({"sub": "ada", "groups": ["a\u{0}"]}), bad_groups()),
            ("sub", "", json!({"sub": "ada", "groups": vec!["web"; 1001]}), bad_groups()),
            ("sub", "", json!({"sub": "system:admin"}), Err(NotNamed::Reserved)),
            ("sub", "", json!({"sub": "ada", "groups": ["web", "system:masters"]}), Err(NotNamed::Reserved)),
            ("sub", "system:", json!({"sub": "ada"}), Err(NotNamed::Reserved)),
            (
                "sub",
                "oidc:",
                json!({"sub": "system:admin", "groups": ["system:masters"]}),
                Ok("oidc:system:admin oidc:system:masters"),
            ),
        ] {
            let user = naming(claim, prefix).user(claims.as_object().unwrap());
            let user = user.map(|user| [vec![user.name], user.groups].concat().join(" "));
            assert_eq!(user, named.map(str::to_owned), "{claim} {prefix} {claims}");
        }
    }
}
