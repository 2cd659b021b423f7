//! Mutations: of bytes, and of the tree where an input is JSON.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use verbatim::base::tree::{Key, Value, json};

/// What readers of texts trip over.
const TOKENS: &[&str] = &[
    "",
    "\0",
    "\n",
    "\t",
    " ",
    "é",
    "\u{feff}",
    "\u{202e}",
    "😀",
    "%",
    "%zz",
    "%00",
    "+",
    "&",
    "=",
    "==",
    "!=",
    "!",
    ",",
    ";",
    ":",
    "::",
    "/",
    "//",
    "..",
    "~0",
    "~1",
    "/-",
    "-",
    "--",
    "\"",
    "'",
    "`",
    "\\",
    "{",
    "}",
    "{}",
    "[",
    "]",
    "[]",
    "[[",
    "(",
    ")",
    "in (",
    "notin (",
    "$patch",
    "$setElementOrder/containers",
    "$retainKeys",
    "$deleteFromPrimitiveList/finalizers",
    "delete",
    "replace",
    "merge",
    "null",
    "true",
    "false",
    "NaN",
    "1e400",
    "-0",
    "0x1",
    "0777",
    "1_000",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1Ki",
    "100m",
    "1e3",
    "1E",
    ".5",
    "5.",
    "1h1m",
    "-1s",
    "f:",
    "k:{\"name\":\"c\"}",
    "v:1",
    "i:0",
    ".",
    "*",
    "?",
    "AND",
    "OR",
    "NOT",
    "TO",
    ">",
    "<",
    ">=",
    "2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00.123456789+23:59",
    "a.b/c",
    "&a",
    "*a",
    "<<: *a",
    "!!binary",
    "!!str",
    "---",
    "...",
    "|",
    ">-",
    "# ",
    "apiVersion",
    "kind",
    "metadata",
    "name",
    "managedFields",
    "resourceVersion",
    "op",
    "path",
    "value",
    "from",
    "test",
    "add",
    "copy",
    "move",
    "remove",
    "k8s\0",
];

/// A mutation of `base`, sometimes with parts of `other`.
pub(crate) fn mutate(base: &[u8], other: &[u8], bytes_max: usize, rng: &mut StdRng) -> Vec<u8> {
    let tree = rng
        .random_bool(0.6)
        .then(|| serde_json::from_slice::<Value>(base).ok())
        .flatten();
    let mut out = match tree {
        Some(mut tree) => {
            let donor = serde_json::from_slice::<Value>(other).unwrap_or(Value::Null);
            for _ in 0..rng.random_range(1..4) {
                mutate_tree(&mut tree, &donor, rng);
            }
            serde_json::to_vec(&tree).unwrap_or_default()
        }
        None => mutate_bytes(base, other, rng),
    };
    out.truncate(bytes_max);
    out
}

fn mutate_bytes(base: &[u8], other: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut out = base.to_vec();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=out.len());
        let end = (at + rng.random_range(0..32usize)).min(out.len());
        match rng.random_range(0..9) {
            0 if at < out.len() => out[at] ^= 1 << rng.random_range(0..8),
            1 if at < out.len() => out[at] = rng.random(),
            2 => drop(out.drain(at..end)),
            3 => {
                let piece = out[at..end].to_vec();
                for _ in 0..rng.random_range(1..4) {
                    out.splice(at..at, piece.iter().copied());
                }
            }
            4 | 5 => {
                let token = TOKENS.choose(rng).copied().unwrap_or_default();
                out.splice(at..at, token.bytes());
            }
            6 if !other.is_empty() => {
                let from = rng.random_range(0..other.len());
                let to = (from + rng.random_range(0..64usize)).min(other.len());
                out.splice(at..end, other[from..to].iter().copied());
            }
            7 => out.truncate(at),
            8 if rng.random_ratio(1, 8) => {
                // Long runs and deep nesting show what is not linear.
                let token = TOKENS.choose(rng).copied().unwrap_or_default();
                let run = token.repeat(rng.random_range(1..4_000));
                out.splice(at..at, run.bytes());
            }
            _ => {}
        }
    }
    out
}

/// Changes one node somewhere in the tree.
fn mutate_tree(tree: &mut Value, donor: &Value, rng: &mut StdRng) {
    let node = pick(tree, rng);
    match (rng.random_range(0..8), &mut *node) {
        (0, node) => *node = leaf(rng),
        (1, node) => *node = subtree(donor, rng),
        (2, Value::Object(members)) => {
            let keys: Vec<Key> = members.keys().cloned().collect();
            if let Some(key) = keys.choose(rng) {
                members.remove(key);
            }
        }
        (3, Value::Object(members)) => {
            let key = TOKENS.choose(rng).copied().unwrap_or_default();
            members.insert(key.into(), leaf(rng));
        }
        (4, Value::Object(members)) => {
            let pair = donor_member(donor, rng);
            members.extend(pair);
        }
        (5, Value::Array(items)) => {
            let item = items.choose(rng).cloned().unwrap_or_else(|| leaf(rng));
            for _ in 0..rng.random_range(1..5) {
                items.push(item.clone());
            }
        }
        (6, Value::Array(items)) if !items.is_empty() => {
            let at = rng.random_range(0..items.len());
            items.swap_remove(at);
        }
        (7, node) => {
            let inner = node.take();
            *node = match rng.random_bool(0.5) {
                true => json!([inner]),
                false => json!({"a": inner}),
            };
        }
        (_, node) => *node = leaf(rng),
    }
}

/// A random node.
fn pick<'a>(tree: &'a mut Value, rng: &mut StdRng) -> &'a mut Value {
    let mut node = tree;
    while rng.random_bool(0.75) {
        let count = match &*node {
            Value::Object(members) => members.len(),
            Value::Array(items) => items.len(),
            _ => 0,
        };
        if count == 0 {
            break;
        }
        let at = rng.random_range(0..count);
        let next = match node {
            Value::Object(members) => members.values_mut().nth(at),
            Value::Array(items) => items.get_mut(at),
            _ => None,
        };
        match next {
            Some(next) => node = next,
            None => unreachable!("the index is below the count"),
        }
    }
    node
}

fn subtree(donor: &Value, rng: &mut StdRng) -> Value {
    let mut copy = donor.clone();
    pick(&mut copy, rng).take()
}

fn donor_member(donor: &Value, rng: &mut StdRng) -> Option<(String, Value)> {
    let members = donor.as_object()?;
    let keys: Vec<&Key> = members.keys().collect();
    let key = keys.choose(rng)?;
    Some((key.to_string(), members[*key].clone()))
}

fn leaf(rng: &mut StdRng) -> Value {
    match rng.random_range(0..10) {
        0 => Value::Null,
        1 => json!(rng.random_bool(0.5)),
        2 => json!({}),
        3 => json!([]),
        4 => json!(rng.random::<i64>()),
        5 => json!([-1, 0, 1, 65_536, i32::MAX, i32::MIN][rng.random_range(0..6)]),
        6 => json!(rng.random::<f64>()),
        7 => json!("x".repeat(rng.random_range(0..300))),
        _ => json!(TOKENS.choose(rng).copied().unwrap_or_default()),
    }
}
