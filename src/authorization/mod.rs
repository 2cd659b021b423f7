//! Authorization: whether they may.
//!
//! Called by `filters::authorization`, impersonation, the access review resources, search and
//! every other path that shows data.

use async_trait::async_trait;

use crate::request::Attributes;

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
    /// Errors met on the way (missing roles), which make a refusal no less a refusal.
    pub errors: Vec<String>,
}

/// One authorizer.
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// Decides. Must not block on I/O except in webhook authorizers.
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}
