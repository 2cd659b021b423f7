//! Writes what the library knows about built-in kinds into OUT_DIR:
//!
//! - `definitions.json.z`: the OpenAPI v3 component schemas, named and shaped as upstream's, zlib.
//! - `program.txt`: the same knowledge as a flat table of typed nodes; `program.rs` reads it.
//!
//! Sources: the `k8s-openapi` crate's types (structure, formats, required, descriptions) and
//! `facts.tsv` beside this file (everything the crate lacks). Nothing else is read, so the output
//! depends on those two alone.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;

use k8s_openapi::{ListableResource, Resource};
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

const FACTS: &str = "src/api/schema/facts.tsv";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const REF_PREFIX: &str = "#/components/schemas/";
const TYPE_META_DOCS: [(&str, &str); 2] = [
    (
        "apiVersion",
        "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
    ),
    (
        "kind",
        "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
    ),
];

type BoxError = Box<dyn std::error::Error>;

fn main() -> Result<(), BoxError> {
    println!("cargo::rerun-if-changed=src/api/schema/build.rs");
    println!("cargo::rerun-if-changed={FACTS}");
    let facts = Facts::parse(&std::fs::read_to_string(FACTS)?)?;
    let mut roots = Roots::new();
    register(&mut roots);
    let (mut definitions, kinds) = roots.finish();
    let program = program::write(&definitions, &facts, &kinds)?;
    for (name, definition) in &mut definitions {
        openapi::shape(name, definition, &facts);
    }
    openapi::default_structs(&mut definitions, &facts);
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("program.txt"), program)?;
    let mut encoder = flate2::write::ZlibEncoder::new(
        std::fs::File::create(Path::new(&out).join("definitions.json.z"))?,
        flate2::Compression::new(6),
    );
    encoder.write_all(&serde_json::to_vec(&definitions)?)?;
    encoder.finish()?;
    Ok(())
}

/// A kind and the definition that describes it.
struct Kind {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    definition: String,
}

/// Collects the component schemas of the registered types.
struct Roots {
    generator: SchemaGenerator,
    kinds: Vec<Kind>,
    lists: Vec<(String, &'static str, String)>,
}

impl Roots {
    fn new() -> Self {
        let mut settings = SchemaSettings::openapi3();
        settings.definitions_path = "/components/schemas".into();
        Roots {
            generator: settings.into_generator(),
            kinds: Vec::new(),
            lists: Vec::new(),
        }
    }

    fn plain<T: JsonSchema>(&mut self) {
        self.generator.subschema_for::<T>();
    }

    fn kind<T: JsonSchema + Resource>(&mut self) {
        self.plain::<T>();
        self.kinds.push(Kind {
            group: T::GROUP,
            version: T::VERSION,
            kind: T::KIND,
            definition: T::schema_name().into_owned(),
        });
    }

    fn listable<T: JsonSchema + ListableResource>(&mut self) {
        self.kind::<T>();
        let item = T::schema_name().into_owned();
        let list = match item.rsplit_once('.') {
            Some((package, _)) => format!("{package}.{}", T::LIST_KIND),
            None => T::LIST_KIND.to_string(),
        };
        self.kinds.push(Kind {
            group: T::GROUP,
            version: T::VERSION,
            kind: T::LIST_KIND,
            definition: list.clone(),
        });
        self.lists.push((list, T::LIST_KIND, item));
    }

    fn finish(mut self) -> (Map<String, Value>, Vec<Kind>) {
        let mut definitions = self.generator.take_definitions(true);
        let partial = format!("{META}.PartialObjectMetadata");
        definitions.insert(partial.clone(), partial_definition());
        self.lists.push((
            format!("{partial}List"),
            "PartialObjectMetadataList",
            partial.clone(),
        ));
        for (kind, definition) in [
            ("PartialObjectMetadata", partial.clone()),
            ("PartialObjectMetadataList", format!("{partial}List")),
        ] {
            self.kinds.push(Kind {
                group: "meta.k8s.io",
                version: "v1",
                kind,
                definition,
            });
        }
        for (name, kind, item) in self.lists {
            definitions.insert(name, list_definition(kind, &item));
        }
        for kind in &self.kinds {
            if let Some(Value::Object(definition)) = definitions.get_mut(&kind.definition) {
                definition.insert(
                    "x-kubernetes-group-version-kind".into(),
                    json!([{"group": kind.group, "kind": kind.kind, "version": kind.version}]),
                );
            }
        }
        (definitions, self.kinds)
    }
}

/// The crate has one generic list type; upstream has one definition per list kind.
fn list_definition(kind: &str, item: &str) -> Value {
    let item_kind = item.rsplit('.').next().unwrap_or(item);
    json!({
        "description": format!("{kind} is a list of {item_kind} objects."),
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string", "description": TYPE_META_DOCS[0].1},
            "kind": {"type": "string", "description": TYPE_META_DOCS[1].1},
            "metadata": {
                "$ref": format!("{REF_PREFIX}{META}.ListMeta"),
                "description": "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
            },
            "items": {
                "type": "array",
                "description": "items is a list of schema objects.",
                "items": {"$ref": format!("{REF_PREFIX}{item}")},
            },
        },
        "required": ["items"],
    })
}

/// Not in the crate: what `as=PartialObjectMetadata` answers.
fn partial_definition() -> Value {
    json!({
        "description": "PartialObjectMetadata is a generic representation of any object with ObjectMeta.",
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string", "description": TYPE_META_DOCS[0].1},
            "kind": {"type": "string", "description": TYPE_META_DOCS[1].1},
            "metadata": {"$ref": format!("{REF_PREFIX}{META}.ObjectMeta")},
        },
    })
}

/// `facts.tsv`: definition → field → what is known.
struct Facts {
    fields: HashMap<String, HashMap<String, Fact>>,
}

#[derive(Clone, Default)]
struct Fact {
    go_type: String,
    flags: String,
    wire: String,
    /// Position in upstream's struct.
    position: usize,
    attributes: BTreeMap<String, String>,
}

impl Facts {
    fn parse(text: &str) -> Result<Self, BoxError> {
        let mut fields: HashMap<String, HashMap<String, Fact>> = HashMap::new();
        let mut definition = String::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some(row) = line.strip_prefix('\t') else {
                definition = line.to_string();
                continue;
            };
            let mut columns = row.split('\t');
            let mut next = || columns.next().unwrap_or_default().to_string();
            let name = next();
            let mut fact = Fact {
                go_type: next(),
                flags: next(),
                wire: next(),
                position: fields.get(&definition).map_or(0, HashMap::len),
                ..Fact::default()
            };
            for attribute in columns {
                let (key, value) = attribute
                    .split_once('=')
                    .ok_or_else(|| format!("{FACTS}: {definition} {name}: bad attribute"))?;
                fact.attributes.insert(key.to_string(), value.to_string());
            }
            fields
                .entry(definition.clone())
                .or_default()
                .insert(name, fact);
        }
        Ok(Facts { fields })
    }

    fn field(&self, definition: &str, field: &str) -> Option<&Fact> {
        self.fields.get(definition)?.get(field)
    }
}

impl Fact {
    fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }
}

/// The definition a schema refers to, bare or beside a description.
fn reference(schema: &Value) -> Option<&str> {
    let target = schema
        .get("$ref")
        .or_else(|| schema.get("allOf")?.get(0)?.get("$ref"))?;
    target.as_str()?.strip_prefix(REF_PREFIX)
}

/// Gives the component schemas upstream's shape.
mod openapi {
    use super::*;

    /// Types that upstream's generator describes by hand, without properties or defaults.
    fn special(name: &str) -> Option<Value> {
        let last = name.rsplit('.').next().unwrap_or(name);
        Some(match last {
            "Quantity" if name.contains(".resource.") => {
                json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
            }
            "IntOrString" => json!({
                "format": "int-or-string",
                "oneOf": [{"type": "integer"}, {"type": "string"}],
            }),
            "WatchEvent" => watch_event(),
            "JSON"
            | "JSONSchemaPropsOrArray"
            | "JSONSchemaPropsOrBool"
            | "JSONSchemaPropsOrStringArray" => json!({}),
            _ => return None,
        })
    }

    /// The crate's is generic over the object and describes that in the wrong place.
    fn watch_event() -> Value {
        json!({
            "description": "Event represents a single event to a watched resource.",
            "type": "object",
            "required": ["type", "object"],
            "properties": {
                "type": {"type": "string", "default": ""},
                "object": {
                    "description": "Object is:\n * If Type is Added or Modified: the new state of the object.\n * If Type is Deleted: the state of the object immediately before deletion.\n * If Type is Error: *Status is recommended; other types may make sense\n   depending on context.",
                    "allOf": [{"$ref": format!("{REF_PREFIX}io.k8s.apimachinery.pkg.runtime.RawExtension")}],
                },
            },
        })
    }

    pub(super) fn shape(name: &str, definition: &mut Value, facts: &Facts) {
        if let Some(mut shape) = special(name) {
            if let Some(description) = definition.get("description")
                && shape.get("description").is_none()
            {
                shape["description"] = description.clone();
            }
            *definition = shape;
            return;
        }
        if let Some(unions) = facts
            .field(name, ".")
            .and_then(|fact| serde_json::from_str::<Value>(fact.attribute("unions")).ok())
        {
            definition["x-kubernetes-unions"] = unions;
        }
        if let Some(map) = facts.field(name, ".").map(|fact| fact.attribute("map"))
            && !map.is_empty()
        {
            definition["x-kubernetes-map-type"] = json!(map);
        }
        if let Some(Value::Array(required)) = definition.get_mut("required") {
            let fact = |field: &Value| facts.field(name, field.as_str().unwrap_or_default());
            // The crate requires metadata everywhere; upstream does where the struct does.
            required
                .retain(|field| !(field == "metadata" && fact(field).is_some_and(|f| f.has('o'))));
            required.sort_by_key(|field| fact(field).map_or(usize::MAX, |fact| fact.position));
        }
        if definition.get("required") == Some(&json!([]))
            && let Value::Object(map) = definition
        {
            map.remove("required");
        }
        if let Some(Value::Object(properties)) = definition.get_mut("properties") {
            for (field, schema) in properties {
                let fact = facts.field(name, field).cloned().unwrap_or_default();
                shape_field(schema, &fact);
            }
        }
    }

    fn shape_field(schema: &mut Value, fact: &Fact) {
        if schema.get("$ref").is_some() && schema.as_object().is_some_and(|s| s.len() > 1) {
            let target = schema["$ref"].take();
            if let Value::Object(map) = schema {
                map.remove("$ref");
            }
            schema["allOf"] = json!([{"$ref": target}]);
        }
        for (attribute, key) in [
            ("list", "x-kubernetes-list-type"),
            ("map", "x-kubernetes-map-type"),
            ("patch", "x-kubernetes-patch-strategy"),
            ("key", "x-kubernetes-patch-merge-key"),
        ] {
            let value = fact.attribute(attribute);
            if !value.is_empty() {
                schema[key] = json!(value);
            }
        }
        let keys = fact.attribute("keys");
        if !keys.is_empty() {
            schema["x-kubernetes-list-map-keys"] = keys.split(',').collect();
        }
        let values = fact.attribute("enum");
        if !values.is_empty() {
            let target = match schema.get("items").is_some() {
                true => &mut schema["items"],
                false => &mut *schema,
            };
            target["enum"] = values.split('|').collect();
            document_enum(schema, values);
        }
        if let Ok(default) = serde_json::from_str::<Value>(fact.attribute("default")) {
            schema["default"] = default;
        } else if !fact.has('p') && !fact.has('o') && !fact.go_type.is_empty() {
            let zero = match schema.get("type").and_then(Value::as_str) {
                Some("string") if schema.get("format").is_none() => Some(json!("")),
                Some("integer" | "number") => Some(json!(0)),
                Some("boolean") => Some(json!(false)),
                _ => None,
            };
            if let Some(zero) = zero {
                schema["default"] = zero;
            }
        }
    }

    fn document_enum(schema: &mut Value, values: &str) {
        if let Some(Value::String(description)) = schema.get_mut("description") {
            description.push_str("\n\nPossible enum values:");
            for value in values.split('|') {
                description.push_str(&format!("\n - `\"{value}\"`"));
            }
        }
    }

    /// Fields that hold a struct by value are never absent; upstream publishes that as `{}`.
    pub(super) fn default_structs(definitions: &mut Map<String, Value>, facts: &Facts) {
        let structs: std::collections::HashSet<String> = definitions
            .iter()
            .filter(|(name, definition)| {
                definition.get("properties").is_some() || facts.fields.contains_key(*name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for (name, definition) in definitions.iter_mut() {
            let Some(Value::Object(properties)) = definition.get_mut("properties") else {
                continue;
            };
            for (field, schema) in properties {
                let pointer = facts.field(name, field).is_some_and(|fact| fact.has('p'));
                let target = schema.get("allOf").and(reference(schema));
                if !pointer && target.is_some_and(|target| structs.contains(target)) {
                    schema["default"] = json!({});
                }
            }
        }
    }
}

/// Writes the node table that `program.rs` reads; the line formats are described there.
mod program {
    use super::*;

    pub(super) fn write(
        definitions: &Map<String, Value>,
        facts: &Facts,
        kinds: &[Kind],
    ) -> Result<String, BoxError> {
        let mut table = Table {
            definitions,
            facts,
            lines: Vec::new(),
            known: HashMap::new(),
            named: BTreeMap::new(),
        };
        // Definitions first, so that their indexes are fixed before anything refers to them.
        for name in definitions.keys() {
            table.named.insert(name.clone(), table.lines.len());
            table.lines.push(String::new());
        }
        for name in definitions.keys() {
            let line = table.definition(name)?;
            let index = table.named[name];
            table.lines[index] = line;
        }
        let mut text = table.lines.join("\n");
        for (name, index) in &table.named {
            text.push_str(&format!("\nD\t{name}\t{index}"));
        }
        for kind in kinds {
            text.push_str(&format!(
                "\nK\t{}\t{}\t{}\t{}",
                kind.group, kind.version, kind.kind, table.named[&kind.definition]
            ));
        }
        text.push('\n');
        Ok(text)
    }

    struct Table<'a> {
        definitions: &'a Map<String, Value>,
        facts: &'a Facts,
        lines: Vec<String>,
        known: HashMap<String, usize>,
        named: BTreeMap<String, usize>,
    }

    impl Table<'_> {
        fn definition(&mut self, name: &str) -> Result<String, BoxError> {
            let mut segments = name.rsplit('.');
            let last = segments.next().unwrap_or_default();
            let go_type = format!("{}.{last}", segments.next().unwrap_or_default());
            let definition = &self.definitions[name];
            let scalar = match last {
                "Quantity" if go_type.starts_with("resource.") => Some("Q"),
                "IntOrString" => Some("X"),
                "Time" if go_type == "v1.Time" => Some("T"),
                "MicroTime" => Some("U"),
                "JSON" | "RawExtension" | "FieldsV1" | "Patch" => Some("A"),
                _ => None,
            };
            if let Some(code) = scalar {
                return Ok(format!("{code}\t{go_type}"));
            }
            if let Some(Value::Array(options)) = definition.get("oneOf") {
                let mut line = format!("E\t{go_type}");
                for option in options {
                    let index = self.node(option, "")?;
                    line.push_str(&format!("\t{index}"));
                }
                return Ok(line);
            }
            let atomic = self
                .facts
                .field(name, ".")
                .map_or("", |f| f.attribute("map"));
            let mut line = format!("O\t{name}\t{atomic}");
            let required: Vec<&str> = definition
                .get("required")
                .and_then(Value::as_array)
                .map(|names| names.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let empty = Map::new();
            let properties = definition
                .get("properties")
                .and_then(Value::as_object)
                .unwrap_or(&empty);
            let mut names: Vec<&String> = properties.keys().collect();
            names.sort();
            for field in names {
                let is_required = required.contains(&field.as_str());
                let fact = match self.facts.field(name, field) {
                    Some(fact) => fact.clone(),
                    None => Fact {
                        flags: if is_required { "" } else { "o" }.to_string(),
                        wire: list_wire(field).to_string(),
                        ..Fact::default()
                    },
                };
                let node = self.field_node(&properties[field], &fact)?;
                let required = if is_required { "r" } else { "" };
                line.push_str(&format!(
                    "\t{field},{node},{}{required},{},{},{},{}",
                    fact.flags,
                    fact.wire,
                    fact.attribute("patch").replace(',', "+"),
                    fact.attribute("key"),
                    fact.attribute("default"),
                ));
            }
            Ok(line)
        }

        fn field_node(&mut self, schema: &Value, fact: &Fact) -> Result<usize, BoxError> {
            if schema.get("type").and_then(Value::as_str) == Some("array") {
                let go_type = go_list(&fact.go_type);
                let items = self.node(&schema["items"], element(&fact.go_type))?;
                let line = format!(
                    "L\t{go_type}\t{items}\t{}\t{}",
                    fact.attribute("list"),
                    fact.attribute("keys")
                );
                return Ok(self.intern(line));
            }
            let map = fact.attribute("map");
            if !map.is_empty()
                && let Some(target) = reference(schema)
            {
                // A granular or atomic struct field: the same node under another map type.
                let line = self.definition(target)?;
                let mut columns: Vec<&str> = line.split('\t').collect();
                if columns[0] == "O" {
                    columns[2] = map;
                    let line = columns.join("\t");
                    return Ok(self.intern(line));
                }
            }
            if let Some(values) = schema.get("additionalProperties") {
                let value = self.node(values, element(&fact.go_type))?;
                let go_type = match fact.go_type.is_empty() {
                    true => "map[string]string",
                    false => &fact.go_type,
                };
                return Ok(self.intern(format!("M\t{go_type}\t{value}\t{map}")));
            }
            self.node(schema, &fact.go_type)
        }

        fn node(&mut self, schema: &Value, go_type: &str) -> Result<usize, BoxError> {
            if let Some(target) = reference(schema) {
                return Ok(self.named[target]);
            }
            if schema.get("type").and_then(Value::as_str) == Some("array")
                || schema.get("additionalProperties").is_some()
            {
                let fact = Fact {
                    go_type: go_type.to_string(),
                    ..Fact::default()
                };
                return self.field_node(schema, &fact);
            }
            let format = schema.get("format").and_then(Value::as_str);
            let (code, default_type) = match (schema.get("type").and_then(Value::as_str), format) {
                (Some("string"), Some("byte")) => ("Y", "[]uint8"),
                (Some("string"), Some("date-time")) => ("T", "v1.Time"),
                (Some("string"), _) => ("S", "string"),
                (Some("integer"), Some("int32")) => ("I", "int32"),
                (Some("integer"), _) => ("J", "int64"),
                (Some("number"), _) => ("N", "float64"),
                (Some("boolean"), _) => ("B", "bool"),
                (Some("object") | None, _) => ("A", "interface {}"),
                other => return Err(format!("unknown schema {other:?}: {schema}").into()),
            };
            let go_type = if go_type.is_empty() {
                default_type
            } else {
                go_type
            };
            Ok(self.intern(format!("{code}\t{go_type}")))
        }

        fn intern(&mut self, line: String) -> usize {
            if let Some(index) = self.known.get(&line) {
                return *index;
            }
            let index = self.lines.len();
            self.known.insert(line.clone(), index);
            self.lines.push(line);
            index
        }
    }

    /// Protobuf numbers of list kinds; kind and apiVersion travel in the envelope.
    fn list_wire(field: &str) -> &'static str {
        match field {
            "metadata" => "1b",
            "items" => "2b",
            _ => "",
        }
    }

    fn go_list(go_type: &str) -> &str {
        match go_type.is_empty() {
            true => "[]string",
            false => go_type,
        }
    }

    /// The Go type of a list's or map's elements, where the type's name shows it.
    fn element(go_type: &str) -> &str {
        let element = match go_type.strip_prefix("[]") {
            Some(element) => element,
            None => go_type.split_once(']').map_or("", |(_, value)| value),
        };
        element.trim_start_matches('*')
    }
}

/// Every top-level kind, and the types that no kind refers to.
fn register(roots: &mut Roots) {
    use k8s_openapi::{api, apiextensions_apiserver, apimachinery, kube_aggregator};
    macro_rules! all {
        ($method:ident: $($type:path,)*) => { $(roots.$method::<$type>();)* };
    }
    all! { plain:
        apimachinery::pkg::apis::meta::v1::DeleteOptions,
        apimachinery::pkg::apis::meta::v1::APIGroup,
        apimachinery::pkg::apis::meta::v1::Patch,
        apimachinery::pkg::apis::meta::v1::WatchEvent<apimachinery::pkg::runtime::RawExtension>,
        apimachinery::pkg::version::Info,
    }
    all! { kind:
        api::authentication::v1::SelfSubjectReview,
        api::authentication::v1::TokenRequest,
        api::authentication::v1::TokenReview,
        api::authorization::v1::LocalSubjectAccessReview,
        api::authorization::v1::SelfSubjectAccessReview,
        api::authorization::v1::SelfSubjectRulesReview,
        api::authorization::v1::SubjectAccessReview,
        api::autoscaling::v1::Scale,
        api::core::v1::Binding,
        api::policy::v1::Eviction,
        apimachinery::pkg::apis::meta::v1::APIGroup,
        apimachinery::pkg::apis::meta::v1::APIGroupList,
        apimachinery::pkg::apis::meta::v1::APIResourceList,
        apimachinery::pkg::apis::meta::v1::APIVersions,
        apimachinery::pkg::apis::meta::v1::Status,
    }
    all! { listable:
        api::admissionregistration::v1::MutatingAdmissionPolicy,
        api::admissionregistration::v1::MutatingAdmissionPolicyBinding,
        api::admissionregistration::v1::MutatingWebhookConfiguration,
        api::admissionregistration::v1::ValidatingAdmissionPolicy,
        api::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        api::admissionregistration::v1::ValidatingWebhookConfiguration,
        api::admissionregistration::v1alpha1::MutatingAdmissionPolicy,
        api::admissionregistration::v1alpha1::MutatingAdmissionPolicyBinding,
        api::admissionregistration::v1beta1::MutatingAdmissionPolicy,
        api::admissionregistration::v1beta1::MutatingAdmissionPolicyBinding,
        api::apiserverinternal::v1alpha1::StorageVersion,
        api::apps::v1::ControllerRevision,
        api::apps::v1::DaemonSet,
        api::apps::v1::Deployment,
        api::apps::v1::ReplicaSet,
        api::apps::v1::StatefulSet,
        api::autoscaling::v1::HorizontalPodAutoscaler,
        api::autoscaling::v2::HorizontalPodAutoscaler,
        api::batch::v1::CronJob,
        api::batch::v1::Job,
        api::certificates::v1::CertificateSigningRequest,
        api::certificates::v1alpha1::ClusterTrustBundle,
        api::certificates::v1beta1::ClusterTrustBundle,
        api::certificates::v1beta1::PodCertificateRequest,
        api::coordination::v1::Lease,
        api::coordination::v1alpha2::LeaseCandidate,
        api::coordination::v1beta1::LeaseCandidate,
        api::core::v1::ComponentStatus,
        api::core::v1::ConfigMap,
        api::core::v1::Endpoints,
        api::core::v1::Event,
        api::core::v1::LimitRange,
        api::core::v1::Namespace,
        api::core::v1::Node,
        api::core::v1::PersistentVolume,
        api::core::v1::PersistentVolumeClaim,
        api::core::v1::Pod,
        api::core::v1::PodTemplate,
        api::core::v1::ReplicationController,
        api::core::v1::ResourceQuota,
        api::core::v1::Secret,
        api::core::v1::Service,
        api::core::v1::ServiceAccount,
        api::discovery::v1::EndpointSlice,
        api::events::v1::Event,
        api::flowcontrol::v1::FlowSchema,
        api::flowcontrol::v1::PriorityLevelConfiguration,
        api::networking::v1::IPAddress,
        api::networking::v1::Ingress,
        api::networking::v1::IngressClass,
        api::networking::v1::NetworkPolicy,
        api::networking::v1::ServiceCIDR,
        api::networking::v1beta1::IPAddress,
        api::networking::v1beta1::ServiceCIDR,
        api::node::v1::RuntimeClass,
        api::policy::v1::PodDisruptionBudget,
        api::rbac::v1::ClusterRole,
        api::rbac::v1::ClusterRoleBinding,
        api::rbac::v1::Role,
        api::rbac::v1::RoleBinding,
        api::resource::v1::DeviceClass,
        api::resource::v1::ResourceClaim,
        api::resource::v1::ResourceClaimTemplate,
        api::resource::v1::ResourceSlice,
        api::resource::v1alpha3::DeviceTaintRule,
        api::resource::v1alpha3::ResourcePoolStatusRequest,
        api::resource::v1beta1::DeviceClass,
        api::resource::v1beta1::ResourceClaim,
        api::resource::v1beta1::ResourceClaimTemplate,
        api::resource::v1beta1::ResourceSlice,
        api::resource::v1beta2::DeviceClass,
        api::resource::v1beta2::DeviceTaintRule,
        api::resource::v1beta2::ResourceClaim,
        api::resource::v1beta2::ResourceClaimTemplate,
        api::resource::v1beta2::ResourceSlice,
        api::scheduling::v1::PriorityClass,
        api::scheduling::v1alpha2::PodGroup,
        api::scheduling::v1alpha2::Workload,
        api::storage::v1::CSIDriver,
        api::storage::v1::CSINode,
        api::storage::v1::CSIStorageCapacity,
        api::storage::v1::StorageClass,
        api::storage::v1::VolumeAttachment,
        api::storage::v1::VolumeAttributesClass,
        api::storage::v1beta1::VolumeAttributesClass,
        api::storagemigration::v1beta1::StorageVersionMigration,
        apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        kube_aggregator::pkg::apis::apiregistration::v1::APIService,
    }
}
