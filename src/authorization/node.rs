//! The Node authorizer's seam: identifies nodes, and says that it cannot list their rules.

use async_trait::async_trait;

use crate::authorization::{Authorizer, Decision, ResolvedRules, RuleResolver};
use crate::request::{Attributes, UserInfo};

/// The node that `user` is: `system:node:N` in group `system:nodes`.
pub fn node_of(user: &UserInfo) -> Option<&str> {
    let name = user.username.strip_prefix("system:node:")?;
    (!name.is_empty() && user.in_group("system:nodes")).then_some(name)
}

/// Placeholder.
pub struct NodeAuthorizer;

#[async_trait]
impl Authorizer for NodeAuthorizer {
    async fn authorize(&self, _attributes: &Attributes<'_>) -> Decision {
        Decision::no_opinion("")
    }
}

impl RuleResolver for NodeAuthorizer {
    fn rules_for(&self, user: &UserInfo, _namespace: &str) -> ResolvedRules {
        match node_of(user) {
            None => ResolvedRules::default(),
            Some(_) => ResolvedRules {
                incomplete: true,
                errors: vec!["node authorizer does not support user rule resolution".into()],
                ..ResolvedRules::default()
            },
        }
    }
}
