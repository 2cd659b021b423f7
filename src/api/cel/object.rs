//! Objects that expressions make: `Object{…}`, `Object.spec{…}`, `JSONPatch{…}`.
//!
//! Only mutating admission policies may ([`Env::with_patches`](super::Env::with_patches)). The types of
//! objects are open: any field may be there, and what fits is found out when the object is merged. A
//! nested object names its place (`Object.spec.template`), which [`Constructed::misplaced`] compares.

use base64::Engine as _;
use cel::common::ast::{EntryExpr, StructExpr};

use super::check::Checker;
use super::node::Node;
use super::types::Type;
use super::value::Val;
use crate::base::tree::{Map, Number, Value};

const OBJECT: &str = "Object";
const JSON_PATCH: &str = "JSONPatch";

/// An object that an expression made.
#[derive(Clone, Debug)]
pub struct Constructed<'a> {
    /// Name of its type.
    pub name: &'a str,
    /// Its fields, in the order of the expression.
    pub fields: Vec<(&'a str, Val<'a>)>,
}

/// The type of a whole object.
pub fn object_type() -> Type {
    Type::open_object(OBJECT)
}

/// The type of one operation of a JSON patch.
pub fn json_patch_type() -> Type {
    let text = ["op", "from", "path"].map(|name| (name, Type::String));
    let fields = text.into_iter().chain([("value", Type::Dyn)]);
    Type::object(JSON_PATCH, fields.collect())
}

fn type_named(name: &str) -> Option<Type> {
    match name {
        JSON_PATCH => Some(json_patch_type()),
        OBJECT => Some(object_type()),
        name if name.strip_prefix(OBJECT)?.starts_with('.') => Some(Type::open_object(name)),
        _ => None,
    }
}

impl Checker<'_> {
    /// The checked form of `TYPE{…}`.
    pub(super) fn check_object(&mut self, id: u64, object: &StructExpr) -> (Node, Type) {
        let name = object.type_name.trim_start_matches('.');
        let known = type_named(name).filter(|_| self.env.makes_patches());
        let Some(kind) = known else {
            return self.fail(
                id,
                format!("undeclared reference to '{name}' (in container '')"),
            );
        };
        let mut fields = Vec::with_capacity(object.entries.len());
        for entry in &object.entries {
            let EntryExpr::StructField(field) = &entry.expr else {
                continue;
            };
            let (node, mut given) = self.check(&field.value);
            if field.optional
                && let Type::Optional(inner) = &given
            {
                given = (**inner).clone();
            }
            self.check_field(entry.id, &kind, &field.field, &given);
            fields.push((field.field.clone(), node, field.optional));
        }
        (Node::Object(name.to_string(), fields), kind)
    }

    fn check_field(&mut self, id: u64, kind: &Type, field: &str, given: &Type) {
        let Type::Object(object) = kind else {
            return;
        };
        match object.field(field) {
            None => {
                self.fail(id, format!("undefined field '{field}'"));
            }
            Some(wanted) if !wanted.fits(given) => {
                let text = format!(
                    "expected type of field '{field}' is '{wanted}' but provided type is '{given}'"
                );
                self.fail(id, text);
            }
            Some(_) => {}
        }
    }
}

impl<'a> Constructed<'a> {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&Val<'a>> {
        let found = self.fields.iter().find(|(field, _)| *field == name);
        found.map(|(_, value)| value)
    }

    pub(super) fn equals(&self, other: &Constructed<'_>) -> bool {
        self.name == other.name
            && self.fields.len() == other.fields.len()
            && self
                .fields
                .iter()
                .all(|(name, value)| other.field(name).is_some_and(|v| value.equals(v)))
    }

    /// Objects whose type does not name the place they stand in, in upstream's words.
    pub fn misplaced(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.compare_names(self.name, &mut problems);
        problems
    }

    fn compare_names(&self, place: &str, problems: &mut Vec<String>) {
        if self.name != place {
            problems.push(format!(
                "unexpected type name \"{}\", expected \"{place}\", which matches field name path from root Object type",
                self.name
            ));
        }
        for (field, value) in &self.fields {
            compare_names(value, &format!("{place}.{field}"), problems);
        }
    }
}

/// Lists and maps have no name of their own.
fn compare_names(value: &Val<'_>, place: &str, problems: &mut Vec<String>) {
    match value {
        Val::Object(object) => object.compare_names(place, problems),
        Val::List(items) => items
            .iter()
            .for_each(|item| compare_names(item, place, problems)),
        Val::Map(entries) => entries
            .iter()
            .for_each(|(_, value)| compare_names(value, place, problems)),
        _ => {}
    }
}

impl Val<'_> {
    /// The value as JSON.
    ///
    /// # Errors
    /// What cannot be written as JSON.
    pub fn to_json(&self) -> Result<Value, String> {
        Ok(match self {
            Val::Null => Value::Null,
            Val::Bool(flag) => Value::Bool(*flag),
            Val::Int(number) => Value::from(*number),
            Val::Uint(number) => Value::from(*number),
            Val::Double(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Val::Str(text) => Value::String(text.as_str().to_string()),
            Val::Bytes(bytes) => {
                Value::String(base64::engine::general_purpose::STANDARD.encode(bytes))
            }
            Val::Json(value) => (*value).clone(),
            Val::List(items) => {
                let items: Result<Vec<Value>, String> = items.iter().map(Val::to_json).collect();
                Value::Array(items?)
            }
            Val::Map(entries) => {
                let mut members = Map::new();
                for (key, value) in entries.iter() {
                    let name = key.as_str().ok_or_else(|| {
                        format!("map key is of type {}, not string", key.type_name())
                    })?;
                    members.insert(name.into(), value.to_json()?);
                }
                Value::Object(members)
            }
            Val::Object(object) => {
                let mut members = Map::new();
                for (name, value) in &object.fields {
                    let value = value
                        .to_json()
                        .map_err(|error| format!("fail to convert field \"{name}\": {error}"))?;
                    members.insert((*name).into(), value);
                }
                Value::Object(members)
            }
            Val::Timestamp(_) | Val::Duration(_) => match super::functions::print(self) {
                Some(text) => Value::String(text),
                None => Value::Null,
            },
            other => return Err(format!("unsupported type: {}", other.type_name())),
        })
    }
}
