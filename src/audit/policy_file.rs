//! Loading of policy files: strict first, lenient with warnings second, then validation.
//!
//! Called by `server` at start, by hot reload and by `verbatim policy`. Texts are upstream's.

use std::path::{Path as FilePath, PathBuf};

use serde_json::Value;

use crate::api::field::{FieldErrors, Path};
use crate::audit::Stage;
use crate::audit::policy::{GroupResources, Policy, ResourcePattern, Rule};
use crate::audit::stage::STAGES;
use crate::request::AuditLevel;

/// The policy that is used when nothing is configured.
pub const DEFAULT_POLICY: &str = include_str!("../../audit-policies/default.yaml");

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("failed to read file path {path:?}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not YAML, or not of the right shape.
    #[error("failed decoding: {0}")]
    Decode(String),
    /// Another kind or version.
    #[error("unknown group version field {api_version} kind {kind} in policy")]
    Kind {
        /// What the file says.
        api_version: String,
        /// What the file says.
        kind: String,
    },
    /// No rules.
    #[error("loaded illegal policy with 0 rules")]
    NoRules,
    /// The values do not validate.
    #[error("{0}")]
    Invalid(String),
}

/// Members of a policy, a rule and a resource entry.
const POLICY_FIELDS: [&str; 6] = [
    "apiVersion",
    "kind",
    "metadata",
    "rules",
    "omitStages",
    "omitManagedFields",
];
const RULE_FIELDS: [&str; 9] = [
    "level",
    "users",
    "userGroups",
    "verbs",
    "resources",
    "namespaces",
    "nonResourceURLs",
    "omitStages",
    "omitManagedFields",
];
const RESOURCE_FIELDS: [&str; 3] = ["group", "resources", "resourceNames"];
const LEVELS: [AuditLevel; 4] = [
    AuditLevel::None,
    AuditLevel::Metadata,
    AuditLevel::Request,
    AuditLevel::RequestResponse,
];

/// Loads a file.
pub fn load(path: &FilePath) -> Result<Policy, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })?;
    parse(&text)
}

/// Loads a text, YAML or JSON.
pub fn parse(text: &str) -> Result<Policy, Error> {
    let mut warnings = Vec::new();
    let tree = decode(text, &mut warnings)?;
    let text_of = |key: &str| tree[key].as_str().unwrap_or_default().to_string();
    let (api_version, kind) = (text_of("apiVersion"), text_of("kind"));
    if api_version != "audit.k8s.io/v1" || kind != "Policy" {
        return Err(Error::Kind { api_version, kind });
    }
    unknown_fields(&tree, "", &POLICY_FIELDS, &mut warnings);
    let mut errors = FieldErrors::default();
    let omit_stages = stages(
        &tree,
        "omitStages",
        &Path::ROOT.field("omitStages"),
        &mut errors,
    )?;
    let omit_managed_fields = boolean(&tree, "omitManagedFields")?.unwrap_or_default();
    let mut rules = Vec::new();
    let rules_path = Path::ROOT.field("rules");
    for (index, rule) in list(&tree, "rules")?.iter().enumerate() {
        unknown_fields(
            rule,
            &format!("rules[{index}]."),
            &RULE_FIELDS,
            &mut warnings,
        );
        for (i, entry) in list(rule, "resources")?.iter().enumerate() {
            let prefix = format!("rules[{index}].resources[{i}].");
            unknown_fields(entry, &prefix, &RESOURCE_FIELDS, &mut warnings);
        }
        let path = rules_path.index(index);
        let own_stages = stages(rule, "omitStages", &path.field("omitStages"), &mut errors)?;
        rules.push(Rule {
            name: None,
            sampled_percent: None,
            level: level(rule, &path, &mut errors)?,
            users: strings(rule, "users")?,
            groups: strings(rule, "userGroups")?,
            verbs: strings(rule, "verbs")?,
            namespaces: strings(rule, "namespaces")?,
            resources: resources(rule, &path, &mut errors)?,
            non_resource_urls: non_resource_urls(rule, &path, &mut errors)?,
            omit_stages: omit_stages | own_stages,
            omit_managed_fields: boolean(rule, "omitManagedFields")?.unwrap_or(omit_managed_fields),
        });
    }
    if !errors.is_empty() {
        return Err(Error::Invalid(errors.to_aggregate()));
    }
    if rules.is_empty() {
        return Err(Error::NoRules);
    }
    Ok(Policy { rules, warnings })
}

/// Decodes strictly; where only duplicate keys stand in the way, leniently with a warning.
fn decode(text: &str, warnings: &mut Vec<String>) -> Result<Value, Error> {
    match serde_saphyr::from_str::<Value>(text) {
        Ok(tree) => Ok(tree),
        Err(strict) => {
            let lenient = serde_saphyr::options! {
                duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
            };
            let tree = serde_saphyr::from_str_with_options::<Value>(text, lenient)
                .map_err(|e| Error::Decode(e.to_string()))?;
            warnings.push(format!("strict decoding error: {strict}"));
            Ok(tree)
        }
    }
}

fn unknown_fields(tree: &Value, prefix: &str, known: &[&str], warnings: &mut Vec<String>) {
    for key in tree.as_object().into_iter().flat_map(|o| o.keys()) {
        if !known.contains(&key.as_str()) {
            warnings.push(format!(
                "strict decoding error: unknown field \"{prefix}{key}\""
            ));
        }
    }
}

fn list<'a>(tree: &'a Value, key: &str) -> Result<&'a [Value], Error> {
    match &tree[key] {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        _ => Err(Error::Decode(format!("{key} must be a list"))),
    }
}

fn strings(tree: &Value, key: &str) -> Result<Vec<String>, Error> {
    list(tree, key)?
        .iter()
        .map(|item| match item {
            Value::String(text) => Ok(text.clone()),
            Value::Null => Ok(String::new()),
            // YAML reads a bare `n` or `10` as a boolean or number; the target is a string.
            Value::Bool(_) | Value::Number(_) => Ok(item.to_string()),
            _ => Err(Error::Decode(format!("{key} must be a list of strings"))),
        })
        .collect()
}

fn boolean(tree: &Value, key: &str) -> Result<Option<bool>, Error> {
    match &tree[key] {
        Value::Null => Ok(None),
        Value::Bool(b) => Ok(Some(*b)),
        _ => Err(Error::Decode(format!("{key} must be a boolean"))),
    }
}

fn level(rule: &Value, path: &Path<'_>, errors: &mut FieldErrors) -> Result<AuditLevel, Error> {
    let name = match &rule["level"] {
        Value::Null => "",
        Value::String(name) => name,
        _ => return Err(Error::Decode("level must be a string".into())),
    };
    if let Some(level) = LEVELS.into_iter().find(|l| l.as_str() == name) {
        return Ok(level);
    }
    let path = path.field("level");
    if name.is_empty() {
        errors.required(&path, "");
    } else {
        errors.not_supported(&path, &rule["level"], &LEVELS.map(AuditLevel::as_str));
    }
    Ok(AuditLevel::None)
}

fn stages(tree: &Value, key: &str, path: &Path<'_>, errors: &mut FieldErrors) -> Result<u8, Error> {
    let mut set = 0;
    for (index, name) in strings(tree, key)?.iter().enumerate() {
        match Stage::parse(name) {
            Some(stage) => set |= stage.bit(),
            None => errors.invalid_str(
                &path.index(index),
                name,
                format!("allowed stages are {}", STAGES.map(Stage::as_str).join(",")),
            ),
        }
    }
    Ok(set)
}

fn resources(
    rule: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) -> Result<Vec<GroupResources>, Error> {
    let path = path.field("resources");
    let mut out = Vec::new();
    for entry in list(rule, "resources")? {
        let group = match &entry["group"] {
            Value::Null => String::new(),
            Value::String(group) => group.clone(),
            _ => return Err(Error::Decode("group must be a string".into())),
        };
        if !group.is_empty() && group != "*" && !is_dns1123_subdomain(&group) {
            errors.invalid_str(
                &path.field("group"),
                &group,
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            );
        }
        let (names, patterns) = (
            strings(entry, "resourceNames")?,
            strings(entry, "resources")?,
        );
        if !names.is_empty() && patterns.is_empty() {
            errors.invalid(
                &path.field("resourceNames"),
                &entry["resourceNames"],
                "using resourceNames requires at least one resource",
            );
        }
        out.push(GroupResources {
            group,
            resources: patterns.iter().map(|p| ResourcePattern::parse(p)).collect(),
            names,
        });
    }
    Ok(out)
}

fn non_resource_urls(
    rule: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) -> Result<Vec<String>, Error> {
    let urls = strings(rule, "nonResourceURLs")?;
    let path = path.field("nonResourceURLs");
    let about_resources =
        !list(rule, "resources")?.is_empty() || !list(rule, "namespaces")?.is_empty();
    if !urls.is_empty() && about_resources {
        errors.invalid(
            &path,
            &rule["nonResourceURLs"],
            "rules cannot apply to both regular resources and non-resource URLs",
        );
    }
    for (index, url) in urls.iter().enumerate() {
        if url == "*" {
            continue;
        }
        if !url.starts_with('/') {
            errors.invalid_str(
                &path.index(index),
                url,
                "non-resource URL rules must begin with a '/' character",
            );
        }
        let rest = url.strip_suffix('*').unwrap_or(url);
        if rest.contains('*') {
            errors.invalid_str(
                &path.index(index),
                url,
                "non-resource URL wildcards '*' must be the final character of the rule",
            );
        }
    }
    Ok(urls)
}

fn is_dns1123_subdomain(text: &str) -> bool {
    let label = |l: &str| {
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = l.as_bytes();
        edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

    #[test]
    fn the_default_policy_is_clean() {
        let policy = parse(DEFAULT_POLICY).expect("the default policy loads");
        assert!(policy.warnings.is_empty(), "{:?}", policy.warnings);
    }

    #[test]
    fn unknown_and_duplicate_fields_are_warnings() {
        // users.md thread 4: silent policy mistakes.
        let policy =
            parse(&format!("{HEAD}rules:\n- {{level: None, verb: [get]}}")).expect("loads");
        assert_eq!(
            policy.warnings,
            ["strict decoding error: unknown field \"rules[0].verb\""]
        );
        let policy = parse(&format!("{HEAD}rules:\n- level: None\n  level: Metadata\n"))
            .expect("loads leniently");
        assert_eq!(policy.warnings.len(), 1);
        assert_eq!(policy.rules[0].level, AuditLevel::Metadata);
    }

    #[test]
    fn refusals() {
        for (text, expected) in [
            (HEAD.to_string(), "loaded illegal policy with 0 rules"),
            (
                "apiVersion: audit.k8s.io/v1beta1\nkind: Policy\n".into(),
                "unknown group version",
            ),
            (
                format!("{HEAD}rules: [{{}}]"),
                "rules[0].level: Required value",
            ),
            (
                format!("{HEAD}rules: [{{level: Some}}]"),
                "rules[0].level: Unsupported value: \"Some\"",
            ),
            (
                format!("{HEAD}rules: [{{level: None, namespaces: [a], nonResourceURLs: [/a]}}]"),
                "rules cannot apply to both regular resources and non-resource URLs",
            ),
            (
                format!("{HEAD}rules: [{{level: None, nonResourceURLs: [/a*b]}}]"),
                "must be the final character",
            ),
            (
                format!("{HEAD}rules: [{{level: None, resources: [{{group: apps/v1}}]}}]"),
                "rules[0].resources.group: Invalid value: \"apps/v1\"",
            ),
            (
                format!("{HEAD}rules: [{{level: None, resources: [{{resourceNames: [a]}}]}}]"),
                "using resourceNames requires at least one resource",
            ),
            (
                format!("{HEAD}rules: [{{level: None, omitStages: [Done]}}]"),
                "rules[0].omitStages[0]: Invalid value: \"Done\"",
            ),
        ] {
            let error = parse(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{error}\nlacks\n{expected}");
        }
    }
}
