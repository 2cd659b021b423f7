//! Authorization: whether they may.
//!
//! Called by `filters::authorization`, impersonation, the access review resources, search and
//! every other path that shows data.
//!
//! # Invariants
//! - `Allow` and `Deny` are final; whoever has no opinion leaves it to the next; if nobody has one
//!   the answer is no.
//! - Members of `system:masters` are allowed before anybody is asked.

pub mod abac;
pub mod config;
pub mod node;
pub mod rbac;
pub mod refusal;
pub mod reviews;
pub mod webhook;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use crate::request::{Attributes, UserInfo};
use rbac::PolicyRule;

/// What one authorizer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed; nobody else is asked.
    Allow,
    /// Denied; nobody else is asked.
    Deny,
    /// Not mine to say.
    NoOpinion,
}

/// A decision and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What.
    pub verdict: Verdict,
    /// Upstream's reason text, for the audit annotation and (when refused) the client.
    pub reason: String,
    /// Errors met on the way that are no reason text (webhooks that did not answer). With any
    /// verdict but `Allow` they turn a refusal into a 500.
    pub errors: Vec<String>,
    /// Who did not allow it, of the authorizers that cannot be looked into (ABAC, webhooks).
    pub asked: Vec<Asked>,
}

/// What one authorizer said, for the request's stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `ABAC`, or `Webhook/` and its name.
    pub authorizer: String,
    /// `denied`, `no-opinion` or `unanswered`.
    pub outcome: &'static str,
    /// In its own words.
    pub reason: String,
    /// Since when it was asked.
    pub began: Instant,
}

impl Decision {
    /// A decision with an error beside it.
    pub fn new(verdict: Verdict, reason: impl Into<String>, error: Option<String>) -> Self {
        Decision {
            verdict,
            reason: reason.into(),
            errors: error.into_iter().collect(),
            asked: Vec::new(),
        }
    }

    /// Allowed, without a reason text.
    pub fn allow() -> Self {
        Self::new(Verdict::Allow, "", None)
    }

    /// No opinion, for `reason`.
    pub fn no_opinion(reason: impl Into<String>) -> Self {
        Self::new(Verdict::NoOpinion, reason, None)
    }

    /// The same, and who said so.
    #[must_use]
    pub fn asked(mut self, asked: Asked) -> Self {
        self.asked.push(asked);
        self
    }

    /// Takes the next one's decision in; answers it when nobody else is to be asked.
    fn or_final(&mut self, mut next: Decision) -> Option<Decision> {
        self.asked.append(&mut next.asked);
        if next.verdict != Verdict::NoOpinion {
            self.errors.append(&mut next.errors);
            next.errors = std::mem::take(&mut self.errors);
            next.asked = std::mem::take(&mut self.asked);
            return Some(next);
        }
        if !next.reason.is_empty() {
            if !self.reason.is_empty() {
                self.reason.push('\n');
            }
            self.reason.push_str(&next.reason);
        }
        self.errors.append(&mut next.errors);
        None
    }
}

/// One authorizer.
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// The decision, where it can be had without waiting. `None` says nothing: ask
    /// [`Authorizer::authorize`].
    fn at_once(&self, _: &Attributes<'_>) -> Option<Decision> {
        None
    }

    /// Decides. Must not block on I/O except in webhook authorizers.
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}

/// What a user may do in a namespace, as far as it can be listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedRules {
    /// Resource and path rules.
    pub rules: Vec<PolicyRule>,
    /// Whether there may be more.
    pub incomplete: bool,
    /// Why.
    pub errors: Vec<String>,
}

/// Lists rules, for SelfSubjectRulesReview.
pub trait RuleResolver: Send + Sync {
    /// What `user` may do in `namespace`.
    fn rules_for(&self, user: &UserInfo, namespace: &str) -> ResolvedRules;
}

/// Allows everything.
pub struct AlwaysAllow;

/// Refuses everything.
pub struct AlwaysDeny;

#[async_trait]
impl Authorizer for AlwaysAllow {
    fn at_once(&self, _: &Attributes<'_>) -> Option<Decision> {
        Some(Decision::allow())
    }

    async fn authorize(&self, _attributes: &Attributes<'_>) -> Decision {
        Decision::allow()
    }
}

impl RuleResolver for AlwaysAllow {
    fn rules_for(&self, _user: &UserInfo, _namespace: &str) -> ResolvedRules {
        ResolvedRules {
            rules: vec![PolicyRule::all_resources(), PolicyRule::all_paths()],
            ..ResolvedRules::default()
        }
    }
}

#[async_trait]
impl Authorizer for AlwaysDeny {
    async fn authorize(&self, _attributes: &Attributes<'_>) -> Decision {
        Decision::no_opinion("Everything is forbidden.")
    }
}

impl RuleResolver for AlwaysDeny {
    fn rules_for(&self, _user: &UserInfo, _namespace: &str) -> ResolvedRules {
        ResolvedRules::default()
    }
}

/// One link of the chain: an authorizer that can also list rules.
pub trait Mode: Authorizer + RuleResolver {}

impl<T: Authorizer + RuleResolver> Mode for T {}

/// The authorizers in order, behind the privileged group.
pub struct AuthorizerChain {
    modes: ArcSwap<Vec<Arc<dyn Mode>>>,
}

impl AuthorizerChain {
    /// A chain that asks `modes` in order. Name the modes with `--authorization-mode` or in a
    /// [`config`]; see [`AlwaysAllow`], [`AlwaysDeny`], [`rbac::Rbac`], [`node::NodeAuthorizer`],
    /// [`abac::Abac`], [`webhook::WebhookAuthorizer`].
    pub fn new(modes: Vec<Arc<dyn Mode>>) -> Arc<Self> {
        Arc::new(AuthorizerChain {
            modes: ArcSwap::from_pointee(modes),
        })
    }

    /// From now on asks others. Requests under way keep those they began with.
    pub fn replace(&self, modes: Vec<Arc<dyn Mode>>) {
        self.modes.store(Arc::new(modes));
    }
}

#[async_trait]
impl Authorizer for AuthorizerChain {
    fn at_once(&self, attributes: &Attributes<'_>) -> Option<Decision> {
        if attributes.user.in_group("system:masters") {
            return Some(Decision::allow());
        }
        let mut refusal = Decision::no_opinion("");
        for mode in self.modes.load().iter() {
            let decision = mode.at_once(attributes)?;
            if let Some(decision) = refusal.or_final(decision) {
                return Some(decision);
            }
        }
        Some(refusal)
    }

    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.in_group("system:masters") {
            return Decision::allow();
        }
        let mut refusal = Decision::no_opinion("");
        let modes = self.modes.load_full();
        for mode in modes.iter() {
            let decision = mode.authorize(attributes).await;
            if let Some(decision) = refusal.or_final(decision) {
                return decision;
            }
        }
        refusal
    }
}

impl RuleResolver for AuthorizerChain {
    fn rules_for(&self, user: &UserInfo, namespace: &str) -> ResolvedRules {
        let mut all = ResolvedRules::default();
        for mode in self.modes.load().iter() {
            let mut found = mode.rules_for(user, namespace);
            all.rules.append(&mut found.rules);
            all.incomplete |= found.incomplete;
            all.errors.append(&mut found.errors);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says(Verdict, &'static str);

    #[async_trait]
    impl Authorizer for Says {
        async fn authorize(&self, _: &Attributes<'_>) -> Decision {
            Decision::new(self.0, self.1, None)
        }
    }

    impl RuleResolver for Says {
        fn rules_for(&self, _: &UserInfo, _: &str) -> ResolvedRules {
            ResolvedRules::default()
        }
    }

    #[tokio::test]
    async fn chain() {
        use Verdict::{Allow, Deny, NoOpinion};
        let cases = [
            (vec![(NoOpinion, "a"), (Allow, "b")], Allow, "b"),
            (vec![(Deny, "a"), (Allow, "b")], Deny, "a"),
            (
                vec![(NoOpinion, "a"), (NoOpinion, ""), (NoOpinion, "c")],
                NoOpinion,
                "a\nc",
            ),
            (vec![], NoOpinion, ""),
        ];
        let user = UserInfo::anonymous();
        for (says, verdict, reason) in cases {
            let modes = says
                .into_iter()
                .map(|(v, r)| Arc::new(Says(v, r)) as Arc<dyn Mode>);
            let chain = AuthorizerChain::new(modes.collect());
            let ask = Attributes::resource(&user, "get", "", "pods", "", "");
            let decision = chain.authorize(&ask).await;
            assert_eq!(
                (decision.verdict, decision.reason.as_str()),
                (verdict, reason)
            );
        }
    }
}
