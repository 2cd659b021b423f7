//! The authorizers, from their options, and again when their file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::identity::{RELOAD_INTERVAL, modified};
use crate::authorization::abac::Abac;
use crate::authorization::config::AuthorizerConfig;
use crate::authorization::node::NodeAuthorizer;
use crate::authorization::rbac::Rbac;
use crate::authorization::webhook::WebhookAuthorizer;
use crate::authorization::{AlwaysAllow, AlwaysDeny, AuthorizerChain, Mode};
use crate::base::Tasks;
use crate::server::client::{HttpsClient, kubeconfig};
use crate::server::life::StartError;
use crate::server::options::{AuthorizationOptions, load_authorizers};
use crate::telemetry::Metrics;

const PART: &str = "the authorizers";

/// What authorizers are made from.
pub(super) struct Authorizers {
    pub(super) rbac: Arc<Rbac>,
    /// `None` when nobody asks it at the start: then it follows nothing.
    pub(super) node: Option<Arc<NodeAuthorizer>>,
    pub(super) policy_file: Option<PathBuf>,
    pub(super) metrics: Arc<Metrics>,
}

impl Authorizers {
    /// The chain; follows the configuration's file.
    pub(super) fn chain(
        self,
        options: &AuthorizationOptions,
        tasks: &Tasks,
    ) -> Result<Arc<AuthorizerChain>, StartError> {
        let modes = self
            .modes(&options.authorizers)
            .map_err(|why| StartError::text(PART, why))?;
        let chain = AuthorizerChain::new(modes);
        if let Some(path) = &options.config_file {
            tasks.spawn_until_stopped(self.follow(path.clone(), chain.clone()));
        }
        Ok(chain)
    }

    fn modes(&self, authorizers: &[AuthorizerConfig]) -> Result<Vec<Arc<dyn Mode>>, String> {
        authorizers.iter().map(|config| self.mode(config)).collect()
    }

    fn mode(&self, config: &AuthorizerConfig) -> Result<Arc<dyn Mode>, String> {
        Ok(match config.kind.as_str() {
            "AlwaysAllow" => Arc::new(AlwaysAllow),
            "RBAC" => self.rbac.clone(),
            "Node" => match &self.node {
                Some(node) => node.clone(),
                None => return Err("the Node authorizer needs a restart".into()),
            },
            "ABAC" => Arc::new(abac(self.policy_file.as_deref())?),
            "Webhook" => Arc::new(self.webhook(config)?),
            _ => Arc::new(AlwaysDeny),
        })
    }

    fn webhook(&self, config: &AuthorizerConfig) -> Result<WebhookAuthorizer, String> {
        let name = &config.name;
        let Some(webhook) = &config.webhook else {
            return Err(format!("the webhook {name} has no settings"));
        };
        let target = kubeconfig::read(&webhook.kubeconfig, None)
            .map_err(|error| format!("the kubeconfig of the webhook {name}: {error}"))?;
        let client = HttpsClient::new(&target)
            .map_err(|error| format!("the kubeconfig of the webhook {name}: {error}"))?;
        Ok(WebhookAuthorizer::new(
            name.clone(),
            webhook.settings.clone(),
            webhook.conditions.clone(),
            client,
            self.metrics.clone(),
        ))
    }

    /// Puts a changed configuration in force; one that cannot be used leaves the old one in force.
    async fn follow(self, path: PathBuf, chain: Arc<AuthorizerChain>) {
        let mut seen = modified(&path);
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let now = modified(&path);
            if now == seen {
                continue;
            }
            seen = now;
            let modes = load_authorizers(&path).and_then(|authorizers| self.modes(&authorizers));
            let path = path.display();
            match modes {
                Ok(modes) => {
                    chain.replace(modes);
                    tracing::info!(%path, "reloaded the authorization configuration");
                }
                Err(error) => {
                    tracing::error!(%path, error, "keeping the old authorization configuration");
                }
            }
        }
    }
}

fn abac(path: Option<&Path>) -> Result<Abac, String> {
    let path = path.ok_or("ABAC needs --authorization-policy-file")?;
    let failed = |why: String| format!("error reading policy file {}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    Abac::parse(&text).map_err(|error| failed(error.to_string()))
}
