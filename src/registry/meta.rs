//! Reading and writing `metadata` of an object tree.
//!
//! Small on purpose: every function says what it does when the member is missing.

use chrono::{SecondsFormat, Utc};

use crate::base::tree::{Map, Value, json};

/// The metadata object; an empty one when there is none.
pub fn metadata(object: &Value) -> &Map {
    static EMPTY: std::sync::LazyLock<Map> = std::sync::LazyLock::new(Map::new);
    object
        .get("metadata")
        .and_then(Value::as_object)
        .unwrap_or(&EMPTY)
}

/// The metadata object, made when there is none. A metadata member that is not an object is
/// replaced (decoding refuses it before).
pub fn metadata_mut(object: &mut Value) -> &mut Map {
    if !object.is_object() {
        *object = json!({});
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    match metadata {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// A text member of metadata, empty when missing.
pub fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    metadata(object)
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// Sets a text member of metadata, or removes it when empty.
pub fn set_text(object: &mut Value, member: &str, value: &str) {
    let metadata = metadata_mut(object);
    if value.is_empty() {
        metadata.remove(member);
    } else {
        metadata.insert(member.into(), json!(value));
    }
}

/// Sets or (with `None`) removes a member of metadata.
pub fn set(object: &mut Value, member: &str, value: Option<Value>) {
    let metadata = metadata_mut(object);
    match value {
        Some(value) => {
            metadata.insert(member.into(), value);
        }
        None => {
            metadata.remove(member);
        }
    }
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata.generation`, zero when missing.
pub fn generation(object: &Value) -> i64 {
    metadata(object)
        .get("generation")
        .and_then(Value::as_i64)
        .unwrap_or(0)
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = metadata(object).get("finalizers").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Whether `metadata.deletionTimestamp` is set.
pub fn is_being_deleted(object: &Value) -> bool {
    metadata(object)
        .get("deletionTimestamp")
        .is_some_and(|v| !v.is_null())
}

/// `metadata.resourceVersion` as a revision.
pub fn revision(object: &Value) -> Option<u64> {
    text(object, "resourceVersion").parse().ok()
}

/// `metadata.deletionGracePeriodSeconds`.
pub fn deletion_grace_period(object: &Value) -> Option<i64> {
    metadata(object)
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
}

/// Drops owner references that stand twice. Answers the warning the client gets.
pub fn drop_duplicate_owners(object: &mut Value) -> Option<String> {
    let owners = metadata(object).get("ownerReferences")?.as_array()?;
    if owners.len() < 2 {
        return None;
    }
    let (mut kept, mut duplicates): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
    for owner in owners {
        if kept.contains(owner) {
            let uid = owner["uid"].as_str().unwrap_or("").to_string();
            if !duplicates.contains(&uid) {
                duplicates.push(uid);
            }
        } else {
            kept.push(owner.clone());
        }
    }
    if duplicates.is_empty() {
        return None;
    }
    set(object, "ownerReferences", Some(Value::Array(kept)));
    let uids = duplicates.join(", ");
    Some(format!(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, \
         and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}"
    ))
}

/// Now, as `metav1.Time` prints it.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `seconds` from now, as `metav1.Time` prints it.
pub fn seconds_from_now(seconds: i64) -> String {
    let delta = chrono::TimeDelta::try_seconds(seconds).unwrap_or_default();
    (Utc::now() + delta).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Appends five random characters to a generateName prefix, cut to leave room for them.
pub fn generate_name(prefix: &str) -> String {
    use rand::seq::IndexedRandom as _;
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const PREFIX_BYTES_MAX: usize = 58;
    let mut end = prefix.len().min(PREFIX_BYTES_MAX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_string();
    let mut rng = rand::rng();
    name.extend(
        (0..5)
            .filter_map(|_| ALPHABET.choose(&mut rng))
            .map(|b| char::from(*b)),
    );
    name
}
