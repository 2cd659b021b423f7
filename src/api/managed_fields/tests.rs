//! Whole writes: create, update, apply, by several managers.

use proptest::prelude::*;

use super::update::{Start, track_entries};
use super::*;
use crate::api::names::GroupVersionKind;
use crate::api::schema::{self, Schema};
use crate::base::tree::json;

struct OneVersion(&'static Schema, &'static str);

impl Versions for OneVersion {
    fn type_of(&self, api_version: &str) -> Option<Type<'_>> {
        (api_version == self.1).then_some(Type::Known(self.0))
    }

    fn convert<'a>(&self, object: &'a Value, api_version: &str) -> Option<Cow<'a, Value>> {
        (api_version == self.1).then_some(Cow::Borrowed(object))
    }
}

struct Server {
    versions: OneVersion,
    zero: Value,
    object: Value,
    exists: bool,
}

impl Server {
    fn new(group: &'static str, version: &'static str, kind: &'static str) -> Self {
        let gvk = GroupVersionKind::new(group, version, kind);
        let schema = schema::builtin(&gvk).expect("known");
        let api_version = match group {
            "" => version.to_string(),
            group => format!("{group}/{version}"),
        };
        let mut zero = json!({"kind": kind, "apiVersion": api_version});
        schema::normalise(&mut zero, schema);
        Server {
            versions: OneVersion(schema, if group.is_empty() { "v1" } else { "apps/v1" }),
            object: zero.clone(),
            zero,
            exists: false,
        }
    }

    fn writer<'a>(&'a self, manager: &'a str, now: &'a str) -> Writer<'a> {
        Writer {
            manager,
            api_version: self.versions.1,
            subresource: "",
            filter: &Filter::All,
            now,
            zero: &self.zero,
            versions: &self.versions,
        }
    }

    fn update(&mut self, manager: &str, now: &str, mut new: Value) {
        schema::normalise(&mut new, self.versions.0);
        track(
            &self.object,
            self.exists,
            &mut new,
            &self.writer(manager, now),
        );
        keep_times(&self.object, &mut new);
        self.object = new;
        self.exists = true;
    }

    fn apply(&mut self, manager: &str, force: bool, config: Value) -> Result<(), ApplyError> {
        let writer = self.writer(manager, "2024-01-02T00:00:00Z");
        let mut new = apply(&self.object, self.exists, &config, force, &writer)?;
        schema::normalise(&mut new, self.versions.0);
        keep_times(&self.object, &mut new);
        self.object = new;
        self.exists = true;
        Ok(())
    }

    /// manager → fieldsV1.
    fn owners(&self) -> Value {
        let list = managed_fields_of(&self.object).and_then(Value::as_array);
        let entries = list.into_iter().flatten();
        let name = |e: &Value| e["manager"].as_str().expect("a manager").to_string();
        Value::Object(entries.map(|e| (name(e), e["fieldsV1"].clone())).collect())
    }
}

fn config_map(data: Value) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": data})
}

const NOW: &str = "2024-01-01T00:00:00Z";

#[test]
fn updates_are_tracked() {
    let mut server = Server::new("", "v1", "ConfigMap");
    server.update("a", NOW, config_map(json!({"x": "1"})));
    assert_eq!(
        server.owners(),
        json!({"a": {"f:data": {".": {}, "f:x": {}}}})
    );
    let mut changed = server.object.clone();
    changed["data"] = json!({"x": "2", "y": "1"});
    server.update("b", NOW, changed);
    assert_eq!(
        server.owners(),
        json!({"a": {"f:data": {}}, "b": {"f:data": {"f:x": {}, "f:y": {}}}})
    );
    let before = server.object.clone();
    server.update("c", "2025-01-01T00:00:00Z", before.clone());
    assert_eq!(server.object, before);
    let mut reset = config_map(json!({"x": "3"}));
    reset["metadata"]["managedFields"] = json!([{}]);
    server.update("b", NOW, reset);
    assert_eq!(server.owners(), json!({}));
    server.update("b", NOW, config_map(json!({"x": "4"})));
    assert_eq!(
        server.owners(),
        json!({}),
        "untracked until the first apply"
    );
}

#[test]
fn nested_structs_and_lists() {
    let mut server = Server::new("apps", "v1", "Deployment");
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
        {"name": "c", "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}}},
    ]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    server.update(
        "a",
        NOW,
        json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d"}, "spec": spec}),
    );
    let container = json!({
        ".": {}, "f:name": {},
        "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
        "f:resources": {".": {}, "f:limits": {".": {}, "f:cpu": {}}},
    });
    assert_eq!(
        server.owners()["a"]["f:spec"],
        json!({
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": container}},
            },
        })
    );
}

#[test]
fn applies() {
    let mut server = Server::new("", "v1", "ConfigMap");
    server
        .apply("m1", false, config_map(json!({"x": "1"})))
        .expect("created");
    assert_eq!(server.owners(), json!({"m1": {"f:data": {"f:x": {}}}}));
    server
        .apply("m2", false, config_map(json!({"y": "2"})))
        .expect("applied");
    let conflict = server.apply("m2", false, config_map(json!({"x": "9"})));
    let want = vec![("\"m1\"".to_string(), ".data.x".to_string())];
    assert_eq!(conflict, Err(ApplyError::Conflicts(want)));
    server
        .apply("m2", true, config_map(json!({"x": "9"})))
        .expect("forced");
    assert_eq!(server.object["data"], json!({"x": "9"}), "y was m2's alone");
    assert_eq!(server.owners(), json!({"m2": {"f:data": {"f:x": {}}}}));
    server
        .apply("m1", false, config_map(json!({})))
        .expect("applied");
    let none = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}});
    server.apply("m2", false, none).expect("applied");
    assert_eq!(server.object.get("data"), None);
    assert_eq!(server.owners(), json!({"m1": {"f:data": {}}}));
}

#[test]
fn shared_items_survive() {
    let pod = |containers: Value| json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {"containers": containers}});
    let mut server = Server::new("", "v1", "Pod");
    let both =
        json!([{"name": "a", "image": "1", "env": [{"name": "A", "value": "1"}]}, {"name": "b"}]);
    server.apply("m1", false, pod(both)).expect("created");
    let env = json!([{"name": "a", "env": [{"name": "B", "value": "2"}]}]);
    server.apply("m2", false, pod(env)).expect("applied");
    let one = json!([{"name": "a", "image": "1"}]);
    server.apply("m1", false, pod(one)).expect("applied");
    let containers = &server.object["spec"]["containers"];
    assert_eq!(containers.as_array().map(Vec::len), Some(1));
    assert_eq!(containers[0]["env"], json!([{"name": "B", "value": "2"}]));
    server.apply("m1", false, pod(json!([]))).expect("applied");
    assert_eq!(server.object["spec"]["containers"][0].get("image"), None);
    assert_eq!(server.object["spec"]["containers"][0]["name"], "a");
}

#[test]
fn first_apply_of_an_untracked_object() {
    let mut server = Server::new("", "v1", "ConfigMap");
    server.object = config_map(json!({"q": "z"}));
    server.exists = true;
    let conflict = server.apply("m1", false, config_map(json!({"q": "w"})));
    let want = vec![(
        "\"before-first-apply\" using v1".to_string(),
        ".data.q".to_string(),
    )];
    assert_eq!(conflict, Err(ApplyError::Conflicts(want)));
}

#[test]
fn configurations_that_do_not_fit() {
    let deployment = |spec: Value| json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d"}, "spec": spec});
    let containers = |list: Value| deployment(json!({"template": {"spec": {"containers": list}}}));
    for (config, want) in [
        (
            deployment(json!({"nope": 1})),
            ".spec.nope: field not declared in schema",
        ),
        (
            deployment(json!({"replicas": "x"})),
            ".spec.replicas: expected numeric (int or float), got string",
        ),
        (
            containers(json!({"a": "b"})),
            ".spec.template.spec.containers: expected list, got &{map[a:b]}",
        ),
        (
            containers(json!([{"name": "c"}, {"name": "c"}])),
            ".spec.template.spec.containers: duplicate entries for key [name=\"c\"]",
        ),
        (
            containers(json!([{"name": "c", "image": 5}])),
            ".spec.template.spec.containers[name=\"c\"].image: expected string, got &value.valueUnstructured{Value:5}",
        ),
    ] {
        let mut server = Server::new("apps", "v1", "Deployment");
        let got = server.apply("m", false, config).expect_err("refused");
        let want =
            format!("failed to create typed patch object (/d; apps/v1, Kind=Deployment): {want}");
        assert_eq!(got, ApplyError::Other(want));
    }
}

#[test]
fn scale_entries() {
    let paths = [("apps/v1".to_string(), vec!["spec", "replicas"])];
    let entry = |manager: &str,
                 operation: &str,
                 version: &str,
                 subresource: Option<&str>,
                 fields: Value| {
        let mut entry = json!({
            "manager": manager, "operation": operation, "apiVersion": version,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        });
        if let Some(subresource) = subresource {
            entry["subresource"] = json!(subresource);
        }
        entry
    };
    let fields = json!({"f:spec": {"f:paused": {}, "f:replicas": {}}});
    let parent = json!([entry("m", "Apply", "apps/v1", None, fields)]);
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    let seen = entries_of_scale(Some(&parent), &paths);
    assert_eq!(
        seen,
        Some(json!([entry(
            "m",
            "Apply",
            "autoscaling/v1",
            None,
            replicas.clone()
        )]))
    );
    assert_eq!(
        entries_of_parent(Some(&parent), seen.as_ref(), &paths, "apps/v1"),
        Some(parent.clone())
    );
    let scaled = json!([entry(
        "s",
        "Update",
        "autoscaling/v1",
        Some("scale"),
        replicas.clone()
    )]);
    assert_eq!(
        entries_of_parent(Some(&parent), Some(&scaled), &paths, "apps/v1"),
        Some(json!([
            entry(
                "m",
                "Apply",
                "apps/v1",
                None,
                json!({"f:spec": {"f:paused": {}}})
            ),
            entry("s", "Update", "apps/v1", Some("scale"), replicas),
        ]))
    );
}

fn any_config() -> impl Strategy<Value = Value> {
    let text = prop::option::of("[a-c]{1}");
    let env = prop::collection::btree_map("[A-C]{1}", text.clone(), 0..3);
    let container = (text.clone(), env);
    let containers = prop::collection::btree_map("[a-c]{1}", container, 1..3);
    let labels = prop::collection::btree_map("[a-c]{1}", "[a-c]{1}", 1..3);
    let finalizers = prop::collection::btree_set("[a-c]{1}/x", 0..3);
    (containers, labels, finalizers, text).prop_map(|(containers, labels, finalizers, node)| {
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, (image, env))| {
                let env: Vec<Value> = env
                    .into_iter()
                    .map(
                        |(name, value)| json!({"name": name, "value": value.unwrap_or("v".into())}),
                    )
                    .collect();
                json!({"name": name, "image": image.unwrap_or("i".into()), "env": env})
            })
            .collect();
        json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "p", "labels": labels, "finalizers": finalizers},
            "spec": {"containers": containers, "nodeName": node.unwrap_or("n".into())},
        })
    })
}

proptest! {
    #[test]
    fn applying_again_changes_nothing(
        configs in prop::collection::vec((any_config(), 0..3usize), 1..6),
    ) {
        let mut server = Server::new("", "v1", "Pod");
        for (config, manager) in configs {
            let manager = ["m0", "m1", "m2"][manager];
            server.apply(manager, true, config.clone()).expect("forced");
            let once = server.object.clone();
            server.apply(manager, false, config).expect("no conflict with itself");
            prop_assert_eq!(&server.object, &once);
        }
    }

    #[test]
    fn entries_change_in_place_as_decoded(
        configs in prop::collection::vec((any_config(), 0..3usize, any::<bool>()), 1..8),
        labels in prop::collection::vec((0..3usize, "[a-d]{1}", "[a-c]{1}"), 0..8),
    ) {
        let mut server = Server::new("", "v1", "Pod");
        let managers = ["m0", "m1", "m2"];
        for (config, manager, applies) in configs {
            match applies {
                true => server.apply(managers[manager], true, config).expect("forced"),
                false => server.update(managers[manager], NOW, config),
            }
        }
        for (manager, name, value) in labels {
            let later = "2025-01-01T00:00:00Z";
            let mut new = server.object.clone();
            new["metadata"]["labels"][&name] = json!(value);
            let managed = take(&mut new);
            let entries = |is_stored| {
                let managed = managed.clone();
                let start = Start { managed, is_stored };
                let writer = server.writer(managers[manager], later);
                track_entries(&server.object, true, &new, start, &writer)
            };
            prop_assert_eq!(entries(true), entries(false));
            put(&mut new, managed);
            server.update(managers[manager], later, new);
        }
    }

    #[test]
    fn creates_in_one_pass_own_what_comparing_finds(
        config in any_config(),
        status in prop::option::of("[a-c]{1}"),
        repeats in any::<bool>(),
        filter in 0..3usize,
    ) {
        let server = Server::new("", "v1", "Pod");
        let mut new = config;
        if let Some(phase) = status {
            new["status"] = json!({"phase": phase, "conditions": [{"type": "t"}], "podIPs": []});
        }
        if repeats {
            let first = new["spec"]["containers"][0].clone();
            new["spec"]["containers"].as_array_mut().expect("a list").push(first);
        }
        schema::normalise(&mut new, server.versions.0);
        let filters = [
            Filter::All,
            Filter::Without(Set::of_fields(&[&["status"]])),
            Filter::Without(Set::of_fields(&[
                &["metadata", "labels"],
                &["spec", "containers"],
                &["status", "conditions"],
            ])),
        ];
        let ty = Type::Known(server.versions.0);
        let filter = &filters[filter];
        let fields = created::fields_of_create(&server.zero, &new, ty, filter).expect("keys");
        let changes = compare_objects(&server.zero, &new, ty).expect("keys");
        let changes = changes.filtered(|set| filter.apply(set));
        let owned = changes.modified.union(&changes.added);
        prop_assert_eq!(fields.map(Value::Object), Some(owned.to_fields()));
    }

    #[test]
    fn sets_survive_encoding(config in any_config()) {
        let gvk = GroupVersionKind::new("", "v1", "Pod");
        let set = fields_of(&config, Type::Known(schema::builtin(&gvk).expect("known")));
        prop_assert_eq!(Set::from_fields(&set.to_fields()), Ok(set.clone()));
        prop_assert!(set.difference(&set).is_empty());
        prop_assert_eq!(&set.union(&set), &set);
        prop_assert_eq!(&set.intersection(&set), &set);
    }
}
