//! Authentication: who is asking.
//!
//! Called by `filters::authentication` and by TokenReview. Each authenticator looks at one kind of
//! credential; [`union::RequestAuthenticator`] asks them in upstream's order (contract
//! authn_authz.md §1).
//!
//! # Invariants
//! - Why a credential was refused goes to the record, never to the client.
//! - Secrets are compared by digest or in constant time, never by `==` on the text.

pub mod bearer;
pub mod bootstrap_token;
pub mod cache;
pub mod jwt;
pub mod keys;
mod refused;
pub mod request_header;
pub mod reviews;
pub mod service_account;
pub mod token_file;
pub mod token_request;
pub mod union;
pub mod x509;

pub use refused::{REFUSALS, Refusal, Refused};

use std::sync::Arc;

use async_trait::async_trait;

use crate::request::{RequestContext, UserInfo};

/// The group of all who have authenticated.
const AUTHENTICATED: &str = "system:authenticated";

/// A successful authentication. Cheap to clone: caches hand out the same user.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// Who.
    pub user: Arc<UserInfo>,
    /// How: `x509`, `token-file`, `service-account`, `bootstrap-token`, `oidc`, `webhook`,
    /// `request-header`, `anonymous`.
    pub method: &'static str,
    /// Audiences the credential is good for; empty when the authenticator does not know audiences.
    pub audiences: Arc<[String]>,
    /// Audit annotations to set (legacy and stale tokens), also on cached answers.
    pub annotations: Arc<[(&'static str, String)]>,
    /// Warning headers to send.
    pub warnings: Arc<[String]>,
}

impl Authenticated {
    /// Without audiences, annotations and warnings.
    pub fn new(user: UserInfo, method: &'static str) -> Self {
        Authenticated {
            user: Arc::new(user),
            method,
            audiences: Arc::from([]),
            annotations: Arc::from([]),
            warnings: Arc::from([]),
        }
    }

    /// Adds `system:authenticated`, unless the user is in it or in `system:unauthenticated`.
    #[must_use]
    pub fn in_authenticated_group(mut self) -> Self {
        let listed =
            self.user.in_group(AUTHENTICATED) || self.user.in_group("system:unauthenticated");
        if !listed {
            let user = Arc::make_mut(&mut self.user);
            user.groups.push(AUTHENTICATED.into());
        }
        self
    }
}

/// Looks at the credentials of a request.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// What [`Authenticator::authenticate`] would find, where that is known without waiting. `None`
    /// says nothing: ask.
    fn at_once(&self, _: &RequestContext) -> Option<Arc<Authenticated>> {
        None
    }

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

/// The audiences of `wanted` that are among `own`; `own` itself when nothing special is wanted.
/// Empty means that they do not meet.
pub fn common_audiences(wanted: &[String], own: &[String]) -> Vec<String> {
    if wanted.is_empty() {
        return own.to_vec();
    }
    wanted
        .iter()
        .filter(|audience| own.contains(audience))
        .cloned()
        .collect()
}
