//! Tracking who wrote what on creates, updates and patches that are not applies.

use std::collections::HashMap;

use super::compare::{Comparison, compare_objects};
use super::created::fields_of_create;
use super::entries::{Entries, Entry, Operation, is_reset};
use super::in_place::track_in_place;
use super::set::Set;
use super::typed::Type;
use super::{Versions, Writer, managed_fields_of, put, take};
use crate::base::tree::{Key, Map, Value};

/// Compares an old and a new object in every version that entries ask for.
pub(super) struct Changes<'a> {
    old: &'a Value,
    new: &'a Value,
    writer: &'a Writer<'a>,
    /// In the writer's version.
    own: Comparison,
    /// By other apiVersions; none where the version is not served any more.
    others: HashMap<String, Option<Comparison>>,
}

impl<'a> Changes<'a> {
    /// The changes in the writer's version, which must be comparable.
    pub(super) fn new(
        old: &'a Value,
        new: &'a Value,
        writer: &'a Writer<'a>,
    ) -> Result<Self, String> {
        let own =
            compare_objects(old, new, type_of(writer))?.filtered(|set| writer.filter.apply(set));
        Ok(Changes {
            old,
            new,
            writer,
            own,
            others: HashMap::new(),
        })
    }

    /// In the writer's version.
    pub(super) fn own(&self) -> &Comparison {
        &self.own
    }

    /// What the writer set, in its version.
    fn into_owned(self) -> Set {
        self.own.modified.joined(self.own.added)
    }

    /// In any version.
    pub(super) fn of(&mut self, api_version: &str) -> Option<&Comparison> {
        if api_version == self.writer.api_version {
            return Some(&self.own);
        }
        if !self.others.contains_key(api_version) {
            let comparison = self.compare(api_version);
            self.others.insert(api_version.to_string(), comparison);
        }
        self.others.get(api_version).and_then(Option::as_ref)
    }

    fn compare(&self, api_version: &str) -> Option<Comparison> {
        let versions = self.writer.versions;
        let ty = versions.type_of(api_version)?;
        let old = versions.convert(self.old, api_version)?;
        let new = versions.convert(self.new, api_version)?;
        let comparison = compare_objects(&old, &new, ty).ok()?;
        Some(comparison.filtered(|set| self.writer.filter.apply(set)))
    }

    /// Takes from an entry what changed under it. Answers whether its version is still served.
    pub(super) fn take_from(&mut self, entry: &mut Entry, conflicts: &Set) -> bool {
        let Some(changes) = self.of(&entry.api_version) else {
            return false;
        };
        if conflicts.is_empty() && changes.removed.is_empty() {
            return true;
        }
        let left = entry.set.difference(conflicts).difference(&changes.removed);
        entry.replace(left);
        true
    }

    /// What an entry loses to the new values.
    pub(super) fn conflicts(&mut self, entry: &Entry) -> Set {
        let Some(changes) = self.of(&entry.api_version) else {
            return Set::default();
        };
        let modified = entry.set.intersection(&changes.modified);
        modified.union(&entry.set.intersection(&changes.added))
    }
}

/// Records in `new` who owns what after an update of `old` (`exists`), or a create (then `old` is
/// the kind's zero object). On failure the entries are removed and the write goes on.
pub fn track(old: &Value, exists: bool, new: &mut Value, writer: &Writer<'_>) {
    let sent = take(new);
    let stored = managed_fields_of(old);
    let sent = match writer.subresource.is_empty() || sent.as_ref() == stored {
        true => sent,
        false => None,
    };
    let managed = started_with(sent, stored);
    let tracked = track_entries(old, exists, new, managed, writer);
    match tracked {
        Ok(managed) => put(new, managed),
        Err(error) => tracing::warn!(%error, "failed to update managedFields"),
    }
}

/// The entries to start from.
pub(super) struct Start {
    pub(super) managed: Option<Value>,
    /// They are the stored ones.
    pub(super) is_stored: bool,
}

/// The entries to start from: a reset, what the client sent if it makes sense, or what is stored.
fn started_with(sent: Option<Value>, stored: Option<&Value>) -> Start {
    let start = |managed, is_stored| Start { managed, is_stored };
    if is_reset(sent.as_ref()) {
        return start(None, false);
    }
    match sent {
        // The usual case: it was read, changed and written back.
        Some(sent) if stored == Some(&sent) => start(Some(sent), true),
        Some(sent) if Entries::decode(Some(&sent)).is_ok_and(|e| !e.is_empty()) => {
            start(Some(sent), false)
        }
        _ => start(stored.cloned(), true),
    }
}

pub(super) fn track_entries(
    old: &Value,
    exists: bool,
    new: &Value,
    start: Start,
    writer: &Writer<'_>,
) -> Result<Option<Value>, String> {
    let mut managed = start.managed;
    // Objects that nobody tracks stay so until the first apply.
    if exists
        && managed
            .as_ref()
            .is_none_or(|m| m.as_array().is_none_or(Vec::is_empty))
    {
        return Ok(None);
    }
    if managed.is_none()
        && let Some(fields) = fields_of_create(old, new, type_of(writer), writer.filter)?
    {
        return Ok(created(fields, writer));
    }
    let mut changes = Changes::new(old, new, writer)?;
    if changes.own().is_empty() && same_version(managed.as_ref(), writer.api_version) {
        return Ok(managed);
    }
    if start.is_stored
        && let Some(managed) = &mut managed
        && track_in_place(managed, changes.own(), writer)
    {
        return Ok(Some(std::mem::take(managed)));
    }
    let mut entries = Entries::decode(managed.as_ref()).unwrap_or_default();
    take_changed(&mut entries, &mut changes);
    let owned = changes.into_owned();
    if !owned.is_empty() {
        add(&mut entries, owned, writer);
    }
    entries.cap();
    Ok(entries.encode())
}

/// The type of the kind in the writer's version.
fn type_of<'a>(writer: &'a Writer<'_>) -> Type<'a> {
    let known = writer.versions.type_of(writer.api_version);
    known.unwrap_or(Type::Deduced)
}

/// The writer's entry, without paths.
fn entry_of(writer: &Writer<'_>) -> Entry {
    Entry::new(
        writer.manager,
        Operation::Update,
        writer.api_version,
        writer.subresource,
    )
}

/// The entries of what only the writer ever wrote.
fn created(fields: Map, writer: &Writer<'_>) -> Option<Value> {
    if fields.is_empty() {
        return None;
    }
    let mut entry = entry_of(writer);
    entry.time = Some(writer.now.to_string());
    entry.encoded_as(fields);
    Entries(vec![entry]).encode()
}

fn same_version(managed: Option<&Value>, api_version: &str) -> bool {
    let mut items = managed.and_then(Value::as_array).into_iter().flatten();
    items.all(|entry| entry.get("apiVersion").and_then(Value::as_str) == Some(api_version))
}

/// Takes everything that changed from everybody.
fn take_changed(entries: &mut Entries, changes: &mut Changes<'_>) {
    entries.0.retain_mut(|entry| {
        let conflicts = changes.conflicts(entry);
        changes.take_from(entry, &conflicts) && !entry.set.is_empty()
    });
}

/// Gives `owned` to the writer's entry, now.
fn add(entries: &mut Entries, owned: Set, writer: &Writer<'_>) {
    let entry = entry_of(writer);
    let at = entries.position(&entry).unwrap_or_else(|| {
        entries.0.push(entry);
        entries.0.len() - 1
    });
    let entry = &mut entries.0[at];
    let set = match entry.set.is_empty() {
        true => owned,
        false => entry.set.union(&owned),
    };
    entry.replace(set);
    entry.time = Some(writer.now.to_string());
}

/// Restores the times of the stored entries when nothing but times changed, so that a write that
/// changes nothing is none.
pub fn keep_times(old: &Value, new: &mut Value) {
    let (Some(before), Some(after)) = (managed_fields_of(old), managed_fields_of(new)) else {
        return;
    };
    // Most writes change something, and early in the object.
    if !equal_but_for_entries(old, new) || before == after || !equal_but_for_times(before, after) {
        return;
    }
    let before = before.clone();
    put(new, Some(before));
}

fn equal_but_for_times(before: &Value, after: &Value) -> bool {
    let (Value::Array(before), Value::Array(after)) = (before, after) else {
        return false;
    };
    let members = |entry: &Value, other: &Value| {
        let entry = entry.as_object().into_iter().flatten();
        let mut entry = entry.filter(|(name, _)| *name != "time");
        entry.all(|(name, value)| other.get(name) == Some(value))
    };
    before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|(a, b)| members(a, b) && members(b, a))
}

fn equal_but_for_entries(old: &Value, new: &Value) -> bool {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return false;
    };
    old.len() == new.len()
        && old.iter().zip(new).all(|((a_name, a), (b_name, b))| {
            a_name == b_name
                && if a_name == "metadata" {
                    let skip = |name: &&Key| !matches!(name.as_str(), "managedFields");
                    let (a, b) = (a.as_object(), b.as_object());
                    let (Some(a), Some(b)) = (a, b) else {
                        return false;
                    };
                    let names = a.keys().filter(skip).eq(b.keys().filter(skip));
                    names && a.keys().filter(skip).all(|name| a.get(name) == b.get(name))
                } else {
                    a == b
                }
        })
}

/// What a write through `versions` cannot convert: nothing.
pub(super) fn convert_all<'a>(
    versions: &dyn Versions,
    values: [&'a Value; 2],
    api_version: &str,
) -> Option<[std::borrow::Cow<'a, Value>; 2]> {
    let [a, b] = values;
    Some([
        versions.convert(a, api_version)?,
        versions.convert(b, api_version)?,
    ])
}
