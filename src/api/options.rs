//! Request options: CreateOptions, UpdateOptions, PatchOptions, DeleteOptions, ListOptions, GetOptions.
//!
//! Read from the query string (and for deletes from the body) with upstream's leniency and texts
//! (contract/verbs.md §2).

use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::api::names::GroupKind;
use crate::api::status::Status;
use crate::base::tree::{Map, Value, json};

/// What to do with unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Answer a Warning header for each.
    #[default]
    Warn,
    /// Refuse with 400.
    Strict,
}

/// Options of create, update and patch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WriteOptions {
    /// Nothing is stored.
    pub dry_run: bool,
    /// `fieldManager`, empty when not given.
    pub field_manager: String,
    /// Whether `fieldManager` was given.
    pub has_field_manager: bool,
    /// Unknown fields.
    pub field_validation: FieldValidation,
    /// `force` of apply patches.
    pub force: Option<bool>,
    /// The caller sees to managedFields (apply, scale), or nobody owns what is written.
    pub untracked: bool,
}

/// Which options kind is meant; decides names in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteVerb {
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH; `apply` for the apply content type.
    Patch {
        /// Whether it is server-side apply.
        apply: bool,
    },
}

fn pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(k, _)| k == name)
        .map(|(_, v)| v.as_str())
}

/// Query booleans: anything but `false` and `0` is true, also nothing at all.
fn boolean(text: &str) -> bool {
    !matches!(text, "false" | "0")
}

fn integer(text: &str) -> Result<i64, Status> {
    let bad = |why: &str| {
        let quoted = crate::api::field::go_quote(text);
        Status::bad_request(format!("strconv.ParseInt: parsing {quoted}: {why}"))
    };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad("invalid syntax"));
    }
    text.parse().map_err(|_| bad("value out of range"))
}

fn check_dry_run(values: &[&str], errors: &mut FieldErrors) {
    if values.iter().any(|v| *v != "All") {
        errors.not_supported(&Path::ROOT.field("dryRun"), &json!(values), &["All"]);
    }
}

fn invalid_options(kind: &'static str, errors: &FieldErrors) -> Status {
    Status::invalid(&GroupKind::new("meta.k8s.io", kind), "", errors)
}

impl WriteOptions {
    /// From the query of a create, update or patch.
    pub fn from_query(query: &str, verb: WriteVerb) -> Result<Self, Status> {
        let pairs = pairs(query);
        let mut errors = FieldErrors::default();
        let dry_runs: Vec<&str> = pairs
            .iter()
            .filter(|(k, _)| k == "dryRun")
            .map(|(_, v)| v.as_str())
            .collect();
        let manager = first(&pairs, "fieldManager").unwrap_or("");
        let force = match verb {
            WriteVerb::Patch { .. } => first(&pairs, "force").map(boolean),
            _ => None,
        };
        if let WriteVerb::Patch { apply } = verb {
            if apply && manager.is_empty() {
                errors.required(
                    &Path::ROOT.field("fieldManager"),
                    "is required for apply patch",
                );
            } else if !apply && force.is_some() {
                errors.forbidden(
                    &Path::ROOT.field("force"),
                    "may not be specified for non-apply patch",
                );
            }
        }
        check_field_manager(manager, &mut errors);
        check_dry_run(&dry_runs, &mut errors);
        let validation = first(&pairs, "fieldValidation").unwrap_or("");
        let field_validation = match validation {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let path = Path::ROOT.field("fieldValidation");
                errors.not_supported(&path, &json!(other), &["", "Ignore", "Strict", "Warn"]);
                FieldValidation::Warn
            }
        };
        if !errors.is_empty() {
            let kind = match verb {
                WriteVerb::Create => "CreateOptions",
                WriteVerb::Update => "UpdateOptions",
                WriteVerb::Patch { .. } => "PatchOptions",
            };
            return Err(invalid_options(kind, &errors));
        }
        Ok(WriteOptions {
            dry_run: !dry_runs.is_empty(),
            field_manager: manager.to_string(),
            has_field_manager: !manager.is_empty(),
            field_validation,
            force,
            untracked: false,
        })
    }

    /// The options object that admission sees.
    pub fn to_json(&self, kind: &str) -> Value {
        let mut out = Map::new();
        out.insert("kind".into(), json!(kind));
        out.insert("apiVersion".into(), json!("meta.k8s.io/v1"));
        if self.dry_run {
            out.insert("dryRun".into(), json!(["All"]));
        }
        if self.has_field_manager {
            out.insert("fieldManager".into(), json!(self.field_manager));
        }
        Value::Object(out)
    }
}

fn check_field_manager(manager: &str, errors: &mut FieldErrors) {
    const MAX_BYTES: usize = 128;
    let path = Path::ROOT.field("fieldManager");
    if manager.len() > MAX_BYTES {
        errors.too_long(&path, MAX_BYTES);
    }
    if let Some(c) = manager.chars().find(|c| c.is_control()) {
        let position = manager.find(c).unwrap_or(0);
        errors.invalid_str(
            &path,
            manager,
            format!(
                "invalid character U+{:04X} (at position {position})",
                c as u32
            ),
        );
    }
}

/// DeleteOptions, from the query or the body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeleteOptions {
    /// `gracePeriodSeconds`.
    pub grace_period_seconds: Option<i64>,
    /// `propagationPolicy`: `Orphan`, `Background`, `Foreground`.
    pub propagation_policy: Option<String>,
    /// `orphanDependents` (deprecated).
    pub orphan_dependents: Option<bool>,
    /// `preconditions.uid`.
    pub precondition_uid: Option<String>,
    /// `preconditions.resourceVersion`.
    pub precondition_resource_version: Option<String>,
    /// Nothing is deleted.
    pub dry_run: bool,
    /// As sent, for admission and audit.
    pub raw: Value,
}

impl DeleteOptions {
    /// From the query of a delete without a body.
    pub fn from_query(query: &str) -> Result<Self, Status> {
        let pairs = pairs(query);
        let mut raw = Map::new();
        raw.insert("kind".into(), json!("DeleteOptions"));
        raw.insert("apiVersion".into(), json!("meta.k8s.io/v1"));
        if let Some(text) = first(&pairs, "gracePeriodSeconds") {
            raw.insert("gracePeriodSeconds".into(), json!(integer(text)?));
        }
        if let Some(text) = first(&pairs, "orphanDependents") {
            raw.insert("orphanDependents".into(), json!(boolean(text)));
        }
        if let Some(text) = first(&pairs, "propagationPolicy") {
            raw.insert("propagationPolicy".into(), json!(text));
        }
        let dry_runs: Vec<&str> = pairs
            .iter()
            .filter(|(k, _)| k == "dryRun")
            .map(|(_, v)| v.as_str())
            .collect();
        if !dry_runs.is_empty() {
            raw.insert("dryRun".into(), json!(dry_runs));
        }
        Self::from_json(Value::Object(raw))
    }

    /// From a decoded DeleteOptions body.
    pub fn from_json(raw: Value) -> Result<Self, Status> {
        let text = |v: &Value| v.as_str().map(str::to_string);
        let options = DeleteOptions {
            grace_period_seconds: raw["gracePeriodSeconds"].as_i64(),
            propagation_policy: text(&raw["propagationPolicy"]),
            orphan_dependents: raw["orphanDependents"].as_bool(),
            precondition_uid: text(&raw["preconditions"]["uid"]),
            precondition_resource_version: text(&raw["preconditions"]["resourceVersion"]),
            dry_run: raw["dryRun"].as_array().is_some_and(|a| !a.is_empty()),
            raw,
        };
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), Status> {
        let mut errors = FieldErrors::default();
        let policy_path = Path::ROOT.field("propagationPolicy");
        if self.orphan_dependents.is_some() && self.propagation_policy.is_some() {
            let value = self.propagation_policy.as_deref().unwrap_or_default();
            errors.invalid_str(
                &policy_path,
                value,
                "orphanDependents and deletionPropagation cannot be both set",
            );
        }
        if let Some(policy) = &self.propagation_policy
            && !matches!(policy.as_str(), "Foreground" | "Background" | "Orphan")
        {
            errors.push(
                ErrorType::NotSupported,
                &policy_path,
                crate::api::field::go_quote(policy),
                "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
            );
        }
        let dry_runs: Vec<&str> = self.raw["dryRun"]
            .as_array()
            .map(|a| a.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        check_dry_run(&dry_runs, &mut errors);
        if errors.is_empty() {
            return Ok(());
        }
        Err(invalid_options("DeleteOptions", &errors))
    }
}

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceVersionMatch {
    /// At least this version.
    NotOlderThan,
    /// Exactly this version.
    Exact,
}

/// Options of list, watch and deletecollection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListOptions {
    /// Raw label selector.
    pub label_selector: String,
    /// Raw field selector.
    pub field_selector: String,
    /// Page size; zero or less for none.
    pub limit: i64,
    /// Continue token.
    pub continue_token: String,
    /// `resourceVersion` as sent.
    pub resource_version: String,
    /// `resourceVersionMatch`.
    pub resource_version_match: Option<ResourceVersionMatch>,
    /// `timeoutSeconds`.
    pub timeout_seconds: Option<i64>,
    /// `allowWatchBookmarks`.
    pub allow_watch_bookmarks: bool,
    /// `sendInitialEvents`.
    pub send_initial_events: Option<bool>,
}

impl ListOptions {
    /// From the query. `watch` tells whether the request is a watch, for the rules that differ.
    pub fn from_query(query: &str, watch: bool) -> Result<Self, Status> {
        let pairs = pairs(query);
        let text = |name: &str| first(&pairs, name).unwrap_or("").to_string();
        let match_text = text("resourceVersionMatch");
        let options = ListOptions {
            label_selector: text("labelSelector"),
            field_selector: text("fieldSelector"),
            limit: first(&pairs, "limit").map_or(Ok(0), integer)?,
            continue_token: text("continue"),
            resource_version: text("resourceVersion"),
            resource_version_match: match match_text.as_str() {
                "NotOlderThan" => Some(ResourceVersionMatch::NotOlderThan),
                "Exact" => Some(ResourceVersionMatch::Exact),
                _ => None,
            },
            timeout_seconds: match first(&pairs, "timeoutSeconds") {
                Some(text) => Some(integer(text)?),
                None => None,
            },
            allow_watch_bookmarks: first(&pairs, "allowWatchBookmarks").is_some_and(boolean),
            send_initial_events: first(&pairs, "sendInitialEvents").map(boolean),
        };
        let mut errors = FieldErrors::default();
        options.check(watch, &match_text, &mut errors);
        if errors.is_empty() {
            return Ok(options);
        }
        Err(invalid_options("ListOptions", &errors))
    }

    fn check(&self, watch: bool, match_text: &str, errors: &mut FieldErrors) {
        let match_path = Path::ROOT.field("resourceVersionMatch");
        if watch {
            return self.check_watch(match_text, &match_path, errors);
        }
        if self.send_initial_events.is_some() {
            let path = Path::ROOT.field("sendInitialEvents");
            errors.forbidden(&path, "sendInitialEvents is forbidden for list");
        }
        if match_text.is_empty() {
            return;
        }
        if self.resource_version.is_empty() {
            errors.forbidden(
                &match_path,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        if !self.continue_token.is_empty() {
            errors.forbidden(
                &match_path,
                "resourceVersionMatch is forbidden when continue is provided",
            );
        }
        if self.resource_version_match.is_none() {
            errors.not_supported(
                &match_path,
                &json!(match_text),
                &["Exact", "NotOlderThan", ""],
            );
        }
        if self.resource_version_match == Some(ResourceVersionMatch::Exact)
            && self.resource_version == "0"
        {
            errors.forbidden(
                &match_path,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            );
        }
    }

    fn check_watch(&self, match_text: &str, match_path: &Path<'_>, errors: &mut FieldErrors) {
        if !match_text.is_empty() && self.send_initial_events.is_none() {
            errors.forbidden(
                match_path,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        if self.send_initial_events.is_some()
            && self.resource_version_match != Some(ResourceVersionMatch::NotOlderThan)
        {
            errors.forbidden(
                match_path,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            );
        }
        if !match_text.is_empty()
            && self.resource_version_match != Some(ResourceVersionMatch::NotOlderThan)
        {
            errors.not_supported(match_path, &json!(match_text), &["NotOlderThan"]);
        }
        if !self.continue_token.is_empty() {
            errors.forbidden(
                match_path,
                "resourceVersionMatch is forbidden when continue is provided",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_query_panics(query in "((limit|continue|watch|resourceVersion|resourceVersionMatch|timeoutSeconds|sendInitialEvents|allowWatchBookmarks|dryRun|gracePeriodSeconds|propagationPolicy|orphanDependents|fieldManager|fieldValidation|pretty)?=(true|All|Exact|Strict|0|-?[0-9]{1,22}|%[0-9a-fA-F]{0,2}|.{0,4})&?){0,5}") {
            for watch in [false, true] {
                let _ = ListOptions::from_query(&query, watch);
            }
            let _ = DeleteOptions::from_query(&query);
            let _ = WriteOptions::from_query(&query, WriteVerb::Create);
        }
    }
}
