//! Authentication and authorization, from their options.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::authorizers::Authorizers;
use crate::api::objects::Objects;
use crate::audit::Recorder;
use crate::authentication::bootstrap_token::BootstrapTokens;
use crate::authentication::cache::TokenCache;
use crate::authentication::keys::{PublicKey, SigningKey};
use crate::authentication::request_header::{HeaderNames, RequestHeaders};
use crate::authentication::service_account::ServiceAccountTokens;
use crate::authentication::token_file::TokenFile;
use crate::authentication::token_request::TokenIssuer;
use crate::authentication::union::{Anonymous, RequestAuthenticator, TokenUnion};
use crate::authentication::x509::{ClientCa, ClientCertificates};
use crate::authentication::{Authenticator, TokenAuthenticator};
use crate::authorization::AuthorizerChain;
use crate::authorization::node::NodeAuthorizer;
use crate::authorization::rbac::Rbac;
use crate::base::Tasks;
use crate::endpoints::handlers::review::Reviewers;
use crate::endpoints::openid::OpenId;
use crate::filters::authentication::Authentication;
use crate::server::bootstrap::node_rules;
use crate::server::life::StartError;
use crate::server::options::{AuthenticationOptions, ServerOptions};
use crate::telemetry::Metrics;

/// How often CA files are looked at.
pub(super) const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Who, and whether they may.
pub(super) struct Identity {
    pub(super) authentication: Authentication,
    pub(super) authorizer: Arc<AuthorizerChain>,
    pub(super) rbac: Arc<Rbac>,
    /// Follows objects once the store serves them; `None` when nobody asks it.
    pub(super) node: Option<Arc<NodeAuthorizer>>,
    pub(super) reviewers: Reviewers,
    pub(super) openid: OpenId,
}

/// Makes both.
pub(super) fn identity(
    options: &ServerOptions,
    objects: &Arc<dyn Objects>,
    recorder: &Arc<Recorder>,
    metrics: &Arc<Metrics>,
    tasks: &Tasks,
) -> Result<Identity, StartError> {
    let rbac = Rbac::new();
    let node = NodeAuthorizer::new(node_rules());
    let uses_node = options.authorization.has("Node");
    let authorizer = Authorizers {
        rbac: rbac.clone(),
        node: uses_node.then(|| node.clone()),
        policy_file: options.authorization.policy_file.clone(),
        metrics: metrics.clone(),
    }
    .chain(&options.authorization, tasks)?;
    let given = &options.authentication;
    let keys = verifying_keys(given)?;
    let tokens = tokens(given, &keys, objects)?;
    let authenticator = RequestAuthenticator {
        by_connection: by_connection(given, metrics, tasks)?,
        tokens: Some(tokens.clone()),
        anonymous: match given.anonymous {
            true => Anonymous::On,
            false => Anonymous::Off,
        },
    };
    let mut authentication = Authentication::new(Arc::new(authenticator), metrics.clone())
        .with_recorder(recorder.clone());
    if let Some(proxy) = &given.request_header {
        let names = [
            &proxy.username_headers,
            &proxy.uid_headers,
            &proxy.group_headers,
        ];
        let names: Vec<String> = names.into_iter().flatten().cloned().collect();
        authentication = authentication.removing(&names, &proxy.extra_prefixes);
    }
    let accounts = &given.service_accounts;
    let issuer = accounts.issuers.first().cloned().unwrap_or_default();
    let jwks_uri = accounts.jwks_uri.clone().unwrap_or_else(|| {
        let address = super::api::server_address(options);
        format!("https://{address}/openid/v1/jwks")
    });
    Ok(Identity {
        authentication,
        authorizer: authorizer.clone(),
        rbac,
        node: uses_node.then_some(node),
        reviewers: Reviewers {
            tokens: Some(tokens),
            api_audiences: given.audiences.clone(),
            authorizer,
            issuer: token_issuer(given, objects)?,
        },
        openid: OpenId::new(&issuer, &jwks_uri, &keys),
    })
}

/// Client certificates and front proxies.
fn by_connection(
    options: &AuthenticationOptions,
    metrics: &Arc<Metrics>,
    tasks: &Tasks,
) -> Result<Vec<Arc<dyn Authenticator>>, StartError> {
    let mut out: Vec<Arc<dyn Authenticator>> = Vec::new();
    if let Some(proxy) = &options.request_header {
        out.push(Arc::new(RequestHeaders {
            ca: client_ca(&proxy.client_ca, tasks)?,
            allowed_names: proxy.allowed_names.clone(),
            headers: HeaderNames {
                username: proxy.username_headers.clone(),
                uid: proxy.uid_headers.clone(),
                group: proxy.group_headers.clone(),
                extra_prefix: proxy.extra_prefixes.clone(),
            },
        }));
    }
    if let Some(path) = &options.client_ca {
        let ca = client_ca(path, tasks)?;
        out.push(Arc::new(ClientCertificates::new(ca, Some(metrics.clone()))));
    }
    Ok(out)
}

/// When a file was changed last.
pub(super) fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Reads a CA bundle and keeps it fresh.
fn client_ca(path: &Path, tasks: &Tasks) -> Result<Arc<ClientCa>, StartError> {
    let pem = fs::read(path).map_err(|e| StartError::part("the client CA", &e))?;
    let ca = ClientCa::from_pem(&pem).map_err(|e| StartError::part("the client CA", &e))?;
    let ca = Arc::new(ca);
    let (kept, path) = (ca.clone(), path.to_path_buf());
    tasks.spawn_until_stopped(async move {
        let mut seen = modified(&path);
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let now = modified(&path);
            if now == seen {
                continue;
            }
            seen = now;
            let path = path.display();
            let Ok(pem) = fs::read(path.to_string()) else {
                continue;
            };
            match kept.replace(&pem) {
                Ok(()) => tracing::info!(%path, "reloaded a client CA"),
                Err(error) => tracing::error!(%path, %error, "keeping the old client CA"),
            }
        }
    });
    Ok(ca)
}

fn tokens(
    options: &AuthenticationOptions,
    keys: &[PublicKey],
    objects: &Arc<dyn Objects>,
) -> Result<Arc<dyn TokenAuthenticator>, StartError> {
    let mut tokens: Vec<Arc<dyn TokenAuthenticator>> = Vec::new();
    if let Some(path) = &options.token_file {
        let text = fs::read_to_string(path).map_err(|e| StartError::part("the token file", &e))?;
        let file = TokenFile::parse(&text, options.audiences.clone())
            .map_err(|e| StartError::part("the token file", &e))?;
        tokens.push(Arc::new(file));
    }
    let accounts = &options.service_accounts;
    tokens.push(Arc::new(ServiceAccountTokens {
        keys: keys.to_vec(),
        issuers: accounts.issuers.clone(),
        api_audiences: options.audiences.clone(),
        lookup: accounts.lookup,
        objects: objects.clone(),
    }));
    if options.bootstrap_tokens {
        tokens.push(Arc::new(BootstrapTokens {
            objects: objects.clone(),
            api_audiences: options.audiences.clone(),
        }));
    }
    Ok(Arc::new(TokenCache::new(Arc::new(TokenUnion::new(tokens)))))
}

fn verifying_keys(options: &AuthenticationOptions) -> Result<Vec<PublicKey>, StartError> {
    let part = "service account keys";
    let mut keys = Vec::new();
    for path in &options.service_accounts.verify_keys {
        let text = fs::read_to_string(path).map_err(|e| StartError::part(part, &e))?;
        keys.extend(PublicKey::from_pem(&text).map_err(|e| StartError::part(part, &e))?);
    }
    Ok(keys)
}

fn token_issuer(
    options: &AuthenticationOptions,
    objects: &Arc<dyn Objects>,
) -> Result<Option<TokenIssuer>, StartError> {
    let accounts = &options.service_accounts;
    let Some(path) = &accounts.signing_key else {
        return Ok(None);
    };
    let part = "the service account signing key";
    let text = fs::read_to_string(path).map_err(|e| StartError::part(part, &e))?;
    let key = SigningKey::from_pem(&text).map_err(|e| StartError::part(part, &e))?;
    Ok(Some(TokenIssuer {
        key,
        issuer: accounts.issuers.first().cloned().unwrap_or_default(),
        api_audiences: options.audiences.clone(),
        max_seconds: i64::try_from(accounts.max_expiration.as_secs()).unwrap_or(i64::MAX),
        extend: accounts.extend_expiration,
        objects: objects.clone(),
    }))
}
