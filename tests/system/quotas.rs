//! Quotas hold whatever runs in parallel.

use std::collections::BTreeMap;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};

use crate::etcd::Etcd;
use crate::libraries::client;
use crate::server::{Server, Store};

const LIMIT: usize = 10;
const WRITERS: usize = 100;

fn limit(n: usize) -> BTreeMap<String, Quantity> {
    BTreeMap::from([("configmaps".to_string(), Quantity(n.to_string()))])
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_string()),
        ..ObjectMeta::default()
    }
}

/// A namespace that may have [`LIMIT`] config maps.
async fn prepare(client: &kube::Client) {
    let params = PostParams::default();
    let namespace = Namespace {
        metadata: named("full"),
        ..Namespace::default()
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&params, &namespace)
        .await
        .expect("a namespace");
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), "full");
    let quota = ResourceQuota {
        metadata: named("q"),
        spec: Some(ResourceQuotaSpec {
            hard: Some(limit(LIMIT)),
            ..ResourceQuotaSpec::default()
        }),
        status: None,
    };
    quotas.create(&params, &quota).await.expect("a quota");
    // What the quota controller does.
    let status = ResourceQuotaStatus {
        hard: Some(limit(LIMIT)),
        used: Some(limit(0)),
    };
    let patch = Patch::Merge(serde_json::json!({ "status": status }));
    quotas
        .patch_status("q", &PatchParams::default(), &patch)
        .await
        .expect("a status");
}

/// Creates config maps at once; answers how many there are then, and how many are charged.
async fn fill(clients: &[kube::Client]) -> (usize, usize, Vec<String>) {
    let params = PostParams::default();
    let writes = (0..WRITERS).map(|n| {
        let maps: Api<ConfigMap> = Api::namespaced(clients[n % clients.len()].clone(), "full");
        let map = ConfigMap {
            metadata: named(&format!("m{n}")),
            ..ConfigMap::default()
        };
        let params = &params;
        async move { maps.create(params, &map).await.map_err(|e| e.to_string()) }
    });
    let outcomes = join_all(writes).await;
    let refusals = outcomes.into_iter().filter_map(Result::err).collect();
    let maps: Api<ConfigMap> = Api::namespaced(clients[0].clone(), "full");
    let made = maps.list(&ListParams::default()).await.expect("a list");
    let quotas: Api<ResourceQuota> = Api::namespaced(clients[0].clone(), "full");
    let quota = quotas.get("q").await.expect("the quota");
    let used = quota.status.and_then(|s| s.used).expect("a usage");
    let used = used["configmaps"].0.parse().expect("a number");
    (made.items.len(), used, refusals)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_writers_fill_a_quota_exactly() {
    let server = Server::start(Store::Embedded, &[]);
    let client = client(&server).await;
    prepare(&client).await;
    let (made, used, refusals) = fill(&[client]).await;
    assert_eq!((made, used), (LIMIT, LIMIT));
    assert_eq!(refusals.len(), WRITERS - LIMIT);
    let text =
        "exceeded quota: q, requested: configmaps=1, used: configmaps=10, limited: configmaps=10";
    assert!(refusals.iter().all(|r| r.contains(text)), "{refusals:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_store_do_not_exceed_a_quota() {
    let etcd = Etcd::start();
    let flags = ["--etcd-servers", etcd.endpoint()];
    let servers = [
        Server::start(Store::Embedded, &flags),
        Server::start(Store::Embedded, &flags),
    ];
    let clients = [client(&servers[0]).await, client(&servers[1]).await];
    prepare(&clients[0]).await;
    // The second server learns of the quota through its watch.
    let quotas: Api<ResourceQuota> = Api::namespaced(clients[1].clone(), "full");
    quotas.get("q").await.expect("the quota");
    let (made, used, refusals) = fill(&clients).await;
    assert!(made <= used && used <= LIMIT, "{made} made, {used} charged");
    // Who loses four races in a row is told so; nobody else is refused below the limit.
    let is_refusal =
        |r: &String| r.contains("exceeded quota") || r.contains("the object has been modified");
    assert!(refusals.iter().all(is_refusal), "{refusals:?}");
}
