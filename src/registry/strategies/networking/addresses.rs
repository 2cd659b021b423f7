//! IPAddress and ServiceCIDR: what service addresses are taken from.

use std::net::IpAddr;

use super::super::common::access::{arr_at, at, semantic_equal, str_at};
use super::super::common::checks::IMMUTABLE;
use super::super::common::golang::{self, Field, Ty};
use super::super::common::names::{self, NameRule, invalid_each};
use super::super::common::net;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const PARENT: &[Field] = &[
    ("Group", "group", Ty::Str),
    ("Resource", "resource", Ty::Str),
    ("Namespace", "namespace", Ty::Str),
    ("Name", "name", Ty::Str),
];

const ONE_PER_FAMILY: &str =
    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";

/// Rules of IPAddress.
pub struct IpAddressStrategy;

impl Strategy for IpAddressStrategy {
    fn name_rule(&self) -> NameRule {
        // The name is an address; the strategy looks itself.
        NameRule::Any
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if let Some(old) = old {
            return validate_parent_update(object, old, errors);
        }
        let meta = Path::ROOT.field("metadata");
        let name = at(object, "metadata").map_or("", |m| str_at(m, "name"));
        if !name.is_empty() {
            net::validate_ip_strict(&meta.field("name"), name, errors);
        }
        let spec = Path::ROOT.field("spec");
        let path = spec.field("parentRef");
        let parent = at(object, "spec").and_then(|s| at(s, "parentRef"));
        validate_parent(parent, &path, errors);
    }
}

fn validate_parent(parent: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(parent) = parent else {
        return errors.required(path, "");
    };
    let group = str_at(parent, "group");
    if !group.is_empty() {
        let messages = names::dns1123_subdomain(group);
        invalid_each(errors, &path.field("group"), group, messages);
    }
    for field in ["resource", "name"] {
        let text = str_at(parent, field);
        if text.is_empty() {
            errors.required(&path.field(field), "");
        } else {
            let messages = names::path_segment(text);
            invalid_each(errors, &path.field(field), text, messages);
        }
    }
    let namespace = str_at(parent, "namespace");
    if !namespace.is_empty() {
        let messages = names::path_segment(namespace);
        invalid_each(errors, &path.field("namespace"), namespace, messages);
    }
}

fn validate_parent_update(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let parent = |object: &Value| at(object, "spec").and_then(|s| at(s, "parentRef")).cloned();
    let (new, old) = (parent(object), parent(old));
    if !semantic_equal(new.as_ref(), old.as_ref()) {
        let spec = Path::ROOT.field("spec");
        errors.push(
            ErrorType::Invalid,
            &spec.field("parentRef"),
            golang::compact(new.as_ref(), PARENT),
            IMMUTABLE,
        );
    }
}

/// Rules of ServiceCIDR.
pub struct ServiceCidrStrategy;

impl Strategy for ServiceCidrStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        // The status is not looked at: upstream's own controller writes a condition without reason.
        if ctx.subresource == "status" {
            return;
        }
        let spec = Path::ROOT.field("spec");
        let path = spec.field("cidrs");
        let cidrs = cidrs_of(object);
        match old {
            None => validate_cidrs(cidrs, &path, errors),
            Some(old) => validate_cidrs_update(cidrs, cidrs_of(old), &path, errors),
        }
    }
}

fn cidrs_of(object: &Value) -> &[Value] {
    at(object, "spec").map_or(&[], |spec| arr_at(spec, "cidrs"))
}

fn validate_cidrs(cidrs: &[Value], path: &Path<'_>, errors: &mut FieldErrors) {
    if cidrs.is_empty() {
        return errors.required(path, "at least one CIDR required");
    }
    if cidrs.len() > 2 {
        return errors.invalid(path, &json!(cidrs), "may only hold up to 2 values");
    }
    for (i, cidr) in cidrs.iter().enumerate() {
        let text = cidr.as_str().unwrap_or_default();
        net::validate_cidr_strict(&path.index(i), text, errors);
    }
    let is_v4 = |cidr: &Value| {
        let parsed = net::parse_cidr(cidr.as_str().unwrap_or_default());
        parsed.map(|c| matches!(c.ip.addr, IpAddr::V4(_)))
    };
    if let [first, second] = cidrs
        && is_v4(first).is_some()
        && is_v4(first) == is_v4(second)
    {
        errors.invalid(path, &json!(cidrs), ONE_PER_FAMILY);
    }
}

/// A range never changes; a second one may be added.
fn validate_cidrs_update(new: &[Value], old: &[Value], path: &Path<'_>, errors: &mut FieldErrors) {
    if let ([first], [kept, _]) = (old, new) {
        if first != kept {
            errors.invalid(&path.index(0), kept, IMMUTABLE);
        }
        return validate_cidrs(new, path, errors);
    }
    if new.len() != old.len() {
        return errors.invalid(path, &json!(new), IMMUTABLE);
    }
    for (i, (new, old)) in new.iter().zip(old).enumerate() {
        if new != old {
            errors.invalid(&path.index(i), new, IMMUTABLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(object: Value, old: Option<Value>) -> String {
        let mut errors = FieldErrors::default();
        let ctx = WriteContext::default();
        ServiceCidrStrategy.validate(&object, old.as_ref(), &ctx, &mut errors);
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        texts.join("\n")
    }

    #[test]
    fn ranges() {
        let of = |cidrs: Value| json!({"spec": {"cidrs": cidrs}});
        assert_eq!(check(of(json!(["10.0.0.0/24"])), None), "");
        assert_eq!(
            check(of(json!(["10.0.0.0/24", "10.1.0.0/24"])), None),
            format!(
                "spec.cidrs: Invalid value: [\"10.0.0.0/24\",\"10.1.0.0/24\"]: {ONE_PER_FAMILY}"
            )
        );
        let (old, new) = (of(json!(["10.0.0.0/24"])), of(json!(["10.0.0.0/23"])));
        assert_eq!(
            check(new, Some(old)),
            "spec.cidrs[0]: Invalid value: \"10.0.0.0/23\": field is immutable"
        );
    }
}
