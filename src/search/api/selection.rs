//! What a request selects: `query`, `from`, `to`, field and label selectors, as one search and what
//! the index cannot answer.

use std::borrow::Cow;

use chrono::Utc;

use crate::api::options::ListOptions;
use crate::api::selector::{FieldSelector, FieldTerm, LabelSelector, Operator};
use crate::api::status::Status;
use crate::request::RequestContext;
use crate::search::api::item::Shown;
use crate::search::api::{scope, status_of};
use crate::search::{Direction, Window, fields, query};

/// Paths in an event that mean a field of the index.
const PATHS: [(&str, &str); 14] = [
    ("metadata.namespace", "namespace"),
    ("user.username", "user"),
    ("user.groups", "userGroup"),
    ("impersonatedUser.username", "as"),
    ("objectRef.resource", "resource"),
    ("objectRef.namespace", "namespace"),
    ("objectRef.name", "name"),
    ("objectRef.uid", "uid"),
    ("objectRef.apiGroup", "group"),
    ("objectRef.apiVersion", "version"),
    ("objectRef.subresource", "subresource"),
    ("responseStatus.code", "code"),
    ("responseStatus.reason", "failure"),
    ("responseStatus.status", "code"),
];
/// Labels whose values stand in a field of the index as they are.
const LABELS: [(&str, &str); 5] = [
    ("verb", "verb"),
    ("code", "code"),
    ("code-class", "code"),
    ("stage", "stage"),
    ("decision", "decision"),
];

/// A parsed request for events.
#[derive(Clone, Debug)]
pub struct Selection {
    /// In the query language, selectors included as far as they can be said in it.
    pub query: String,
    /// When.
    pub window: Window,
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Which end of the window comes first: `sort=newest` or `sort=oldest`.
    pub direction: Direction,
    labels: LabelSelector,
    names: Vec<FieldTerm>,
}

impl Selection {
    /// Reads the query string.
    pub fn of(ctx: &RequestContext, options: &ListOptions) -> Result<Self, Status> {
        let get = |name: &str| ctx.query_value(name);
        let window = Window::parse(get("from").as_deref(), get("to").as_deref(), Utc::now())
            .map_err(Status::bad_request)?;
        let direction = match get("sort").as_deref() {
            None | Some("" | "newest") => Direction::NewestFirst,
            Some("oldest") => Direction::OldestFirst,
            Some(other) => {
                let message = format!("sort: {other:?} is neither newest nor oldest");
                return Err(Status::bad_request(message));
            }
        };
        let text = get("query").unwrap_or_default().into_owned();
        // Point at the character of what was sent, before the selectors are added.
        query::parse(&text).map_err(|e| status_of(e.into()))?;
        let fields = FieldSelector::parse(&options.field_selector).map_err(Status::bad_request)?;
        let labels = LabelSelector::parse(&options.label_selector).map_err(Status::bad_request)?;
        let (names, terms): (Vec<_>, Vec<_>) = fields
            .terms
            .into_iter()
            .partition(|t| t.field == "metadata.name");
        let mut parts = vec![match text.trim() {
            "" => String::new(),
            text => format!("({text})"),
        }];
        for term in &terms {
            parts.push(field_term(term)?);
        }
        parts.extend(names.iter().filter(|t| !t.negated).map(name_term));
        parts.extend(labels.requirements.iter().filter_map(label_term));
        parts.retain(|part| !part.is_empty());
        Ok(Selection {
            query: parts.join(" "),
            window,
            namespace: scope(ctx).map(str::to_string),
            direction,
            labels,
            names,
        })
    }

    /// Whether the index says all there is to say.
    pub fn is_plain(&self) -> bool {
        self.labels.is_empty() && self.names.is_empty()
    }

    /// Whether an event that the query found is selected.
    pub fn selects(&self, shown: &Shown<'_>) -> bool {
        if self.is_plain() {
            return true;
        }
        let name = shown.name();
        let named = self.names.iter().all(|t| (t.value == name) != t.negated);
        let labels = shown.labels();
        named && self.labels.matches(|key| labels.get(key)?.as_str())
    }
}

fn field_term(term: &FieldTerm) -> Result<String, Status> {
    let path = PATHS.iter().find(|(path, _)| *path == term.field);
    let name = path.map_or(term.field.as_str(), |(_, field)| field);
    let Some((_, row)) = fields::find(name) else {
        let field = &term.field;
        return Err(Status::bad_request(format!(
            "field label not supported: {field}"
        )));
    };
    let not = if term.negated { "-" } else { "" };
    if term.value.is_empty() {
        // Nothing is indexed of an empty value.
        let not = if term.negated { "" } else { "-" };
        return Ok(format!("{not}{}:*", row.name));
    }
    Ok(format!("{not}{}:{}", row.name, query::quote(&term.value)))
}

/// Both stages of a request share the audit ID, which is all that the index knows of the name.
fn name_term(term: &FieldTerm) -> String {
    let id = term.value.rsplit_once('-').map_or("", |(id, _)| id);
    format!(
        "auditID:{}",
        query::quote(if id.is_empty() { "-" } else { id })
    )
}

/// Narrows the search; what is not said here is looked at afterwards.
fn label_term(requirement: &crate::api::selector::Requirement) -> Option<String> {
    let (_, field) = LABELS.iter().find(|(key, _)| *key == requirement.key)?;
    if requirement.operator != Operator::In {
        return None;
    }
    let is_number = *field == "code";
    let values: Vec<Cow<'_, str>> = requirement
        .values
        .iter()
        .filter(|v| !is_number || v.trim_end_matches("xx").parse::<u16>().is_ok())
        .map(|v| match is_number {
            true => v.into(),
            false => query::quote(v).into(),
        })
        .collect();
    (!values.is_empty()).then(|| format!("{field}:({})", values.join(" OR ")))
}
