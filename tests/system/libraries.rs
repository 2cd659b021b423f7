//! kube-rs and the Python client, on both stores.

use std::process::Command;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent,
    WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};

use crate::server::{Server, Store, project};

/// A kube-rs client with the administrator's kubeconfig.
pub(crate) async fn client(server: &Server) -> Client {
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).expect("the server's kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a valid kubeconfig")).expect("a client")
}

#[tokio::test]
async fn kube_rs_on_the_embedded_store() {
    kube_rs(Store::Embedded).await;
}

#[tokio::test]
async fn kube_rs_on_etcd() {
    kube_rs(Store::Etcd).await;
}

async fn kube_rs(store: Store) {
    let server = Server::start(store, &[]);
    let maps: Api<ConfigMap> = Api::namespaced(client(&server).await, "default");
    let mut map = ConfigMap {
        metadata: ObjectMeta {
            name: Some("one".into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    map.data
        .get_or_insert_default()
        .insert("a".into(), "1".into());
    let created = maps
        .create(&PostParams::default(), &map)
        .await
        .expect("create");
    let version = created.resource_version().expect("a resourceVersion");

    let params = WatchParams::default();
    let mut events = maps.watch(&params, &version).await.expect("watch").boxed();
    let patch = serde_json::json!({"data": {"a": "2"}});
    let patched = maps
        .patch("one", &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    let patched = patched.expect("patch");
    assert_eq!(
        patched.data.and_then(|d| d.get("a").cloned()).as_deref(),
        Some("2")
    );
    match events.next().await {
        Some(Ok(WatchEvent::Modified(seen))) => assert_eq!(seen.name_any(), "one"),
        other => panic!("expected MODIFIED, got {other:?}"),
    }

    let mut stale = created.clone();
    stale
        .data
        .get_or_insert_default()
        .insert("a".into(), "3".into());
    let conflict = maps.replace("one", &PostParams::default(), &stale).await;
    assert!(
        matches!(conflict, Err(kube::Error::Api(ref e)) if e.code == 409),
        "{conflict:?}"
    );

    let listed = maps
        .list(&ListParams::default().fields("metadata.name=one"))
        .await
        .expect("list");
    assert_eq!(listed.items.len(), 1);
    maps.delete("one", &DeleteParams::default())
        .await
        .expect("delete");
    match events.next().await {
        Some(Ok(WatchEvent::Deleted(seen))) => assert_eq!(seen.name_any(), "one"),
        other => panic!("expected DELETED, got {other:?}"),
    }
    let gone = maps.get_opt("one").await.expect("get");
    assert!(gone.is_none());
}

#[test]
fn python_client_on_the_embedded_store() {
    python(Store::Embedded);
}

#[test]
fn python_client_on_etcd() {
    python(Store::Etcd);
}

fn python(store: Store) {
    let server = Server::start(store, &[]);
    let output = Command::new("python3")
        .arg(project().join("tests/system/client.py"))
        .arg(server.kubeconfig())
        .output()
        .expect("python3 to run; install it with: apt-get install python3");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "the Python client failed (its library: pip install kubernetes)\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}
