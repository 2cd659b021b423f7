//! ServiceAccount: every pod runs as one, and gets a token of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;

use crate::admission::plugins::pod::{containers, is_mirror, projects_token, refers_to_secrets};
use crate::admission::plugins::{annotation, forbidden, is_of, is_subresource_of, items, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::base::tree::{Value, json};

const DEFAULT_ACCOUNT: &str = "default";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const ENFORCE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";
const TOKEN_SECONDS: u32 = 3607;
/// The controller that makes default accounts may be a moment behind a new namespace.
const DEFAULT_ACCOUNT_TRIES: usize = 10;

/// The plugin.
pub(super) struct ServiceAccount {
    objects: Arc<dyn Objects>,
}

impl ServiceAccount {
    pub(super) fn new(objects: Arc<dyn Objects>) -> Self {
        ServiceAccount { objects }
    }

    async fn account(&self, admission: &Admission<'_>, name: &str) -> Result<Arc<Value>, Status> {
        let resource = GroupResource::new("", "serviceaccounts");
        let namespace = admission.namespace;
        if let Some(found) = self.objects.get_cached(&resource, namespace, name).await? {
            return Ok(found);
        }
        let tries = if name == DEFAULT_ACCOUNT {
            DEFAULT_ACCOUNT_TRIES
        } else {
            1
        };
        for number in 0..tries {
            if number > 0 {
                let millis = rand::rng().random_range(100..200);
                tokio::time::sleep(Duration::from_millis(millis)).await;
            }
            if let Some(found) = self.objects.get(&resource, namespace, name).await? {
                return Ok(found);
            }
        }
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
        );
        Err(forbidden(admission, &why))
    }

    async fn check_references(&self, admission: &Admission<'_>) -> Result<(), Status> {
        if is_mirror(admission.object) {
            return check_mirror(admission);
        }
        let name = text(admission.object, "/spec/serviceAccountName");
        if name.is_empty() {
            let own = text(admission.object, "/metadata/name");
            let why = format!(
                "no service account specified for pod {}/{own}",
                admission.namespace
            );
            return Err(forbidden(admission, &why));
        }
        let account = self.account(admission, name).await?;
        let enforces = annotation(&account, ENFORCE_SECRETS)
            .is_some_and(|v| matches!(v, "1" | "t" | "T" | "true" | "TRUE" | "True"));
        match enforces {
            true => limit_secrets(admission, &account),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl AdmissionPlugin for ServiceAccount {
    fn stage(&self) -> &'static str {
        "admission/ServiceAccount"
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
        if admission.operation != Operation::Create || !is_of(admission, "", "pods") {
            return Ok(());
        }
        if is_mirror(admission.object) {
            return check_mirror(admission);
        }
        let name = match text(admission.object, "/spec/serviceAccountName") {
            "" => match text(admission.object, "/spec/serviceAccount") {
                "" => DEFAULT_ACCOUNT.to_string(),
                older => older.to_string(),
            },
            name => name.to_string(),
        };
        admission.object["spec"]["serviceAccountName"] = json!(name);
        admission.object["spec"]["serviceAccount"] = json!(name);
        let account = self.account(admission, &name).await?;
        let flag = |object: &Value, pointer| object.pointer(pointer).and_then(Value::as_bool);
        let automount = flag(admission.object, "/spec/automountServiceAccountToken")
            .or_else(|| flag(&account, "/automountServiceAccountToken"))
            .unwrap_or(true);
        if automount {
            mount_token(admission.object);
        }
        if items(admission.object, "/spec/imagePullSecrets")
            .next()
            .is_none()
        {
            let secrets: Vec<Value> = items(&account, "/imagePullSecrets").cloned().collect();
            if !secrets.is_empty() {
                admission.object["spec"]["imagePullSecrets"] = Value::Array(secrets);
            }
        }
        Ok(())
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let is_create = admission.operation == Operation::Create && is_of(admission, "", "pods");
        let is_debug = admission.operation == Operation::Update
            && is_subresource_of(admission, "", "pods", "ephemeralcontainers");
        match is_create || is_debug {
            true => self.check_references(admission).await,
            false => Ok(()),
        }
    }
}

fn check_mirror(admission: &Admission<'_>) -> Result<(), Status> {
    let pod = &*admission.object;
    let why = if !text(pod, "/spec/serviceAccountName").is_empty() {
        "a mirror pod may not reference service accounts"
    } else if refers_to_secrets(pod) {
        "a mirror pod may not reference secrets"
    } else if projects_token(pod) {
        "a mirror pod may not use ServiceAccountToken volume projections"
    } else {
        return Ok(());
    };
    Err(forbidden(admission, why))
}

/// Mounts a token volume into every container that has nothing at its path.
fn mount_token(pod: &mut Value) {
    let existing = items(pod, "/spec/volumes")
        .map(|volume| text(volume, "/name"))
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(str::to_string);
    let is_new = existing.is_none();
    let volume = existing.unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", random_suffix()));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = pod["spec"][list].as_array_mut();
        for container in containers.into_iter().flatten() {
            if items(container, "/volumeMounts").any(|m| text(m, "/mountPath") == MOUNT_PATH) {
                continue;
            }
            let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
            push(&mut container["volumeMounts"], mount);
            mounted = true;
        }
    }
    if mounted && is_new {
        push(&mut pod["spec"]["volumes"], token_volume(&volume));
    }
    if let Some(spec) = pod["spec"].as_object_mut()
        && spec.get("initContainers").is_some_and(Value::is_null)
    {
        spec.remove("initContainers");
    }
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = Value::Array(vec![item]),
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

/// Five characters of the alphabet that generated names use.
fn random_suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rng = rand::rng();
    (0..5)
        .map(|_| ALPHABET[rng.random_range(0..ALPHABET.len())] as char)
        .collect()
}

/// Refuses Secrets that the account does not list.
fn limit_secrets(admission: &Admission<'_>, account: &Value) -> Result<(), Status> {
    let pod = &*admission.object;
    let own = text(account, "/metadata/name");
    let mountable: Vec<&str> = items(account, "/secrets")
        .map(|s| text(s, "/name"))
        .collect();
    let refuse = |what: String, kind: &str| {
        let why = format!(
            "{what} is not allowed because service account {own} does not reference that {kind}"
        );
        Err(forbidden(admission, &why))
    };
    for volume in items(pod, "/spec/volumes") {
        let secret = text(volume, "/secret/secretName");
        if !secret.is_empty() && !mountable.contains(&secret) {
            return refuse(
                format!("volume with secret.secretName=\"{secret}\""),
                "secret",
            );
        }
    }
    for (word, container) in containers(pod) {
        let name = text(container, "/name");
        for env in items(container, "/env") {
            if !env
                .pointer("/valueFrom/secretKeyRef")
                .is_some_and(Value::is_object)
            {
                continue;
            }
            let secret = text(env, "/valueFrom/secretKeyRef/name");
            if !mountable.contains(&secret) {
                let variable = text(env, "/name");
                let what = format!(
                    "{word}container {name} with envVar {variable} referencing secret.secretName=\"{secret}\""
                );
                return refuse(what, "secret");
            }
        }
        for source in items(container, "/envFrom") {
            if !source.get("secretRef").is_some_and(Value::is_object) {
                continue;
            }
            let secret = text(source, "/secretRef/name");
            if !mountable.contains(&secret) {
                let what = format!(
                    "{word}container {name} with envFrom referencing secret.secretName=\"{secret}\""
                );
                return refuse(what, "secret");
            }
        }
    }
    let pulls: Vec<&str> = items(account, "/imagePullSecrets")
        .map(|s| text(s, "/name"))
        .collect();
    for (number, secret) in items(pod, "/spec/imagePullSecrets").enumerate() {
        let name = text(secret, "/name");
        if !pulls.contains(&name) {
            let what = format!("imagePullSecrets[{number}].name=\"{name}\"");
            return refuse(what, "imagePullSecret");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::plugins::testing::Write;
    use crate::api::fake_objects::FakeObjects;

    fn plugin() -> Arc<dyn AdmissionPlugin> {
        let meta = |name: &str| json!({"namespace": "sas", "name": name});
        let mut strict = meta("strict");
        strict["annotations"] = json!({ENFORCE_SECRETS: "true"});
        Arc::new(ServiceAccount::new(FakeObjects::with(&[
            (
                "",
                "serviceaccounts",
                json!({"metadata": meta("default"), "imagePullSecrets": [{"name": "ips"}]}),
            ),
            (
                "",
                "serviceaccounts",
                json!({"metadata": meta("noauto"), "automountServiceAccountToken": false}),
            ),
            (
                "",
                "serviceaccounts",
                json!({"metadata": strict, "secrets": [{"name": "ok"}]}),
            ),
        ])))
    }

    async fn admit(spec: Value, mirror: bool) -> Result<Value, String> {
        let mut pod = json!({"metadata": {"namespace": "sas", "name": "p"}, "spec": spec});
        if pod["spec"]["containers"].is_null() {
            pod["spec"]["containers"] = json!([{"name": "c"}]);
        }
        if mirror {
            pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        }
        let write = Write::create("", "pods");
        let done = write.run(&plugin(), pod).await;
        done.map(|pod| pod["spec"].clone()).map_err(|s| s.message)
    }

    #[tokio::test]
    async fn tokens_are_mounted() {
        let spec = admit(json!({}), false).await.expect("admitted");
        assert_eq!(spec["serviceAccountName"], "default");
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "ips"}]));
        let mount = &spec["containers"][0]["volumeMounts"][0];
        assert_eq!(mount["name"], spec["volumes"][0]["name"]);
        assert_eq!(spec["volumes"][0]["projected"]["defaultMode"], 420);
        for (spec, mounts) in [
            (json!({"serviceAccountName": "noauto"}), false),
            (
                json!({"serviceAccount": "noauto", "automountServiceAccountToken": true}),
                true,
            ),
            (json!({"automountServiceAccountToken": false}), false),
            (
                json!({"containers": [{"name": "c", "volumeMounts": [{"mountPath": MOUNT_PATH}]}]}),
                false,
            ),
        ] {
            let spec = admit(spec, false).await.expect("admitted");
            assert_eq!(spec.get("volumes").is_some(), mounts, "{spec}");
        }
    }

    #[tokio::test]
    async fn refusals() {
        let strict = |more: Value| {
            let mut spec = more;
            spec["serviceAccountName"] = json!("strict");
            spec
        };
        let prefix = "pods \"p\" is forbidden: ";
        let tail = "is not allowed because service account strict does not reference that";
        let cases = [
            (
                json!({"serviceAccountName": "none"}),
                false,
                "error looking up service account sas/none: serviceaccount \"none\" not found"
                    .to_string(),
            ),
            (
                json!({"serviceAccountName": "noauto"}),
                true,
                "a mirror pod may not reference service accounts".into(),
            ),
            (
                json!({"volumes": [{"secret": {"secretName": "x"}}]}),
                true,
                "a mirror pod may not reference secrets".into(),
            ),
            (
                json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
                true,
                "a mirror pod may not use ServiceAccountToken volume projections".into(),
            ),
            (
                strict(json!({"volumes": [{"name": "v", "secret": {"secretName": "no"}}]})),
                false,
                format!("volume with secret.secretName=\"no\" {tail} secret"),
            ),
            (
                strict(
                    json!({"containers": [{"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "no"}}}]}]}),
                ),
                false,
                format!(
                    "container c with envVar A referencing secret.secretName=\"no\" {tail} secret"
                ),
            ),
            (
                strict(json!({"imagePullSecrets": [{"name": "no"}]})),
                false,
                format!("imagePullSecrets[0].name=\"no\" {tail} imagePullSecret"),
            ),
        ];
        for (spec, mirror, why) in cases {
            assert_eq!(admit(spec, mirror).await, Err(format!("{prefix}{why}")));
        }
    }
}
