//! MutatingWebhookConfiguration and ValidatingWebhookConfiguration.

use super::super::common::access::{
    arr_at, at, at_mut, default_nil, get, i64_at, items_mut, semantic_equal, str_at,
};
use super::super::common::{checks, names};
use super::{client_config, rules};
use crate::admission::expressions::CONDITION_ENV;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];

/// Rules of the webhook configurations.
pub struct WebhookStrategy {
    /// The mutating kind.
    pub mutating: bool,
}

impl Strategy for WebhookStrategy {
    fn default(&self, object: &mut Value) {
        for hook in items_mut(object, "webhooks") {
            default_nil(hook, "failurePolicy", "Fail");
            default_nil(hook, "matchPolicy", "Equivalent");
            default_nil(hook, "namespaceSelector", json!({}));
            default_nil(hook, "objectSelector", json!({}));
            default_nil(hook, "timeoutSeconds", 10);
            if self.mutating {
                default_nil(hook, "reinvocationPolicy", "Never");
            }
            rules::default_scopes(hook, "rules");
            if let Some(service) = at_mut(hook, "clientConfig").and_then(|c| at_mut(c, "service")) {
                default_nil(service, "port", 443);
            }
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let list = Path::ROOT.field("webhooks");
        let hooks = arr_at(object, "webhooks");
        let stored = Stored::of(old);
        for (i, hook) in hooks.iter().enumerate() {
            let path = list.index(i);
            self.validate_hook(hook, &stored, &path, errors);
            if stored.known_versions {
                client_config::validate_review_versions(
                    hook,
                    "admissionReviewVersions",
                    &path,
                    errors,
                );
            }
            let name = str_at(hook, "name");
            let seen = hooks[..i].iter().any(|h| str_at(h, "name") == name);
            if stored.unique_names && !name.is_empty() && seen {
                errors.duplicate(&path.field("name"), &name.into());
            }
        }
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        super::static_name_warning(object)
    }

    fn spec_changed(&self, object: &Value, old: &Value) -> bool {
        !semantic_equal(at(object, "webhooks"), at(old, "webhooks"))
    }
}

/// What the stored configuration already fulfils; what it does not is not demanded of an update.
struct Stored {
    known_versions: bool,
    unique_names: bool,
    no_side_effects: bool,
}

impl Stored {
    fn of(old: Option<&Value>) -> Self {
        let Some(old) = old else {
            return Stored {
                known_versions: true,
                unique_names: true,
                no_side_effects: true,
            };
        };
        let hooks = arr_at(old, "webhooks");
        let known = |hook: &Value| {
            arr_at(hook, "admissionReviewVersions")
                .iter()
                .any(|v| matches!(v.as_str(), Some("v1" | "v1beta1")))
        };
        let unique = (0..hooks.len()).all(|i| {
            let name = str_at(&hooks[i], "name");
            hooks[..i].iter().all(|h| str_at(h, "name") != name)
        });
        Stored {
            known_versions: hooks.iter().all(known),
            unique_names: unique,
            no_side_effects: hooks
                .iter()
                .all(|h| SIDE_EFFECTS.contains(&str_at(h, "sideEffects"))),
        }
    }
}

impl WebhookStrategy {
    fn validate_hook(
        &self,
        hook: &Value,
        stored: &Stored,
        path: &Path<'_>,
        errors: &mut FieldErrors,
    ) {
        names::fully_qualified_name(&path.field("name"), str_at(hook, "name"), errors);
        let list = path.field("rules");
        for (i, rule) in arr_at(hook, "rules").iter().enumerate() {
            rules::validate_rule(rule, rules::OPERATIONS, &list.index(i), errors);
        }
        checks::optional_enum(hook, path, "failurePolicy", &["Fail", "Ignore"], errors);
        checks::optional_enum(hook, path, "matchPolicy", &["Equivalent", "Exact"], errors);
        validate_side_effects(hook, stored.no_side_effects, path, errors);
        if let Some(seconds) = i64_at(hook, "timeoutSeconds")
            && !(1..=30).contains(&seconds)
        {
            errors.invalid(
                &path.field("timeoutSeconds"),
                &seconds.into(),
                "the timeout value must be between 1 and 30 seconds",
            );
        }
        rules::validate_selectors(hook, path, errors);
        if self.mutating {
            checks::optional_enum(
                hook,
                path,
                "reinvocationPolicy",
                &["IfNeeded", "Never"],
                errors,
            );
        }
        let config = get(hook, "clientConfig");
        client_config::validate(config, &path.field("clientConfig"), errors);
        rules::validate_match_conditions(hook, &CONDITION_ENV, path, errors);
    }
}

fn validate_side_effects(hook: &Value, strict: bool, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field("sideEffects");
    let known: &[&str] = if strict {
        &SIDE_EFFECTS
    } else {
        &["None", "NoneOnDryRun", "Some", "Unknown"]
    };
    match at(hook, "sideEffects") {
        None => errors.required(&path, "must specify one of None, NoneOnDryRun"),
        Some(value) if !known.contains(&value.as_str().unwrap_or_default()) => {
            errors.not_supported(&path, value, known);
        }
        Some(_) => {}
    }
}
