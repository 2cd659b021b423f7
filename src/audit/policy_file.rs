//! Loading of policies: strict first, lenient with warnings second, then validation.
//!
//! A plain `Policy` file is read as upstream reads it, to the letter. The policies inside an
//! `AuditConfiguration` ([`super::config_file`]) may name and sample their rules, and nothing that
//! upstream would warn about is let through. Called by `server` at start, by hot reload and by
//! `verbatim policy`. Texts are upstream's.

use std::path::{Path as FilePath, PathBuf};

use crate::api::field::{FieldErrors, Path};
use crate::api::schema::yaml;
use crate::audit::Stage;
use crate::audit::lines::Lines;
use crate::audit::policy::{GroupResources, Policy, ResourcePattern, Rule};
use crate::audit::stage::STAGES;
use crate::base::tree::Value;
use crate::request::AuditLevel;

/// Group and version of a plain policy.
pub const API_VERSION: &str = "audit.k8s.io/v1";
/// Longest name of a rule.
const NAME_MAX_BYTES: usize = 63;

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
    /// Not YAML.
    #[error("failed decoding: {0}")]
    Decode(String),
    /// A value of the wrong type.
    #[error(
        "failed decoding: json: cannot unmarshal {found} into Go struct field Policy.{} of type {wanted}",
        without_indices(path)
    )]
    Type {
        /// Where.
        path: String,
        /// JSON type of what stands there.
        found: &'static str,
        /// Go type of what should.
        wanted: &'static str,
    },
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
    #[error("{}", .0.to_aggregate())]
    Invalid(FieldErrors),
}

impl Error {
    /// One text per mistake, each with the line it is on.
    pub fn located(&self, lines: &Lines) -> Vec<String> {
        match self {
            Error::Invalid(errors) => {
                let each = errors.causes().into_iter();
                each.map(|c| format!("{}{}: {}", lines.prefix(&c.field), c.field, c.message))
                    .collect()
            }
            Error::Type { path, .. } => vec![format!("{}{self}", lines.prefix(path))],
            _ => vec![self.to_string()],
        }
    }
}

fn without_indices(path: &str) -> String {
    let parts = path.split('[').enumerate();
    let names = parts.map(|(n, part)| match n {
        0 => part,
        _ => part.split_once(']').map_or("", |(_, rest)| rest),
    });
    names.collect()
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
/// What an `AuditConfiguration` may say of a rule beside that.
const OWN_RULE_FIELDS: [&str; 2] = ["name", "sampling"];
const RESOURCE_FIELDS: [&str; 3] = ["group", "resources", "resourceNames"];
const SAMPLING_FIELDS: [&str; 1] = ["percent"];
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

/// Loads a text, YAML or JSON, as upstream does.
pub fn parse(text: &str) -> Result<Policy, Error> {
    let decoded = yaml::to_json(text.as_bytes()).map_err(Error::Decode)?;
    let tree: Value =
        serde_json::from_str(&decoded.json).map_err(|e| Error::Decode(e.to_string()))?;
    if !tree.is_object() {
        return Err(Error::Type {
            path: String::new(),
            found: type_of(&tree),
            wanted: "v1.Policy",
        });
    }
    let text_of = |key: &str| tree[key].as_str().unwrap_or_default().to_string();
    let (api_version, kind) = (text_of("apiVersion"), text_of("kind"));
    if api_version != API_VERSION || kind != "Policy" {
        return Err(Error::Kind { api_version, kind });
    }
    let reader = Reader {
        base: Path::ROOT,
        rule_fields: RULE_FIELDS.to_vec(),
    };
    let mut policy = reader.policy(&tree)?;
    if let Some(duplicates) = decoded.duplicates {
        policy
            .warnings
            .insert(0, format!("strict decoding error: {duplicates}"));
    }
    Ok(policy)
}

/// Loads a policy that stands at `path` in an `AuditConfiguration`. Unknown fields are warnings here
/// too; the caller makes errors of them.
pub(super) fn from_configuration(tree: &Value, path: Path<'_>) -> Result<Policy, Error> {
    let reader = Reader {
        base: path,
        rule_fields: [&RULE_FIELDS[..], &OWN_RULE_FIELDS[..]].concat(),
    };
    reader.policy(tree)
}

struct Reader<'a> {
    base: Path<'a>,
    rule_fields: Vec<&'static str>,
}

impl Reader<'_> {
    fn policy(&self, tree: &Value) -> Result<Policy, Error> {
        let mut warnings = Vec::new();
        let mut errors = FieldErrors::default();
        unknown_fields(tree, &self.base, &POLICY_FIELDS, &mut warnings);
        let omit_stages = stages(tree, &self.base, &mut errors)?;
        let omit_managed_fields = boolean(tree, "omitManagedFields", &self.base)?;
        let path = self.base.field("rules");
        let mut rules: Vec<Rule> = Vec::new();
        for (index, tree) in list(tree, "rules", &self.base)?.iter().enumerate() {
            let path = path.index(index);
            let mut rule = self.rule(tree, &path, &mut warnings, &mut errors)?;
            rule.omit_stages |= omit_stages;
            let own = boolean(tree, "omitManagedFields", &path)?;
            rule.omit_managed_fields = own.or(omit_managed_fields).unwrap_or_default();
            if rule.name.is_some() && rules.iter().any(|r| r.name == rule.name) {
                errors.duplicate(&path.field("name"), &tree["name"]);
            }
            rules.push(rule);
        }
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        if rules.is_empty() {
            return Err(Error::NoRules);
        }
        Ok(Policy { rules, warnings })
    }

    fn rule(
        &self,
        tree: &Value,
        path: &Path<'_>,
        warnings: &mut Vec<String>,
        errors: &mut FieldErrors,
    ) -> Result<Rule, Error> {
        if !tree.is_object() {
            return Err(wrong_type(tree, path, "v1.PolicyRule"));
        }
        unknown_fields(tree, path, &self.rule_fields, warnings);
        let resources_path = path.field("resources");
        for (index, entry) in list(tree, "resources", path)?.iter().enumerate() {
            let entry_path = resources_path.index(index);
            unknown_fields(entry, &entry_path, &RESOURCE_FIELDS, warnings);
        }
        let is_ours = self.rule_fields.len() > RULE_FIELDS.len();
        let (name, sampled_percent) = match is_ours {
            true => (
                name(tree, path, errors)?,
                sampling(tree, path, warnings, errors)?,
            ),
            false => (None, None),
        };
        Ok(Rule {
            name,
            level: level(tree, path, errors)?,
            users: strings(tree, "users", path)?,
            groups: strings(tree, "userGroups", path)?,
            verbs: strings(tree, "verbs", path)?,
            namespaces: strings(tree, "namespaces", path)?,
            resources: resources(tree, path, errors)?,
            non_resource_urls: non_resource_urls(tree, path, errors)?,
            omit_stages: stages(tree, path, errors)?,
            omit_managed_fields: false,
            sampled_percent,
        })
    }
}

fn unknown_fields(tree: &Value, path: &Path<'_>, known: &[&str], warnings: &mut Vec<String>) {
    for key in tree.as_object().into_iter().flat_map(|o| o.keys()) {
        if !known.contains(&key.as_str()) {
            let field = path.field(key);
            warnings.push(format!("strict decoding error: unknown field \"{field}\""));
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(value: &Value, path: &Path<'_>, wanted: &'static str) -> Error {
    Error::Type {
        path: path.to_string(),
        found: type_of(value),
        wanted,
    }
}

fn list<'a>(tree: &'a Value, key: &str, path: &Path<'_>) -> Result<&'a [Value], Error> {
    match &tree[key] {
        Value::Null => Ok(&[]),
        Value::Array(items) => Ok(items),
        other => Err(wrong_type(other, &path.field(key), "[]")),
    }
}

fn strings(tree: &Value, key: &str, path: &Path<'_>) -> Result<Vec<String>, Error> {
    let items = list(tree, key, path)?.iter().enumerate();
    items
        .map(|(index, item)| match item {
            Value::String(text) => Ok(text.clone()),
            Value::Null => Ok(String::new()),
            other => Err(wrong_type(other, &path.field(key).index(index), "string")),
        })
        .collect()
}

fn boolean(tree: &Value, key: &str, path: &Path<'_>) -> Result<Option<bool>, Error> {
    match &tree[key] {
        Value::Null => Ok(None),
        Value::Bool(b) => Ok(Some(*b)),
        other => Err(wrong_type(other, &path.field(key), "bool")),
    }
}

fn text<'a>(tree: &'a Value, key: &str, path: &Path<'_>) -> Result<&'a str, Error> {
    match &tree[key] {
        Value::Null => Ok(""),
        Value::String(text) => Ok(text),
        other => Err(wrong_type(other, &path.field(key), "string")),
    }
}

fn level(rule: &Value, path: &Path<'_>, errors: &mut FieldErrors) -> Result<AuditLevel, Error> {
    let name = text(rule, "level", path)?;
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

fn name(
    rule: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) -> Result<Option<std::sync::Arc<str>>, Error> {
    let name = text(rule, "name", path)?;
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let fits = name.len() <= NAME_MAX_BYTES
        && is_edge(name.chars().next())
        && is_edge(name.chars().last())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !fits && !rule["name"].is_null() {
        errors.invalid_str(
            &path.field("name"),
            name,
            "a name consists of at most 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit",
        );
    }
    Ok((!name.is_empty()).then(|| name.into()))
}

fn sampling(
    rule: &Value,
    path: &Path<'_>,
    warnings: &mut Vec<String>,
    errors: &mut FieldErrors,
) -> Result<Option<f64>, Error> {
    let (sampling, path) = (&rule["sampling"], path.field("sampling"));
    if sampling.is_null() {
        return Ok(None);
    }
    if !sampling.is_object() {
        return Err(wrong_type(sampling, &path, "Sampling"));
    }
    unknown_fields(sampling, &path, &SAMPLING_FIELDS, warnings);
    let path = path.field("percent");
    match sampling["percent"].as_f64() {
        Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(Some(percent)),
        Some(_) => {
            let detail = "must be more than 0 and at most 100";
            errors.invalid(&path, &sampling["percent"], detail);
            Ok(None)
        }
        None if sampling["percent"].is_null() => {
            errors.required(&path, "");
            Ok(None)
        }
        None => Err(wrong_type(&sampling["percent"], &path, "float64")),
    }
}

fn stages(tree: &Value, path: &Path<'_>, errors: &mut FieldErrors) -> Result<u8, Error> {
    let mut set = 0;
    let field = path.field("omitStages");
    for (index, name) in strings(tree, "omitStages", path)?.iter().enumerate() {
        match Stage::parse(name) {
            Some(stage) => set |= stage.bit(),
            None => errors.invalid_str(
                &field.index(index),
                name,
                format!("allowed stages are {}", STAGES.map(Stage::as_str).join(",")),
            ),
        }
    }
    Ok(set)
}

/// The entries of `resources`; also read by redaction rules.
pub(super) fn resources(
    rule: &Value,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) -> Result<Vec<GroupResources>, Error> {
    let mut out = Vec::new();
    let list_path = path.field("resources");
    for (index, entry) in list(rule, "resources", path)?.iter().enumerate() {
        if !entry.is_object() {
            return Err(wrong_type(
                entry,
                &list_path.index(index),
                "v1.GroupResources",
            ));
        }
        let entry_path = list_path.index(index);
        let group = text(entry, "group", &entry_path)?;
        if !group.is_empty() && group != "*" && !is_dns1123_subdomain(group) {
            // Upstream's paths have no index here.
            errors.invalid_str(
                &list_path.field("group"),
                group,
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            );
        }
        let (names, patterns) = (
            strings(entry, "resourceNames", &entry_path)?,
            strings(entry, "resources", &entry_path)?,
        );
        if !names.is_empty() && patterns.is_empty() {
            errors.invalid(
                &list_path.field("resourceNames"),
                &entry["resourceNames"],
                "using resourceNames requires at least one resource",
            );
        }
        out.push(GroupResources {
            group: group.into(),
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
    let urls = strings(rule, "nonResourceURLs", path)?;
    let about_resources =
        !list(rule, "resources", path)?.is_empty() || !list(rule, "namespaces", path)?.is_empty();
    let path = path.field("nonResourceURLs");
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
mod tests;
