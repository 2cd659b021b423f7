//! The targets: each takes any bytes and must come back.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use http::Method;
use verbatim::api::field::{FieldErrors, Path};
use verbatim::api::managed_fields::{self, Filter, Set, Type, Versions, Writer};
use verbatim::api::names::{GroupVersion, GroupVersionKind};
use verbatim::api::options::{DeleteOptions, ListOptions, WriteOptions, WriteVerb};
use verbatim::api::patch::{Patch, PatchType};
use verbatim::api::quantity::Quantity;
use verbatim::api::resource::{Connect, Resource};
use verbatim::api::schema::{self, Format, Schema};
use verbatim::api::selector::{FieldSelector, LabelSelector};
use verbatim::api::{json as api_json, protobuf as api_protobuf, time};
use verbatim::audit::lines::Lines;
use verbatim::base::duration;
use verbatim::base::tree::{Value, json};
use verbatim::endpoints::proxy::options::ConnectOptions;
use verbatim::registry::printers::printer;
use verbatim::registry::strategies::common::meta::validate_object_meta;
use verbatim::registry::strategy::WriteContext;
use verbatim::registry::{Target, table};
use verbatim::request::negotiate::{clauses, router_accepts};
use verbatim::request::{RequestInfo, UserInfo};
use verbatim::search::document;
use verbatim::search::fields::Fields;

/// What an object says it is.
pub(crate) fn kind_of(object: &Value) -> Option<GroupVersionKind> {
    let version = GroupVersion::parse(object["apiVersion"].as_str()?)?;
    let kind = object["kind"].as_str()?.to_string();
    Some(GroupVersionKind::new(version.group, version.version, kind))
}

fn row_of(gvk: &GroupVersionKind) -> Option<&'static Arc<Resource>> {
    table::builtin()
        .iter()
        .find(|row| row.group_version_kind() == *gvk)
}

/// The schema that a body is read with: its own, or a pod's.
fn schema_for(bytes: &[u8], format: Format) -> (GroupVersionKind, &'static Schema) {
    let pod = GroupVersionKind::new("", "v1", "Pod");
    let found = schema::type_meta(bytes, format).ok().and_then(|meta| {
        let version = GroupVersion::parse(&meta.api_version)?;
        Some(GroupVersionKind::new(
            version.group,
            version.version,
            meta.kind,
        ))
    });
    let known = found.and_then(|gvk| schema::builtin(&gvk).map(|schema| (gvk, schema)));
    let of_pod = || {
        (
            pod.clone(),
            schema::builtin(&pod).expect("pods are built in"),
        )
    };
    known.unwrap_or_else(of_pod)
}

fn decode(bytes: &[u8], format: Format) -> Option<(GroupVersionKind, Value)> {
    let (gvk, schema) = schema_for(bytes, format);
    let _ = schema::summarize(bytes);
    let _ = schema::decode(bytes, format, None);
    let mut value = schema::decode(bytes, format, Some(schema)).ok()?.value;
    schema::normalise(&mut value, schema);
    let once = value.clone();
    schema::normalise(&mut value, schema);
    assert_eq!(once, value, "normalise is idempotent");
    Some((gvk, value))
}

pub(crate) fn json(bytes: &[u8]) {
    let Some((_, value)) = decode(bytes, Format::Json) else {
        return;
    };
    let _ = api_json::to_pretty(&value);
    let _ = api_json::to_yaml(&value);
}

pub(crate) fn yaml(bytes: &[u8]) {
    let _ = decode(bytes, Format::Yaml);
}

pub(crate) fn protobuf(bytes: &[u8]) {
    let Ok(meta) = api_protobuf::type_meta(bytes) else {
        return;
    };
    let version =
        GroupVersion::parse(&meta.api_version).unwrap_or_else(|| GroupVersion::new("", "v1"));
    let kinds = [
        (version, meta.kind.as_str()),
        (GroupVersion::new("", "v1"), "Pod"),
    ];
    for (version, kind) in kinds {
        let decoded = api_protobuf::decode(bytes, &version.group, &version.version, kind);
        let Ok(mut value) = decoded else { continue };
        value["kind"] = json!(kind);
        value["apiVersion"] = json!(version.to_string());
        let Some(encoded) = api_protobuf::encode(&value) else {
            continue;
        };
        let again = api_protobuf::decode(&encoded, &version.group, &version.version, kind);
        let mut again = again.expect("what was encoded can be decoded");
        again["kind"] = value["kind"].clone();
        again["apiVersion"] = value["apiVersion"].clone();
        assert_eq!(
            api_protobuf::encode(&again),
            Some(encoded),
            "encoding is stable"
        );
    }
}

/// Defaults, preparation, validation, warnings, tables: what a write of the object meets.
pub(crate) fn strategies(bytes: &[u8]) {
    let Some((gvk, mut object)) = decode(bytes, Format::Json) else {
        return;
    };
    let Some(row) = row_of(&gvk) else { return };
    object["kind"] = json!(gvk.kind);
    object["apiVersion"] = json!(gvk.group_version().to_string());
    let sent = object.clone();
    let mut target = Target::new(row.clone(), "ns", "name");
    let user = UserInfo::anonymous();
    let strategy = target.strategy();
    target.default(&mut object);
    let subresources = row.subresources.iter().map(|s| s.name.to_string());
    for subresource in [String::new()].into_iter().chain(subresources) {
        target.subresource = subresource;
        let ctx: WriteContext<'_> = target.write_context(Some(&user));
        let mut errors = FieldErrors::default();
        let mut new = object.clone();
        if target.subresource.is_empty() {
            strategy.prepare_for_create(&mut new, &ctx);
            strategy.validate(&new, None, &ctx, &mut errors);
            let path = Path::ROOT.field("metadata");
            let rule = strategy.name_rule();
            validate_object_meta(&new["metadata"], row.namespaced, rule, &path, &mut errors);
            let _ = strategy.warnings(&new, None, &ctx);
        }
        let mut updated = object.clone();
        strategy.prepare_for_update(&mut updated, &sent, &ctx);
        strategy.validate(&updated, Some(&sent), &ctx, &mut errors);
        let _ = strategy.warnings(&updated, Some(&sent), &ctx);
        let _ = strategy.spec_changed(&updated, &sent);
        let _ = errors.to_aggregate();
        let _ = errors.causes();
    }
    let _ = strategy.grace_period(&object, None);
    let _ = strategy.is_held(&object);
    strategy.mark_deleted(&mut object.clone());
    let _ = printer(row).row(&object, chrono::Utc::now());
}

/// What patches are applied to.
static LIVE: LazyLock<Vec<(GroupVersionKind, Value)>> = LazyLock::new(|| {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "labels": {"a": "b"}, "finalizers": ["x.test/a", "x.test/b"],
                     "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]},
        "spec": {"containers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}],
             "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            {"name": "d", "image": "j", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "m"}}],
            "tolerations": [{"key": "k", "operator": "Exists"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP"}],
                 "selector": {"a": "b"}, "clusterIPs": ["10.0.0.1"]},
    });
    [pod, service]
        .into_iter()
        .map(|object| (kind_of(&object).expect("a kind"), object))
        .collect()
});

fn patch(kind: PatchType, bytes: &[u8], with_schema: bool) {
    let Ok(patch) = Patch::parse(kind, bytes) else {
        return;
    };
    for (gvk, live) in LIVE.iter() {
        let schema = schema::builtin(gvk).filter(|_| with_schema);
        let Ok(patched) = patch.apply(live, schema) else {
            continue;
        };
        let text = serde_json::to_vec(&patched).expect("a tree can be printed");
        let _ = schema::decode(&text, Format::Json, schema::builtin(gvk));
    }
}

pub(crate) fn json_patch(bytes: &[u8]) {
    patch(PatchType::Json, bytes, false);
}

pub(crate) fn merge_patch(bytes: &[u8]) {
    patch(PatchType::Merge, bytes, false);
}

pub(crate) fn strategic_patch(bytes: &[u8]) {
    patch(PatchType::Strategic, bytes, true);
}

/// One version of one kind.
struct One<'a>(&'a GroupVersionKind, &'a Schema);

impl Versions for One<'_> {
    fn type_of(&self, api_version: &str) -> Option<Type<'_>> {
        let same = self.0.group_version().to_string() == api_version;
        same.then_some(Type::Known(self.1))
    }

    fn convert<'a>(&self, object: &'a Value, api_version: &str) -> Option<Cow<'a, Value>> {
        let same = self.0.group_version().to_string() == api_version;
        same.then_some(Cow::Borrowed(object))
    }
}

/// Applies the object to nothing, then what is left of it as another manager, then as an update.
pub(crate) fn apply(bytes: &[u8]) {
    let Some((gvk, mut config)) = decode(bytes, Format::Json) else {
        return;
    };
    let Some(schema) = schema::builtin(&gvk) else {
        return;
    };
    let api_version = gvk.group_version().to_string();
    config["kind"] = json!(gvk.kind);
    config["apiVersion"] = json!(api_version);
    let mut zero = json!({"kind": gvk.kind, "apiVersion": api_version});
    schema::normalise(&mut zero, schema);
    let versions = One(&gvk, schema);
    let writer = |manager| Writer {
        manager,
        api_version: &api_version,
        subresource: "",
        filter: &Filter::All,
        now: "2024-01-01T00:00:00Z",
        zero: &zero,
        versions: &versions,
    };
    // The object's own entries are those of a live object; a configuration must have none.
    let stored = config.clone();
    managed_fields::take(&mut config);
    let Ok(mut live) = managed_fields::apply(&zero, false, &config, false, &writer("one")) else {
        return;
    };
    schema::normalise(&mut live, schema);
    let mut fewer = config.clone();
    if let Some(members) = fewer.as_object_mut() {
        members.remove("spec");
        members.remove("data");
    }
    for force in [false, true] {
        let _ = managed_fields::apply(&live, true, &config, force, &writer("two"));
        let _ = managed_fields::apply(&live, true, &fewer, force, &writer("one"));
        let _ = managed_fields::apply(&stored, true, &config, force, &writer("two"));
    }
    let mut updated = fewer;
    managed_fields::track(&live, true, &mut updated, &writer("three"));
    let mut again = stored.clone();
    managed_fields::track(&stored, true, &mut again, &writer("three"));
}

pub(crate) fn managed_fields(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let Ok(set) = Set::from_fields(&value) else {
        return;
    };
    let printed = set.to_fields();
    let again = Set::from_fields(&printed).expect("what is printed can be read");
    assert_eq!(again.to_fields(), printed, "printing is stable");
    assert_eq!(set.paths().len(), set.len());
    assert_eq!(set.union(&again).len(), set.len());
    assert!(set.difference(&again).is_empty());
    let _ = set.intersection(&again).without_subtrees(&again);
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

pub(crate) fn selectors(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(selector) = LabelSelector::parse(&text) {
        let _ = selector.matches(|key| (key.len() % 2 == 0).then_some("1"));
        let _ = selector.is_empty();
    }
    if let Ok(selector) = FieldSelector::parse(&text) {
        let _ = selector.matches(|field| Cow::Owned(field.to_string()));
        let _ = selector.required("metadata.name");
    }
}

pub(crate) fn options(bytes: &[u8]) {
    let query = text(bytes);
    for verb in [
        WriteVerb::Create,
        WriteVerb::Update,
        WriteVerb::Patch { apply: true },
    ] {
        if let Ok(options) = WriteOptions::from_query(&query, verb) {
            let _ = options.to_json("CreateOptions");
        }
    }
    let _ = DeleteOptions::from_query(&query);
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        let _ = DeleteOptions::from_json(value);
    }
    for watch in [false, true] {
        if let Ok(options) = ListOptions::from_query(&query, watch) {
            selectors(options.label_selector.as_bytes());
            selectors(options.field_selector.as_bytes());
        }
    }
    let connect = ConnectOptions::parse(&query);
    let _ = (connect.check_log("p"), connect.log_query());
    for to in [Connect::Exec, Connect::Attach, Connect::PortForward] {
        let _ = (connect.object(to, "/"), connect.stream_query(to));
    }
}

pub(crate) fn requests(bytes: &[u8]) {
    let line = text(bytes);
    let (path, query) = line.split_once('?').unwrap_or((&line, ""));
    for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
        if let Ok(info) = RequestInfo::parse(&method, path, query) {
            let _ = info.is_long_running();
        }
    }
    let _ = clauses(&line);
    let _ = router_accepts(&line, &["application/json"]);
}

pub(crate) fn scalars(bytes: &[u8]) {
    use verbatim::registry::strategies::common::{names, net};
    let text = text(bytes);
    if let Ok(quantity) = Quantity::parse(&text) {
        let printed = quantity.to_string();
        let again = Quantity::parse(&printed).expect("what is printed can be read");
        assert_eq!(again.to_string(), printed, "printing is stable");
        let _ = (quantity.value(), quantity.milli_value(), quantity.sign());
        let _ = quantity.rounded_up_to_milli();
    }
    let _ = duration::parse(&text);
    if let Ok(time) = time::parse(&text) {
        let printed = time::format_seconds(time);
        assert!(
            time::parse(&printed).is_ok(),
            "what is printed can be read: {printed}"
        );
    }
    let _ = time::parse_micro(&text);
    let _ = names::qualified_name(&text);
    let _ = names::label_value(&text);
    let _ = names::dns1123_label(&text);
    let _ = names::dns1123_subdomain(&text);
    let _ = net::parse_ip(&text);
    let _ = verbatim::api::field::go_quote(&text);
    let _ = GroupVersion::parse(&text);
    // Strings that only a strategy reads: schedules, addresses, percentages.
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"},
        "spec": {"schedule": &*text, "timeZone": &*text, "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "hostname": &*text, "containers": [{"name": &*text, "image": &*text}]}}}}}});
    strategies(cron.to_string().as_bytes());
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": &*text},
        "spec": {"clusterIP": &*text, "externalIPs": [&*text], "externalName": &*text,
                 "loadBalancerSourceRanges": [&*text], "ports": [{"port": 1, "name": &*text, "targetPort": &*text}]}});
    strategies(service.to_string().as_bytes());
}

pub(crate) fn audit_query(bytes: &[u8]) {
    static FIELDS: LazyLock<Fields> = LazyLock::new(Fields::new);
    let text = text(bytes);
    if let Ok(query) = verbatim::search::query::parse(&text) {
        let _ = query.compile(&FIELDS);
        let _ = query.matcher(&FIELDS);
    }
}

pub(crate) fn audit_policy(bytes: &[u8]) {
    let text = text(bytes);
    let _ = Lines::of(&text);
    let Ok(policy) = verbatim::audit::policy_file::parse(&text) else {
        return;
    };
    let user = UserInfo::anonymous();
    for path in [
        "/healthz",
        "/api/v1/namespaces/a/pods/p/log",
        "/apis/apps/v1/deployments",
    ] {
        let info = RequestInfo::parse(&Method::GET, path, "").expect("a path");
        let _ = policy.evaluate(&info, Some(&user));
        let _ = policy.evaluate(&info, None);
    }
}

/// What is taken as an event is JSON, and every value that points into the line can be read.
pub(crate) fn audit_line(bytes: &[u8]) {
    static FIELDS: LazyLock<Fields> = LazyLock::new(Fields::new);
    let Ok(prepared) = document::prepare(&FIELDS, bytes) else {
        return;
    };
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    assert!(is_json, "an event is no JSON");
    for (field, _) in FIELDS.schema.fields() {
        prepared.document.texts(field).for_each(drop);
    }
}
