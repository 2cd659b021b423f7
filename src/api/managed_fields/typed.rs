//! How the schema makes values mergeable: which are leaves, maps, or lists with identity.

use std::borrow::Cow;

use super::element::Element;
use crate::api::schema::{List, ListType, Node, Object, Schema};
use crate::base::tree::{Key, Map, Value};

/// The type of a value.
#[derive(Clone, Copy, Debug)]
pub enum Type<'a> {
    /// Declared.
    Known(&'a Schema),
    /// Not declared: maps are granular, lists atomic.
    Deduced,
}

/// How a value merges.
pub(super) enum Kind<'a> {
    /// As a whole.
    Leaf,
    /// By field or key.
    Map(Members<'a>),
    /// By item.
    List(&'a List),
}

/// Types of the members of a map.
#[derive(Clone, Copy)]
pub(super) enum Members<'a> {
    Struct(&'a Object),
    Each(Type<'a>),
}

impl<'a> Members<'a> {
    /// Type of a member, and whether it is a declared field.
    pub(super) fn member(self, name: &str) -> (Type<'a>, bool) {
        match self {
            Members::Struct(object) => match object.field(name) {
                Some(field) => (Type::Known(&field.schema), true),
                None => (Type::Deduced, false),
            },
            Members::Each(values) => (values, false),
        }
    }
}

impl<'a> Type<'a> {
    /// How `value` of this type merges.
    pub(super) fn kind(self, value: &Value) -> Kind<'a> {
        match self {
            Type::Known(schema) => known(schema, value),
            Type::Deduced if value.is_object() => Kind::Map(Members::Each(Type::Deduced)),
            Type::Deduced => Kind::Leaf,
        }
    }

    /// As [`Type::kind`], of two values of which the first that says something decides.
    pub(super) fn kind_of(self, a: Option<&Value>, b: Option<&Value>) -> Kind<'a> {
        let telling = [b, a].into_iter().flatten().find(|value| !value.is_null());
        self.kind(telling.unwrap_or(&Value::Null))
    }

    /// The type below an element, and whether that is a declared field.
    pub(super) fn below(self, element: &Element) -> (Type<'a>, bool) {
        let Type::Known(schema) = self else {
            return (Type::Deduced, false);
        };
        match (&schema.node, element) {
            (Node::Object(object), Element::Field(name)) => Members::Struct(object).member(name),
            (Node::Map(map), Element::Field(_)) => (Type::Known(&map.values), false),
            (Node::List(list), _) => (Type::Known(&list.items), false),
            _ => (Type::Deduced, false),
        }
    }
}

fn known<'a>(schema: &'a Schema, value: &Value) -> Kind<'a> {
    match &schema.node {
        Node::Object(object) if !object.atomic => Kind::Map(Members::Struct(object)),
        Node::Map(map) if !map.atomic => Kind::Map(Members::Each(Type::Known(&map.values))),
        Node::List(list) if list.list_type != ListType::Atomic => Kind::List(list),
        // A custom resource's value of any shape; built-in ones (RawExtension) are replaced whole.
        Node::Any if schema.go_type.is_empty() => Type::Deduced.kind(value),
        Node::Either(options) => {
            let fits = options.iter().find(|option| {
                matches!(
                    (&option.node, value),
                    (Node::Object(_) | Node::Map(_), Value::Object(_))
                        | (Node::List(_), Value::Array(_))
                )
            });
            fits.map_or(Kind::Leaf, |option| known(option, value))
        }
        _ => Kind::Leaf,
    }
}

/// The path element of a list's item.
///
/// # Errors
/// When it has no identity, in upstream's words.
pub(super) fn item_element(list: &List, item: &Value) -> Result<Element, String> {
    let refuse = |text: &str| Err(text.to_string());
    if list.list_type == ListType::Set {
        return match item {
            Value::Object(_) => {
                refuse("associative list without keys has an element that's a map type")
            }
            Value::Array(_) => refuse("not supported: associative list with lists as elements"),
            Value::Null => {
                refuse("associative list without keys has an element that's an explicit null")
            }
            scalar => Ok(Element::Value(scalar.clone())),
        };
    }
    let members = match item {
        Value::Object(members) => members,
        Value::Null => {
            return refuse("associative list with keys may not have a null element");
        }
        _ => return refuse("associative list with keys may not have non-map elements"),
    };
    let mut keys = Vec::with_capacity(list.map_keys.len());
    for key in &list.map_keys {
        let value = members.get(key.as_ref()).map(Cow::Borrowed);
        if let Some(value) = value.or_else(|| key_default(list, key)) {
            keys.push((Key::from(key.as_ref()), value.into_owned()));
        }
    }
    if keys.is_empty() {
        let quoted: Vec<String> = list.map_keys.iter().map(|k| format!("{k:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            quoted.join(" ")
        ));
    }
    keys.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Element::Key(keys))
}

/// The default of a key: declared, or the zero value that OpenAPI declares for required scalars.
fn key_default<'a>(list: &'a List, key: &str) -> Option<Cow<'a, Value>> {
    let field = list.items.object()?.field(key)?;
    if let Some(default) = &field.default {
        return Some(Cow::Borrowed(default));
    }
    if field.pointer || field.omit_empty || field.schema.go_type.is_empty() {
        return None;
    }
    match field.schema.node {
        Node::String | Node::Int32 | Node::Int64 => Some(Cow::Owned(
            crate::api::schema::normalise::zero(&field.schema),
        )),
        _ => None,
    }
}

/// The members of a map, none for null and absent.
pub(super) fn members_of(value: Option<&Value>) -> Option<&Map> {
    value.and_then(Value::as_object).filter(|m| !m.is_empty())
}

/// The items of a list, none for null and absent.
pub(super) fn items_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
