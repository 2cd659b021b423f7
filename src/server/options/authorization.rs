//! Authorizers, from flags or from an AuthorizationConfiguration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::parse::{FlagError, Values};
use crate::authorization::config::{self, AuthorizerConfig, TYPES, WebhookConfig};
use crate::authorization::webhook::{ReviewVersion, WebhookSettings};

const MODE: &str = "authorization-mode";
const CONFIG: &str = "authorization-config";
const POLICY_FILE: &str = "authorization-policy-file";
const WEBHOOK_FILE: &str = "authorization-webhook-config-file";
const WEBHOOK_VERSION: &str = "authorization-webhook-version";
const AUTHORIZED_TTL: &str = "authorization-webhook-cache-authorized-ttl";
const UNAUTHORIZED_TTL: &str = "authorization-webhook-cache-unauthorized-ttl";
/// How long a webhook of flags may take for one try.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// Name of the webhook of flags.
const WEBHOOK_NAME: &str = "default";

/// Who decides what users may.
#[derive(Clone, Debug)]
pub struct AuthorizationOptions {
    /// In order.
    pub authorizers: Vec<AuthorizerConfig>,
    /// The file that they are from, if they are.
    pub config_file: Option<PathBuf>,
    /// The policies of ABAC.
    pub policy_file: Option<PathBuf>,
}

impl AuthorizationOptions {
    /// Whether an authorizer of a type is among them.
    pub fn has(&self, kind: &str) -> bool {
        self.authorizers.iter().any(|a| a.kind == kind)
    }
}

/// Reads an AuthorizationConfiguration.
///
/// # Errors
/// It cannot be read, or what is wrong with it.
pub fn load(path: &Path) -> Result<Vec<AuthorizerConfig>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    config::parse(&text)
}

/// The options.
pub(super) fn options(v: &Values) -> Result<AuthorizationOptions, FlagError> {
    let file = |name: &str| v.non_empty(name).map(PathBuf::from);
    let config_file = file(CONFIG);
    let policy_file = file(POLICY_FILE);
    let authorizers = match &config_file {
        Some(path) => {
            let others = [
                MODE,
                WEBHOOK_FILE,
                WEBHOOK_VERSION,
                AUTHORIZED_TTL,
                UNAUTHORIZED_TTL,
            ];
            if let Some(other) = others.into_iter().find(|name| v.is_given(name)) {
                let reason = format!("can not be specified when --{other} is given");
                return Err(v.invalid(CONFIG, reason));
            }
            load(path).map_err(|why| v.invalid(CONFIG, why))?
        }
        None => of_flags(v, file(WEBHOOK_FILE))?,
    };
    let options = AuthorizationOptions {
        authorizers,
        config_file,
        policy_file,
    };
    match (options.has("ABAC"), &options.policy_file) {
        (true, None) => {
            let reason = format!("ABAC needs a file: --{POLICY_FILE}");
            Err(v.invalid(MODE, reason))
        }
        (false, Some(_)) => Err(v.invalid(POLICY_FILE, "cannot be specified without mode ABAC")),
        _ => Ok(options),
    }
}

fn of_flags(v: &Values, kubeconfig: Option<PathBuf>) -> Result<Vec<AuthorizerConfig>, FlagError> {
    let modes = v.list(MODE);
    if modes.is_empty() {
        return Err(v.invalid(MODE, "at least one mode must be given"));
    }
    let mut authorizers = Vec::new();
    for (i, mode) in modes.iter().enumerate() {
        if !TYPES.contains(&mode.as_str()) {
            let reason = format!("{mode:?} is not a valid mode");
            return Err(v.invalid(MODE, reason));
        }
        if modes[..i].contains(mode) {
            let reason = format!("{mode:?} is given twice");
            return Err(v.invalid(MODE, reason));
        }
        let mut authorizer = AuthorizerConfig::plain(mode);
        if mode == "Webhook" {
            let Some(kubeconfig) = kubeconfig.clone() else {
                let reason = format!("Webhook needs a file: --{WEBHOOK_FILE}");
                return Err(v.invalid(MODE, reason));
            };
            authorizer.name = WEBHOOK_NAME.into();
            authorizer.webhook = Some(webhook(v, kubeconfig)?);
        }
        authorizers.push(authorizer);
    }
    if kubeconfig.is_some() && !modes.iter().any(|mode| mode == "Webhook") {
        return Err(v.invalid(WEBHOOK_FILE, "cannot be specified without mode Webhook"));
    }
    Ok(authorizers)
}

fn webhook(v: &Values, kubeconfig: PathBuf) -> Result<WebhookConfig, FlagError> {
    let version = match v.text(WEBHOOK_VERSION).as_str() {
        "v1" => ReviewVersion::V1,
        "v1beta1" => ReviewVersion::V1Beta1,
        _ => return Err(v.invalid(WEBHOOK_VERSION, "must be v1 or v1beta1")),
    };
    // As upstream: a duration of zero keeps nothing.
    let ttl = |name: &str| Some(v.duration(name)).filter(|ttl| !ttl.is_zero());
    Ok(WebhookConfig {
        settings: WebhookSettings {
            authorized_ttl: ttl(AUTHORIZED_TTL),
            unauthorized_ttl: ttl(UNAUTHORIZED_TTL),
            timeout: WEBHOOK_TIMEOUT,
            version,
            denies_on_error: false,
        },
        conditions: Vec::new(),
        kubeconfig,
    })
}
