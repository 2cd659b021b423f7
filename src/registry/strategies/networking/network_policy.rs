//! NetworkPolicy.

use super::super::common::access::{
    arr_at, as_i64, at, default_nil, ensure_object, i64_at, is_zero, items_mut, object_mut, str_at,
};
use super::super::common::selector::validate_label_selector;
use super::super::common::{checks, net};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules, the member with their peers.
const RULES: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

/// Rules of NetworkPolicy.
pub struct NetworkPolicyStrategy;

impl Strategy for NetworkPolicyStrategy {
    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        for (rules, _) in RULES {
            for rule in items_mut(spec, rules) {
                for port in items_mut(rule, "ports") {
                    default_nil(port, "protocol", "TCP");
                }
            }
        }
        if is_zero(spec.get("policyTypes")) {
            let mut types = vec!["Ingress"];
            if !is_zero(spec.get("egress")) {
                types.push("Egress");
            }
            object_mut(spec).insert("policyTypes".into(), json!(types));
        }
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        validate_spec(spec, &Path::ROOT.field("spec"), errors);
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        let path = Path::ROOT.field("spec");
        for (rules, peers) in RULES {
            let path = path.field(rules);
            for (i, rule) in arr_at(spec, rules).iter().enumerate() {
                let path = path.index(i);
                let path = path.field(peers);
                for (j, peer) in arr_at(rule, peers).iter().enumerate() {
                    if let Some(block) = at(peer, "ipBlock") {
                        let path = path.index(j);
                        warn_block(block, &path.field("ipBlock"), &mut out);
                    }
                }
            }
        }
        out
    }
}

fn warn_block(block: &Value, path: &Path<'_>, out: &mut Vec<String>) {
    net::warn_cidr(&path.field("cidr"), str_at(block, "cidr"), out);
    let path = path.field("except");
    for (i, except) in arr_at(block, "except").iter().enumerate() {
        net::warn_cidr(&path.index(i), except.as_str().unwrap_or_default(), out);
    }
}

fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let selector_path = path.field("podSelector");
    validate_label_selector(at(spec, "podSelector"), &selector_path, errors);
    for (rules, peers) in RULES {
        let path = path.field(rules);
        for (i, rule) in arr_at(spec, rules).iter().enumerate() {
            let path = path.index(i);
            let ports_path = path.field("ports");
            for (j, port) in arr_at(rule, "ports").iter().enumerate() {
                validate_port(port, &ports_path.index(j), errors);
            }
            let peers_path = path.field(peers);
            for (j, peer) in arr_at(rule, peers).iter().enumerate() {
                validate_peer(peer, &peers_path.index(j), errors);
            }
        }
    }
    let types = arr_at(spec, "policyTypes");
    let types_path = path.field("policyTypes");
    if types.len() > 2 {
        let text = "may not specify more than two policyTypes";
        return errors.invalid(&types_path, &json!(types), text);
    }
    for (i, kind) in types.iter().enumerate() {
        if kind != "Ingress" && kind != "Egress" {
            errors.not_supported(&types_path.index(i), kind, &["Ingress", "Egress"]);
        }
    }
}

fn validate_port(port: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    checks::optional_enum(port, path, "protocol", &["TCP", "UDP", "SCTP"], errors);
    let end = i64_at(port, "endPort");
    let end_path = path.field("endPort");
    let Some(value) = at(port, "port") else {
        if let Some(end) = end {
            let text = "may not be specified when `port` is not specified";
            errors.invalid(&end_path, &end.into(), text);
        }
        return;
    };
    let port_path = path.field("port");
    checks::port_num_or_name(Some(value), &port_path, errors);
    let Some(end) = end else { return };
    if value.is_string() {
        let text = "may not be specified when `port` is non-numeric";
        return errors.invalid(&end_path, &end.into(), text);
    }
    let number = as_i64(value).unwrap_or_default();
    if end < number {
        // Upstream prints the port, not the end of the range.
        let text = "must be greater than or equal to `port`";
        errors.invalid(&end_path, &number.into(), text);
    }
    for message in super::super::common::names::port_number(end) {
        errors.invalid(&end_path, &end.into(), message);
    }
}

fn validate_peer(peer: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let mut count = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = at(peer, field) {
            count += 1;
            validate_label_selector(Some(selector), &path.field(field), errors);
        }
    }
    if let Some(block) = at(peer, "ipBlock") {
        if count > 0 {
            errors.forbidden(path, "may not specify both ipBlock and another peer");
        }
        count += 1;
        validate_block(block, &path.field("ipBlock"), errors);
    }
    if count == 0 {
        errors.required(path, "must specify a peer");
    }
}

fn validate_block(block: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let cidr = str_at(block, "cidr");
    let cidr_path = path.field("cidr");
    if cidr.is_empty() {
        return errors.required(&cidr_path, "");
    }
    net::validate_cidr(&cidr_path, cidr, &[], errors);
    let Some(outer) = net::parse_cidr(cidr) else {
        return;
    };
    let path = path.field("except");
    for (i, except) in arr_at(block, "except").iter().enumerate() {
        let path = path.index(i);
        let text = except.as_str().unwrap_or_default();
        net::validate_cidr(&path, text, &[], errors);
        let Some(inner) = net::parse_cidr(text) else {
            continue;
        };
        let mut widened = inner;
        widened.prefix = outer.prefix;
        let same_family = inner.ip.addr.is_ipv4() == outer.ip.addr.is_ipv4();
        let inside = same_family && widened.network() == outer.network();
        if !inside || outer.prefix >= inner.prefix {
            errors.invalid_str(&path, text, "must be a strict subset of `cidr`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_and_ports() {
        let cases = [
            (
                json!({"ingress": [{"from": [{}]}]}),
                "spec.ingress[0].from[0]: Required value: must specify a peer",
            ),
            (
                json!({"ingress": [{"from": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["198.51.100.0/24"]}}]}]}),
                "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"198.51.100.0/24\": must be a strict subset of `cidr`",
            ),
            (
                json!({"egress": [{"ports": [{"port": 5, "endPort": 1}]}]}),
                "spec.egress[0].ports[0].endPort: Invalid value: 5: must be greater than or equal to `port`",
            ),
            (
                json!({"policyTypes": ["X"]}),
                "spec.policyTypes[0]: Unsupported value: \"X\": supported values: \"Ingress\", \"Egress\"",
            ),
        ];
        for (spec, want) in cases {
            let mut errors = FieldErrors::default();
            validate_spec(&spec, &Path::ROOT.field("spec"), &mut errors);
            let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("\n"), want, "{spec}");
        }
    }
}
