//! The ledger: everything discovery promises is asked for, rightly, wrongly and by somebody who may
//! not, and status code and shape of every answer are checked. A resource without a manifest in
//! `manifests.yaml` fails. [`KNOWN_GAPS`] only shrinks: an entry that no longer fails fails the test.

use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::libraries::client;
use crate::server::{Server, Store};

/// Beginnings of failures that are known, and why they stay.
const KNOWN_GAPS: [(&str, &str); 0] = [];

/// Need a kubelet or an endpoint behind them: only their refusals are checked.
const CONNECTED: [&str; 7] = [
    "nodes/proxy",
    "pods/attach",
    "pods/exec",
    "pods/log",
    "pods/portforward",
    "pods/proxy",
    "services/proxy",
];

/// What `system:basic-user` lets everybody do.
const FOR_EVERYBODY: [&str; 3] = [
    "selfsubjectaccessreviews",
    "selfsubjectreviews",
    "selfsubjectrulesreviews",
];

const NAMESPACE: &str = "ledger";
const MERGE: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

#[tokio::test]
async fn everything_in_discovery_answers_as_promised() {
    let server = Server::start(Store::Embedded, &[]);
    let mut ledger = Ledger::new(client(&server).await);
    ledger.prepare().await;
    let resources = ledger.discover().await;
    assert!(
        resources.len() > 100,
        "discovery lists the built-in resources"
    );
    for resource in resources.iter().filter(|r| r.subresource().is_none()) {
        ledger.walk(resource, &resources).await;
    }
    let known = |failure: &String| KNOWN_GAPS.iter().any(|(gap, _)| failure.starts_with(gap));
    let new: Vec<&String> = ledger.failures.iter().filter(|f| !known(f)).collect();
    assert!(new.is_empty(), "{} failures:\n{new:#?}", new.len());
    for (gap, reason) in KNOWN_GAPS {
        let failing = ledger.failures.iter().any(|f| f.starts_with(gap));
        assert!(failing, "remove the gap {gap:?} ({reason}): it is closed");
    }
}

/// One row of a discovery document.
#[derive(Clone, Debug)]
struct Resource {
    group: String,
    version: String,
    name: String,
    namespaced: bool,
    verbs: Vec<String>,
    /// Kind of the objects, with the `apiVersion` they carry.
    kind: (String, String),
}

impl Resource {
    fn new(group: &str, version: &str, row: &Value) -> Self {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
        let own_version = !text("version").is_empty();
        let (of_group, of_version) = match own_version {
            true => (text("group"), text("version")),
            false => (group.to_string(), version.to_string()),
        };
        Resource {
            group: group.into(),
            version: version.into(),
            name: text("name"),
            namespaced: row["namespaced"] == true,
            verbs: serde_json::from_value(row["verbs"].clone()).expect("verbs are strings"),
            kind: (api_version(&of_group, &of_version), text("kind")),
        }
    }

    fn parent(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    fn subresource(&self) -> Option<&str> {
        self.name.split_once('/').map(|(_, sub)| sub)
    }

    fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// `deployments.apps`
    fn full_name(&self) -> String {
        match self.group.as_str() {
            "" => self.parent().to_string(),
            group => format!("{}.{group}", self.parent()),
        }
    }

    fn collection(&self) -> String {
        let root = match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        match self.namespaced {
            true => format!("{root}/namespaces/{NAMESPACE}/{}", self.parent()),
            false => format!("{root}/{}", self.parent()),
        }
    }

    /// Path of the object, or of its subresource.
    fn object(&self, name: &str) -> String {
        match self.subresource() {
            Some(sub) => format!("{}/{name}/{sub}", self.collection()),
            None => format!("{}/{name}", self.collection()),
        }
    }

    /// The refusal upstream writes for `nobody`.
    fn refusal(&self, verb: &str, name: &str) -> String {
        let quoted = match name {
            "" => String::new(),
            name => format!(" \"{name}\""),
        };
        let place = match (self.namespaced, self.parent()) {
            (true, _) => format!("in the namespace \"{NAMESPACE}\""),
            // A request for one namespace is in that namespace.
            (false, "namespaces") if !name.is_empty() => format!("in the namespace \"{name}\""),
            _ => "at the cluster scope".into(),
        };
        format!(
            "{}{quoted} is forbidden: User \"nobody\" cannot {verb} resource \"{}\" in API group \"{}\" {place}",
            self.full_name(),
            self.name,
            self.group
        )
    }
}

fn api_version(group: &str, version: &str) -> String {
    match group {
        "" => version.into(),
        group => format!("{group}/{version}"),
    }
}

/// The client, the manifests and what went wrong.
struct Ledger {
    client: Client,
    manifests: Vec<Value>,
    failures: Vec<String>,
}

/// An answer: its status and its JSON (null for anything else).
type Answer = (StatusCode, Value);

impl Ledger {
    fn new(client: Client) -> Self {
        let manifests = include_str!("manifests.yaml")
            .split("\n---\n")
            .skip(1)
            .map(|text| serde_saphyr::from_str(text).expect("a manifest in YAML"))
            .collect();
        Ledger {
            client,
            manifests,
            failures: Vec::new(),
        }
    }

    async fn prepare(&self) {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
        for (path, object) in [("/api/v1/namespaces", namespace), (&accounts, account)] {
            let (status, answer) = self.send(Method::POST, path, JSON, &object).await;
            assert_eq!(status, StatusCode::CREATED, "{answer}");
        }
    }

    async fn discover(&self) -> Vec<Resource> {
        let mut versions = vec![(String::new(), "v1".to_string(), "/api/v1".to_string())];
        let (_, groups) = self.get("/apis").await;
        for group in groups["groups"].as_array().expect("an APIGroupList") {
            let name = group["name"].as_str().expect("a group's name");
            for version in group["versions"].as_array().expect("a group's versions") {
                let of_group = version["groupVersion"].as_str().expect("a groupVersion");
                let version = version["version"].as_str().expect("a version");
                versions.push((name.into(), version.into(), format!("/apis/{of_group}")));
            }
        }
        let mut found = Vec::new();
        for (group, version, path) in versions {
            let (status, list) = self.get(&path).await;
            assert_eq!(status, StatusCode::OK, "{path}");
            let rows = list["resources"].as_array().expect("an APIResourceList");
            found.extend(rows.iter().map(|row| Resource::new(&group, &version, row)));
        }
        found
    }

    /// One resource and its subresources, from creation to deletion.
    async fn walk(&mut self, resource: &Resource, all: &[Resource]) {
        if resource.name == "componentstatuses" {
            return self.read(resource, "etcd-0").await;
        }
        if resource.name == "bindings" {
            let pods = all
                .iter()
                .find(|r| r.name == "pods")
                .expect("pods in discovery");
            self.renew(pods).await;
            let pod = format!("{}/ledger-pod?gracePeriodSeconds=0", pods.collection());
            if let Some(manifest) = self.manifest(resource) {
                self.create(resource, &manifest, None).await;
            }
            self.send(Method::DELETE, &pod, JSON, &Value::Null).await;
            return;
        }
        // The search API shows requests, which nobody creates.
        if !resource.can("create") {
            let answer = self.get(&resource.object("missing")).await;
            self.missing(resource, "get", answer);
            self.refused(resource, "get", false, "missing").await;
            if resource.can("list") {
                self.list(resource).await;
            }
            return;
        }
        let Some(manifest) = self.manifest(resource) else {
            return;
        };
        let name = name_of(&manifest).to_string();
        self.create(resource, &manifest, None).await;
        if resource.can("get") {
            self.read(resource, &name).await;
            self.write(resource, &name).await;
        }
        let subresources = all.iter().filter(|r| {
            r.subresource().is_some()
                && (&r.group, &r.version, r.parent())
                    == (&resource.group, &resource.version, &resource.name)
        });
        for subresource in subresources {
            self.renew(resource).await;
            self.subresource(subresource, &name).await;
        }
        self.remove(resource, &name).await;
    }

    fn manifest(&mut self, resource: &Resource) -> Option<Value> {
        let (version, kind) = &resource.kind;
        let found = self
            .manifests
            .iter()
            .find(|m| m["apiVersion"] == **version && m["kind"] == **kind);
        if found.is_none() {
            let failure = format!("{version} {kind}: no manifest in tests/system/manifests.yaml");
            self.failures.push(failure);
        }
        found.cloned()
    }

    /// Creates: the object, then bodies that are none.
    async fn create(&mut self, resource: &Resource, manifest: &Value, parent: Option<&str>) {
        let path = match parent {
            Some(name) => resource.object(name),
            None => resource.collection(),
        };
        let strict = format!("{path}?fieldValidation=Strict");
        let answer = self
            .send_text(Method::POST, &path, JSON, "{".into(), None)
            .await;
        self.failure(resource, "create, malformed", answer, 400, "BadRequest", "");
        let wrong = wrong_kind(manifest);
        let answer = self.send(Method::POST, &path, JSON, &wrong).await;
        self.failure(
            resource,
            "create, wrong kind",
            answer,
            400,
            "BadRequest",
            "",
        );
        let mut unknown = manifest.clone();
        unknown["bogus"] = json!(1);
        let answer = self.send(Method::POST, &strict, JSON, &unknown).await;
        let text = "strict decoding error: unknown field \"bogus\"";
        self.failure(
            resource,
            "create, unknown field",
            answer,
            400,
            "BadRequest",
            text,
        );
        self.refused(
            resource,
            "create",
            parent.is_none(),
            parent.unwrap_or_default(),
        )
        .await;
        let answer = self.send(Method::POST, &strict, JSON, manifest).await;
        match resource.kind.1.as_str() {
            "Binding" | "Eviction" => self.shape(resource, "create", answer, 201, ("v1", "Status")),
            _ => self.own_shape(resource, "create", answer, 201),
        }
    }

    /// Get, list and watch.
    async fn read(&mut self, resource: &Resource, name: &str) {
        let answer = self.get(&resource.object(name)).await;
        self.own_shape(resource, "get", answer, 200);
        let answer = self.get(&resource.object("missing")).await;
        self.missing(resource, "get", answer);
        self.refused(resource, "get", false, name).await;
        if !resource.can("list") {
            return;
        }
        self.list(resource).await;
        if resource.can("watch") {
            self.watch(resource).await;
        }
    }

    async fn list(&mut self, resource: &Resource) {
        let collection = resource.collection();
        let answer = self.get(&collection).await;
        if !answer.1["items"].is_array() || answer.1["metadata"].is_null() {
            self.fail(resource, "list", "no items or metadata");
        }
        let (version, kind) = resource.kind.clone();
        let list_kind = list_kind(&kind);
        self.shape(resource, "list", answer, 200, (&version, &list_kind));
        let answer = self
            .get(&format!("{collection}?labelSelector=a%20in%20("))
            .await;
        self.failure(
            resource,
            "list, bad selector",
            answer,
            400,
            "BadRequest",
            "unable to parse requirement",
        );
        let answer = self
            .get(&format!("{collection}?fieldSelector=bogus%3D1"))
            .await;
        self.failure(resource, "list, bad field", answer, 400, "BadRequest", "");
        self.refused(resource, "list", true, "").await;
    }

    async fn watch(&mut self, resource: &Resource) {
        let path = format!("{}?watch=true", resource.collection());
        let answer = self.get(&format!("{path}&labelSelector=a%20in%20(")).await;
        self.failure(
            resource,
            "watch, bad selector",
            answer,
            400,
            "BadRequest",
            "unable to parse requirement",
        );
        self.refused(resource, "watch", true, "").await;
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = self.client.send(request).await.expect("an answer");
        if response.status() != StatusCode::OK {
            return self.fail(resource, "watch", &response.status().to_string());
        }
        let mut body = response.into_body();
        let frame = body.frame().await.expect("an event").expect("an event");
        let bytes = frame.into_data().unwrap_or_default();
        let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        if event["type"] != "ADDED" {
            self.fail(resource, "watch", &event.to_string());
        }
        self.own_shape(
            resource,
            "watch",
            (StatusCode::OK, event["object"].clone()),
            200,
        );
    }

    /// Update and patch.
    async fn write(&mut self, resource: &Resource, name: &str) {
        let path = resource.object(name);
        let object = self.get(&path).await.1;
        if resource.can("update") {
            let answer = self
                .send_text(Method::PUT, &path, JSON, "[".into(), None)
                .await;
            self.failure(resource, "update, malformed", answer, 400, "BadRequest", "");
            let answer = self
                .send(Method::PUT, &path, JSON, &wrong_kind(&object))
                .await;
            self.failure(
                resource,
                "update, wrong kind",
                answer,
                400,
                "BadRequest",
                "",
            );
            let mut renamed = object.clone();
            renamed["metadata"]["name"] = json!("other");
            let answer = self.send(Method::PUT, &path, JSON, &renamed).await;
            let text = format!(
                "the name of the object (other) does not match the name on the URL ({name})"
            );
            self.failure(
                resource,
                "update, other name",
                answer,
                400,
                "BadRequest",
                &text,
            );
            let mut unknown = object.clone();
            unknown["bogus"] = json!(1);
            let strict = format!("{path}?fieldValidation=Strict");
            let answer = self.send(Method::PUT, &strict, JSON, &unknown).await;
            let text = "strict decoding error: unknown field \"bogus\"";
            self.failure(
                resource,
                "update, unknown field",
                answer,
                400,
                "BadRequest",
                text,
            );
            self.refused(resource, "update", false, name).await;
            let answer = self.send(Method::PUT, &path, JSON, &object).await;
            self.own_shape(resource, "update", answer, 200);
        }
        if resource.can("patch") {
            self.patch(resource, name).await;
        }
    }

    async fn patch(&mut self, resource: &Resource, name: &str) {
        let path = resource.object(name);
        let patch = match resource.subresource() {
            Some("scale") => json!({"spec": {"replicas": 2}}),
            _ => json!({"metadata": {"labels": {"ledger": "yes"}}}),
        };
        let answer = self
            .send_text(Method::PATCH, &path, MERGE, "{".into(), None)
            .await;
        self.failure(resource, "patch, malformed", answer, 400, "BadRequest", "");
        let answer = self.send(Method::PATCH, &path, "text/plain", &patch).await;
        self.failure(
            resource,
            "patch, media type",
            answer,
            415,
            "UnsupportedMediaType",
            "",
        );
        let answer = self
            .send(Method::PATCH, &resource.object("missing"), MERGE, &patch)
            .await;
        self.missing(resource, "patch", answer);
        self.refused(resource, "patch", false, name).await;
        let answer = self.send(Method::PATCH, &path, MERGE, &patch).await;
        if resource.subresource().is_none() && answer.1["metadata"]["labels"]["ledger"] != "yes" {
            self.fail(resource, "patch", "the label is missing");
        }
        self.own_shape(resource, "patch", answer, 200);
    }

    async fn subresource(&mut self, resource: &Resource, name: &str) {
        if CONNECTED.contains(&resource.name.as_str()) {
            for verb in resource.verbs.clone() {
                self.refused(resource, &verb, false, name).await;
            }
            let answer = self.get(&resource.object("missing")).await;
            return self.missing(resource, "get", answer);
        }
        if resource.can("get") {
            self.read(resource, name).await;
            self.write(resource, name).await;
        } else if resource.can("update") {
            self.refused(resource, "update", false, name).await;
            let object = self
                .get(&format!("{}/{name}", resource.collection()))
                .await
                .1;
            let answer = self
                .send(Method::PUT, &resource.object(name), JSON, &object)
                .await;
            self.own_shape(resource, "update", answer, 200);
        }
        if resource.can("create") {
            let Some(mut manifest) = self.manifest(resource) else {
                return;
            };
            manifest["metadata"]["name"] = json!("missing");
            let answer = self
                .send(Method::POST, &resource.object("missing"), JSON, &manifest)
                .await;
            self.missing(resource, "create", answer);
            manifest["metadata"]["name"] = json!(name);
            self.create(resource, &manifest, Some(name)).await;
        }
    }

    /// Deletecollection and delete.
    async fn remove(&mut self, resource: &Resource, name: &str) {
        if resource.can("deletecollection") {
            let path = resource.collection();
            let bad = format!("{path}?labelSelector=a%20in%20(");
            let answer = self.send(Method::DELETE, &bad, JSON, &Value::Null).await;
            self.failure(
                resource,
                "deletecollection, bad selector",
                answer,
                400,
                "BadRequest",
                "unable to parse requirement",
            );
            self.refused(resource, "deletecollection", true, "").await;
            let mine = format!("{path}?fieldSelector=metadata.name%3D{name}");
            let answer = self.send(Method::DELETE, &mine, JSON, &Value::Null).await;
            if answer.1["items"]
                .as_array()
                .is_none_or(|items| items.len() != 1)
            {
                self.fail(resource, "deletecollection", "not the one object");
            }
            let (version, kind) = resource.kind.clone();
            self.shape(
                resource,
                "deletecollection",
                answer,
                200,
                (&version, &list_kind(&kind)),
            );
        }
        if !resource.can("delete") {
            return;
        }
        self.renew(resource).await;
        let path = resource.object(name);
        let missing = resource.object("missing");
        let answer = self
            .send(Method::DELETE, &missing, JSON, &Value::Null)
            .await;
        self.missing(resource, "delete", answer);
        self.refused(resource, "delete", false, name).await;
        let (status, answer) = self.send(Method::DELETE, &path, JSON, &Value::Null).await;
        let gone = answer["kind"] == "Status" && answer["status"] == "Success";
        let kept = answer["kind"] == *resource.kind.1;
        if status != StatusCode::OK || !(gone || kept) {
            self.fail(resource, "delete", &format!("{status} {answer}"));
        }
    }

    /// Makes sure that the resource's object is there and is not being deleted.
    async fn renew(&mut self, resource: &Resource) {
        let Some(manifest) = self.manifest(resource) else {
            return;
        };
        let path = resource.object(name_of(&manifest));
        let (status, object) = self.get(&path).await;
        let bound = !object["spec"]["nodeName"].is_null() && resource.name == "pods";
        if status == StatusCode::OK && object["metadata"]["deletionTimestamp"].is_null() && !bound {
            return;
        }
        if status == StatusCode::OK {
            let now = format!("{path}?gracePeriodSeconds=0");
            self.send(Method::DELETE, &now, JSON, &Value::Null).await;
            let free = json!({"metadata": {"finalizers": null}});
            self.send(Method::PATCH, &path, MERGE, &free).await;
        }
        let answer = self
            .send(Method::POST, &resource.collection(), JSON, &manifest)
            .await;
        self.own_shape(resource, "create again", answer, 201);
    }

    /// Somebody without rights is refused in upstream's words.
    async fn refused(&mut self, resource: &Resource, verb: &str, collection: bool, name: &str) {
        if FOR_EVERYBODY.contains(&resource.name.as_str()) {
            return;
        }
        let (method, query) = match verb {
            "create" => (Method::POST, ""),
            "update" => (Method::PUT, ""),
            "patch" => (Method::PATCH, ""),
            "delete" | "deletecollection" => (Method::DELETE, ""),
            "watch" => (Method::GET, "?watch=true"),
            _ => (Method::GET, ""),
        };
        let name = if collection { "" } else { name };
        let path = match collection {
            true => resource.collection(),
            false => resource.object(name),
        };
        let path = format!("{path}{query}");
        let answer = self
            .send_text(method, &path, JSON, String::new(), Some("nobody"))
            .await;
        let expected = resource.refusal(verb, name);
        if answer.1["message"] != *expected {
            let text = format!("expected {expected:?}, got {}", answer.1["message"]);
            self.fail(resource, &format!("{verb}, unauthorised"), &text);
        }
        self.failure(
            resource,
            &format!("{verb}, unauthorised"),
            answer,
            403,
            "Forbidden",
            "",
        );
    }

    fn missing(&mut self, resource: &Resource, verb: &str, answer: Answer) {
        let what = format!("{verb}, missing");
        let named = match resource.name.as_str() {
            "componentstatuses" => "componentstatus".into(),
            _ => resource.full_name(),
        };
        let text = format!("{named} \"missing\" not found");
        if answer.1["details"]["name"] != "missing" {
            self.fail(
                resource,
                &what,
                &format!("details: {}", answer.1["details"]),
            );
        }
        self.failure(resource, &what, answer, 404, "NotFound", &text);
    }

    fn own_shape(&mut self, resource: &Resource, what: &str, answer: Answer, code: u16) {
        let (version, kind) = resource.kind.clone();
        if !answer.1["metadata"].is_object() {
            self.fail(resource, what, "no metadata");
        }
        self.shape(resource, what, answer, code, (&version, &kind));
    }

    fn shape(
        &mut self,
        resource: &Resource,
        what: &str,
        answer: Answer,
        code: u16,
        kind: (&str, &str),
    ) {
        let (status, body) = answer;
        if status != code || body["apiVersion"] != *kind.0 || body["kind"] != *kind.1 {
            self.fail(
                resource,
                what,
                &format!("expected {code} {kind:?}, got {status} {body}"),
            );
        }
    }

    fn failure(
        &mut self,
        resource: &Resource,
        what: &str,
        answer: Answer,
        code: u16,
        reason: &str,
        text: &str,
    ) {
        let (status, body) = answer;
        let message = body["message"].as_str().unwrap_or_default();
        let fits = status == code
            && body["kind"] == "Status"
            && body["apiVersion"] == "v1"
            && body["metadata"].is_object()
            && body["status"] == "Failure"
            && body["reason"] == *reason
            && body["code"] == code
            && !message.is_empty()
            && message.contains(text);
        if !fits {
            self.fail(
                resource,
                what,
                &format!("expected {code} {reason} {text:?}, got {status} {body}"),
            );
        }
    }

    fn fail(&mut self, resource: &Resource, what: &str, text: &str) {
        let place = api_version(&resource.group, &resource.version);
        let failure = format!("{place} {} {what}: {text}", resource.name);
        self.failures.push(failure.chars().take(600).collect());
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, JSON, &Value::Null).await
    }

    async fn send(&self, method: Method, path: &str, content: &str, body: &Value) -> Answer {
        let text = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.send_text(method, path, content, text, None).await
    }

    async fn send_text(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: String,
        user: Option<&str>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content);
        if let Some(user) = user {
            request = request.header("impersonate-user", user);
        }
        let request = request
            .body(Body::from(body.into_bytes()))
            .expect("a request");
        let response = self.client.send(request).await.expect("an answer");
        let status = response.status();
        let bytes = response
            .into_body()
            .collect()
            .await
            .expect("a whole answer");
        let body = serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
        (status, body)
    }
}

fn name_of(manifest: &Value) -> &str {
    manifest["metadata"]["name"].as_str().unwrap_or_default()
}

fn list_kind(kind: &str) -> String {
    match kind {
        "Endpoints" => "EndpointsList".into(),
        kind => format!("{kind}List"),
    }
}

/// The same object as a kind that its resource does not hold.
fn wrong_kind(object: &Value) -> Value {
    let kind = match object["kind"].as_str() {
        Some("Secret") => "ConfigMap",
        _ => "Secret",
    };
    json!({"apiVersion": "v1", "kind": kind, "metadata": object["metadata"]})
}
