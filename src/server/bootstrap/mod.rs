//! The objects a server makes at start and keeps in existence (contract/storage.md §5).
//!
//! Called by the composition root once storage is ready: [`bootstrap`] makes everything once,
//! [`keep`] looks after what must not go away while the server runs.
//!
//! # Invariants
//! - Nothing a user changed is overwritten, except what upstream overwrites (mandatory flow control
//!   objects, missing rules and subjects of bootstrap roles).
//! - Every step may run again, on this server or on another at the same time.

mod basics;
mod flow_control;
mod kubernetes_service;
mod rbac;
pub mod senders;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::base::tree::{Value, json};

/// How often namespaces and flow control objects are looked after.
const KEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How often the identity lease is renewed and the endpoints are looked after.
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// Objects made at the same time.
const CONCURRENCY: usize = 16;

/// What the objects are made from.
#[derive(Clone, Debug)]
pub struct BootstrapOptions {
    /// `--service-cluster-ip-range`, the primary range first.
    pub service_cidrs: Vec<String>,
    /// Address that others reach this server at.
    pub advertise_address: IpAddr,
    /// `--secure-port`.
    pub secure_port: u16,
    /// `--kubernetes-service-node-port`; zero for none.
    pub service_node_port: u16,
    /// Text of `--client-ca-file`.
    pub client_ca: Option<String>,
    /// `--requestheader-*`, when a CA is set.
    pub request_header: Option<RequestHeaderOptions>,
    /// Host name, for the identity lease.
    pub hostname: String,
    /// This process, for the identity lease: a fresh UUID.
    pub instance: String,
    /// Whether RBAC is among the authorization modes.
    pub rbac: bool,
    /// Whether to publish endpoints (`--endpoint-reconciler-type` other than none).
    pub publish_endpoints: bool,
    /// Served group versions, for APIServices: (group, version).
    pub group_versions: Vec<(String, String)>,
    /// Clusters whose API servers send audit events here.
    pub senders: Vec<String>,
    /// Only what says who may read and send: the server is a collector.
    pub access_only: bool,
}

/// The front proxy as `extension-apiserver-authentication` tells it.
#[derive(Clone, Debug, Default)]
pub struct RequestHeaderOptions {
    /// Text of `--requestheader-client-ca-file`.
    pub client_ca: String,
    /// `--requestheader-allowed-names`.
    pub allowed_names: Vec<String>,
    /// `--requestheader-extra-headers-prefix`.
    pub extra_headers_prefix: Vec<String>,
    /// `--requestheader-group-headers`.
    pub group_headers: Vec<String>,
    /// `--requestheader-username-headers`.
    pub username_headers: Vec<String>,
    /// `--requestheader-uid-headers`.
    pub uid_headers: Vec<String>,
}

/// Makes everything that must exist. May be called again after an error.
pub async fn bootstrap(objects: &dyn Objects, options: &BootstrapOptions) -> Result<(), Status> {
    basics::namespaces(objects).await?;
    if options.rbac {
        rbac::reconcile(objects).await?;
        senders::ensure_roles(objects, &options.senders).await?;
    }
    if options.access_only {
        return Ok(());
    }
    flow_control::ensure(objects).await?;
    basics::priority_classes(objects).await?;
    basics::config_maps(objects, options).await?;
    basics::api_services(objects, &options.group_versions).await?;
    kubernetes_service::service_cidr(objects, options).await?;
    kubernetes_service::service(objects, options).await?;
    basics::renew_lease(objects, options).await?;
    if options.publish_endpoints {
        kubernetes_service::endpoints(objects, options).await?;
    }
    Ok(())
}

/// The rules of the role `system:node`, which the Node authorizer applies itself.
pub fn node_rules() -> Vec<crate::authorization::rbac::PolicyRule> {
    rbac::cluster_role_rules("system:node")
}

/// Looks after what [`bootstrap`] made until the task is aborted.
pub async fn keep(objects: Arc<dyn Objects>, options: Arc<BootstrapOptions>) {
    let mut often = tokio::time::interval(RENEW_INTERVAL);
    let mut seldom = tokio::time::interval(KEEP_INTERVAL);
    for interval in [&mut often, &mut seldom] {
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        interval.tick().await;
    }
    loop {
        let result = tokio::select! {
            _ = often.tick() => keep_often(&*objects, &options).await,
            _ = seldom.tick() => keep_seldom(&*objects, &options).await,
        };
        if let Err(status) = result {
            tracing::warn!(%status, "looking after bootstrap objects failed, will try again");
        }
    }
}

/// Takes this server out of the endpoints, on shutdown.
pub async fn withdraw(objects: &dyn Objects, options: &BootstrapOptions) -> Result<(), Status> {
    basics::delete_lease(objects, options).await?;
    if options.publish_endpoints {
        kubernetes_service::withdraw_endpoints(objects, options).await?;
    }
    Ok(())
}

async fn keep_often(objects: &dyn Objects, options: &BootstrapOptions) -> Result<(), Status> {
    basics::renew_lease(objects, options).await?;
    if options.publish_endpoints {
        kubernetes_service::endpoints(objects, options).await?;
    }
    Ok(())
}

async fn keep_seldom(objects: &dyn Objects, options: &BootstrapOptions) -> Result<(), Status> {
    basics::namespaces(objects).await?;
    flow_control::ensure(objects).await?;
    kubernetes_service::service(objects, options).await
}

/// Creates `object` unless one of its name exists.
async fn ensure(
    objects: &dyn Objects,
    resource: &GroupResource,
    object: Value,
) -> Result<(), Status> {
    ensure_as(objects, "kube-apiserver", resource, object).await
}

/// As [`ensure`], in the name of a field manager.
async fn ensure_as(
    objects: &dyn Objects,
    manager: &'static str,
    resource: &GroupResource,
    object: Value,
) -> Result<(), Status> {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or("").to_string();
    let (namespace, name) = (text("namespace"), text("name"));
    if objects
        .get_cached(resource, &namespace, &name)
        .await?
        .is_some()
    {
        return Ok(());
    }
    let created = objects.create_as(manager, resource, &namespace, object);
    match created.await {
        Ok(_) => Ok(()),
        Err(status) if status.reason == "AlreadyExists" => Ok(()),
        Err(status) => Err(status),
    }
}

/// Kind, version and metadata of a new object.
fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

/// Now, as metav1.Time prints it.
fn now() -> String {
    chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake_objects::FakeObjects;

    fn options() -> BootstrapOptions {
        BootstrapOptions {
            service_cidrs: vec!["10.0.0.0/24".into()],
            advertise_address: IpAddr::from([192, 0, 2, 2]),
            secure_port: 6443,
            service_node_port: 0,
            client_ca: Some("pem".into()),
            request_header: None,
            hostname: "vm".into(),
            instance: "11111111-1111-1111-1111-111111111111".into(),
            rbac: true,
            publish_endpoints: true,
            group_versions: vec![("".into(), "v1".into()), ("apps".into(), "v1".into())],
            senders: Vec::new(),
            access_only: false,
        }
    }

    #[tokio::test]
    async fn everything_is_there_and_stays() {
        let objects = FakeObjects::with(&[]);
        for _ in 0..2 {
            bootstrap(&*objects, &options()).await.expect("no error");
        }
        keep_often(&*objects, &options()).await.expect("no error");
        let count = |group, resource| objects.names(group, resource).len();
        assert_eq!(count("", "namespaces"), 4);
        assert_eq!(count("rbac.authorization.k8s.io", "clusterroles"), 70);
        assert_eq!(
            count("rbac.authorization.k8s.io", "clusterrolebindings"),
            51
        );
        assert_eq!(count("rbac.authorization.k8s.io", "roles"), 7);
        assert_eq!(count("rbac.authorization.k8s.io", "rolebindings"), 7);
        assert_eq!(count("flowcontrol.apiserver.k8s.io", "flowschemas"), 11);
        assert_eq!(
            count(
                "flowcontrol.apiserver.k8s.io",
                "prioritylevelconfigurations"
            ),
            8
        );
        assert_eq!(
            objects.names("apiregistration.k8s.io", "apiservices"),
            ["/v1.", "/v1.apps"]
        );
        assert_eq!(
            objects.names("networking.k8s.io", "ipaddresses"),
            ["/10.0.0.1"]
        );
        let endpoints = GroupResource::new("", "endpoints");
        let found = objects.get(&endpoints, "default", "kubernetes").await;
        let found = found.expect("no error").expect("it is published");
        assert_eq!(
            found["subsets"][0]["addresses"],
            json!([{"ip": "192.0.2.2"}])
        );
        withdraw(&*objects, &options()).await.expect("no error");
        let found = objects.get(&endpoints, "default", "kubernetes").await;
        let found = found.expect("no error").expect("it stays");
        assert!(found.get("subsets").is_none(), "no address is left");
    }

    #[tokio::test]
    async fn what_users_removed_comes_back_unless_they_said_no() {
        let objects = FakeObjects::with(&[]);
        rbac::reconcile(&*objects).await.expect("no error");
        let resource = GroupResource::new("rbac.authorization.k8s.io", "clusterroles");
        for (autoupdate, expected) in [("true", 1), ("false", 0)] {
            let found = objects.get(&resource, "", "system:kube-dns").await;
            let mut role = (*found.expect("no error").expect("it exists")).clone();
            role["rules"] = json!([]);
            role["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] =
                json!(autoupdate);
            objects
                .update(&resource, "", role)
                .await
                .expect("it exists");
            rbac::reconcile(&*objects).await.expect("no error");
            let found = objects.get(&resource, "", "system:kube-dns").await;
            let role = found.expect("no error").expect("it exists");
            assert_eq!(role["rules"].as_array().map(Vec::len), Some(expected));
        }
    }
}
