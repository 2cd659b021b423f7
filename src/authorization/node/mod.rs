//! The Node authorizer: a kubelet may read what the pods on its node need, and no more
//! (contract/authn_authz.md §3).

mod graph;

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;

use crate::api::names::GroupResource;
use crate::api::objects::{Change, Objects};
use crate::authorization::rbac::PolicyRule;
use crate::authorization::{Authorizer, Decision, ResolvedRules, RuleResolver};
use crate::request::{Attributes, UserInfo};
use graph::{Graph, Kind, key_of};

/// What the graph is made from: group, resource, and which of its objects.
const FEEDS: [(&str, &str, &str); 3] = [
    // A pod that is on no node opens nothing to any.
    ("", "pods", "spec.nodeName!="),
    ("", "persistentvolumes", ""),
    ("storage.k8s.io", "volumeattachments", ""),
];

/// The node that `user` is: `system:node:N` in group `system:nodes`.
pub fn node_of(user: &UserInfo) -> Option<&str> {
    let name = user.username.strip_prefix("system:node:")?;
    (!name.is_empty() && user.in_group("system:nodes")).then_some(name)
}

/// Authorizes nodes.
pub struct NodeAuthorizer {
    rules: Vec<PolicyRule>,
    graph: RwLock<Graph>,
}

impl NodeAuthorizer {
    /// With the rules of the role `system:node`, which hold where nothing special does.
    pub fn new(rules: Vec<PolicyRule>) -> Arc<Self> {
        Arc::new(NodeAuthorizer {
            rules,
            graph: RwLock::default(),
        })
    }

    /// Follows pods and volumes for as long as the server runs: spawns one task per resource.
    pub fn follow(self: &Arc<Self>, objects: &dyn Objects) {
        for (group, resource, fields) in FEEDS {
            let followed = GroupResource::new(group, resource);
            let mut changes = objects.informer_where(&followed, fields);
            let authorizer = Arc::clone(self);
            tokio::spawn(async move {
                while let Some(change) = changes.recv().await {
                    authorizer.apply(resource, change);
                }
            });
        }
    }

    fn apply(&self, resource: &str, change: Change) {
        let mut graph = self.graph.write();
        match (resource, change) {
            (_, Change::Synced) => {}
            (resource, Change::Reset) => graph.clear(resource),
            ("pods", Change::Upsert(pod)) => graph.put_pod(&pod),
            ("pods", Change::Delete(pod)) => graph.remove_pod(&key_of(&pod)),
            ("persistentvolumes", Change::Upsert(volume)) => graph.put_volume(&volume),
            ("persistentvolumes", Change::Delete(volume)) => {
                graph.remove_volume(&key_of(&volume).1)
            }
            (_, Change::Upsert(attachment)) => graph.put_attachment(&attachment),
            (_, Change::Delete(attachment)) => graph.remove_attachment(&key_of(&attachment).1),
        }
    }

    /// `Ok`: allowed or for the rules to say; `Err`: refused for this reason.
    fn special(&self, node: &str, ask: &Attributes<'_>) -> Result<Answer, String> {
        match (ask.group, ask.resource) {
            ("", "secrets") => self.read(node, Kind::Secret, ask),
            ("", "configmaps") => self.read(node, Kind::ConfigMap, ask),
            ("", "persistentvolumeclaims") if ask.subresource == "status" => match ask.verb {
                "get" | "update" | "patch" => self.path(node, Kind::Claim, ask),
                _ => Err("can only get/update/patch this type".into()),
            },
            ("", "persistentvolumeclaims") => self.get(node, Kind::Claim, ask),
            ("", "persistentvolumes") => self.get(node, Kind::Volume, ask),
            ("resource.k8s.io", "resourceclaims") => self.get(node, Kind::ResourceClaim, ask),
            ("storage.k8s.io", "volumeattachments") => self.get(node, Kind::Attachment, ask),
            ("", "serviceaccounts") if ask.subresource == "token" => match ask.verb {
                "create" => self.path(node, Kind::ServiceAccount, ask),
                _ => Err("can only create tokens for individual service accounts".into()),
            },
            ("", "serviceaccounts") => self.get(node, Kind::ServiceAccount, ask),
            ("coordination.k8s.io", "leases") => lease(node, ask),
            ("storage.k8s.io", "csinodes") => csi_node(node, ask),
            ("resource.k8s.io", "resourceslices") => resource_slice(node, ask),
            ("", "nodes") => own_node(node, ask),
            ("", "pods") => self.pod(node, ask),
            _ => Ok(Answer::AskRules),
        }
    }

    fn path(&self, node: &str, kind: Kind, ask: &Attributes<'_>) -> Result<Answer, String> {
        if ask.name.is_empty() {
            return Err("No Object name found".into());
        }
        match self
            .graph
            .read()
            .leads_to(node, kind, ask.namespace, ask.name)
        {
            true => Ok(Answer::Allow),
            false => Err(format!(
                "no relationship found between node '{node}' and this object"
            )),
        }
    }

    fn read(&self, node: &str, kind: Kind, ask: &Attributes<'_>) -> Result<Answer, String> {
        if !matches!(ask.verb, "get" | "list" | "watch") {
            return Err("can only read resources of this type".into());
        }
        if !ask.subresource.is_empty() {
            return Err("cannot read subresource".into());
        }
        if ask.namespace.is_empty() {
            return Err("can only read namespaced object of this type".into());
        }
        self.path(node, kind, ask)
    }

    fn get(&self, node: &str, kind: Kind, ask: &Attributes<'_>) -> Result<Answer, String> {
        if ask.verb != "get" {
            return Err("can only get individual resources of this type".into());
        }
        if !ask.subresource.is_empty() {
            return Err("cannot get subresource".into());
        }
        self.path(node, kind, ask)
    }

    fn pod(&self, node: &str, ask: &Attributes<'_>) -> Result<Answer, String> {
        if !ask.subresource.is_empty() {
            return Ok(Answer::AskRules);
        }
        match ask.verb {
            "get" => self.path(node, Kind::Pod, ask),
            "list" | "watch" if selects(ask.field_selector, "spec.nodeName", node) => {
                Ok(Answer::Allow)
            }
            "list" | "watch" => {
                Err("can only list/watch pods with spec.nodeName field selector".into())
            }
            _ => Ok(Answer::AskRules),
        }
    }
}

/// What is not a refusal.
enum Answer {
    Allow,
    AskRules,
}

fn lease(node: &str, ask: &Attributes<'_>) -> Result<Answer, String> {
    if !is_own_object_verb(ask.verb) {
        return Err("can only get, create, update, patch, or delete a node lease".into());
    }
    if ask.namespace != "kube-node-lease" {
        return Err("can only access leases in the \"kube-node-lease\" system namespace".into());
    }
    match ask.verb == "create" || ask.name == node {
        true => Ok(Answer::Allow),
        false => Err("can only access node lease with the same name as the requesting node".into()),
    }
}

fn csi_node(node: &str, ask: &Attributes<'_>) -> Result<Answer, String> {
    if !is_own_object_verb(ask.verb) {
        return Err("can only get, create, update, patch, or delete a CSINode".into());
    }
    if !ask.subresource.is_empty() {
        return Err("cannot authorize CSINode subresources".into());
    }
    match ask.verb == "create" || ask.name == node {
        true => Ok(Answer::Allow),
        false => Err("can only access CSINode with the same name as the requesting node".into()),
    }
}

fn resource_slice(node: &str, ask: &Attributes<'_>) -> Result<Answer, String> {
    if !ask.subresource.is_empty() {
        return Err("cannot authorize ResourceSlice subresources".into());
    }
    match ask.verb {
        verb if is_own_object_verb(verb) => Ok(Answer::Allow),
        "list" | "watch" | "deletecollection"
            if selects(ask.field_selector, "spec.nodeName", node) =>
        {
            Ok(Answer::Allow)
        }
        "list" | "watch" | "deletecollection" => Err(
            "can only list/watch/deletecollection resourceslices with nodeName field selector"
                .into(),
        ),
        _ => Err("only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection".into()),
    }
}

fn own_node(node: &str, ask: &Attributes<'_>) -> Result<Answer, String> {
    if !ask.subresource.is_empty() || !matches!(ask.verb, "get" | "list" | "watch") {
        return Ok(Answer::AskRules);
    }
    match ask.name {
        name if name == node => Ok(Answer::Allow),
        "" => Err(format!(
            "node '{node}' cannot read all nodes, only its own Node object"
        )),
        name => Err(format!(
            "node '{node}' cannot read '{name}', only its own Node object"
        )),
    }
}

fn is_own_object_verb(verb: &str) -> bool {
    matches!(verb, "get" | "create" | "update" | "patch" | "delete")
}

/// Whether a field selector requires `key` to be `value`.
fn selects(selector: &str, key: &str, value: &str) -> bool {
    selector.split(',').any(|term| {
        term.trim()
            .strip_prefix(key)
            .and_then(|rest| rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')))
            .is_some_and(|wanted| wanted == value)
    })
}

#[async_trait]
impl Authorizer for NodeAuthorizer {
    fn at_once(&self, attributes: &Attributes<'_>) -> Option<Decision> {
        Some(self.decide(attributes))
    }

    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        self.decide(attributes)
    }
}

impl NodeAuthorizer {
    fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let Some(node) = node_of(attributes.user) else {
            return Decision::no_opinion("");
        };
        if attributes.is_resource {
            match self.special(node, attributes) {
                Ok(Answer::Allow) => return Decision::allow(),
                Ok(Answer::AskRules) => {}
                Err(reason) => return Decision::no_opinion(reason),
            }
        }
        match self.rules.iter().any(|rule| rule.allows(attributes)) {
            true => Decision::allow(),
            false => Decision::no_opinion(""),
        }
    }
}

impl RuleResolver for NodeAuthorizer {
    fn rules_for(&self, user: &UserInfo, _namespace: &str) -> ResolvedRules {
        match node_of(user) {
            None => ResolvedRules::default(),
            Some(_) => ResolvedRules {
                incomplete: true,
                errors: vec!["node authorizer does not support user rule resolution".into()],
                ..ResolvedRules::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::Verdict;
    use crate::base::tree::json;

    fn authorizer() -> Arc<NodeAuthorizer> {
        let authorizer = NodeAuthorizer::new(Vec::new());
        let pod = json!({"metadata": {"namespace": "nod", "name": "p1"}, "spec": {
            "nodeName": "n1", "serviceAccountName": "sa1",
            "volumes": [{"name": "v", "secret": {"secretName": "s1"}},
                        {"name": "w", "persistentVolumeClaim": {"claimName": "c"}}],
            "containers": [{"envFrom": [{"configMapRef": {"name": "c1"}}]}]}});
        let volume = json!({"metadata": {"name": "pv"}, "spec": {
            "claimRef": {"namespace": "nod", "name": "c"},
            "csi": {"nodePublishSecretRef": {"namespace": "nod", "name": "s3"}}}});
        authorizer.apply("pods", Change::Upsert(Arc::new(pod)));
        authorizer.apply("persistentvolumes", Change::Upsert(Arc::new(volume)));
        authorizer
    }

    async fn ask(
        authorizer: &NodeAuthorizer,
        node: &str,
        question: &str,
        selector: &str,
    ) -> Result<(), String> {
        let user = UserInfo {
            username: format!("system:node:{node}"),
            groups: vec!["system:nodes".into()],
            ..UserInfo::default()
        };
        let words: Vec<&str> = question.split(' ').collect();
        let (resource, subresource) = words[1].split_once('/').unwrap_or((words[1], ""));
        let group = if resource == "leases" {
            "coordination.k8s.io"
        } else {
            ""
        };
        let mut attributes = Attributes::resource(
            &user,
            words[0],
            group,
            resource,
            words[2],
            words.get(3).unwrap_or(&""),
        );
        attributes.subresource = subresource;
        attributes.field_selector = selector;
        let decision = authorizer.authorize(&attributes).await;
        match decision.verdict {
            Verdict::Allow => Ok(()),
            _ => Err(decision.reason),
        }
    }

    #[tokio::test]
    async fn nodes_reach_what_their_pods_need() {
        let authorizer = authorizer();
        let none = |node: &str| {
            Err(format!(
                "no relationship found between node '{node}' and this object"
            ))
        };
        let cases = [
            ("n1", "get secrets nod s1", "", Ok(())),
            ("n1", "watch secrets nod s1", "", Ok(())),
            ("n1", "get secrets nod s3", "", Ok(())),
            ("n1", "get persistentvolumes  pv", "", Ok(())),
            ("n1", "get persistentvolumes  other", "", none("n1")),
            ("n1", "get configmaps nod c1", "", Ok(())),
            ("n1", "create serviceaccounts/token nod sa1", "", Ok(())),
            ("n1", "get secrets nod s2", "", none("n1")),
            ("n2", "get secrets nod s1", "", none("n2")),
            (
                "n1",
                "list secrets nod",
                "",
                Err("No Object name found".into()),
            ),
            (
                "n1",
                "update secrets nod s1",
                "",
                Err("can only read resources of this type".into()),
            ),
            (
                "n1",
                "get nodes  n2",
                "",
                Err("node 'n1' cannot read 'n2', only its own Node object".into()),
            ),
            (
                "n1",
                "list nodes ",
                "",
                Err("node 'n1' cannot read all nodes, only its own Node object".into()),
            ),
            ("n1", "list pods ", "spec.nodeName=n1", Ok(())),
            (
                "n1",
                "list pods ",
                "spec.nodeName=n2",
                Err("can only list/watch pods with spec.nodeName field selector".into()),
            ),
            ("n1", "get leases kube-node-lease n1", "", Ok(())),
            (
                "n1",
                "get leases nod n1",
                "",
                Err("can only access leases in the \"kube-node-lease\" system namespace".into()),
            ),
        ];
        for (node, question, selector, expected) in cases {
            assert_eq!(
                ask(&authorizer, node, question, selector).await,
                expected,
                "{question}"
            );
        }
        authorizer.apply(
            "pods",
            Change::Delete(Arc::new(
                json!({"metadata": {"namespace": "nod", "name": "p1"}}),
            )),
        );
        assert!(
            ask(&authorizer, "n1", "get secrets nod s1", "")
                .await
                .is_err()
        );
    }
}
