//! PodTemplate.

use super::super::common::access::{at, ensure_object};
use super::super::pod_spec::{defaults, template, warnings};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of PodTemplate.
pub struct PodTemplateStrategy;

impl Strategy for PodTemplateStrategy {
    fn pod_spec_path(&self) -> Option<&'static [&'static str]> {
        Some(&["template", "spec"])
    }

    fn default(&self, object: &mut Value) {
        defaults::default_template(ensure_object(object, "template"));
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let null = Value::Null;
        let value = at(object, "template").unwrap_or(&null);
        template::validate_template(value, &[], &Path::ROOT.field("template"), errors);
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(template) = at(object, "template") {
            warnings::warn_template(template, &Path::ROOT.field("template"), &mut out);
        }
        out
    }
}
