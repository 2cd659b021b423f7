//! LeaseCandidate (off by default).

use super::super::common::access::{at, get, semantic_equal, str_at};
use super::super::common::checks;
use super::super::common::names::{self, NameRule, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of LeaseCandidate.
pub struct LeaseCandidateStrategy;

impl Strategy for LeaseCandidateStrategy {
    fn name_rule(&self) -> NameRule {
        NameRule::ConfigKey
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let spec = get(object, "spec");
        let path = Path::ROOT.field("spec");
        let lease = str_at(spec, "leaseName");
        if lease.is_empty() {
            errors.required(&path.field("leaseName"), "");
        } else {
            let messages = names::config_map_key(lease);
            invalid_each(errors, &path.field("leaseName"), lease, messages);
        }
        checks::required_str(spec, &path, "binaryVersion", errors);
        checks::required_str(spec, &path, "strategy", errors);
        if let Some(old) = old {
            let stored = at(get(old, "spec"), "leaseName");
            if !semantic_equal(at(spec, "leaseName"), stored) {
                errors.invalid_str(&path.field("leaseName"), lease, checks::IMMUTABLE);
            }
        }
    }
}
