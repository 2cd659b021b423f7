//! The authorizer library: questions, and decisions that were made.

use std::collections::HashMap;

/// What `check()` asks, as the subject of the request or as a service account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// Namespace and name of the service account to ask for; else the user of the request.
    pub service_account: Option<(String, String)>,
    /// A path that is no resource.
    pub path: Option<String>,
    /// API group.
    pub group: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource or empty.
    pub subresource: String,
    /// Namespace or empty.
    pub namespace: String,
    /// Name or empty.
    pub name: String,
    /// Field selector or empty.
    pub field_selector: String,
    /// Label selector or empty.
    pub label_selector: String,
    /// The verb.
    pub verb: String,
}

/// What the authorizer said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong; empty when nothing did.
    pub error: String,
}

/// The decisions known so far.
#[derive(Clone, Debug, Default)]
pub struct Decisions(HashMap<Query, Answer>);

impl Decisions {
    /// Notes an answer.
    pub fn add(&mut self, query: Query, answer: Answer) {
        self.0.insert(query, answer);
    }

    pub(super) fn get(&self, query: &Query) -> Option<&Answer> {
        self.0.get(query)
    }
}
