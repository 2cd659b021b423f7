//! `metadata.managedFields` as entries: decoding, identity, order, the cap on old updates.

use super::set::Set;
use crate::base::tree::{Map, Value, json};

/// Most entries of operation Update before the oldest are joined.
pub(super) const UPDATE_ENTRIES_MAX: usize = 10;
/// Who the joined entries belong to.
const ANCIENT_CHANGES: &str = "ancient-changes";

/// How a manager wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Everything else.
    Update,
}

impl Operation {
    fn text(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// What one manager owns.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who.
    pub manager: String,
    /// How.
    pub operation: Operation,
    /// The version that the paths are of.
    pub api_version: String,
    /// When, RFC 3339 with seconds.
    pub time: Option<String>,
    /// Through which subresource; empty for the main resource.
    pub subresource: String,
    /// The paths.
    pub set: Set,
    /// The encoded paths, as long as they did not change.
    raw: Option<Value>,
}

impl Entry {
    /// An entry without time.
    pub fn new(manager: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        Entry {
            manager: manager.to_string(),
            operation,
            api_version: api_version.to_string(),
            time: None,
            subresource: subresource.to_string(),
            set: Set::default(),
            raw: None,
        }
    }

    /// Replaces the paths.
    pub fn replace(&mut self, set: Set) {
        if set != self.set {
            self.raw = None;
            self.set = set;
        }
    }

    /// Its paths, encoded; they are not decoded, so it can only be encoded from now on.
    pub(super) fn encoded_as(&mut self, fields: Map) {
        self.raw = Some(Value::Object(fields));
    }

    /// Whether two entries belong to the same writer. Applied ones do in every version.
    pub fn is_same(&self, other: &Entry) -> bool {
        self.operation == other.operation
            && self.manager == other.manager
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// What conflicts sort by: the identity as upstream encodes it.
    pub(super) fn identity(&self) -> String {
        let mut members = vec![format!("\"manager\":{}", json!(self.manager))];
        members.push(format!("\"operation\":\"{}\"", self.operation.text()));
        if self.operation == Operation::Update {
            members.push(format!("\"apiVersion\":{}", json!(self.api_version)));
        }
        if !self.subresource.is_empty() {
            members.push(format!("\"subresource\":{}", json!(self.subresource)));
        }
        format!("{{{}}}", members.join(","))
    }

    fn decode(value: &Value, at: usize) -> Result<Self, String> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("");
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".into()),
        };
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".into());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
            other => {
                let quoted = crate::api::field::go_quote(other);
                return Err(format!(
                    "invalid fieldsType {quoted} in managed fields entry {at}"
                ));
            }
        }
        let raw = value.get("fieldsV1").cloned();
        let set = match &raw {
            None | Some(Value::Null) => Set::default(),
            Some(fields) => Set::from_fields(fields)?,
        };
        Ok(Entry {
            manager: text("manager").to_string(),
            operation,
            api_version: text("apiVersion").to_string(),
            time: Some(text("time").to_string()).filter(|time| !time.is_empty()),
            subresource: text("subresource").to_string(),
            set,
            raw,
        })
    }

    fn encode(self) -> Value {
        let mut members = Map::new();
        members.insert("manager".into(), Value::String(self.manager));
        members.insert("operation".into(), json!(self.operation.text()));
        members.insert("apiVersion".into(), Value::String(self.api_version));
        if let Some(time) = self.time {
            members.insert("time".into(), Value::String(time));
        }
        members.insert("fieldsType".into(), json!("FieldsV1"));
        let fields = self.raw.unwrap_or_else(|| self.set.to_fields());
        members.insert("fieldsV1".into(), fields);
        if !self.subresource.is_empty() {
            members.insert("subresource".into(), Value::String(self.subresource));
        }
        Value::Object(members)
    }
}

/// All entries of an object.
#[derive(Clone, Debug, Default)]
pub struct Entries(pub Vec<Entry>);

impl Entries {
    /// Reads `metadata.managedFields`.
    ///
    /// # Errors
    /// The first entry that makes no sense, in upstream's words.
    pub fn decode(managed_fields: Option<&Value>) -> Result<Self, String> {
        let mut out = Entries::default();
        let items = managed_fields
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for (at, item) in items.enumerate() {
            let entry = Entry::decode(item, at)?;
            match out.position(&entry) {
                Some(at) => out.0[at] = entry,
                None => out.0.push(entry),
            }
        }
        Ok(out)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the entry of the same writer is.
    pub fn position(&self, entry: &Entry) -> Option<usize> {
        self.0.iter().position(|other| other.is_same(entry))
    }

    /// The array, in upstream's order; `None` when there is no entry.
    pub fn encode(mut self) -> Option<Value> {
        self.0.sort_by(|a, b| {
            let key = |e: &Entry| (e.operation, e.time.clone().unwrap_or_default());
            key(a).cmp(&key(b)).then_with(|| {
                (&a.manager, &a.api_version, &a.subresource).cmp(&(
                    &b.manager,
                    &b.api_version,
                    &b.subresource,
                ))
            })
        });
        let entries: Vec<Value> = self.0.into_iter().map(Entry::encode).collect();
        (!entries.is_empty()).then_some(Value::Array(entries))
    }

    /// Joins the oldest updates, by version, until no more than the maximum remain.
    pub(super) fn cap(&mut self) {
        let is_update = |entry: &&Entry| entry.operation == Operation::Update;
        let mut length = self.0.iter().filter(is_update).count();
        if length <= UPDATE_ENTRIES_MAX {
            return;
        }
        let mut oldest: Vec<Entry> = Vec::new();
        let mut rest: Vec<Entry> = Vec::new();
        for entry in std::mem::take(&mut self.0) {
            match entry.operation {
                Operation::Update => oldest.push(entry),
                Operation::Apply => rest.push(entry),
            }
        }
        oldest.sort_by_cached_key(|entry| (entry.time.clone(), entry.identity()));
        let mut buckets: Vec<Entry> = Vec::new();
        for entry in oldest {
            let bucket = buckets
                .iter_mut()
                .find(|bucket| bucket.api_version == entry.api_version);
            match bucket {
                Some(bucket) if length > UPDATE_ENTRIES_MAX => {
                    bucket.replace(bucket.set.union(&entry.set));
                    bucket.time = entry.time;
                    bucket.manager = ANCIENT_CHANGES.into();
                    bucket.subresource.clear();
                    length -= 1;
                }
                None if length > UPDATE_ENTRIES_MAX => buckets.push(entry),
                _ => rest.push(entry),
            }
        }
        self.0 = buckets;
        self.0.extend(rest);
    }
}

/// Whether the client asks for a fresh start: `[]` or one empty entry.
pub(super) fn is_reset(managed_fields: Option<&Value>) -> bool {
    match managed_fields.and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(entry)]) => entry
            .values()
            .all(|value| value.is_null() || value.as_str() == Some("")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, version: &str, time: &str, field: &str) -> Value {
        json!({
            "manager": manager, "operation": "Update", "apiVersion": version, "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": {field: {}},
        })
    }

    #[test]
    fn entries_that_make_no_sense() {
        let good = entry("m", "v1", "t", "f:a");
        for (member, value, want) in [
            ("operation", "x", "operation must be `Apply` or `Update`"),
            ("apiVersion", "", "apiVersion must not be empty"),
            (
                "fieldsType",
                "",
                "missing fieldsType in managed fields entry 1",
            ),
            (
                "fieldsType",
                "X",
                "invalid fieldsType \"X\" in managed fields entry 1",
            ),
        ] {
            let mut bad = good.clone();
            bad[member] = json!(value);
            let got = Entries::decode(Some(&json!([good, bad]))).expect_err("refused");
            assert_eq!(got, want);
        }
        assert!(is_reset(Some(&json!([]))) && is_reset(Some(&json!([{}]))));
        assert!(!is_reset(None) && !is_reset(Some(&json!([good]))));
    }

    #[test]
    fn old_updates_are_joined_by_version() {
        let mut list: Vec<Value> = (0..12)
            .map(|n| {
                let time = format!("2024-01-01T00:00:{n:02}Z");
                entry(&format!("m{n}"), "v1", &time, &format!("f:x{n}"))
            })
            .collect();
        list.push(entry("other", "v2", "2024-01-01T00:00:00Z", "f:o"));
        let mut entries = Entries::decode(Some(&Value::Array(list))).expect("entries");
        entries.cap();
        assert_eq!(entries.0.len(), 10);
        let encoded = entries.encode().expect("some");
        let ancient = encoded
            .as_array()
            .expect("list")
            .iter()
            .find(|e| e["manager"] == "ancient-changes");
        let ancient = ancient.expect("joined");
        assert_eq!(ancient["time"], "2024-01-01T00:00:03Z");
        assert_eq!(
            ancient["fieldsV1"],
            json!({"f:x0": {}, "f:x1": {}, "f:x2": {}, "f:x3": {}})
        );
    }
}
