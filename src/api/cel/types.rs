//! Types of expressions.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What an expression evaluates to.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Anything; checked when it runs.
    Dyn,
    /// Not known yet (the element of `[]`); fits whatever it meets.
    Unbound,
    /// null.
    Null,
    /// bool.
    Bool,
    /// int.
    Int,
    /// uint.
    Uint,
    /// double.
    Double,
    /// string.
    String,
    /// bytes.
    Bytes,
    /// duration.
    Duration,
    /// timestamp.
    Timestamp,
    /// A type as a value.
    Type,
    /// list(T).
    List(Arc<Type>),
    /// map(K, V).
    Map(Arc<Type>, Arc<Type>),
    /// optional_type(T).
    Optional(Arc<Type>),
    /// An object with declared fields.
    Object(Arc<ObjectType>),
    /// A type of a library, by name.
    Opaque(&'static str),
    /// A type parameter in a declaration.
    Param(char),
}

/// An object type: name and fields.
#[derive(Debug, PartialEq)]
pub struct ObjectType {
    /// Name, as errors print it.
    pub name: String,
    /// Fields; accessing another is a compile error.
    pub fields: Vec<(String, Type)>,
    /// Any other field is there as well, and may hold anything.
    pub is_open: bool,
}

impl ObjectType {
    /// The type of a field.
    pub fn field(&self, name: &str) -> Option<&Type> {
        let found = self.fields.iter().find(|(n, _)| n == name);
        found
            .map(|(_, t)| t)
            .or_else(|| self.is_open.then_some(&Type::Dyn))
    }
}

impl Type {
    /// An object with these fields.
    pub fn object(name: &str, fields: Vec<(&str, Type)>) -> Type {
        let fields = fields.into_iter().map(|(n, t)| (n.to_string(), t));
        Type::Object(Arc::new(ObjectType {
            name: name.to_string(),
            fields: fields.collect(),
            is_open: false,
        }))
    }

    /// An object with whatever fields.
    pub fn open_object(name: &str) -> Type {
        Type::Object(Arc::new(ObjectType {
            name: name.to_string(),
            fields: Vec::new(),
            is_open: true,
        }))
    }

    /// list(T).
    pub fn list(element: Type) -> Type {
        Type::List(Arc::new(element))
    }

    /// map(K, V).
    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    /// optional_type(T).
    pub fn optional(inner: Type) -> Type {
        Type::Optional(Arc::new(inner))
    }

    pub(super) fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn | Type::Unbound)
    }

    /// The type both fit into; `Dyn` when there is none but everything.
    pub(super) fn join(&self, other: &Type) -> Type {
        match (self, other) {
            (a, b) if a == b => a.clone(),
            (Type::Unbound, other) => other.clone(),
            (this, Type::Unbound) => this.clone(),
            (Type::List(a), Type::List(b)) => Type::list(a.join(b)),
            (Type::Map(k, v), Type::Map(l, w)) => Type::map(k.join(l), v.join(w)),
            (Type::Optional(a), Type::Optional(b)) => Type::optional(a.join(b)),
            (Type::Null, Type::Object(_)) => other.clone(),
            (Type::Object(_), Type::Null) => self.clone(),
            _ => Type::Dyn,
        }
    }

    /// Whether `argument` fits this parameter; binds type parameters.
    pub(super) fn accepts(&self, argument: &Type, bound: &mut HashMap<char, Type>) -> bool {
        match (self, argument) {
            (Type::Param(p), argument) => match bound.get(p).cloned() {
                None => {
                    bound.insert(*p, argument.clone());
                    true
                }
                Some(known) => {
                    let fits = known.fits(argument);
                    if fits {
                        bound.insert(*p, known.join(argument));
                    }
                    fits
                }
            },
            (Type::List(p), Type::List(a)) | (Type::Optional(p), Type::Optional(a)) => {
                p.accepts(a, bound)
            }
            (Type::Map(pk, pv), Type::Map(ak, av)) => {
                pk.accepts(ak, bound) && pv.accepts(av, bound)
            }
            // The elements of what is known only when it runs are not known either.
            (_, argument) if argument.is_dyn() => {
                self.bind_to_dyn(bound);
                true
            }
            (this, argument) => this.fits(argument),
        }
    }

    fn bind_to_dyn(&self, bound: &mut HashMap<char, Type>) {
        match self {
            Type::Param(p) => {
                bound.entry(*p).or_insert(Type::Dyn);
            }
            Type::List(t) | Type::Optional(t) => t.bind_to_dyn(bound),
            Type::Map(k, v) => {
                k.bind_to_dyn(bound);
                v.bind_to_dyn(bound);
            }
            _ => {}
        }
    }

    /// Whether a value of either type may stand where the other is expected.
    pub(super) fn fits(&self, other: &Type) -> bool {
        match (self, other) {
            (a, b) if a.is_dyn() || b.is_dyn() => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => a.fits(b),
            (Type::Map(k, v), Type::Map(l, w)) => k.fits(l) && v.fits(w),
            // Messages, times and library types may be null.
            (Type::Null, nullable) | (nullable, Type::Null) => matches!(
                nullable,
                Type::Null
                    | Type::Object(_)
                    | Type::Duration
                    | Type::Timestamp
                    | Type::Opaque(_)
                    | Type::Optional(_)
            ),
            (a, b) => a == b,
        }
    }

    /// With type parameters replaced by what they were bound to.
    pub(super) fn resolved(&self, bound: &HashMap<char, Type>) -> Type {
        match self {
            Type::Param(p) => bound.get(p).cloned().unwrap_or(Type::Unbound),
            Type::List(t) => Type::list(t.resolved(bound)),
            Type::Optional(t) => Type::optional(t.resolved(bound)),
            Type::Map(k, v) => Type::map(k.resolved(bound), v.resolved(bound)),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn | Type::Unbound => f.write_str("dyn"),
            Type::Null => f.write_str("null_type"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Duration => f.write_str("google.protobuf.Duration"),
            Type::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Type::Type => f.write_str("type"),
            Type::List(t) => write!(f, "list({t})"),
            Type::Map(k, v) => write!(f, "map({k}, {v})"),
            Type::Optional(t) => write!(f, "optional_type({t})"),
            Type::Object(object) => f.write_str(&object.name),
            Type::Opaque(name) => f.write_str(name),
            Type::Param(p) => write!(f, "{p}"),
        }
    }
}

/// Opaque types of the libraries, as declarations and errors name them.
pub(super) const OPAQUE: [(&str, &str); 10] = [
    ("url", "kubernetes.URL"),
    ("ip", "net.IP"),
    ("cidr", "net.CIDR"),
    ("quantity", "kubernetes.Quantity"),
    ("semver", "kubernetes.Semver"),
    ("format", "kubernetes.NamedFormat"),
    ("authorizer", "kubernetes.authorization.Authorizer"),
    ("pathcheck", "kubernetes.authorization.PathCheck"),
    ("groupcheck", "kubernetes.authorization.GroupCheck"),
    ("resourcecheck", "kubernetes.authorization.ResourceCheck"),
];

/// The type of a decision.
pub(super) const DECISION: &str = "kubernetes.authorization.Decision";
