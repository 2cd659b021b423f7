//! Discovery documents as protobuf.
//!
//! The documents are few and small, so their messages are listed here by field number; the message
//! layouts are those of the published `.proto` files of meta/v1 and apidiscovery/v2. Go's encoder
//! writes empty strings and zero numbers of required fields, which this keeps.

use crate::base::tree::Value;

/// How one JSON member is written.
enum Field {
    /// A string, written also when missing.
    Text(&'static str),
    /// A string, written only when present.
    OptionalText(&'static str),
    /// A boolean.
    Bool(&'static str),
    /// Repeated strings.
    Texts(&'static str),
    /// A message, written also when missing.
    Message(&'static str, &'static [(u32, Field)]),
    /// Repeated messages.
    Messages(&'static str, &'static [(u32, Field)]),
    /// A message that holds repeated strings in its field 1.
    TextsMessage(&'static str),
    /// A number that is always zero here.
    Zero,
}

use Field::*;

const LIST_META: &[(u32, Field)] = &[
    (1, Text("selfLink")),
    (2, Text("resourceVersion")),
    (3, Text("continue")),
];
const OBJECT_META: &[(u32, Field)] = &[
    (1, Text("name")),
    (2, Text("generateName")),
    (3, Text("namespace")),
    (4, Text("selfLink")),
    (5, Text("uid")),
    (6, Text("resourceVersion")),
    (7, Zero),
    (8, Message("creationTimestamp", &[])),
];
const ADDRESSES: &[(u32, Field)] = &[(1, Text("clientCIDR")), (2, Text("serverAddress"))];
const API_VERSIONS: &[(u32, Field)] = &[
    (1, Texts("versions")),
    (2, Messages("serverAddressByClientCIDRs", ADDRESSES)),
];
const GROUP_VERSION: &[(u32, Field)] = &[(1, Text("groupVersion")), (2, Text("version"))];
const API_GROUP: &[(u32, Field)] = &[
    (1, Text("name")),
    (2, Messages("versions", GROUP_VERSION)),
    (3, Message("preferredVersion", GROUP_VERSION)),
];
const API_GROUP_LIST: &[(u32, Field)] = &[(1, Messages("groups", API_GROUP))];
const API_RESOURCE: &[(u32, Field)] = &[
    (1, Text("name")),
    (2, Bool("namespaced")),
    (3, Text("kind")),
    (4, TextsMessage("verbs")),
    (5, Texts("shortNames")),
    (6, Text("singularName")),
    (7, Texts("categories")),
    (8, Text("group")),
    (9, Text("version")),
    (10, Text("storageVersionHash")),
];
const API_RESOURCE_LIST: &[(u32, Field)] = &[
    (1, Text("groupVersion")),
    (2, Messages("resources", API_RESOURCE)),
];
const RESPONSE_KIND: &[(u32, Field)] =
    &[(1, Text("group")), (2, Text("version")), (3, Text("kind"))];
const AGGREGATE_SUBRESOURCE: &[(u32, Field)] = &[
    (1, Text("subresource")),
    (2, Message("responseKind", RESPONSE_KIND)),
    (4, Texts("verbs")),
];
const AGGREGATE_RESOURCE: &[(u32, Field)] = &[
    (1, Text("resource")),
    (2, Message("responseKind", RESPONSE_KIND)),
    (3, Text("scope")),
    (4, Text("singularResource")),
    (5, Texts("verbs")),
    (6, Texts("shortNames")),
    (7, Texts("categories")),
    (8, Messages("subresources", AGGREGATE_SUBRESOURCE)),
];
const AGGREGATE_VERSION: &[(u32, Field)] = &[
    (1, Text("version")),
    (2, Messages("resources", AGGREGATE_RESOURCE)),
    (3, OptionalText("freshness")),
];
const AGGREGATE_GROUP: &[(u32, Field)] = &[
    (1, Message("metadata", OBJECT_META)),
    (2, Messages("versions", AGGREGATE_VERSION)),
];
const AGGREGATE: &[(u32, Field)] = &[
    (1, Message("metadata", LIST_META)),
    (2, Messages("items", AGGREGATE_GROUP)),
];

/// The document in Kubernetes' protobuf envelope.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let kind = document["kind"].as_str().unwrap_or("");
    let fields = match kind {
        "APIVersions" => API_VERSIONS,
        "APIGroup" => API_GROUP,
        "APIGroupList" => API_GROUP_LIST,
        "APIResourceList" => API_RESOURCE_LIST,
        _ => AGGREGATE,
    };
    let mut type_meta = Vec::new();
    // The core APIResourceList lacks apiVersion in JSON, but the envelope names it.
    let api_version = match (kind, document["apiVersion"].as_str()) {
        ("APIResourceList", None) => "v1",
        (_, version) => version.unwrap_or(""),
    };
    bytes_field(1, api_version.as_bytes(), &mut type_meta);
    bytes_field(2, kind.as_bytes(), &mut type_meta);
    let mut out = b"k8s\0".to_vec();
    bytes_field(1, &type_meta, &mut out);
    bytes_field(2, &message(document, fields), &mut out);
    bytes_field(3, b"", &mut out);
    bytes_field(4, b"", &mut out);
    out
}

fn message(value: &Value, fields: &[(u32, Field)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, field) in fields {
        write_field(*number, field, value, &mut out);
    }
    out
}

fn write_field(number: u32, field: &Field, value: &Value, out: &mut Vec<u8>) {
    match field {
        Text(name) => bytes_field(number, value[*name].as_str().unwrap_or("").as_bytes(), out),
        OptionalText(name) => {
            if let Some(text) = value[*name].as_str() {
                bytes_field(number, text.as_bytes(), out);
            }
        }
        Bool(name) => {
            varint(u64::from(number) << 3, out);
            out.push(u8::from(value[*name] == true));
        }
        Zero => {
            varint(u64::from(number) << 3, out);
            out.push(0);
        }
        Texts(name) => texts(number, &value[*name], out),
        TextsMessage(name) => {
            let mut inner = Vec::new();
            texts(1, &value[*name], &mut inner);
            bytes_field(number, &inner, out);
        }
        Message(name, fields) => bytes_field(number, &message(&value[*name], fields), out),
        Messages(name, fields) => {
            for item in value[*name].as_array().into_iter().flatten() {
                bytes_field(number, &message(item, fields), out);
            }
        }
    }
}

fn texts(number: u32, values: &Value, out: &mut Vec<u8>) {
    for text in values.as_array().into_iter().flatten() {
        bytes_field(number, text.as_str().unwrap_or("").as_bytes(), out);
    }
}

fn bytes_field(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
