//! Authentication: who is asking.
//!
//! Called by `filters::authentication` and by TokenReview. Each authenticator looks at one kind of
//! credential; the union asks them in upstream's order.

use async_trait::async_trait;

use crate::request::{RequestContext, UserInfo};

/// A successful authentication.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who.
    pub user: UserInfo,
    /// How: `x509`, `token-file`, `service-account`, `bootstrap-token`, `oidc`, `webhook`,
    /// `request-header`, `anonymous`.
    pub method: &'static str,
    /// Audiences the credential is good for; empty when the authenticator does not know audiences.
    pub audiences: Vec<String>,
}

/// Why credentials were refused. For the record only; clients get a bare 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// For example `token is expired`, `unknown signing key`, `audience mismatch`.
    pub reason: String,
}

/// Looks at the credentials of a request.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// `Ok(None)`: no credential of this kind, ask the next. `Err`: a credential of this kind was
    /// there and is not good (the union still asks the others).
    async fn authenticate(
        &self,
        ctx: &mut RequestContext,
    ) -> Result<Option<Authenticated>, Refused>;
}

/// Looks at one bearer token, for audiences (empty: the API server's own).
#[async_trait]
pub trait TokenAuthenticator: Send + Sync {
    /// As [`Authenticator::authenticate`].
    async fn authenticate_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, Refused>;
}
