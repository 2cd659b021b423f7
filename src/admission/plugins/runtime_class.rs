//! RuntimeClass: pods take overhead and scheduling from their class.

use std::sync::Arc;

use async_trait::async_trait;

use crate::admission::plugins::{forbidden, is_of, items, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::quantity::Quantity;
use crate::api::status::Status;
use crate::base::tree::Value;

/// The plugin.
pub(super) struct RuntimeClass(pub(super) Arc<dyn Objects>);

impl RuntimeClass {
    async fn class(&self, admission: &Admission<'_>) -> Result<Option<Arc<Value>>, Status> {
        let name = text(admission.object, "/spec/runtimeClassName");
        if name.is_empty() {
            return Ok(None);
        }
        let resource = GroupResource::new("node.k8s.io", "runtimeclasses");
        let found = match self.0.get_cached(&resource, "", name).await? {
            None => self.0.get(&resource, "", name).await?,
            some => some,
        };
        match found {
            Some(class) => Ok(Some(class)),
            None => {
                let why = format!("pod rejected: RuntimeClass \"{name}\" not found");
                Err(forbidden(admission, &why))
            }
        }
    }
}

#[async_trait]
impl AdmissionPlugin for RuntimeClass {
    fn stage(&self) -> &'static str {
        "admission/RuntimeClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
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
        let Some(class) = self.class(admission).await? else {
            return Ok(());
        };
        if let Some(overhead) = overhead_of(&class) {
            let own = &admission.object["spec"]["overhead"];
            if is_set(own) && !same_quantities(own, overhead) {
                let why =
                    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
                return Err(forbidden(admission, why));
            }
            admission.object["spec"]["overhead"] = overhead.clone();
        }
        merge_node_selector(admission, &class)?;
        merge_tolerations(admission.object, &class);
        Ok(())
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !is_of(admission, "", "pods") {
            return Ok(());
        }
        let class = self.class(admission).await?;
        let own = &admission.object["spec"]["overhead"];
        let why = match class.as_deref().and_then(overhead_of) {
            Some(overhead) if !same_quantities(own, overhead) => {
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
            }
            None if is_set(own) => {
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            }
            _ => return Ok(()),
        };
        Err(forbidden(admission, why))
    }
}

fn overhead_of(class: &Value) -> Option<&Value> {
    class.pointer("/overhead/podFixed").filter(|o| is_set(o))
}

fn is_set(value: &Value) -> bool {
    value.as_object().is_some_and(|members| !members.is_empty())
}

fn same_quantities(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return false;
    };
    let parse = |value: &Value| value.as_str().and_then(|text| Quantity::parse(text).ok());
    a.len() == b.len()
        && a.iter().all(|(key, value)| {
            b.get(key).is_some_and(|other| {
                other == value || parse(other).is_some() && parse(other) == parse(value)
            })
        })
}

fn merge_node_selector(admission: &mut Admission<'_>, class: &Value) -> Result<(), Status> {
    let wanted = class.pointer("/scheduling/nodeSelector");
    let Some(wanted) = wanted.and_then(Value::as_object) else {
        return Ok(());
    };
    for (key, value) in wanted {
        let own = &admission.object["spec"]["nodeSelector"][key];
        if own.is_string() && own != value {
            let (a, b) = (value.as_str().unwrap_or(""), own.as_str().unwrap_or(""));
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {a}; pod.spec.nodeSelector[{key}] = {b}"
            );
            return Err(forbidden(admission, &why));
        }
        admission.object["spec"]["nodeSelector"][key] = value.clone();
    }
    Ok(())
}

fn merge_tolerations(pod: &mut Value, class: &Value) {
    for toleration in items(class, "/scheduling/tolerations") {
        match pod["spec"]["tolerations"].as_array_mut() {
            Some(own) if own.contains(toleration) => {}
            Some(own) => own.push(toleration.clone()),
            None => pod["spec"]["tolerations"] = Value::Array(vec![toleration.clone()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::plugins::testing::Write;
    use crate::api::fake_objects::FakeObjects;
    use crate::base::tree::json;

    #[tokio::test]
    async fn pods() {
        let class = json!({"metadata": {"name": "rc"}, "overhead": {"podFixed": {"cpu": "100m"}},
            "scheduling": {"nodeSelector": {"rt": "x"}, "tolerations": [{"key": "rt", "operator": "Exists"}]}});
        let objects = FakeObjects::with(&[("node.k8s.io", "runtimeclasses", class)]);
        let plugin: Arc<dyn AdmissionPlugin> = Arc::new(RuntimeClass(objects));
        let run = async |spec: Value| {
            let pod = json!({"metadata": {"name": "p"}, "spec": spec});
            let done = Write::create("", "pods").run(&plugin, pod).await;
            done.map(|p| p["spec"].clone()).map_err(|s| s.message)
        };
        let spec = run(json!({"runtimeClassName": "rc", "overhead": {"cpu": "0.1"}})).await;
        let spec = spec.expect("the same overhead");
        assert_eq!(spec["nodeSelector"], json!({"rt": "x"}));
        assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(1));
        let prefix = "pods \"p\" is forbidden: ";
        for (spec, why) in [
            (
                json!({"runtimeClassName": "no"}),
                "pod rejected: RuntimeClass \"no\" not found",
            ),
            (
                json!({"runtimeClassName": "rc", "overhead": {"cpu": "1"}}),
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
            ),
            (
                json!({"overhead": {"cpu": "1"}}),
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            ),
            (
                json!({"runtimeClassName": "rc", "nodeSelector": {"rt": "y"}}),
                "conflict: runtimeClass.scheduling.nodeSelector[rt] = x; pod.spec.nodeSelector[rt] = y",
            ),
        ] {
            assert_eq!(run(spec).await, Err(format!("{prefix}{why}")));
        }
    }
}
