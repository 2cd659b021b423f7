//! Small plugins that fill in one thing: tolerations, a node's taint, an ingress's class.

use std::sync::Arc;

use async_trait::async_trait;

use crate::admission::plugins::{annotation, is_of, items, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::base::tree::{Value, json};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// `--default-not-ready-toleration-seconds` and `--default-unreachable-toleration-seconds`.
#[derive(Clone, Copy, Debug)]
pub struct TolerationSeconds {
    /// Of nodes that are not ready.
    pub not_ready: i64,
    /// Of nodes that cannot be reached.
    pub unreachable: i64,
}

impl Default for TolerationSeconds {
    fn default() -> Self {
        TolerationSeconds {
            not_ready: 300,
            unreachable: 300,
        }
    }
}

/// Pods stay on a lost node for five minutes.
pub(super) struct DefaultTolerationSeconds(pub(super) TolerationSeconds);

#[async_trait]
impl AdmissionPlugin for DefaultTolerationSeconds {
    fn stage(&self) -> &'static str {
        "admission/DefaultTolerationSeconds"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    fn mutates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !is_of(admission, "", "pods") {
            return Ok(());
        }
        let wanted = [
            (NOT_READY, self.0.not_ready),
            (UNREACHABLE, self.0.unreachable),
        ];
        for (key, seconds) in wanted {
            let tolerated = items(admission.object, "/spec/tolerations").any(|toleration| {
                matches!(text(toleration, "/key"), "" | NOT_READY | UNREACHABLE)
                    && (text(toleration, "/key").is_empty() || text(toleration, "/key") == key)
                    && matches!(text(toleration, "/effect"), "" | "NoExecute")
            });
            if tolerated {
                continue;
            }
            let toleration = json!({
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": seconds,
            });
            match admission.object["spec"]["tolerations"].as_array_mut() {
                Some(list) => list.push(toleration),
                None => admission.object["spec"]["tolerations"] = Value::Array(vec![toleration]),
            }
        }
        Ok(())
    }
}

/// New nodes are not ready until they say so.
pub(super) struct TaintNodesByCondition;

#[async_trait]
impl AdmissionPlugin for TaintNodesByCondition {
    fn stage(&self) -> &'static str {
        "admission/TaintNodesByCondition"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    fn mutates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !is_of(admission, "", "nodes") {
            return Ok(());
        }
        let tainted = items(admission.object, "/spec/taints").any(|taint| {
            text(taint, "/key") == NOT_READY && text(taint, "/effect") == "NoSchedule"
        });
        if tainted {
            return Ok(());
        }
        let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
        match admission.object["spec"]["taints"].as_array_mut() {
            Some(list) => list.push(taint),
            None => admission.object["spec"]["taints"] = Value::Array(vec![taint]),
        }
        Ok(())
    }
}

/// Ingresses without a class get the default one.
pub(super) struct DefaultIngressClass(pub(super) Arc<dyn Objects>);

#[async_trait]
impl AdmissionPlugin for DefaultIngressClass {
    fn stage(&self) -> &'static str {
        "admission/DefaultIngressClass"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    fn mutates(&self) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if !is_of(admission, "networking.k8s.io", "ingresses") {
            return Ok(());
        }
        let has_class = admission.object["spec"]["ingressClassName"].is_string()
            || annotation(admission.object, "kubernetes.io/ingress.class").is_some();
        if has_class {
            return Ok(());
        }
        let resource = GroupResource::new("networking.k8s.io", "ingressclasses");
        let all = self.0.list_cached(&resource, "").await?;
        let mark = ["ingressclass.kubernetes.io/is-default-class"];
        if let Some(class) = default_class(&all, &mark) {
            admission.object["spec"]["ingressClassName"] = json!(class);
        }
        Ok(())
    }
}

/// The newest class that is marked as default; among equally old ones the smallest name.
pub(super) fn default_class<'a>(classes: &'a [Arc<Value>], marks: &[&str]) -> Option<&'a str> {
    let is_default = |class: &&Arc<Value>| {
        marks
            .iter()
            .any(|mark| annotation(class, mark) == Some("true"))
    };
    let name = |class: &&'a Arc<Value>| text(class, "/metadata/name");
    let created = |class: &&'a Arc<Value>| text(class, "/metadata/creationTimestamp");
    classes
        .iter()
        .filter(is_default)
        .min_by(|a, b| created(b).cmp(created(a)).then(name(a).cmp(name(b))))
        .map(|class| text(class, "/metadata/name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::plugins::testing::Write;

    #[tokio::test]
    async fn tolerations() {
        let plugin: Arc<dyn AdmissionPlugin> =
            Arc::new(DefaultTolerationSeconds(TolerationSeconds::default()));
        let cases = [
            (json!([]), 2),
            (
                json!([{"key": NOT_READY, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]),
                2,
            ),
            (json!([{"operator": "Exists"}]), 1),
            (
                json!([{"key": NOT_READY, "operator": "Exists", "effect": "NoSchedule"}]),
                3,
            ),
        ];
        for (tolerations, count) in cases {
            let pod = json!({"metadata": {"name": "p"}, "spec": {"tolerations": tolerations}});
            let done = Write::create("", "pods")
                .run(&plugin, pod)
                .await
                .expect("admitted");
            assert_eq!(
                done["spec"]["tolerations"].as_array().map(Vec::len),
                Some(count)
            );
        }
    }

    #[test]
    fn the_newest_default_wins() {
        let class = |name: &str, created: &str, default: &str| {
            Arc::new(
                json!({"metadata": {"name": name, "creationTimestamp": created,
                "annotations": {"d": default}}}),
            )
        };
        let classes = [
            class("old", "2001-01-01T00:00:00Z", "true"),
            class("b", "2002-01-01T00:00:00Z", "true"),
            class("a", "2002-01-01T00:00:00Z", "true"),
            class("new", "2003-01-01T00:00:00Z", "false"),
        ];
        assert_eq!(default_class(&classes, &["d"]), Some("a"));
        assert_eq!(default_class(&[], &["d"]), None);
    }
}
