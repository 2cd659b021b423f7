//! The functions that exist: operators, CEL's standard library, its extensions, Kubernetes' libraries.
//!
//! One line declares one function: `name overload; overload; …`, an overload being
//! `[.]type,type->type`; the dot marks a member call, whose first type is the receiver's. Capital
//! letters are type parameters.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::types::{DECISION, OPAQUE, Type};

/// One overload.
#[derive(Debug)]
pub(super) struct Overload {
    pub(super) is_member: bool,
    pub(super) parameters: Vec<Type>,
    pub(super) result: Type,
}

/// The function that only expressions that make patches know.
pub(super) const ESCAPE_KEY: &str = "jsonpatch.escapeKey";

/// The function and the macro that only expressions that select devices know.
pub(super) const INCLUDES: &str = "includes";
pub(super) const BIND: &str = "cel.bind";

/// The overloads of a function.
pub(super) fn overloads(function: &str) -> Option<&'static [Overload]> {
    TABLE.get(function).map(Vec::as_slice)
}

/// The names of the type that is a function's own name, such as `int`.
pub(super) fn type_name(name: &str) -> bool {
    matches!(
        name,
        "int"
            | "uint"
            | "double"
            | "bool"
            | "string"
            | "bytes"
            | "list"
            | "map"
            | "null_type"
            | "type"
    )
}

static TABLE: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut table: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    for line in DECLARATIONS {
        let (name, rest) = line.split_once(' ').expect("a declaration has overloads");
        let overloads = rest.split(';').map(|text| overload(text.trim()));
        table.entry(name).or_default().extend(overloads);
    }
    table
});

fn overload(text: &str) -> Overload {
    let (parameters, result) = text.split_once("->").expect("an overload has a result");
    let is_member = parameters.starts_with('.');
    let parameters = parameters.trim_start_matches('.');
    Overload {
        is_member,
        parameters: split(parameters).into_iter().map(parse).collect(),
        result: parse(result),
    }
}

/// Splits at the commas that are in no parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < text.len() {
        parts.push(&text[start..]);
    }
    parts
}

fn parse(text: &str) -> Type {
    if let Some((outer, inner)) = text.strip_suffix(')').and_then(|t| t.split_once('(')) {
        let inner = split(inner);
        return match (outer, inner.as_slice()) {
            ("list", [t]) => Type::list(parse(t)),
            ("optional", [t]) => Type::optional(parse(t)),
            ("map", [k, v]) => Type::map(parse(k), parse(v)),
            _ => unreachable!("declarations know list, map and optional"),
        };
    }
    match text {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "type" => Type::Type,
        "decision" => Type::Opaque(DECISION),
        "A" => Type::Param('A'),
        "B" => Type::Param('B'),
        name => {
            let known = OPAQUE.iter().find(|(short, _)| *short == name);
            Type::Opaque(known.expect("declarations name known types").1)
        }
    }
}

const DECLARATIONS: &[&str] = &[
    // Operators.
    "_?_:_ bool,A,A->A",
    "_&&_ bool,bool->bool",
    "_||_ bool,bool->bool",
    "!_ bool->bool",
    "_==_ A,A->bool",
    "_!=_ A,A->bool",
    "_<_ bool,bool->bool; int,int->bool; uint,uint->bool; double,double->bool; int,uint->bool; int,double->bool; uint,int->bool; uint,double->bool; double,int->bool; double,uint->bool; string,string->bool; bytes,bytes->bool; timestamp,timestamp->bool; duration,duration->bool",
    "_<=_ bool,bool->bool; int,int->bool; uint,uint->bool; double,double->bool; int,uint->bool; int,double->bool; uint,int->bool; uint,double->bool; double,int->bool; double,uint->bool; string,string->bool; bytes,bytes->bool; timestamp,timestamp->bool; duration,duration->bool",
    "_>_ bool,bool->bool; int,int->bool; uint,uint->bool; double,double->bool; int,uint->bool; int,double->bool; uint,int->bool; uint,double->bool; double,int->bool; double,uint->bool; string,string->bool; bytes,bytes->bool; timestamp,timestamp->bool; duration,duration->bool",
    "_>=_ bool,bool->bool; int,int->bool; uint,uint->bool; double,double->bool; int,uint->bool; int,double->bool; uint,int->bool; uint,double->bool; double,int->bool; double,uint->bool; string,string->bool; bytes,bytes->bool; timestamp,timestamp->bool; duration,duration->bool",
    "_+_ int,int->int; uint,uint->uint; double,double->double; string,string->string; bytes,bytes->bytes; list(A),list(A)->list(A); timestamp,duration->timestamp; duration,timestamp->timestamp; duration,duration->duration",
    "_-_ int,int->int; uint,uint->uint; double,double->double; timestamp,timestamp->duration; timestamp,duration->timestamp; duration,duration->duration",
    "_*_ int,int->int; uint,uint->uint; double,double->double",
    "_/_ int,int->int; uint,uint->uint; double,double->double",
    "_%_ int,int->int; uint,uint->uint",
    "-_ int->int; double->double",
    "@in A,list(A)->bool; A,map(A,B)->bool",
    "_[_] list(A),int->A; map(A,B),A->B; optional(list(A)),int->optional(A); optional(map(A,B)),A->optional(B)",
    "_[?_] list(A),int->optional(A); map(A,B),A->optional(B); optional(list(A)),int->optional(A); optional(map(A,B)),A->optional(B)",
    // Standard library.
    "size string->int; bytes->int; list(A)->int; map(A,B)->int; .string->int; .bytes->int; .list(A)->int; .map(A,B)->int",
    "int int->int; uint->int; double->int; string->int; timestamp->int; duration->int",
    "uint uint->uint; int->uint; double->uint; string->uint",
    "double double->double; int->double; uint->double; string->double",
    "string string->string; int->string; uint->string; double->string; bool->string; bytes->string; timestamp->string; duration->string; ip->string; cidr->string",
    "bytes bytes->bytes; string->bytes",
    "bool bool->bool; string->bool",
    "timestamp timestamp->timestamp; string->timestamp; int->timestamp",
    "duration duration->duration; string->duration; int->duration",
    "dyn A->dyn",
    "type A->type",
    "contains .string,string->bool",
    "startsWith .string,string->bool",
    "endsWith .string,string->bool",
    "matches .string,string->bool; string,string->bool",
    "getFullYear .timestamp->int; .timestamp,string->int",
    "getMonth .timestamp->int; .timestamp,string->int",
    "getDayOfYear .timestamp->int; .timestamp,string->int",
    "getDayOfMonth .timestamp->int; .timestamp,string->int",
    "getDate .timestamp->int; .timestamp,string->int",
    "getDayOfWeek .timestamp->int; .timestamp,string->int",
    "getHours .timestamp->int; .timestamp,string->int; .duration->int",
    "getMinutes .timestamp->int; .timestamp,string->int; .duration->int",
    "getSeconds .timestamp->int; .timestamp,string->int; .duration->int",
    "getMilliseconds .timestamp->int; .timestamp,string->int; .duration->int",
    // Optionals.
    "optional.of A->optional(A)",
    "optional.ofNonZeroValue A->optional(A)",
    "optional.none ->optional(A)",
    "hasValue .optional(A)->bool",
    "value .optional(A)->A",
    "or .optional(A),optional(A)->optional(A)",
    "orValue .optional(A),A->A",
    // Strings.
    "charAt .string,int->string",
    "indexOf .string,string->int; .string,string,int->int; .list(A),A->int",
    "lastIndexOf .string,string->int; .string,string,int->int; .list(A),A->int",
    "lowerAscii .string->string",
    "upperAscii .string->string",
    "replace .string,string,string->string; .string,string,string,int->string",
    "split .string,string->list(string); .string,string,int->list(string)",
    "substring .string,int->string; .string,int,int->string",
    "trim .string->string",
    "join .list(string)->string; .list(string),string->string",
    "format .string,list(dyn)->string",
    "strings.quote string->string",
    "jsonpatch.escapeKey string->string",
    "includes .dyn,dyn->bool",
    "find .string,string->string",
    "findAll .string,string->list(string); .string,string,int->list(string)",
    // Lists.
    "isSorted .list(A)->bool",
    "sum .list(int)->int; .list(uint)->uint; .list(double)->double; .list(duration)->duration",
    "min .list(A)->A",
    "max .list(A)->A",
    "slice .list(A),int,int->list(A)",
    "flatten .list(A)->list(dyn); .list(A),int->list(dyn)",
    "lists.range int->list(int)",
    "distinct .list(A)->list(A)",
    "reverse .list(A)->list(A)",
    "sort .list(A)->list(A)",
    "sets.contains list(A),list(A)->bool",
    "sets.equivalent list(A),list(A)->bool",
    "sets.intersects list(A),list(A)->bool",
    // Addresses.
    "url string->url",
    "isURL string->bool",
    "getScheme .url->string",
    "getHost .url->string",
    "getHostname .url->string",
    "getPort .url->string",
    "getEscapedPath .url->string",
    "getQuery .url->map(string,list(string))",
    "ip string->ip; .cidr->ip",
    "isIP string->bool",
    "ip.isCanonical string->bool",
    "family .ip->int",
    "isUnspecified .ip->bool",
    "isLoopback .ip->bool",
    "isLinkLocalMulticast .ip->bool",
    "isLinkLocalUnicast .ip->bool",
    "isGlobalUnicast .ip->bool",
    "cidr string->cidr",
    "isCIDR string->bool",
    "containsIP .cidr,string->bool; .cidr,ip->bool",
    "containsCIDR .cidr,string->bool; .cidr,cidr->bool",
    "prefixLength .cidr->int",
    "masked .cidr->cidr",
    // Quantities and versions.
    "quantity string->quantity",
    "isQuantity string->bool",
    "sign .quantity->int",
    "isGreaterThan .quantity,quantity->bool; .semver,semver->bool",
    "isLessThan .quantity,quantity->bool; .semver,semver->bool",
    "compareTo .quantity,quantity->int; .semver,semver->int",
    "asInteger .quantity->int",
    "isInteger .quantity->bool",
    "asApproximateFloat .quantity->double",
    "add .quantity,quantity->quantity; .quantity,int->quantity",
    "sub .quantity,quantity->quantity; .quantity,int->quantity",
    "semver string->semver; string,bool->semver",
    "isSemver string->bool; string,bool->bool",
    "major .semver->int",
    "minor .semver->int",
    "patch .semver->int",
    // Formats.
    "format.named string->optional(format)",
    "format.dns1123Label ->format",
    "format.dns1123Subdomain ->format",
    "format.dns1035Label ->format",
    "format.qualifiedName ->format",
    "format.dns1123LabelPrefix ->format",
    "format.dns1123SubdomainPrefix ->format",
    "format.dns1035LabelPrefix ->format",
    "format.labelValue ->format",
    "format.uri ->format",
    "format.uuid ->format",
    "format.byte ->format",
    "format.date ->format",
    "format.datetime ->format",
    "validate .format,string->optional(list(string))",
    // The authorizer.
    "path .authorizer,string->pathcheck",
    "group .authorizer,string->groupcheck",
    "serviceAccount .authorizer,string,string->authorizer",
    "resource .groupcheck,string->resourcecheck",
    "subresource .resourcecheck,string->resourcecheck",
    "namespace .resourcecheck,string->resourcecheck",
    "name .resourcecheck,string->resourcecheck",
    "fieldSelector .resourcecheck,string->resourcecheck",
    "labelSelector .resourcecheck,string->resourcecheck",
    "check .pathcheck,string->decision; .resourcecheck,string->decision",
    "allowed .decision->bool",
    "reason .decision->string",
    "errored .decision->bool",
    "error .decision->string",
];
