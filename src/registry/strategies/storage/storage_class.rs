//! StorageClass.

use super::super::common::access::{arr_at, at, default_nil, str_at};
use super::super::common::checks;
use super::super::common::names::{self as rules, invalid_each};
use super::super::pod_spec::warnings;
use super::names;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of StorageClass.
pub struct StorageClassStrategy;

impl Strategy for StorageClassStrategy {
    fn default(&self, object: &mut Value) {
        default_nil(object, "reclaimPolicy", "Delete");
        default_nil(object, "volumeBindingMode", "Immediate");
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let root = Path::ROOT;
        let provisioner = str_at(object, "provisioner");
        names::provisioner(provisioner, &root.field("provisioner"), errors);
        names::parameters(
            object,
            "parameters",
            true,
            &root.field("parameters"),
            errors,
        );
        checks::optional_enum(
            object,
            &root,
            "reclaimPolicy",
            &["Delete", "Retain"],
            errors,
        );
        checks::required_enum(
            object,
            &root,
            "volumeBindingMode",
            &["Immediate", "WaitForFirstConsumer"],
            errors,
        );
        validate_topologies(object, errors);
        if let Some(old) = old {
            for field in [
                "parameters",
                "provisioner",
                "reclaimPolicy",
                "volumeBindingMode",
            ] {
                checks::immutable(
                    at(object, field),
                    at(old, field),
                    &root.field(field),
                    errors,
                );
            }
        }
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        for (i, term) in arr_at(object, "allowedTopologies").iter().enumerate() {
            for (j, rule) in arr_at(term, "matchLabelExpressions").iter().enumerate() {
                if let Some(message) = warnings::node_label(str_at(rule, "key")) {
                    out.push(format!(
                        "allowedTopologies[{i}].matchLabelExpressions[{j}].key: {message}"
                    ));
                }
            }
        }
        out
    }
}

fn validate_topologies(object: &Value, errors: &mut FieldErrors) {
    let list = Path::ROOT.field("allowedTopologies");
    let terms = arr_at(object, "allowedTopologies");
    for (i, term) in terms.iter().enumerate() {
        let path = list.index(i);
        validate_term(term, &path, errors);
        if terms.iter().take(i).any(|seen| same_term(seen, term)) {
            errors.duplicate(&path, &"".into());
        }
    }
}

/// Terms are equal when they name the same keys with the same values in any order.
fn same_term(a: &Value, b: &Value) -> bool {
    let shape = |term: &Value| -> Vec<(String, Vec<String>)> {
        let mut out: Vec<_> = arr_at(term, "matchLabelExpressions")
            .iter()
            .map(|rule| {
                let mut values: Vec<String> = texts(rule).map(str::to_owned).collect();
                values.sort();
                (str_at(rule, "key").to_owned(), values)
            })
            .collect();
        out.sort();
        out
    };
    shape(a) == shape(b)
}

fn texts(rule: &Value) -> impl Iterator<Item = &str> {
    arr_at(rule, "values")
        .iter()
        .map(|v| v.as_str().unwrap_or_default())
}

fn validate_term(term: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("matchLabelExpressions");
    let expressions = arr_at(term, "matchLabelExpressions");
    for (i, rule) in expressions.iter().enumerate() {
        let path = list.index(i);
        let values = path.field("values");
        let all: Vec<&str> = texts(rule).collect();
        if all.is_empty() {
            errors.required(&values, "");
        }
        for (j, value) in all.iter().enumerate() {
            if all.iter().take(j).any(|seen| seen == value) {
                errors.duplicate(&values.index(j), &(*value).into());
            }
        }
        let key = str_at(rule, "key");
        invalid_each(errors, &path.field("key"), key, rules::qualified_name(key));
        if expressions
            .iter()
            .take(i)
            .any(|seen| str_at(seen, "key") == key)
        {
            errors.duplicate(&path.field("key"), &key.into());
        }
    }
}
