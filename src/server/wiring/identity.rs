//! Authentication and authorization, from their options.

use std::fs;
use std::sync::Arc;

use crate::audit::Recorder;
use crate::authentication::TokenAuthenticator;
use crate::authentication::cache::TokenCache;
use crate::authentication::token_file::TokenFile;
use crate::authentication::union::{Anonymous, RequestAuthenticator, TokenUnion};
use crate::authorization::node::NodeAuthorizer;
use crate::authorization::rbac::Rbac;
use crate::authorization::{AlwaysAllow, AlwaysDeny, Authorizer, AuthorizerChain, Mode};
use crate::filters::authentication::Authentication;
use crate::server::bootstrap::node_rules;
use crate::server::life::StartError;
use crate::server::options::ServerOptions;
use crate::telemetry::Metrics;

/// Who, and whether they may.
pub(super) struct Identity {
    pub(super) authentication: Authentication,
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) rbac: Arc<Rbac>,
    /// Follows objects once there are any.
    pub(super) node: Arc<NodeAuthorizer>,
}

/// Makes both.
pub(super) fn identity(
    options: &ServerOptions,
    recorder: &Arc<Recorder>,
    metrics: &Arc<Metrics>,
) -> Result<Identity, StartError> {
    let rbac = Rbac::new();
    let node = NodeAuthorizer::new(node_rules());
    let modes = options.authorization_modes.iter();
    let modes: Vec<Arc<dyn Mode>> = modes
        .map(|mode| -> Arc<dyn Mode> {
            match mode.as_str() {
                "AlwaysAllow" => Arc::new(AlwaysAllow),
                "Node" => node.clone(),
                "RBAC" => rbac.clone(),
                _ => Arc::new(AlwaysDeny),
            }
        })
        .collect();
    Ok(Identity {
        authentication: Authentication::new(Arc::new(authenticator(options)?), metrics.clone())
            .with_recorder(recorder.clone()),
        authorizer: AuthorizerChain::new(modes),
        rbac,
        node,
    })
}

fn authenticator(options: &ServerOptions) -> Result<RequestAuthenticator, StartError> {
    let options = &options.authentication;
    let mut tokens: Vec<Arc<dyn TokenAuthenticator>> = Vec::new();
    if let Some(path) = &options.token_file {
        let text = fs::read_to_string(path).map_err(|e| StartError::part("the token file", &e))?;
        let file = TokenFile::parse(&text, options.audiences.clone())
            .map_err(|e| StartError::part("the token file", &e))?;
        tokens.push(Arc::new(file));
    }
    Ok(RequestAuthenticator {
        by_connection: Vec::new(),
        tokens: match tokens.is_empty() {
            true => None,
            false => Some(Arc::new(TokenCache::new(Arc::new(TokenUnion::new(tokens))))),
        },
        anonymous: match options.anonymous {
            true => Anonymous::On,
            false => Anonymous::Off,
        },
    })
}
