//! OpenAPI documents as protobuf, in the messages of gnostic's `OpenAPIv2.proto` and
//! `OpenAPIv3.proto`, which Go clients ask for. One function per message; members are looked up in
//! the JSON tree, absent ones are left out as proto3 does.

use crate::api::yaml::to_yaml;
use crate::base::tree::Value;

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn bytes(&mut self, number: u32, bytes: &[u8]) -> &mut Self {
        varint(u64::from(number) << 3 | 2, &mut self.0);
        varint(bytes.len() as u64, &mut self.0);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(&mut self, number: u32, value: &Value) -> &mut Self {
        match value.as_str() {
            Some(text) if !text.is_empty() => self.bytes(number, text.as_bytes()),
            _ => self,
        }
    }

    fn texts(&mut self, number: u32, values: &Value) -> &mut Self {
        for text in values.as_array().into_iter().flatten() {
            self.bytes(number, text.as_str().unwrap_or("").as_bytes());
        }
        self
    }

    fn boolean(&mut self, number: u32, value: &Value) -> &mut Self {
        if *value == true {
            varint(u64::from(number) << 3, &mut self.0);
            self.0.push(1);
        }
        self
    }

    fn integer(&mut self, number: u32, value: &Value) -> &mut Self {
        if let Some(value) = value.as_u64().filter(|v| *v != 0) {
            varint(u64::from(number) << 3, &mut self.0);
            varint(value, &mut self.0);
        }
        self
    }

    fn double(&mut self, number: u32, value: &Value) -> &mut Self {
        if let Some(value) = value.as_f64().filter(|v| *v != 0.0) {
            varint(u64::from(number) << 3 | 1, &mut self.0);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    /// A nested message, when the member is there.
    fn message(&mut self, number: u32, value: &Value, make: fn(&Value) -> Message) -> &mut Self {
        if !value.is_null() {
            self.bytes(number, &make(value).0);
        }
        self
    }

    /// Repeated messages.
    fn messages(&mut self, number: u32, values: &Value, make: fn(&Value) -> Message) -> &mut Self {
        for value in values.as_array().into_iter().flatten() {
            self.bytes(number, &make(value).0);
        }
        self
    }

    /// A map as repeated name and value pairs.
    fn named(&mut self, number: u32, map: &Value, make: fn(&Value) -> Message) -> &mut Self {
        for (name, value) in map.as_object().into_iter().flatten() {
            let mut pair = Message::default();
            pair.bytes(1, name.as_bytes()).bytes(2, &make(value).0);
            self.bytes(number, &pair.0);
        }
        self
    }

    /// `x-` members as YAML texts.
    fn extensions(&mut self, number: u32, of: &Value) -> &mut Self {
        for (name, value) in of.as_object().into_iter().flatten() {
            if name.starts_with("x-") {
                let mut pair = Message::default();
                pair.bytes(1, name.as_bytes()).bytes(2, &any(value).0);
                self.bytes(number, &pair.0);
            }
        }
        self
    }

    fn done(&mut self) -> Message {
        std::mem::take(self)
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, to_yaml(value).as_bytes()).done()
}

/// A message whose only field 1 is the given one.
fn only(inner: Message) -> Message {
    let mut message = Message::default();
    message.bytes(1, &inner.0).done()
}

/// A map message: pairs in field 1.
fn pairs(map: &Value, make: fn(&Value) -> Message) -> Message {
    let mut message = Message::default();
    message.named(1, map, make).done()
}

/// The v2 document.
pub(super) fn encode_v2(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message
        .text(1, &document["swagger"])
        .message(2, &document["info"], |info| {
            let mut message = Message::default();
            message
                .text(1, &info["title"])
                .text(2, &info["version"])
                .done()
        })
        .message(8, &document["paths"], |paths| {
            let mut message = Message::default();
            message.named(2, paths, v2_path).done()
        })
        .message(9, &document["definitions"], |all| pairs(all, v2_schema))
        .message(10, &document["parameters"], |all| {
            pairs(all, v2_own_parameter)
        })
        .messages(12, &document["security"], |requirement| {
            pairs(requirement, |scopes| {
                let mut message = Message::default();
                message.texts(1, scopes).done()
            })
        })
        .message(13, &document["securityDefinitions"], |all| {
            pairs(all, v2_security)
        });
    message.0
}

fn v2_security(scheme: &Value) -> Message {
    let mut key = Message::default();
    key.text(1, &scheme["type"])
        .text(2, &scheme["name"])
        .text(3, &scheme["in"])
        .text(4, &scheme["description"]);
    let mut message = Message::default();
    message.bytes(2, &key.0).done()
}

fn v2_path(item: &Value) -> Message {
    let mut message = Message::default();
    for (number, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (6, "options"),
        (7, "head"),
        (8, "patch"),
    ] {
        message.message(number, &item[method], v2_operation);
    }
    message
        .messages(9, &item["parameters"], v2_parameter)
        .done()
}

fn v2_operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message
        .texts(1, &operation["tags"])
        .text(3, &operation["description"])
        .text(5, &operation["operationId"])
        .texts(6, &operation["produces"])
        .texts(7, &operation["consumes"])
        .messages(8, &operation["parameters"], v2_parameter)
        .message(9, &operation["responses"], |all| pairs(all, v2_response))
        .texts(10, &operation["schemes"])
        .extensions(13, operation)
        .done()
}

fn v2_response(response: &Value) -> Message {
    let mut inner = Message::default();
    inner
        .text(1, &response["description"])
        .message(2, &response["schema"], |schema| only(v2_schema(schema)));
    only(inner)
}

/// A parameter, or a reference to one.
fn v2_parameter(parameter: &Value) -> Message {
    if parameter["$ref"].is_string() {
        let mut reference = Message::default();
        reference.text(1, &parameter["$ref"]);
        let mut message = Message::default();
        return message.bytes(2, &reference.0).done();
    }
    only(v2_own_parameter(parameter))
}

fn v2_own_parameter(parameter: &Value) -> Message {
    let mut either = Message::default();
    match parameter["in"].as_str() {
        Some("body") => {
            let mut body = Message::default();
            body.text(1, &parameter["description"])
                .text(2, &parameter["name"])
                .text(3, &parameter["in"])
                .boolean(4, &parameter["required"])
                .message(5, &parameter["schema"], v2_schema);
            either.bytes(1, &body.0);
        }
        place => {
            let query = place == Some("query");
            // Query parameters have one field more before their type, allowEmptyValue.
            let (kind, unique) = if query { (6, 20) } else { (5, 19) };
            let mut plain = Message::default();
            plain
                .boolean(1, &parameter["required"])
                .text(2, &parameter["in"])
                .text(3, &parameter["description"])
                .text(4, &parameter["name"])
                .text(kind, &parameter["type"])
                .boolean(unique, &parameter["uniqueItems"]);
            let mut non_body = Message::default();
            non_body.bytes(if query { 3 } else { 4 }, &plain.0);
            either.bytes(2, &non_body.0);
        }
    }
    either
}

fn v2_schema(schema: &Value) -> Message {
    let mut message = Message::default();
    message
        .text(1, &schema["$ref"])
        .text(2, &schema["format"])
        .text(3, &schema["title"])
        .text(4, &schema["description"])
        .message(5, &schema["default"], any)
        .double(7, &schema["maximum"])
        .double(9, &schema["minimum"])
        .integer(11, &schema["maxLength"])
        .integer(12, &schema["minLength"])
        .text(13, &schema["pattern"])
        .integer(14, &schema["maxItems"])
        .integer(15, &schema["minItems"])
        .texts(19, &schema["required"])
        .messages(20, &schema["enum"], any)
        .message(21, &schema["additionalProperties"], |value| {
            additional(value, v2_schema)
        })
        .message(22, &schema["type"], |kind| {
            let mut message = Message::default();
            message.text(1, kind).done()
        })
        .message(23, &schema["items"], |items| only(v2_schema(items)))
        .messages(24, &schema["allOf"], v2_schema)
        .message(25, &schema["properties"], |all| pairs(all, v2_schema))
        .extensions(31, schema)
        .done()
}

/// A schema or a boolean.
fn additional(value: &Value, schema: fn(&Value) -> Message) -> Message {
    let mut message = Message::default();
    if value.is_boolean() {
        return message.boolean(2, value).done();
    }
    message.bytes(1, &schema(value).0).done()
}

/// A v3 document.
pub(super) fn encode_v3(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message
        .text(1, &document["openapi"])
        .message(2, &document["info"], |info| {
            let mut message = Message::default();
            message
                .text(1, &info["title"])
                .text(6, &info["version"])
                .done()
        })
        .message(4, &document["paths"], |paths| pairs(paths, v3_path))
        .message(5, &document["components"], |components| {
            let mut message = Message::default();
            message
                .message(1, &components["schemas"], |all| pairs(all, v3_schema))
                .message(7, &components["securitySchemes"], |all| {
                    pairs(all, v3_security)
                })
                .done()
        });
    message.0
}

fn v3_security(scheme: &Value) -> Message {
    let mut inner = Message::default();
    inner
        .text(1, &scheme["type"])
        .text(2, &scheme["description"])
        .text(3, &scheme["name"])
        .text(4, &scheme["in"]);
    only(inner)
}

fn v3_path(item: &Value) -> Message {
    let mut message = Message::default();
    for (number, method) in [
        (4, "get"),
        (5, "put"),
        (6, "post"),
        (7, "delete"),
        (8, "options"),
        (9, "head"),
        (10, "patch"),
    ] {
        message.message(number, &item[method], v3_operation);
    }
    message
        .messages(13, &item["parameters"], v3_parameter)
        .done()
}

fn v3_operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message
        .texts(1, &operation["tags"])
        .text(3, &operation["description"])
        .text(5, &operation["operationId"])
        .messages(6, &operation["parameters"], v3_parameter)
        .message(7, &operation["requestBody"], |body| {
            let mut inner = Message::default();
            inner
                .message(2, &body["content"], v3_content)
                .boolean(3, &body["required"]);
            only(inner)
        })
        .message(8, &operation["responses"], |all| {
            let mut message = Message::default();
            message.named(2, all, v3_response).done()
        })
        .extensions(13, operation)
        .done()
}

fn v3_content(content: &Value) -> Message {
    pairs(content, |entry| {
        let mut message = Message::default();
        message.message(1, &entry["schema"], v3_schema).done()
    })
}

fn v3_response(response: &Value) -> Message {
    let mut inner = Message::default();
    inner
        .text(1, &response["description"])
        .message(3, &response["content"], v3_content);
    only(inner)
}

fn v3_parameter(parameter: &Value) -> Message {
    let mut inner = Message::default();
    inner
        .text(1, &parameter["name"])
        .text(2, &parameter["in"])
        .text(3, &parameter["description"])
        .boolean(4, &parameter["required"])
        .message(10, &parameter["schema"], v3_schema);
    only(inner)
}

/// A schema, or a reference to one.
fn v3_schema(schema: &Value) -> Message {
    let mut message = Message::default();
    if schema["$ref"].is_string() {
        let mut reference = Message::default();
        reference.text(1, &schema["$ref"]);
        return message.bytes(2, &reference.0).done();
    }
    let mut inner = Message::default();
    inner
        .boolean(1, &schema["nullable"])
        .double(11, &schema["maximum"])
        .double(13, &schema["minimum"])
        .integer(15, &schema["maxLength"])
        .integer(16, &schema["minLength"])
        .text(17, &schema["pattern"])
        .integer(18, &schema["maxItems"])
        .integer(19, &schema["minItems"])
        .boolean(20, &schema["uniqueItems"])
        .texts(23, &schema["required"])
        .messages(24, &schema["enum"], any)
        .text(25, &schema["type"])
        .messages(26, &schema["allOf"], v3_schema)
        .messages(27, &schema["oneOf"], v3_schema)
        .messages(28, &schema["anyOf"], v3_schema)
        .message(30, &schema["items"], |items| only(v3_schema(items)))
        .message(31, &schema["properties"], |all| pairs(all, v3_schema))
        .message(32, &schema["additionalProperties"], |value| {
            additional(value, v3_schema)
        })
        .message(33, &schema["default"], v3_default)
        .text(34, &schema["description"])
        .text(35, &schema["format"])
        .extensions(36, schema);
    message.bytes(1, &inner.0).done()
}

/// Numbers, booleans and strings; other defaults have no form in gnostic.
fn v3_default(value: &Value) -> Message {
    let mut message = Message::default();
    match value {
        Value::Bool(_) => message.boolean(2, value),
        Value::String(_) => message.text(3, value),
        _ => message.double(1, value),
    };
    message.done()
}
