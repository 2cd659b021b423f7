//! `AuthorizationConfiguration` (`--authorization-config`): which authorizers, in which order.
//!
//! Read strictly, defaulted and validated in upstream's words. Whoever builds authorizers from it
//! reads the kubeconfigs and compiled conditions that it names.

use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::webhook::{Condition, ReviewVersion, WebhookSettings, compile};
use crate::api::field::{FieldErrors, Path};
use crate::base::duration;
use crate::base::tree::Value;

const KIND: &str = "AuthorizationConfiguration";
const VERSIONS: [&str; 3] = [
    "apiserver.config.k8s.io/v1",
    "apiserver.config.k8s.io/v1beta1",
    "apiserver.config.k8s.io/v1alpha1",
];
/// What an authorizer can be.
pub const TYPES: [&str; 6] = [
    "ABAC",
    "AlwaysAllow",
    "AlwaysDeny",
    "Node",
    "RBAC",
    "Webhook",
];
const AUTHORIZED_TTL: Duration = Duration::from_secs(5 * 60);
const UNAUTHORIZED_TTL: Duration = Duration::from_secs(30);
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
const CONDITIONS_MAX: usize = 64;

/// One authorizer.
#[derive(Clone, Debug)]
pub struct AuthorizerConfig {
    /// One of [`TYPES`].
    pub kind: String,
    /// How metrics and `why` call it.
    pub name: String,
    /// Of the type Webhook.
    pub webhook: Option<WebhookConfig>,
}

/// A webhook.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// How it is asked.
    pub settings: WebhookSettings,
    /// Whether it is asked.
    pub conditions: Vec<Condition>,
    /// Where it is.
    pub kubeconfig: PathBuf,
}

impl AuthorizerConfig {
    /// An authorizer without settings.
    pub fn plain(kind: &str) -> Self {
        AuthorizerConfig {
            kind: kind.to_string(),
            name: kind.to_lowercase(),
            webhook: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Document {
    api_version: String,
    kind: String,
    #[serde(default)]
    authorizers: Vec<Authorizer>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Authorizer {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    webhook: Option<Webhook>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct Webhook {
    #[serde(rename = "authorizedTTL")]
    authorized_ttl: String,
    cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL")]
    unauthorized_ttl: String,
    cache_unauthorized_requests: Option<bool>,
    timeout: String,
    subject_access_review_version: String,
    match_condition_subject_access_review_version: String,
    failure_policy: String,
    connection_info: ConnectionInfo,
    match_conditions: Vec<MatchCondition>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct ConnectionInfo {
    #[serde(rename = "type")]
    kind: String,
    kube_config_file: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MatchCondition {
    expression: String,
}

/// Reads a configuration.
///
/// # Errors
/// All that is wrong with it, in upstream's words.
pub fn parse(text: &str) -> Result<Vec<AuthorizerConfig>, String> {
    let document: Document =
        serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string())?;
    if document.kind != KIND || !VERSIONS.contains(&document.api_version.as_str()) {
        return Err(format!(
            "no kind \"{}\" is registered for version \"{}\"",
            document.kind, document.api_version
        ));
    }
    let mut errors = FieldErrors::default();
    let path = Path::ROOT.field("authorizers");
    if document.authorizers.is_empty() {
        errors.required(&path, "at least one authorization mode must be defined");
    }
    let mut authorizers: Vec<AuthorizerConfig> = Vec::new();
    for (index, authorizer) in document.authorizers.iter().enumerate() {
        let path = path.index(index);
        let found = authorizer.validate(&authorizers, &path, &mut errors);
        authorizers.extend(found);
    }
    match errors.is_empty() {
        true => Ok(authorizers),
        false => Err(errors.to_aggregate()),
    }
}

impl Authorizer {
    fn validate(
        &self,
        before: &[AuthorizerConfig],
        path: &Path<'_>,
        errors: &mut FieldErrors,
    ) -> Option<AuthorizerConfig> {
        let type_path = path.field("type");
        let kind = Value::from(self.kind.as_str());
        if self.kind.is_empty() {
            errors.required(&type_path, "");
            return None;
        }
        if !TYPES.contains(&self.kind.as_str()) {
            errors.not_supported(&type_path, &kind, &TYPES);
            return None;
        }
        if self.kind != "Webhook" && before.iter().any(|other| other.kind == self.kind) {
            errors.duplicate(&type_path, &kind);
            return None;
        }
        let name_path = path.field("name");
        if self.name.is_empty() {
            errors.required(&name_path, "");
        } else if before.iter().any(|other| other.name == self.name) {
            errors.duplicate(&name_path, &self.name.as_str().into());
        } else if !is_subdomain(&self.name) {
            errors.invalid_str(
                &name_path,
                &self.name,
                format!("authorizer name is invalid: {SUBDOMAIN}"),
            );
        }
        let webhook_path = path.field("webhook");
        let webhook = match (&self.webhook, self.kind.as_str()) {
            (None, "Webhook") => {
                errors.required(&webhook_path, "required when type=Webhook");
                None
            }
            // Upstream reports the fields of a webhook at the authorizer itself.
            (Some(webhook), "Webhook") => Some(webhook.validate(path, errors)),
            (Some(_), _) => {
                let text = "may only be specified when type=Webhook";
                errors.invalid_str(&webhook_path, "non-null", text);
                None
            }
            (None, _) => None,
        };
        Some(AuthorizerConfig {
            kind: self.kind.clone(),
            name: self.name.clone(),
            webhook,
        })
    }
}

impl Webhook {
    fn validate(&self, path: &Path<'_>, errors: &mut FieldErrors) -> WebhookConfig {
        let timeout_path = path.field("timeout");
        let timeout = match parsed(&self.timeout) {
            Some(Duration::ZERO) => {
                errors.required(&timeout_path, "");
                Duration::ZERO
            }
            Some(timeout) if timeout <= TIMEOUT_MAX => timeout,
            _ => {
                errors.invalid_str(&timeout_path, &self.timeout, "must be > 0s and <= 30s");
                Duration::ZERO
            }
        };
        let ttl = |field: &str, text: &str, default, errors: &mut FieldErrors| match parsed(text) {
            Some(Duration::ZERO) => default,
            Some(ttl) => ttl,
            None => {
                errors.invalid_str(&path.field(field), text, "must be > 0s");
                default
            }
        };
        let authorized_ttl = ttl(
            "authorizedTTL",
            &self.authorized_ttl,
            AUTHORIZED_TTL,
            errors,
        );
        let unauthorized_ttl = ttl(
            "unauthorizedTTL",
            &self.unauthorized_ttl,
            UNAUTHORIZED_TTL,
            errors,
        );
        self.validate_words(path, errors);
        WebhookConfig {
            settings: WebhookSettings {
                authorized_ttl: self
                    .cache_authorized_requests
                    .unwrap_or(true)
                    .then_some(authorized_ttl),
                unauthorized_ttl: self
                    .cache_unauthorized_requests
                    .unwrap_or(true)
                    .then_some(unauthorized_ttl),
                timeout,
                version: match self.subject_access_review_version.as_str() {
                    "v1beta1" => ReviewVersion::V1Beta1,
                    _ => ReviewVersion::V1,
                },
                denies_on_error: self.failure_policy == "Deny",
            },
            kubeconfig: self.connection_info.validate(path, errors),
            conditions: self.conditions(path, errors),
        }
    }

    fn validate_words(&self, path: &Path<'_>, errors: &mut FieldErrors) {
        let version_path = path.field("subjectAccessReviewVersion");
        word(
            &self.subject_access_review_version,
            &["v1", "v1beta1"],
            &version_path,
            errors,
        );
        let version = self.match_condition_subject_access_review_version.as_str();
        let version_path = path.field("matchConditionSubjectAccessReviewVersion");
        if !version.is_empty() {
            word(version, &["v1"], &version_path, errors);
        } else if !self.match_conditions.is_empty() {
            let text = "required if match conditions are specified";
            errors.required(&version_path, text);
        }
        let policy_path = path.field("failurePolicy");
        word(
            &self.failure_policy,
            &["NoOpinion", "Deny"],
            &policy_path,
            errors,
        );
    }

    fn conditions(&self, path: &Path<'_>, errors: &mut FieldErrors) -> Vec<Condition> {
        let list = path.field("matchConditions");
        let conditions = &self.match_conditions;
        if conditions.len() > CONDITIONS_MAX {
            errors.too_many(&list, conditions.len(), CONDITIONS_MAX);
            return Vec::new();
        }
        let mut compiled = Vec::new();
        for (index, condition) in conditions.iter().enumerate() {
            let item = list.index(index);
            let path = item.field("expression");
            let text = condition.expression.as_str();
            if text.trim().is_empty() {
                errors.required(&path, "");
            } else if conditions[..index].iter().any(|c| c.expression == text) {
                errors.duplicate(&path, &text.into());
            } else {
                match compile(text) {
                    Ok(condition) => compiled.push(condition),
                    Err(error) => errors.invalid_str(&path, text, error),
                }
            }
        }
        compiled
    }
}

impl ConnectionInfo {
    fn validate(&self, path: &Path<'_>, errors: &mut FieldErrors) -> PathBuf {
        let path = path.field("connectionInfo");
        let types = ["InClusterConfig", "KubeConfigFile"];
        word(&self.kind, &types, &path.field("type"), errors);
        let file_path = path.field("kubeConfigFile");
        let file = self.kube_config_file.as_deref().unwrap_or_default();
        match self.kind.as_str() {
            "KubeConfigFile" if file.is_empty() => errors.required(&file_path, ""),
            "KubeConfigFile" if !FilePath::new(file).is_absolute() => {
                errors.invalid_str(&file_path, file, "must be an absolute path");
            }
            "KubeConfigFile" => match std::fs::metadata(file) {
                Ok(found) if found.is_file() => {}
                Ok(_) => errors.invalid_str(&file_path, file, "must be a regular file"),
                Err(error) => {
                    errors.invalid_str(&file_path, file, format!("error loading file: {error}"));
                }
            },
            "InClusterConfig" if self.kube_config_file.is_some() => {
                errors.invalid_str(&file_path, file, "can only be set when type=KubeConfigFile");
            }
            "InClusterConfig" => {
                let text = "this server does not run in a pod of the cluster that it serves";
                errors.forbidden(&path.field("type"), text);
            }
            _ => {}
        }
        PathBuf::from(file)
    }
}

/// A required word of a few.
fn word(text: &str, known: &[&str], path: &Path<'_>, errors: &mut FieldErrors) {
    if text.is_empty() {
        errors.required(path, "");
    } else if !known.contains(&text) {
        errors.not_supported(path, &text.into(), known);
    }
}

/// A duration; zero when it is not given, `None` when it is negative or none.
fn parsed(text: &str) -> Option<Duration> {
    match text {
        "" => Some(Duration::ZERO),
        text => duration::parse(text).ok().flatten(),
    }
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(|label| {
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let bytes = label.as_bytes();
        !label.is_empty()
            && bytes.iter().all(inner)
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(authorizers: &str) -> String {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: {authorizers}\n"
        )
    }

    #[test]
    fn a_whole_configuration() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = yaml(&format!(
            "[{{type: Node, name: node}}, {{type: Webhook, name: w, webhook: {{timeout: 3s, cacheUnauthorizedRequests: false, subjectAccessReviewVersion: v1, matchConditionSubjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {}}}, matchConditions: [{{expression: has(request.resourceAttributes)}}]}}}}]",
            file.path().display()
        ));
        let found = parse(&text).expect("a configuration");
        assert_eq!(found.len(), 2);
        let webhook = found[1].webhook.as_ref().expect("a webhook");
        assert_eq!(webhook.settings.timeout, Duration::from_secs(3));
        assert_eq!(webhook.settings.authorized_ttl, Some(AUTHORIZED_TTL));
        assert_eq!(webhook.settings.unauthorized_ttl, None);
        assert!(webhook.settings.denies_on_error);
        assert_eq!(webhook.conditions.len(), 1);
    }

    #[test]
    fn mistakes() {
        for (authorizers, want) in [
            (
                "[]",
                "authorizers: Required value: at least one authorization mode must be defined",
            ),
            (
                "[{type: Odd, name: x}]",
                "authorizers[0].type: Unsupported value: \"Odd\": supported values: \"ABAC\", \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"",
            ),
            (
                "[{type: RBAC, name: x}, {type: RBAC, name: y}]",
                "authorizers[1].type: Duplicate value: \"RBAC\"",
            ),
            (
                "[{type: Webhook, name: x}]",
                "authorizers[0].webhook: Required value: required when type=Webhook",
            ),
            (
                "[{type: Webhook, name: x, webhook: {timeout: 31s, subjectAccessReviewVersion: v2, failurePolicy: Odd, connectionInfo: {type: KubeConfigFile, kubeConfigFile: a}, matchConditions: [{expression: '1'}]}}]",
                "[authorizers[0].timeout: Invalid value: \"31s\": must be > 0s and <= 30s, authorizers[0].subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \"v1beta1\", authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified, authorizers[0].failurePolicy: Unsupported value: \"Odd\": supported values: \"NoOpinion\", \"Deny\", authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"a\": must be an absolute path, authorizers[0].matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool but got int]",
            ),
        ] {
            let error = parse(&yaml(authorizers)).expect_err("mistakes");
            assert_eq!(error, want);
        }
        assert!(parse("kind: X\napiVersion: y\n").is_err());
        assert!(parse(&yaml("[{type: RBAC, name: x, odd: 1}]")).is_err());
    }
}
