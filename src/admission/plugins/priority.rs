//! Priority: pods get the number of their PriorityClass.

use std::sync::Arc;

use async_trait::async_trait;

use crate::admission::plugins::{forbidden, is_of, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::base::tree::{Value, json};

const PREEMPT: &str = "PreemptLowerPriority";

/// The plugin.
pub(super) struct Priority {
    objects: Arc<dyn Objects>,
}

impl Priority {
    pub(super) fn new(objects: Arc<dyn Objects>) -> Self {
        Priority { objects }
    }

    async fn default_class(&self) -> Result<Option<Arc<Value>>, Status> {
        let all = self.objects.list_cached(&classes(), "").await?;
        let defaults = all.into_iter().filter(|class| is_default(class));
        Ok(defaults.min_by_key(|class| value_of(class)))
    }

    async fn admit_pod(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let name = text(admission.object, "/spec/priorityClassName").to_string();
        let class = match name.is_empty() {
            true => self.default_class().await?,
            false => {
                let found = self.objects.get_cached(&classes(), "", &name).await?;
                // A class made a moment ago may not be in the cache yet.
                let found = match found {
                    None => self.objects.get(&classes(), "", &name).await?,
                    some => some,
                };
                let why = || format!("no PriorityClass with name {name} was found");
                Some(found.ok_or_else(|| forbidden(admission, &why()))?)
            }
        };
        let (value, policy) = match &class {
            None => (0, PREEMPT.to_string()),
            Some(class) => {
                let policy = text(class, "/preemptionPolicy");
                let policy = if policy.is_empty() { PREEMPT } else { policy };
                (value_of(class), policy.to_string())
            }
        };
        let spec = &admission.object["spec"];
        if let Some(given) = spec["priority"].as_i64()
            && given != value
        {
            let why = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
            );
            return Err(forbidden(admission, &why));
        }
        if let Some(given) = spec["preemptionPolicy"].as_str()
            && given != policy
        {
            let why = format!(
                "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
            );
            return Err(forbidden(admission, &why));
        }
        let spec = &mut admission.object["spec"];
        if let Some(class) = class.filter(|_| name.is_empty()) {
            spec["priorityClassName"] = json!(text(&class, "/metadata/name"));
        }
        spec["priority"] = json!(value);
        spec["preemptionPolicy"] = json!(policy);
        Ok(())
    }

    async fn check_default(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if !is_default(admission.object) {
            return Ok(());
        }
        let own = text(admission.object, "/metadata/name");
        let all = self.objects.list_cached(&classes(), "").await?;
        let other = all
            .iter()
            .filter(|class| is_default(class))
            .map(|class| text(class, "/metadata/name"))
            .find(|name| *name != own);
        match other {
            None => Ok(()),
            Some(other) => {
                let why = format!(
                    "PriorityClass {other} is already marked as default. Only one default can exist"
                );
                Err(forbidden(admission, &why))
            }
        }
    }
}

fn classes() -> GroupResource {
    GroupResource::new("scheduling.k8s.io", "priorityclasses")
}

fn is_default(class: &Value) -> bool {
    class["globalDefault"].as_bool() == Some(true)
}

fn value_of(class: &Value) -> i64 {
    class["value"].as_i64().unwrap_or(0)
}

#[async_trait]
impl AdmissionPlugin for Priority {
    fn stage(&self) -> &'static str {
        "admission/Priority"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    fn mutates(&self) -> bool {
        true
    }

    fn validates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !is_of(admission, "", "pods") {
            return Ok(());
        }
        if admission.operation == Operation::Create {
            return self.admit_pod(admission).await;
        }
        for key in ["priority", "preemptionPolicy"] {
            let old = admission.old_object.and_then(|old| old["spec"].get(key));
            let given = admission.object["spec"].get(key).filter(|v| !v.is_null());
            if let Some(old) = old.filter(|old| !old.is_null() && given.is_none()) {
                admission.object["spec"][key] = old.clone();
            }
        }
        Ok(())
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        match is_of(admission, "scheduling.k8s.io", "priorityclasses") {
            true => self.check_default(admission).await,
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::plugins::testing::Write;
    use crate::api::fake_objects::FakeObjects;

    #[tokio::test]
    async fn pods_and_classes() {
        let class = |name: &str, value: i64, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default});
        let plugin: Arc<dyn AdmissionPlugin> = Arc::new(Priority::new(FakeObjects::with(&[
            (
                "scheduling.k8s.io",
                "priorityclasses",
                class("hi", 1000, false),
            ),
            (
                "scheduling.k8s.io",
                "priorityclasses",
                class("def", 5, true),
            ),
        ])));
        let pod = |spec: Value| json!({"metadata": {"name": "p"}, "spec": spec});
        let create = Write::create("", "pods");
        let cases = [
            (json!({}), Ok((5, "def"))),
            (json!({"priorityClassName": "hi"}), Ok((1000, "hi"))),
            (
                json!({"priorityClassName": "none"}),
                Err("no PriorityClass with name none was found"),
            ),
            (
                json!({"priorityClassName": "hi", "priority": 7}),
                Err(
                    "the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name",
                ),
            ),
            (
                json!({"preemptionPolicy": "Never"}),
                Err(
                    "the string value of PreemptionPolicy (Never) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name",
                ),
            ),
        ];
        for (spec, expected) in cases {
            let done = create.run(&plugin, pod(spec)).await;
            let got = done.map(|pod| pod["spec"].clone()).map_err(|s| s.message);
            match (got, expected) {
                (Ok(spec), Ok((value, name))) => {
                    assert_eq!(
                        (&spec["priority"], &spec["priorityClassName"]),
                        (&json!(value), &json!(name))
                    );
                }
                (Err(got), Err(why)) => assert_eq!(got, format!("pods \"p\" is forbidden: {why}")),
                (got, expected) => panic!("{got:?} is not {expected:?}"),
            }
        }
        let create = Write::create("scheduling.k8s.io", "priorityclasses");
        let refused = create.run(&plugin, class("second", 6, true)).await;
        let refused = refused.expect_err("there is a default already");
        assert_eq!(
            refused.message,
            "priorityclasses.scheduling.k8s.io \"second\" is forbidden: PriorityClass def is already marked as default. Only one default can exist"
        );
    }
}
