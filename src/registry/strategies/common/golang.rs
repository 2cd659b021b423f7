//! Printing values the way the reference prints bad values of struct type: internal Go field names,
//! declaration order, every field (contract/validation.md §A1, *Struct values*).
//!
//! [`Field`] tables (in [`super::gotypes`]) say how a struct is laid out; [`compact`] and
//! [`indented`] print a tree by them.

use super::access::is_zero;
use super::selector;
use crate::api::field::escape_html;
use crate::base::tree::Value;

/// How a Go field is printed.
#[derive(Clone, Copy, Debug)]
pub enum Ty {
    /// A string: `""` when missing.
    Str,
    /// A number: `0` when missing.
    Int,
    /// A boolean: `false` when missing.
    Bool,
    /// A quantity: `"0"` when missing.
    Quantity,
    /// A pointer, map, or list of scalars, printed as on the wire: `null` when missing.
    Nil,
    /// A list of structs: `null` when missing.
    List(&'static [Field]),
    /// A struct: all zero when missing.
    Struct(&'static [Field]),
    /// A pointer to a struct: `null` when missing.
    Ptr(&'static [Field]),
    /// An embedded struct whose fields are at this level, on the wire too.
    Inline(&'static [Field]),
    /// An embedded struct whose fields are printed at this level but are nested on the wire.
    Hoist(&'static [Field]),
    /// A pointer to a `metav1.LabelSelector` (wire form): `null` when missing.
    Selector,
    /// `metav1.ObjectMeta`, embedded: wire names at this level, empty ones left out.
    Meta,
    /// The pod security context, which internally also holds the host namespaces of the spec.
    PodSecurity(&'static [Field]),
}

/// One Go field: its Go name, its wire name, its type.
pub type Field = (&'static str, &'static str, Ty);

const META: [&str; 14] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
];

const POD_HOST: [Field; 5] = [
    ("HostNetwork", "hostNetwork", Ty::Bool),
    ("HostPID", "hostPID", Ty::Bool),
    ("HostIPC", "hostIPC", Ty::Bool),
    ("ShareProcessNamespace", "shareProcessNamespace", Ty::Nil),
    ("HostUsers", "hostUsers", Ty::Nil),
];

/// A value as compact JSON with Go's HTML escapes.
pub fn json(value: &Value) -> String {
    escape_html(value.to_string())
}

/// A struct in compact form; `null` when missing.
pub fn compact(value: Option<&Value>, fields: &'static [Field]) -> String {
    print(value, Ty::Ptr(fields), None)
}

/// A struct in compact form, all zero when missing.
pub fn compact_zero(value: Option<&Value>, fields: &'static [Field]) -> String {
    print(value, Ty::Struct(fields), None)
}

/// A list of structs in compact form; `null` when missing.
pub fn compact_list(value: Option<&Value>, fields: &'static [Field]) -> String {
    print(value, Ty::List(fields), None)
}

/// A struct indented by one space per level.
pub fn indented(value: Option<&Value>, fields: &'static [Field]) -> String {
    print(value, Ty::Struct(fields), Some(0))
}

fn print(value: Option<&Value>, ty: Ty, indent: Option<usize>) -> String {
    let mut printer = Printer {
        out: String::new(),
        indent,
    };
    printer.value(value.filter(|v| !v.is_null()), ty, None);
    printer.out
}

struct Printer {
    out: String,
    /// The current depth when printing indented.
    indent: Option<usize>,
}

impl Printer {
    fn value(&mut self, value: Option<&Value>, ty: Ty, parent: Option<&Value>) {
        match (ty, value) {
            (Ty::Str, None) => self.out.push_str("\"\""),
            (Ty::Int, None) => self.out.push('0'),
            (Ty::Bool, None) => self.out.push_str("false"),
            (Ty::Quantity, None) => self.out.push_str("\"0\""),
            (Ty::Struct(fields) | Ty::Inline(fields) | Ty::Hoist(fields), value) => {
                self.object(value, fields, None);
            }
            (Ty::PodSecurity(fields), value) => {
                if value.is_none() && !POD_HOST.iter().any(|f| has(parent, f.1)) {
                    self.out.push_str("null");
                } else {
                    self.object(value, fields, parent);
                }
            }
            (Ty::Selector, Some(_)) if self.indent.is_none() => {
                self.out.push_str(&selector::print(value));
            }
            (_, None) => self.out.push_str("null"),
            (Ty::List(fields), Some(Value::Array(items))) => {
                self.block('[', ']', items.iter(), |p, item| {
                    p.object(Some(item), fields, None);
                });
            }
            (Ty::Ptr(fields), Some(value)) => self.object(Some(value), fields, None),
            (Ty::Selector, Some(value)) => self.wire(value, &["matchLabels", "matchExpressions"]),
            (_, Some(value)) => self.wire(value, &[]),
        }
    }

    /// A value in wire form; members named in `first` come first.
    fn wire(&mut self, value: &Value, first: &[&str]) {
        match value {
            Value::Array(items) => self.block('[', ']', items.iter(), |p, v| p.wire(v, &[])),
            Value::Object(map) => {
                let ordered = first
                    .iter()
                    .filter_map(|k| map.get_key_value(k))
                    .chain(map.iter().filter(|(k, _)| !first.contains(&k.as_str())));
                self.block('{', '}', ordered, |p, (key, v)| {
                    p.key(key);
                    p.wire(v, &[]);
                });
            }
            scalar => self.out.push_str(&json(scalar)),
        }
    }

    fn object(
        &mut self,
        value: Option<&Value>,
        fields: &'static [Field],
        pod_spec: Option<&Value>,
    ) {
        let mut rows: Vec<(&str, Option<&Value>, Ty)> = Vec::with_capacity(fields.len());
        if pod_spec.is_some() {
            collect(pod_spec, &POD_HOST, &mut rows);
        }
        collect(value, fields, &mut rows);
        self.block('{', '}', rows.into_iter(), |p, (name, member, ty)| {
            p.key(name);
            p.value(member, ty, value);
        });
    }

    fn key(&mut self, name: &str) {
        self.out.push_str(&json(&Value::from(name)));
        self.out.push(':');
        if self.indent.is_some() {
            self.out.push(' ');
        }
    }

    fn block<T>(
        &mut self,
        open: char,
        close: char,
        items: impl Iterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.out.push(open);
        self.indent = self.indent.map(|n| n + 1);
        let mut empty = true;
        for item in items {
            if !empty {
                self.out.push(',');
            }
            empty = false;
            self.newline();
            each(self, item);
        }
        self.indent = self.indent.map(|n| n - 1);
        if !empty {
            self.newline();
        }
        self.out.push(close);
    }

    fn newline(&mut self) {
        if let Some(depth) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', depth));
        }
    }
}

fn has(value: Option<&Value>, key: &str) -> bool {
    value.and_then(|v| v.get(key)).is_some_and(|v| !v.is_null())
}

/// Lists the fields of a struct with embedded ones in place.
fn collect<'a>(
    value: Option<&'a Value>,
    fields: &'static [Field],
    rows: &mut Vec<(&'static str, Option<&'a Value>, Ty)>,
) {
    let member = |wire: &str| value.and_then(|v| v.get(wire)).filter(|v| !v.is_null());
    for (go, wire, ty) in fields {
        match ty {
            Ty::Inline(inner) => collect(value, inner, rows),
            Ty::Hoist(inner) => collect(member(wire), inner, rows),
            Ty::Meta => {
                let meta = member(wire);
                for key in META {
                    let value = meta.and_then(|m| m.get(key));
                    if !is_zero(value) {
                        rows.push((key, value, Ty::Nil));
                    }
                }
            }
            _ => rows.push((go, member(wire), *ty)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gotypes;
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn forms() {
        const FIELDS: &[Field] = &[
            ("Name", "name", Ty::Str),
            ("Opt", "opt", Ty::Nil),
            ("Items", "items", Ty::List(&[("K", "k", Ty::Int)])),
        ];
        let value = json!({"name": "<x>", "items": [{"k": 1}]});
        assert_eq!(
            compact(Some(&value), FIELDS),
            r#"{"Name":"\u003cx\u003e","Opt":null,"Items":[{"K":1}]}"#
        );
        assert_eq!(compact(None, FIELDS), "null");
        assert_eq!(
            indented(Some(&json!({"items": []})), FIELDS),
            "{\n \"Name\": \"\",\n \"Opt\": null,\n \"Items\": []\n}"
        );
    }

    #[test]
    fn pod_security_holds_host_namespaces() {
        let spec = json!({"hostNetwork": true, "securityContext": {}});
        let text = compact(Some(&spec), gotypes::POD_SPEC);
        assert!(text.contains(r#""SecurityContext":{"HostNetwork":true,"HostPID":false"#));
    }

    #[test]
    fn template_metadata_is_inlined() {
        let template = json!({"metadata": {"labels": {"a": "b"}}});
        let text = compact(Some(&template), gotypes::POD_TEMPLATE_SPEC);
        assert!(text.starts_with(r#"{"labels":{"a":"b"},"Spec":{"Volumes":null"#));
    }
}
