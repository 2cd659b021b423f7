//! The API in protobuf, spoken by a client that is not ours: `k8s-pb`'s types, generated from upstream's
//! `.proto` files, decode every answer and encode every body here. Whatever field our codec numbers or
//! types otherwise is lost on the way and makes the answers differ.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use k8s_pb::api;
use k8s_pb::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_pb::apimachinery::pkg::runtime::Unknown;
use kube::Client;
use kube::client::Body;
use prost::Message;
use serde_json::{Value, json};

use crate::libraries::client;
use crate::server::{Server, Store, project};

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

/// Decodes a message and encodes it again.
type Recode = fn(&[u8]) -> Vec<u8>;
/// Codecs of a kind and of its list, by apiVersion and kind.
type Kinds = BTreeMap<(&'static str, &'static str), (Recode, Recode)>;

fn recode<T: Message + Default>(bytes: &[u8]) -> Vec<u8> {
    let message = T::decode(bytes).expect("a message of the kind");
    message.encode_to_vec()
}

macro_rules! kinds {
    ($($api_version:literal => $module:path { $($kind:ident $list:ident),* $(,)? })*) => {
        /// Kind with apiVersion, its codec, and that of its list.
        fn kinds() -> Kinds {
            let mut all = Kinds::new();
            $({
                use $module as module;
                $(all.insert(
                    ($api_version, stringify!($kind)),
                    (recode::<module::$kind>, recode::<module::$list>),
                );)*
            })*
            all
        }
    };
}

kinds! {
    "v1" => api::core::v1 {
        ConfigMap ConfigMapList, Endpoints EndpointsList, Event EventList, LimitRange LimitRangeList,
        Namespace NamespaceList, Node NodeList, PersistentVolume PersistentVolumeList,
        PersistentVolumeClaim PersistentVolumeClaimList, Pod PodList, PodTemplate PodTemplateList,
        ReplicationController ReplicationControllerList, ResourceQuota ResourceQuotaList,
        Secret SecretList, Service ServiceList, ServiceAccount ServiceAccountList,
    }
    "apps/v1" => api::apps::v1 {
        ControllerRevision ControllerRevisionList, DaemonSet DaemonSetList, Deployment DeploymentList,
        ReplicaSet ReplicaSetList, StatefulSet StatefulSetList,
    }
    "batch/v1" => api::batch::v1 { CronJob CronJobList, Job JobList }
    "autoscaling/v1" => api::autoscaling::v1 { HorizontalPodAutoscaler HorizontalPodAutoscalerList }
    "autoscaling/v2" => api::autoscaling::v2 { HorizontalPodAutoscaler HorizontalPodAutoscalerList }
    "networking.k8s.io/v1" => api::networking::v1 {
        Ingress IngressList, IngressClass IngressClassList, IPAddress IPAddressList,
        NetworkPolicy NetworkPolicyList, ServiceCIDR ServiceCIDRList,
    }
    "policy/v1" => api::policy::v1 { PodDisruptionBudget PodDisruptionBudgetList }
    "rbac.authorization.k8s.io/v1" => api::rbac::v1 {
        ClusterRole ClusterRoleList, ClusterRoleBinding ClusterRoleBindingList, Role RoleList,
        RoleBinding RoleBindingList,
    }
    "storage.k8s.io/v1" => api::storage::v1 {
        CSIDriver CSIDriverList, CSINode CSINodeList, CSIStorageCapacity CSIStorageCapacityList,
        StorageClass StorageClassList, VolumeAttachment VolumeAttachmentList,
        VolumeAttributesClass VolumeAttributesClassList,
    }
    "scheduling.k8s.io/v1" => api::scheduling::v1 { PriorityClass PriorityClassList }
    "node.k8s.io/v1" => api::node::v1 { RuntimeClass RuntimeClassList }
    "coordination.k8s.io/v1" => api::coordination::v1 { Lease LeaseList }
    "discovery.k8s.io/v1" => api::discovery::v1 { EndpointSlice EndpointSliceList }
    "events.k8s.io/v1" => api::events::v1 { Event EventList }
    "flowcontrol.apiserver.k8s.io/v1" => api::flowcontrol::v1 {
        FlowSchema FlowSchemaList, PriorityLevelConfiguration PriorityLevelConfigurationList,
    }
    "certificates.k8s.io/v1" => api::certificates::v1 {
        CertificateSigningRequest CertificateSigningRequestList,
    }
    "admissionregistration.k8s.io/v1" => api::admissionregistration::v1 {
        MutatingWebhookConfiguration MutatingWebhookConfigurationList,
        ValidatingAdmissionPolicy ValidatingAdmissionPolicyList,
        ValidatingAdmissionPolicyBinding ValidatingAdmissionPolicyBindingList,
        ValidatingWebhookConfiguration ValidatingWebhookConfigurationList,
    }
    "resource.k8s.io/v1" => api::resource::v1 {
        DeviceClass DeviceClassList, ResourceClaim ResourceClaimList,
        ResourceClaimTemplate ResourceClaimTemplateList, ResourceSlice ResourceSliceList,
    }
    "apiextensions.k8s.io/v1" => apiextensions::v1 {
        CustomResourceDefinition CustomResourceDefinitionList,
    }
}

struct Api {
    client: Client,
}

struct Answer {
    status: StatusCode,
    content_type: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// What the envelope says, and the message in it.
    fn envelope(&self) -> ((String, String), Vec<u8>) {
        assert!(
            self.content_type.starts_with(PROTOBUF),
            "{}",
            self.content_type
        );
        open(&self.body)
    }
}

fn open(bytes: &[u8]) -> ((String, String), Vec<u8>) {
    let message = bytes.strip_prefix(MAGIC).expect("the magic number");
    let unknown = Unknown::decode(message).expect("an envelope");
    let found = unknown.type_meta.unwrap_or_default();
    let kind = (
        found.api_version.unwrap_or_default(),
        found.kind.unwrap_or_default(),
    );
    (kind, unknown.raw.unwrap_or_default())
}

fn seal(api_version: &str, kind: &str, raw: Vec<u8>) -> Vec<u8> {
    let unknown = Unknown {
        type_meta: Some(k8s_pb::apimachinery::pkg::runtime::TypeMeta {
            api_version: Some(api_version.into()),
            kind: Some(kind.into()),
        }),
        raw: Some(raw),
        ..Unknown::default()
    };
    [MAGIC, &unknown.encode_to_vec()].concat()
}

impl Api {
    async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("accept", accept)
            .header("content-type", content_type)
            .header("user-agent", "protobuf-test")
            .body(Body::from(body))
            .expect("a request");
        let answer = self.client.send(request).await.expect("an answer");
        let (head, body) = answer.into_parts();
        let content_type = head.headers.get("content-type");
        let content_type = content_type.and_then(|v| v.to_str().ok());
        Answer {
            status: head.status,
            content_type: content_type.unwrap_or_default().to_string(),
            body: body.collect().await.expect("a body").to_bytes().to_vec(),
        }
    }

    async fn get(&self, path: &str, accept: &str) -> Answer {
        self.send(Method::GET, path, accept, "application/json", Vec::new())
            .await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let (json, body) = ("application/json", body.to_string().into_bytes());
        self.send(Method::POST, path, json, json, body).await
    }
}

/// The creates of the golden cases that a real server took: path and body.
fn recorded_creates() -> Vec<(String, Value)> {
    let script = r#"
import glob, json, os, sys, yaml
for case in sorted(glob.glob(sys.argv[1] + "/cases/*.yaml")):
    steps = yaml.safe_load(open(case))
    recorded = json.load(open(sys.argv[1] + "/recorded/" + os.path.basename(case)[:-5] + ".json"))
    steps = steps["steps"] if isinstance(steps, dict) else steps
    for step, answer in zip(steps, recorded):
        method, path = step.get("do", " ").split(" ", 1)
        plain = method == "POST" and isinstance(step.get("body"), dict) and not step.get("headers")
        if plain and answer.get("status") == 201 and "${" not in json.dumps(step, default=str) and step.get("as", "admin") == "admin":
            print(json.dumps([path.split("?")[0], step["body"]], default=str))
"#;
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(project().join("tests/golden"))
        .output()
        .expect("python3 to run; install it with: apt-get install python3 python3-yaml");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// Drops what differs from one dry run to the next.
fn stable(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    for name in [
        "uid",
        "creationTimestamp",
        "managedFields",
        "resourceVersion",
    ] {
        metadata.remove(name);
    }
    if metadata.contains_key("generateName") {
        metadata.remove("name");
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove("kubernetes.io/metadata.name");
        }
    }
    steady(&mut object);
    object
}

/// Random names of token volumes, addresses and ports that were picked.
fn steady(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with("kube-api-access-") => {
            *text = "kube-api-access".into();
        }
        Value::Array(items) => items.iter_mut().for_each(steady),
        Value::Object(members) => {
            for name in ["clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort"] {
                members.remove(name);
            }
            members.values_mut().for_each(steady);
        }
        _ => {}
    }
}

#[tokio::test]
async fn bodies_and_answers_mean_the_same_in_both_forms() {
    let server = Server::start(Store::Embedded, &["--allow-privileged=true"]);
    let api = Api {
        client: client(&server).await,
    };
    let kinds = kinds();
    let mut covered: BTreeSet<(String, String)> = BTreeSet::new();
    let mut namespaces = BTreeSet::new();
    let mut failures = Vec::new();
    let mut exchanges = 0;
    for (path, body) in recorded_creates() {
        let kind = body["kind"].as_str().unwrap_or_default();
        let api_version = body["apiVersion"].as_str().unwrap_or_default();
        let Some((codec, _)) = kinds.get(&(api_version, kind)) else {
            continue;
        };
        if let Some(namespace) = namespace_of(&path)
            && namespaces.insert(namespace.to_string())
        {
            prepare_namespace(&api, namespace).await;
        }
        let dry = format!("{path}?dryRun=All");
        let json_answer = api.post(&dry, &body).await;
        let text = body.to_string().into_bytes();
        let proto_answer = api
            .send(Method::POST, &dry, PROTOBUF, "application/json", text)
            .await;
        assert_eq!(json_answer.status, proto_answer.status, "{path} {body}");
        if !json_answer.status.is_success() {
            continue;
        }
        let (found, raw) = proto_answer.envelope();
        assert_eq!(found, (api_version.to_string(), kind.to_string()), "{path}");
        let recoded = codec(&raw);
        let sent = seal(api_version, kind, recoded);
        let again = api
            .send(Method::POST, &dry, "application/json", PROTOBUF, sent)
            .await;
        exchanges += 1;
        covered.insert(found);
        let differs = match again.status.is_success() {
            true => difference("", &stable(json_answer.json()), &stable(again.json())),
            // What a dry run picked (an address, a selector) is refused in either form.
            false => {
                let same = api.post(&dry, &json_answer.json()).await;
                let text = String::from_utf8_lossy(&again.body).into_owned();
                (same.status != again.status).then_some(text)
            }
        };
        if let Some(difference) = differs {
            failures.push(format!("{path} {}: {difference}", body["metadata"]["name"]));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {exchanges}:\n{failures:#?}",
        failures.len()
    );
    assert!(covered.len() >= 40, "{} kinds: {covered:?}", covered.len());
    assert!(exchanges >= 300, "{exchanges} exchanges");
}

fn namespace_of(path: &str) -> Option<&str> {
    path.split_once("/namespaces/")?.1.split('/').next()
}

async fn prepare_namespace(api: &Api, name: &str) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    api.post("/api/v1/namespaces", &namespace).await;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
    api.post(&path, &account).await;
}

/// Whether both are times that the server may have set, one request after the other.
fn are_times_of_one_test(a: &str, b: &str) -> bool {
    let time = |text| chrono::DateTime::parse_from_rfc3339(text).ok();
    let (Some(a), Some(b)) = (time(a), time(b)) else {
        return false;
    };
    let now = chrono::Utc::now();
    let is_recent = (now - a.to_utc()).num_minutes() < 10;
    is_recent && (a - b).num_seconds().abs() < 60
}

/// The first place where two trees differ.
fn difference(at: &str, a: &Value, b: &Value) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let null = Value::Null;
            names.into_iter().find_map(|name| {
                let part = |o: &'_ serde_json::Map<String, Value>| o.get(name).cloned();
                let (x, y) = (part(a), part(b));
                let path = format!("{at}.{name}");
                difference(
                    &path,
                    x.as_ref().unwrap_or(&null),
                    y.as_ref().unwrap_or(&null),
                )
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(i, (x, y))| difference(&format!("{at}[{i}]"), x, y))
        }
        (Value::String(a), Value::String(b)) if are_times_of_one_test(a, b) => None,
        (a, b) => (a != b).then(|| format!("{at}: {a} is not {b}")),
    }
}

#[tokio::test]
async fn lists_watches_updates_and_deletes() {
    let server = Server::start(Store::Embedded, &[]);
    let api = Api {
        client: client(&server).await,
    };
    let mut listed = 0;
    for ((api_version, name), (_, codec)) in kinds() {
        let Some(path) = collection(&api, api_version, name).await else {
            panic!("{api_version} {name} is not served");
        };
        let json = api.get(&path, "application/json").await.json();
        let answer = api.get(&path, PROTOBUF).await;
        let (found, raw) = answer.envelope();
        let list_kind = json["kind"].as_str().unwrap_or_default().to_string();
        assert_eq!(found, (api_version.to_string(), list_kind), "{path}");
        // Field 2 of every list repeats its items.
        let items = |raw: &[u8]| fields(raw).into_iter().filter(|(n, _)| *n == 2).count();
        let count = json["items"].as_array().map_or(0, Vec::len);
        assert_eq!((items(&raw), items(&codec(&raw))), (count, count), "{path}");
        assert_eq!(sorted(&raw), sorted(&codec(&raw)), "{path}");
        listed += count;
    }
    assert!(listed > 150, "the bootstrap objects: {listed}");

    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pb"}, "data": {"a": "1"}});
    assert_eq!(api.post(maps, &map).await.status, StatusCode::CREATED);
    let (_, raw) = api.get(&format!("{maps}/pb"), PROTOBUF).await.envelope();
    let mut map = api::core::v1::ConfigMap::decode(&raw[..]).expect("a ConfigMap");
    map.data.insert("b".into(), "2".into());
    let body = seal("v1", "ConfigMap", map.encode_to_vec());
    let updated = api
        .send(
            Method::PUT,
            &format!("{maps}/pb"),
            PROTOBUF,
            PROTOBUF,
            body.clone(),
        )
        .await;
    let (_, raw) = updated.envelope();
    let changed = api::core::v1::ConfigMap::decode(&raw[..]).expect("a ConfigMap");
    assert_eq!(changed.data.len(), 2);
    // The old resourceVersion again: the refusal is in protobuf too.
    let refused = api
        .send(Method::PUT, &format!("{maps}/pb"), PROTOBUF, PROTOBUF, body)
        .await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let (found, raw) = refused.envelope();
    assert_eq!(found, ("v1".into(), "Status".into()));
    let status = meta::Status::decode(&raw[..]).expect("a Status");
    assert_eq!(
        (status.code, status.reason.as_deref()),
        (Some(409), Some("Conflict"))
    );

    let watch = format!("{maps}?watch=1&timeoutSeconds=1&resourceVersion=0");
    let answer = api.get(&watch, &format!("{PROTOBUF};stream=watch")).await;
    assert_eq!(answer.content_type, format!("{PROTOBUF};stream=watch"));
    let mut rest = &answer.body[..];
    let mut seen = Vec::new();
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let (frame, after) = more.split_at(u32::from_be_bytes(*length) as usize);
        let event = meta::WatchEvent::decode(frame).expect("an event");
        let object = event.object.and_then(|o| o.raw).expect("an object");
        let (found, raw) = open(&object);
        assert_eq!(found.1, "ConfigMap");
        let map = api::core::v1::ConfigMap::decode(&raw[..]).expect("a ConfigMap");
        let name = map.metadata.and_then(|m| m.name).unwrap_or_default();
        seen.push((event.r#type.unwrap_or_default(), name));
        rest = after;
    }
    assert!(seen.contains(&("ADDED".into(), "pb".into())), "{seen:?}");

    let partial = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let (found, raw) = api.get(maps, &partial).await.envelope();
    assert_eq!(found.1, "PartialObjectMetadataList");
    let list = meta::PartialObjectMetadataList::decode(&raw[..]).expect("a list");
    assert!(list.items.iter().any(|i| {
        let name = i.metadata.as_ref().and_then(|m| m.name.as_deref());
        name == Some("pb")
    }));

    let options = meta::DeleteOptions {
        preconditions: Some(meta::Preconditions {
            uid: Some("not-this-one".into()),
            ..meta::Preconditions::default()
        }),
        ..meta::DeleteOptions::default()
    };
    let delete =
        |options: &meta::DeleteOptions| seal("v1", "DeleteOptions", options.encode_to_vec());
    let path = format!("{maps}/pb");
    let refused = api
        .send(
            Method::DELETE,
            &path,
            "application/json",
            PROTOBUF,
            delete(&options),
        )
        .await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.json());
    let options = meta::DeleteOptions::default();
    let deleted = api
        .send(Method::DELETE, &path, PROTOBUF, PROTOBUF, delete(&options))
        .await;
    assert_eq!(deleted.status, StatusCode::OK);
    assert_eq!(deleted.envelope().0, ("v1".into(), "Status".into()));
}

/// The path of a kind's collection, in the namespace `default` where it has one.
async fn collection(api: &Api, api_version: &str, name: &str) -> Option<String> {
    let root = match api_version {
        "v1" => "/api/v1".to_string(),
        other => format!("/apis/{other}"),
    };
    let document = api.get(&root, "application/json").await.json();
    let rows = document["resources"].as_array()?.clone();
    let row = rows.into_iter().find(|row| {
        row["kind"] == name && !row["name"].as_str().unwrap_or_default().contains('/')
    })?;
    Some(format!("{root}/{}", row["name"].as_str()?))
}

/// Field numbers and contents of a message, as far as they are bytes.
fn fields(mut raw: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut out = Vec::new();
    while !raw.is_empty() {
        let tag = prost::encoding::decode_varint(&mut raw).expect("a tag");
        let content = match tag & 7 {
            0 => prost::encoding::decode_varint(&mut raw)
                .expect("a number")
                .to_be_bytes()
                .to_vec(),
            2 => {
                let length = prost::encoding::decode_varint(&mut raw).expect("a length") as usize;
                let (content, rest) = raw.split_at(length);
                raw = rest;
                content.to_vec()
            }
            wire => panic!("wire type {wire}"),
        };
        out.push((tag >> 3, content));
    }
    out
}

/// As [`fields`], in an order that does not depend on the encoder's.
fn sorted(raw: &[u8]) -> Vec<(u64, usize)> {
    let mut all: Vec<(u64, usize)> = fields(raw).iter().map(|(n, c)| (*n, c.len())).collect();
    all.sort_unstable();
    all
}
