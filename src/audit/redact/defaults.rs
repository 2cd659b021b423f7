//! What is redacted by default, in sets that can be chosen (users.md threads 19 and 20).

use super::{Action, FieldRule, JsonPath, Rules, Target};
use crate::audit::policy::{GroupResources, ResourcePattern};
use crate::request::RequestInfo;

/// A set of things that hardly anybody wants in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultSet {
    /// `data` and `stringData` of secrets.
    Secrets,
    /// The annotation in which `kubectl apply` keeps a copy of the object.
    LastApplied,
    /// What runs in containers by exec and attach.
    ExecArguments,
    /// Tokens: requested, reviewed, in URLs.
    Tokens,
}

/// Every set, with its name in an `AuditConfiguration`.
const NAMES: [(&str, DefaultSet); 4] = [
    ("Secrets", DefaultSet::Secrets),
    ("LastAppliedConfiguration", DefaultSet::LastApplied),
    ("ExecArguments", DefaultSet::ExecArguments),
    ("Tokens", DefaultSet::Tokens),
];

/// Query parameters that carry tokens (RFC 6750 §2.3, RFC 6749).
const TOKEN_PARAMETERS: [&str; 7] = [
    "access_token",
    "bearer_token",
    "client_secret",
    "id_token",
    "password",
    "refresh_token",
    "token",
];

impl DefaultSet {
    /// Every set.
    pub const ALL: [DefaultSet; 4] = [
        DefaultSet::Secrets,
        DefaultSet::LastApplied,
        DefaultSet::ExecArguments,
        DefaultSet::Tokens,
    ];

    /// The names in an `AuditConfiguration`.
    pub fn names() -> [&'static str; 4] {
        NAMES.map(|(name, _)| name)
    }

    /// The set called `name`.
    pub fn parse(name: &str) -> Option<Self> {
        NAMES
            .into_iter()
            .find(|(n, _)| *n == name)
            .map(|(_, set)| set)
    }
}

pub(super) fn rules(sets: &[DefaultSet], action: Action) -> Rules {
    let mut fields = Vec::new();
    for set in sets {
        match set {
            DefaultSet::Secrets => {
                let secrets = || vec![resource("", "secrets")];
                fields.push(rule(&["$.data"], secrets(), action, Target::Base64Leaves));
                fields.push(rule(&["$.stringData"], secrets(), action, Target::Leaves));
            }
            DefaultSet::LastApplied => fields.push(rule(
                &["$.metadata.annotations['kubectl.kubernetes.io/last-applied-configuration']"],
                Vec::new(),
                action,
                Target::Value,
            )),
            DefaultSet::Tokens => {
                let requests = vec![resource("", "serviceaccounts/token")];
                fields.push(rule(&["$.status.token"], requests, action, Target::Value));
                let reviews = vec![resource("authentication.k8s.io", "tokenreviews")];
                fields.push(rule(&["$.spec.token"], reviews, action, Target::Value));
            }
            DefaultSet::ExecArguments => {}
        }
    }
    Rules {
        fields,
        parameters: Vec::new(),
        exec_arguments: sets.contains(&DefaultSet::ExecArguments),
        url_tokens: sets.contains(&DefaultSet::Tokens),
        uri_action: action,
    }
}

fn resource(group: &str, pattern: &str) -> GroupResources {
    GroupResources {
        group: group.into(),
        resources: vec![ResourcePattern::parse(pattern)],
        names: Vec::new(),
    }
}

fn rule(
    paths: &[&str],
    resources: Vec<GroupResources>,
    action: Action,
    target: Target,
) -> FieldRule {
    FieldRule {
        paths: paths
            .iter()
            .filter_map(|p| JsonPath::parse(p).ok())
            .collect(),
        resources,
        action,
        target,
    }
}

/// Whether a query parameter is part of a command line: of exec and attach, also when they go to the
/// kubelet through a proxy.
pub(super) fn is_argument(info: &RequestInfo, name: &str) -> bool {
    match info.subresource.as_str() {
        "exec" | "attach" => name == "command",
        "proxy" => matches!(name, "command" | "cmd"),
        _ => info.verb == "proxy" && matches!(name, "command" | "cmd"),
    }
}

/// Whether a query parameter is called or looks like a token.
pub(super) fn is_token(name: &str, value: &str) -> bool {
    TOKEN_PARAMETERS.contains(&name)
        || is_bearer(value)
        || is_json_web_token(value)
        || is_bootstrap_token(value)
}

fn is_bearer(value: &str) -> bool {
    value
        .get(..7)
        .is_some_and(|p| p.eq_ignore_ascii_case("bearer "))
}

/// Three parts of base64url, the first of which begins as a JSON object does.
fn is_json_web_token(value: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'='))
    };
    value.starts_with("eyJ") && value.split('.').count() == 3 && value.split('.').all(is_part)
}

/// `abcdef.0123456789abcdef`.
fn is_bootstrap_token(value: &str) -> bool {
    let is_part = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    value
        .split_once('.')
        .is_some_and(|(id, secret)| is_part(id, 6) && is_part(secret, 16))
}
