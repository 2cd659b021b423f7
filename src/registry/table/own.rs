//! Verbatim's own rows: the record as resources of group `audit.verbatim.dev`.
//!
//! They store nothing: `search` and `diagnose` compute them behind a mount. Their schemas are in
//! `own.yaml`. A server without an index does not serve the group.
//!
//! Explanations and summaries come in pairs, as SubjectAccessReview and LocalSubjectAccessReview
//! do: over everything, for those who may that, and over one namespace.

use std::sync::LazyLock;

use crate::api::schema::Definitions;

use super::row::*;

const GROUP: &str = "audit.verbatim.dev";
const VERSION: &str = "v1alpha1";

static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(|| {
    Definitions::parse(include_str!("own.yaml")).expect("own.yaml is checked by a test")
});

/// The rows.
pub(super) const OWN: &[Row] = &[
    Row::namespaced(GROUP, VERSION, "auditevents", "AuditEvent")
        .verbs(GET_LIST_WATCH)
        .short(&["ae"])
        .mounted(&DEFINITIONS),
    Row::cluster(GROUP, VERSION, "auditsummaries", "AuditSummary")
        .verbs(CREATE)
        .mounted(&DEFINITIONS),
    Row::cluster(GROUP, VERSION, "explanations", "Explanation")
        .verbs(GET)
        .short(&["why"])
        .mounted(&DEFINITIONS),
    Row::namespaced(GROUP, VERSION, "localauditsummaries", "LocalAuditSummary")
        .verbs(CREATE)
        .mounted(&DEFINITIONS),
    Row::namespaced(GROUP, VERSION, "localexplanations", "LocalExplanation")
        .verbs(GET)
        .mounted(&DEFINITIONS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_described() {
        for row in OWN {
            let resource = row.resource(true);
            let kind = resource.group_version_kind();
            assert!(DEFINITIONS.kind(&kind).is_some(), "{kind:?}");
        }
    }
}
