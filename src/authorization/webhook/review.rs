//! The SubjectAccessReview that is sent, and its answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ReviewVersion;
use crate::api::selector::{FieldSelector, LabelSelector, Operator};
use crate::base::tree::{Value, json};
use crate::request::Attributes;

/// `spec`, as v1 has it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_attributes: Option<ResourceAttributes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    non_resource_attributes: Option<NonResourceAttributes>,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceAttributes {
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    verb: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "Selector::is_empty")]
    field_selector: Selector,
    #[serde(skip_serializing_if = "Selector::is_empty")]
    label_selector: Selector,
}

#[derive(Clone, Debug, Default, Serialize)]
struct NonResourceAttributes {
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    verb: String,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, Serialize)]
struct Requirement {
    key: String,
    operator: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

impl Selector {
    fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Requirements of a `fieldSelector`; one that cannot be read asks for everything.
    fn of_fields(text: &str) -> Self {
        let terms = FieldSelector::parse(text).unwrap_or_default().terms;
        let requirements = terms.into_iter().map(|term| Requirement {
            key: term.field,
            operator: if term.negated { "NotIn" } else { "In" },
            values: vec![term.value],
        });
        Selector {
            requirements: requirements.collect(),
        }
    }

    /// Requirements of a `labelSelector`. Comparisons are left out: what is asked is only broader.
    fn of_labels(text: &str) -> Self {
        let requirements = LabelSelector::parse(text).unwrap_or_default().requirements;
        let requirements = requirements.into_iter().filter_map(|requirement| {
            let operator = match requirement.operator {
                Operator::In => "In",
                Operator::NotIn => "NotIn",
                Operator::Exists => "Exists",
                Operator::DoesNotExist => "DoesNotExist",
                Operator::GreaterThan | Operator::LessThan => return None,
            };
            Some(Requirement {
                key: requirement.key,
                operator,
                values: requirement.values,
            })
        });
        Selector {
            requirements: requirements.collect(),
        }
    }
}

impl Spec {
    /// The question.
    pub(super) fn of(attributes: &Attributes<'_>) -> Self {
        let user = attributes.user;
        let mut spec = Spec {
            user: user.username.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
            uid: user.uid.clone(),
            ..Spec::default()
        };
        let verb = attributes.verb.to_string();
        match attributes.is_resource {
            true => {
                spec.resource_attributes = Some(ResourceAttributes {
                    namespace: attributes.namespace.into(),
                    verb,
                    group: attributes.group.into(),
                    version: attributes.version.into(),
                    resource: attributes.resource.into(),
                    subresource: attributes.subresource.into(),
                    name: attributes.name.into(),
                    field_selector: Selector::of_fields(attributes.field_selector),
                    label_selector: Selector::of_labels(attributes.label_selector),
                });
            }
            false => {
                spec.non_resource_attributes = Some(NonResourceAttributes {
                    path: attributes.path.into(),
                    verb,
                });
            }
        }
        spec
    }

    /// What answers are kept under.
    pub(super) fn key(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The review.
    pub(super) fn body(&self, version: ReviewVersion) -> Bytes {
        let mut spec = json!(self);
        let version = match version {
            ReviewVersion::V1 => "v1",
            ReviewVersion::V1Beta1 => {
                // Its groups are called `group`.
                if let Some(members) = spec.as_object_mut()
                    && let Some(groups) = members.remove("groups")
                {
                    members.insert("group".into(), groups);
                }
                "v1beta1"
            }
        };
        let review = json!({
            "kind": "SubjectAccessReview",
            "apiVersion": format!("authorization.k8s.io/{version}"),
            "metadata": {},
            "spec": spec,
            "status": {"allowed": false},
        });
        Bytes::from(review.to_string())
    }

    /// As match conditions see it: every text is there, also when it is empty.
    pub(super) fn for_conditions(&self) -> Value {
        let mut request = json!({
            "user": self.user, "groups": self.groups, "uid": self.uid, "extra": self.extra,
        });
        if let Some(resource) = &self.resource_attributes {
            let mut attributes = json!({
                "namespace": resource.namespace, "verb": resource.verb, "group": resource.group,
                "version": resource.version, "resource": resource.resource,
                "subresource": resource.subresource, "name": resource.name,
            });
            let selectors = [
                ("fieldSelector", &resource.field_selector),
                ("labelSelector", &resource.label_selector),
            ];
            for (name, selector) in selectors {
                if !selector.is_empty() {
                    attributes[name] = json!(selector);
                }
            }
            request["resourceAttributes"] = attributes;
        }
        if let Some(path) = &self.non_resource_attributes {
            request["nonResourceAttributes"] = json!({"path": path.path, "verb": path.verb});
        }
        request
    }
}

/// `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    pub(super) denied: bool,
    pub(super) reason: String,
}

#[derive(Deserialize)]
struct Reviewed {
    #[serde(default)]
    status: Answer,
}

/// Reads an answer.
pub(super) fn read(body: &[u8]) -> Result<Answer, String> {
    let reviewed: Result<Reviewed, _> = serde_json::from_slice(body);
    reviewed
        .map(|reviewed| reviewed.status)
        .map_err(|error| format!("the answer of the authorization webhook is no review: {error}"))
}
