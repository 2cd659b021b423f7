//! Server-side apply on trees: merge, prune, conflicts.

use std::borrow::Cow;

use super::compare::compare_objects;
use super::element::same;
use super::entries::{Entries, Entry, Operation};
use super::extract::{fields_of, remove, with_named_fields};
use super::merge::merge;
use super::set::Set;
use super::typed::Type;
use super::update::{Changes, convert_all};
use super::validate::validate;
use super::{Writer, managed_fields_of, put, stripped, take};
use crate::base::tree::{Map, Value};

/// Owns what was there before the first apply of an untracked object.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The manager whose last-applied annotation counts.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations together, in bytes.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// Why an apply failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// Others own what the configuration changes: who, and the path.
    Conflicts(Vec<(String, String)>),
    /// Something else, with its text (500).
    Other(String),
}

/// Applies `config` over `live` (`exists`; else `live` is the kind's zero object). The answer has
/// its entries and may contain nulls and values that are not canonical.
///
/// # Errors
/// Conflicts with other managers, and configurations that do not fit the kind.
pub fn apply(
    live: &Value,
    exists: bool,
    config: &Value,
    force: bool,
    writer: &Writer<'_>,
) -> Result<Value, ApplyError> {
    let ty = writer
        .versions
        .type_of(writer.api_version)
        .unwrap_or(Type::Deduced);
    validate(config, ty).map_err(|text| {
        ApplyError::Other(format!(
            "failed to create typed patch object ({}): {text}",
            named(config, writer)
        ))
    })?;
    let mut entries = Entries::decode(managed_fields_of(live))
        .map_err(|text| ApplyError::Other(format!("failed to decode managed fields: {text}")))?;
    let mut plain = live.clone();
    take(&mut plain);
    if entries.is_empty() && exists {
        entries.0.extend(before_first_apply(&plain, ty, writer));
    }
    let (object, entries) = Application {
        live: &plain,
        config,
        ty,
        writer,
    }
    .run(entries, force)?;
    let mut object = object.unwrap_or_else(|| plain.clone());
    if writer.manager == KUBECTL {
        refresh_last_applied(&mut object, config);
    }
    put(&mut object, entries.encode());
    Ok(object)
}

/// `ns/name; apps/v1, Kind=Deployment`.
fn named(config: &Value, writer: &Writer<'_>) -> String {
    let text = |name: &str| config["metadata"][name].as_str().unwrap_or("");
    let version = match writer.api_version.contains('/') {
        true => writer.api_version.to_string(),
        false => format!("/{}", writer.api_version),
    };
    format!(
        "{}/{}; {version}, Kind={}",
        text("namespace"),
        text("name"),
        config["kind"].as_str().unwrap_or("")
    )
}

fn before_first_apply(live: &Value, ty: Type<'_>, writer: &Writer<'_>) -> Option<Entry> {
    let changes = compare_objects(writer.zero, live, ty).ok()?;
    let set = writer.filter.apply(changes.added.union(&changes.modified));
    let mut entry = Entry::new(
        BEFORE_FIRST_APPLY,
        Operation::Update,
        writer.api_version,
        writer.subresource,
    );
    entry.time = Some(writer.now.to_string());
    entry.replace(set);
    (!entry.set.is_empty()).then_some(entry)
}

struct Application<'a> {
    live: &'a Value,
    config: &'a Value,
    ty: Type<'a>,
    writer: &'a Writer<'a>,
}

impl Application<'_> {
    /// The new object, none when nothing changed, and the new entries.
    fn run(
        &self,
        mut entries: Entries,
        force: bool,
    ) -> Result<(Option<Value>, Entries), ApplyError> {
        let writer = self.writer;
        let merged = merge(Some(self.live), Some(self.config), self.ty)
            .map_err(ApplyError::Other)?
            .unwrap_or_default();
        let mut own = Entry::new(
            writer.manager,
            Operation::Apply,
            writer.api_version,
            writer.subresource,
        );
        own.replace(writer.filter.apply(fields_of(self.config, self.ty)));
        let last = entries.position(&own).map(|at| entries.0.remove(at));
        own.time = last.as_ref().and_then(|last| last.time.clone());
        let pruned = match &last {
            Some(last) => self.prune(merged, last, &own, &entries),
            None => merged,
        };
        let mut changes = Changes::new(self.live, &pruned, writer).map_err(ApplyError::Other)?;
        self.resolve(&mut entries, &mut changes, force)?;
        let unchanged = same(self.live, &pruned);
        own.replace(own.set.difference(stripped()));
        if !unchanged {
            own.time = Some(writer.now.to_string());
        }
        if !own.set.is_empty() {
            entries.0.push(own);
        }
        Ok(((!unchanged).then_some(pruned), entries))
    }

    /// Finds conflicts, and takes what changed from everybody else.
    fn resolve(
        &self,
        entries: &mut Entries,
        changes: &mut Changes<'_>,
        force: bool,
    ) -> Result<(), ApplyError> {
        let mut conflicts: Vec<Set> = entries
            .0
            .iter()
            .map(|entry| changes.conflicts(entry))
            .collect();
        if !force {
            let mut found: Vec<(&Entry, Set)> = entries
                .0
                .iter()
                .zip(conflicts.iter().cloned())
                .filter(|(_, set)| !set.is_empty())
                .collect();
            if self.writer.manager == KUBECTL && !found.is_empty() {
                let allowed = self.last_applied_fields();
                for (_, set) in &mut found {
                    *set = set.difference(&allowed);
                }
                found.retain(|(_, set)| !set.is_empty());
            }
            if !found.is_empty() {
                return Err(describe(found));
            }
        }
        let mut at = 0;
        entries.0.retain_mut(|entry| {
            let lost = std::mem::take(&mut conflicts[at]);
            at += 1;
            changes.take_from(entry, &lost) && !entry.set.is_empty()
        });
        Ok(())
    }

    /// Removes from the merged object what the applier owned before, does not mention any more and
    /// nobody else owns.
    fn prune(&self, merged: Value, last: &Entry, own: &Entry, others: &Entries) -> Value {
        let last_set = self.writer.filter.apply(last.set.clone());
        if last_set.is_empty() {
            return merged;
        }
        let versions = self.writer.versions;
        let (Some(ty), Some(converted)) = (
            versions.type_of(&last.api_version),
            versions.convert(&merged, &last.api_version),
        ) else {
            return merged;
        };
        let named_last = with_named_fields(&last_set, ty);
        let pruned = remove(&converted, &named_last, ty);
        let pruned = self.add_back(&converted, pruned, &last.api_version, own, others);
        let Some([pruned, converted]) =
            convert_all(versions, [&pruned, &converted], &last.api_version)
        else {
            return merged;
        };
        // What hung below something removed comes back.
        let kept = with_named_fields(&fields_of(&pruned, ty), ty);
        let all = with_named_fields(&fields_of(&converted, ty), ty);
        let gone = all.difference(&kept).intersection(&named_last);
        let result = remove(&converted, &gone, ty);
        match versions.convert(&result, self.writer.api_version) {
            Some(Cow::Owned(result)) => result,
            _ => result,
        }
    }

    /// Adds back what is owned, by whomever, version by version, the pruned version first.
    fn add_back(
        &self,
        merged: &Value,
        pruned: Value,
        version: &str,
        own: &Entry,
        others: &Entries,
    ) -> Value {
        let mut owned: Vec<(&str, Set)> = vec![(version, Set::default())];
        for entry in others.0.iter().chain([own]) {
            match owned.iter_mut().find(|(v, _)| *v == entry.api_version) {
                Some((_, set)) => *set = set.union(&entry.set),
                None => owned.push((&entry.api_version, entry.set.clone())),
            }
        }
        let versions = self.writer.versions;
        let mut pruned = pruned;
        for (version, managed) in owned.iter().filter(|(_, set)| !set.is_empty()) {
            let Some(ty) = versions.type_of(version) else {
                continue;
            };
            let Some([merged, before]) = convert_all(versions, [merged, &pruned], version) else {
                continue;
            };
            let all = with_named_fields(&fields_of(&merged, ty), ty);
            let kept = with_named_fields(&fields_of(&before, ty), ty);
            let kept = kept.union(&with_named_fields(managed, ty));
            pruned = remove(&merged, &all.difference(&kept), ty);
        }
        pruned
    }

    /// What the last-applied annotation vouches for: its fields that are live with the same value.
    fn last_applied_fields(&self) -> Set {
        let text = self.live["metadata"]["annotations"][LAST_APPLIED].as_str();
        let applied: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
        let Some(applied) = applied else {
            return Set::default();
        };
        if applied["apiVersion"].as_str() != Some(self.writer.api_version) {
            return Set::default();
        }
        let Ok(changes) = compare_objects(&applied, self.live, self.ty) else {
            return Set::default();
        };
        fields_of(&applied, self.ty)
            .difference(&changes.modified)
            .difference(&changes.added)
            .difference(&changes.removed)
    }
}

/// Every conflict as `conflict with "m" using v1` and its path, sorted by manager.
fn describe(mut found: Vec<(&Entry, Set)>) -> ApplyError {
    found.sort_by_cached_key(|(entry, _)| entry.identity());
    let conflicts = found.iter().flat_map(|(entry, set)| {
        let mut who = crate::api::field::go_quote(&entry.manager);
        if !entry.subresource.is_empty() {
            let quoted = crate::api::field::go_quote(&entry.subresource);
            who.push_str(&format!(" with subresource {quoted}"));
        }
        if entry.operation == Operation::Update {
            who.push_str(&format!(" using {}", entry.api_version));
        }
        set.paths().into_iter().map(move |path| (who.clone(), path))
    });
    ApplyError::Conflicts(conflicts.collect())
}

/// Rewrites a last-applied annotation that is there.
fn refresh_last_applied(object: &mut Value, config: &Value) {
    let annotations = object
        .get_mut("metadata")
        .and_then(|metadata| metadata.get_mut("annotations"))
        .and_then(Value::as_object_mut);
    let Some(annotations) = annotations else {
        return;
    };
    let present = annotations.get(LAST_APPLIED).and_then(Value::as_str);
    if present.is_none_or(str::is_empty) {
        return;
    }
    let mut applied = config.clone();
    take(&mut applied);
    if let Some(inner) = applied["metadata"]
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        inner.remove(LAST_APPLIED);
    }
    let text = crate::api::field::escape_html(applied.to_string()) + "\n";
    annotations.insert(LAST_APPLIED.into(), Value::String(text));
    if bytes(annotations) > ANNOTATIONS_BYTES_MAX {
        annotations.remove(LAST_APPLIED);
    }
}

fn bytes(annotations: &Map) -> usize {
    let sizes = annotations
        .iter()
        .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len));
    sizes.sum()
}
