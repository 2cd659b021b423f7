//! The paths of a group version: one operation per verb and scope, from the resource table alone.

use crate::api::names::GroupVersionKind;
use crate::api::resource::{Resource, Subresource};
use crate::base::tree::{Map, Value, json};

use super::names::{definition_name, operation_prefix, tag};
use super::parameters::{self, Parameter, path_parameter};

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// Methods a proxy passes on.
const PROXY_METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

/// Where references to definitions point in OpenAPI v3.
pub(super) const REFERENCE: &str = "#/components/schemas/";

/// All paths of a resource and its subresources.
pub(super) fn add_paths(row: &Resource, paths: &mut Map) {
    Builder::new(row).add(paths);
}

/// `{"$ref": …}`.
pub(super) fn reference(definition: &str) -> Value {
    json!({"$ref": format!("{REFERENCE}{definition}")})
}

/// A GET that answers one document of a definition, as discovery and version paths have.
pub(super) fn document_operation(
    description: &str,
    operation_id: &str,
    tag: &str,
    definition: &str,
    media_types: &[&str],
) -> Value {
    json!({
        "description": description,
        "operationId": operation_id,
        "tags": [tag],
        "responses": responses(&[("200", "OK")], &content(media_types, &reference(definition))),
    })
}

/// The media types of built-in kinds.
pub(super) const MEDIA_TYPES: [&str; 3] = [
    "application/json",
    "application/vnd.kubernetes.protobuf",
    "application/yaml",
];
const STREAM_TYPES: [&str; 5] = [
    "application/json",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/yaml",
];
const CUSTOM_TYPES: [&str; 2] = ["application/json", "application/yaml"];

pub(super) fn content(media_types: &[&str], schema: &Value) -> Value {
    let entries = media_types
        .iter()
        .map(|media_type| (media_type.to_string(), json!({"schema": schema})));
    Value::Object(entries.collect())
}

pub(super) fn responses(codes: &[(&str, &str)], content: &Value) -> Value {
    let mut all: Map = codes
        .iter()
        .map(|(code, text)| {
            (
                code.to_string(),
                json!({"description": text, "content": content}),
            )
        })
        .collect();
    all.insert("401".into(), json!({"description": "Unauthorized"}));
    Value::Object(all)
}

const OK: &[(&str, &str)] = &[("200", "OK")];
const OK_CREATED: &[(&str, &str)] = &[("200", "OK"), ("201", "Created")];
const OK_ACCEPTED: &[(&str, &str)] = &[("200", "OK"), ("202", "Accepted")];
const ANY: &[(&str, &str)] = &[("200", "OK"), ("201", "Created"), ("202", "Accepted")];

/// What a path is about: with or without a namespace and a name in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// `/pods` of a namespaced kind.
    AllNamespaces,
    /// The usual scope of the kind.
    Usual,
}

struct Builder<'a> {
    row: &'a Resource,
    /// `/apis/apps/v1`.
    root: String,
    /// `AppsV1`.
    prefix: String,
    tag: String,
    object: String,
    list: String,
}

/// One operation before its parameters are shared with the path.
struct Operation {
    method: &'static str,
    body: Value,
    parameters: Vec<Value>,
}

impl<'a> Builder<'a> {
    fn new(row: &'a Resource) -> Self {
        let root = if row.group.is_empty() {
            format!("/api/{}", row.version)
        } else {
            format!("/apis/{}/{}", row.group, row.version)
        };
        Builder {
            root,
            prefix: operation_prefix(&row.group, &row.version),
            tag: tag(&row.group, &row.version),
            object: definition_name(row.custom, &row.group, &row.version, &row.kind),
            list: definition_name(row.custom, &row.group, &row.version, &row.list_kind),
            row,
        }
    }

    fn add(&self, paths: &mut Map) {
        let collection = self.path(false, "");
        let mut operations = Vec::new();
        self.push(&mut operations, "list", || {
            self.list_operation(Scope::Usual)
        });
        self.push(&mut operations, "create", || self.create(None));
        self.push(&mut operations, "deletecollection", || {
            self.delete_collection()
        });
        self.insert(paths, collection, operations, false);

        let mut operations = Vec::new();
        self.push(&mut operations, "get", || self.read(None));
        self.push(&mut operations, "update", || self.replace(None));
        self.push(&mut operations, "patch", || self.patch(None));
        self.push(&mut operations, "delete", || self.delete());
        self.insert(paths, self.path(true, ""), operations, true);

        if self.row.namespaced && self.row.has_verb("list") {
            let path = format!("{}/{}", self.root, self.row.plural);
            let operations = vec![self.list_operation(Scope::AllNamespaces)];
            self.insert_shared(paths, path, operations, &[]);
        }
        if self.row.has_verb("watch") {
            self.add_watches(paths);
        }
        for sub in &self.row.subresources {
            self.add_subresource(sub, paths);
        }
    }

    fn push(&self, to: &mut Vec<Operation>, verb: &str, make: impl FnOnce() -> Operation) {
        if self.row.has_verb(verb) {
            to.push(make());
        }
    }

    /// `<root>[/watch][/namespaces/{namespace}]/<plural>[/{name}]<rest>`.
    fn path(&self, with_name: bool, rest: &str) -> String {
        let namespace = if self.row.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let name = if with_name { "/{name}" } else { "" };
        format!("{}{namespace}/{}{name}{rest}", self.root, self.row.plural)
    }

    fn insert(&self, paths: &mut Map, path: String, operations: Vec<Operation>, with_name: bool) {
        let shared = self.path_parameters(with_name.then_some(&self.row.kind));
        self.insert_shared(paths, path, operations, &shared);
    }

    fn path_parameters(&self, name_of: Option<&str>) -> Vec<Value> {
        let mut shared = Vec::new();
        if let Some(kind) = name_of {
            shared.push(path_parameter("name", &format!("name of the {kind}")));
        }
        if self.row.namespaced {
            shared.push(path_parameter(
                "namespace",
                "object name and auth scope, such as for teams and projects",
            ));
        }
        shared
    }

    /// Adds a path. Parameters that all its operations have move to the path.
    fn insert_shared(
        &self,
        paths: &mut Map,
        path: String,
        operations: Vec<Operation>,
        shared: &[Value],
    ) {
        let Some(first) = operations.first() else {
            return;
        };
        let mut common: Vec<Value> = first
            .parameters
            .iter()
            .filter(|p| operations.iter().all(|o| o.parameters.contains(p)))
            .cloned()
            .collect();
        let mut item = Map::new();
        for mut operation in operations {
            operation.parameters.retain(|p| !common.contains(p));
            if !operation.parameters.is_empty() {
                sort_parameters(&mut operation.parameters);
                operation.body["parameters"] = operation.parameters.into();
            }
            item.insert(operation.method.into(), operation.body);
        }
        common.extend_from_slice(shared);
        sort_parameters(&mut common);
        if !common.is_empty() {
            item.insert("parameters".into(), common.into());
        }
        paths.insert(path.into(), item.into());
    }

    fn media_types(&self) -> &'static [&'static str] {
        if self.row.custom {
            &CUSTOM_TYPES
        } else {
            &MEDIA_TYPES
        }
    }

    fn stream_types(&self) -> &'static [&'static str] {
        if self.row.custom {
            &CUSTOM_TYPES
        } else {
            &STREAM_TYPES
        }
    }

    /// The id: verb, group version, scope, kind and what follows it.
    fn id(&self, verb: &str, what: &str, namespaced: bool, rest: &str) -> String {
        let scope = if namespaced { "Namespaced" } else { "" };
        format!("{verb}{}{what}{scope}{}{rest}", self.prefix, self.row.kind)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "an operation has this many parts, and all callers are in this file"
    )]
    fn operation(
        &self,
        method: &'static str,
        action: &str,
        description: String,
        id: String,
        kind: &GroupVersionKind,
        responses: Value,
        parameters: &[Parameter],
    ) -> Operation {
        let body = json!({
            "description": description,
            "operationId": id,
            "tags": [self.tag],
            "responses": responses,
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {
                "group": kind.group,
                "version": kind.version,
                "kind": kind.kind,
            },
        });
        let parameters = parameters.iter().map(|p| p.to_value()).collect();
        Operation {
            method,
            body,
            parameters,
        }
    }

    fn own_kind(&self) -> GroupVersionKind {
        self.row.group_version_kind()
    }

    /// Definition and kind that an object or one of its subresources speaks, and how texts and ids
    /// name it.
    fn spoken(&self, sub: Option<&Subresource>) -> Spoken {
        match sub {
            None => Spoken {
                definition: self.object.clone(),
                kind: self.own_kind(),
                of: String::new(),
                suffix: String::new(),
            },
            Some(sub) => Spoken {
                definition: definition_name(
                    self.row.custom && sub.kind.group == self.row.group,
                    &sub.kind.group,
                    &sub.kind.version,
                    &sub.kind.kind,
                ),
                kind: sub.kind.clone(),
                of: format!("{} of ", sub.name),
                suffix: title(&sub.name),
            },
        }
    }

    fn answers(&self, codes: &[(&str, &str)], definition: &str) -> Value {
        responses(codes, &content(self.media_types(), &reference(definition)))
    }

    fn with_pretty(&self, parameters: &[Parameter]) -> Vec<Parameter> {
        parameters
            .iter()
            .chain(parameters::ALWAYS)
            .copied()
            .collect()
    }

    fn read(&self, sub: Option<&Subresource>) -> Operation {
        let spoken = self.spoken(sub);
        let kind = &self.row.kind;
        let is_log = sub.is_some_and(|s| s.name == "log");
        let (answers, extra) = if is_log {
            let types: Vec<&str> = ["text/plain"].into_iter().chain(MEDIA_TYPES).collect();
            let text = json!({"type": "string"});
            (responses(OK, &content(&types, &text)), parameters::LOG)
        } else {
            (self.answers(OK, &spoken.definition), &[][..])
        };
        self.operation(
            "get",
            "get",
            format!("read {}the specified {kind}", spoken.of),
            self.id("read", "", self.row.namespaced, &spoken.suffix),
            &spoken.kind,
            answers,
            &self.with_pretty(extra),
        )
    }

    fn create(&self, sub: Option<&Subresource>) -> Operation {
        let spoken = self.spoken(sub);
        let mut operation = self.operation(
            "post",
            "post",
            format!("create {}{}", spoken.article(), self.row.kind),
            self.id("create", "", self.row.namespaced, &spoken.suffix),
            &spoken.kind,
            self.answers(ANY, &spoken.definition),
            &self.with_pretty(parameters::WRITE),
        );
        operation.body["requestBody"] = body(&spoken.definition);
        operation
    }

    fn replace(&self, sub: Option<&Subresource>) -> Operation {
        let spoken = self.spoken(sub);
        let mut operation = self.operation(
            "put",
            "put",
            format!("replace {}the specified {}", spoken.of, self.row.kind),
            self.id("replace", "", self.row.namespaced, &spoken.suffix),
            &spoken.kind,
            self.answers(OK_CREATED, &spoken.definition),
            &self.with_pretty(parameters::WRITE),
        );
        operation.body["requestBody"] = body(&spoken.definition);
        operation
    }

    fn patch(&self, sub: Option<&Subresource>) -> Operation {
        let spoken = self.spoken(sub);
        let mut operation = self.operation(
            "patch",
            "patch",
            format!(
                "partially update {}the specified {}",
                spoken.of, self.row.kind
            ),
            self.id("patch", "", self.row.namespaced, &spoken.suffix),
            &spoken.kind,
            self.answers(OK_CREATED, &spoken.definition),
            &self.with_pretty(parameters::PATCH),
        );
        let mut types = vec![
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
        ];
        if !self.row.custom {
            types.push("application/strategic-merge-patch+json");
        }
        operation.body["requestBody"] = json!({
            "content": content(&types, &reference(PATCH)),
            "required": true,
        });
        operation
    }

    fn delete(&self) -> Operation {
        let answer = if self.row.returns_deleted_object {
            &self.object
        } else {
            STATUS
        };
        let mut operation = self.operation(
            "delete",
            "delete",
            format!("delete {}{}", article(&self.row.kind), self.row.kind),
            self.id("delete", "", self.row.namespaced, ""),
            &self.own_kind(),
            self.answers(OK_ACCEPTED, answer),
            &self.with_pretty(parameters::DELETE),
        );
        operation.body["requestBody"] = delete_body();
        operation
    }

    fn delete_collection(&self) -> Operation {
        let mut operation = self.operation(
            "delete",
            "deletecollection",
            format!("delete collection of {}", self.row.kind),
            self.id("delete", "Collection", self.row.namespaced, ""),
            &self.own_kind(),
            self.answers(OK, STATUS),
            &self.with_pretty(parameters::DELETE_COLLECTION),
        );
        operation.body["requestBody"] = delete_body();
        operation
    }

    fn list_operation(&self, scope: Scope) -> Operation {
        let (namespaced, rest) = match scope {
            Scope::AllNamespaces => (false, "ForAllNamespaces"),
            Scope::Usual => (self.row.namespaced, ""),
        };
        self.operation(
            "get",
            "list",
            format!("list or watch objects of kind {}", self.row.kind),
            self.id("list", "", namespaced, rest),
            &self.own_kind(),
            responses(OK, &content(self.stream_types(), &reference(&self.list))),
            &self.with_pretty(parameters::LIST),
        )
    }

    /// The deprecated `/watch/` paths; custom resources have none.
    fn add_watches(&self, paths: &mut Map) {
        if self.row.custom {
            return;
        }
        let under_watch =
            |path: String| path.replacen(&self.root, &format!("{}/watch", self.root), 1);
        let list = self.watch(
            "watchlist",
            self.id("watch", "", self.row.namespaced, "List"),
        );
        let shared = self.path_parameters(None);
        self.insert_shared(
            paths,
            under_watch(self.path(false, "")),
            vec![list],
            &shared,
        );
        // Kinds without get have no path of a single object.
        if self.row.has_verb("get") {
            let one = self.watch("watch", self.id("watch", "", self.row.namespaced, ""));
            let shared = self.path_parameters(Some(&self.row.kind));
            self.insert_shared(paths, under_watch(self.path(true, "")), vec![one], &shared);
        }
        if self.row.namespaced {
            let all = self.watch(
                "watchlist",
                self.id("watch", "", false, "ListForAllNamespaces"),
            );
            let path = format!("{}/watch/{}", self.root, self.row.plural);
            self.insert_shared(paths, path, vec![all], &[]);
        }
    }

    fn watch(&self, action: &str, id: String) -> Operation {
        let kind = &self.row.kind;
        let description = if action == "watch" {
            format!(
                "watch changes to an object of kind {kind}. deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item with the 'fieldSelector' parameter."
            )
        } else {
            format!(
                "watch individual changes to a list of {kind}. deprecated: use the 'watch' parameter with a list operation instead."
            )
        };
        self.operation(
            "get",
            action,
            description,
            id,
            &self.own_kind(),
            responses(OK, &content(self.stream_types(), &reference(WATCH_EVENT))),
            &self.with_pretty(parameters::LIST),
        )
    }

    fn add_subresource(&self, sub: &Subresource, paths: &mut Map) {
        let has = |verb: &str| sub.verbs.iter().any(|v| v == verb);
        let path = self.path(true, &format!("/{}", sub.name));
        let shared = self.path_parameters(Some(&sub.kind.kind));
        if sub.kind.kind.ends_with("Options") {
            return self.add_connect(sub, path, shared, paths);
        }
        let mut operations = Vec::new();
        if has("get") {
            operations.push(self.read(Some(sub)));
        }
        if has("create") {
            operations.push(self.create(Some(sub)));
        }
        if has("update") {
            operations.push(self.replace(Some(sub)));
        }
        if has("patch") {
            operations.push(self.patch(Some(sub)));
        }
        self.insert_shared(paths, path, operations, &shared);
    }

    /// exec, attach, portforward and proxies: any answer to the methods they pass on.
    fn add_connect(
        &self,
        sub: &Subresource,
        path: String,
        mut shared: Vec<Value>,
        paths: &mut Map,
    ) {
        let proxy = sub.name == "proxy";
        let methods: &[&'static str] = if proxy {
            &PROXY_METHODS
        } else {
            &["get", "post"]
        };
        let parameters = parameters::of_connect(&sub.kind.kind);
        let operations = |suffix: &str| -> Vec<Operation> {
            methods
                .iter()
                .map(|method| self.connect(sub, method, suffix, parameters))
                .collect()
        };
        self.insert_shared(paths, path.clone(), operations(""), &shared);
        if proxy {
            shared.push(path_parameter("path", "path to the resource"));
            let path = format!("{path}/{{path}}");
            self.insert_shared(paths, path, operations("WithPath"), &shared);
        }
    }

    fn connect(
        &self,
        sub: &Subresource,
        method: &'static str,
        suffix: &str,
        parameters: &[Parameter],
    ) -> Operation {
        let text = json!({"type": "string"});
        let mut operation = self.operation(
            method,
            "connect",
            format!(
                "connect {} requests to {} of {}",
                method.to_uppercase(),
                sub.name,
                self.row.kind
            ),
            self.id(
                "connect",
                &title(method),
                self.row.namespaced,
                &format!("{}{suffix}", title(&sub.name)),
            ),
            &sub.kind,
            responses(OK, &content(&["*/*"], &text)),
            parameters,
        );
        if suffix == "WithPath" {
            // The rest of the path is told apart from the `path` query parameter by its place.
            operation.parameters.dedup();
        }
        operation
    }
}

/// What an object path or a subresource speaks.
struct Spoken {
    definition: String,
    kind: GroupVersionKind,
    of: String,
    suffix: String,
}

impl Spoken {
    /// `a Pod`, or `eviction of a Pod`.
    fn article(&self) -> String {
        format!("{}{}", self.of, article(&self.kind.kind))
    }
}

/// `a ` or `an `, as the kind needs it.
fn article(kind: &str) -> &'static str {
    if kind.starts_with(['A', 'E', 'I', 'O', 'U']) {
        "an "
    } else {
        "a "
    }
}

fn body(definition: &str) -> Value {
    json!({"content": content(&["*/*"], &reference(definition)), "required": true})
}

fn delete_body() -> Value {
    json!({"content": content(&["*/*"], &reference(DELETE_OPTIONS))})
}

/// By name; a path parameter before a query parameter of the same name.
fn sort_parameters(parameters: &mut [Value]) {
    let key = |p: &Value| {
        let text = |member: &str| p[member].as_str().unwrap_or("").to_string();
        (text("name"), text("in"))
    };
    parameters.sort_by_key(key);
}

/// First letter in upper case.
fn title(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        None => String::new(),
        Some(first) => first.to_ascii_uppercase().to_string() + chars.as_str(),
    }
}
