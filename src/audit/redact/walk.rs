//! Walks a JSON tree along the paths of several rules at once and replaces what they name.

use smallvec::SmallVec;

use super::path::{Positions, Segment};
use super::{Action, FieldRule, Target, decoded};
use crate::base::tree::{Value, unescaped};

/// Makes the text that takes a value's place.
pub(super) type Replace<'a> = dyn Fn(&[u8], Action) -> String + 'a;

/// One path under way: its rule, which of the rule's paths, how far it is matched.
pub(super) struct Track<'a> {
    pub(super) rule: &'a FieldRule,
    path: usize,
    positions: Positions,
}

pub(super) type Tracks<'a> = SmallVec<[Track<'a>; 4]>;

/// Redacts an object, the items of a list, the objects of a table's rows, or the operations of a JSON
/// Patch. Answers how many values were replaced.
pub(super) fn document<'a>(
    tree: &mut Value,
    rules: impl Iterator<Item = &'a FieldRule>,
    replace: &Replace<'_>,
) -> usize {
    let start = start(rules);
    if start.is_empty() {
        return 0;
    }
    let operations = match tree {
        Value::Array(operations) => operations,
        object => return whole(object, &start, replace),
    };
    let each = operations.iter_mut();
    each.map(|operation| patch_operation(operation, &start, replace))
        .sum()
}

/// The paths of all rules at their start.
pub(super) fn start<'a>(rules: impl Iterator<Item = &'a FieldRule>) -> Tracks<'a> {
    let tracks = rules.flat_map(|rule| {
        let path = move |(path, p): (usize, &super::JsonPath)| Track {
            rule,
            path,
            positions: p.start(),
        };
        rule.paths.iter().enumerate().map(path)
    });
    tracks.collect()
}

/// An object, and the objects in it if it is a list or a table: there paths begin anew.
fn whole(object: &mut Value, start: &Tracks<'_>, replace: &Replace<'_>) -> usize {
    let Value::Object(members) = object else {
        return 0;
    };
    let mut count = 0;
    for (key, member) in members.iter_mut() {
        let next = advance(start, Segment::Key(key));
        if let Some(track) = finished(&next) {
            count += apply(member, track.rule, replace);
            continue;
        }
        count += match (key.as_str(), member) {
            ("items", Value::Array(items)) => {
                let each = items.iter_mut().enumerate();
                each.map(|(index, item)| begin(item, &next, Segment::Index(index), start, replace))
                    .sum()
            }
            ("rows", Value::Array(rows)) => {
                let each = rows.iter_mut().enumerate();
                each.map(|(index, row)| table_row(row, &next, index, start, replace))
                    .sum()
            }
            (_, member) => descend(member, &next, replace),
        };
    }
    count
}

/// The row of a table, with its object.
fn table_row<'a>(
    row: &mut Value,
    tracks: &Tracks<'a>,
    index: usize,
    start: &Tracks<'a>,
    replace: &Replace<'_>,
) -> usize {
    let next = advance(tracks, Segment::Index(index));
    if let Some(track) = finished(&next) {
        return apply(row, track.rule, replace);
    }
    let Value::Object(members) = row else {
        return descend(row, &next, replace);
    };
    let each = members.iter_mut().map(|(key, member)| {
        let segment = Segment::Key(key);
        match key.as_str() {
            "object" => begin(member, &next, segment, start, replace),
            _ => child(member, &next, segment, replace),
        }
    });
    each.sum()
}

/// A value to which paths lead and in which they begin anew, too.
fn begin<'a>(
    value: &mut Value,
    tracks: &Tracks<'a>,
    segment: Segment<'_>,
    start: &Tracks<'a>,
    replace: &Replace<'_>,
) -> usize {
    let next = join(start, advance(tracks, segment));
    match finished(&next) {
        Some(track) => apply(value, track.rule, replace),
        None => descend(value, &next, replace),
    }
}

/// An operation of a JSON Patch: its pointer takes the first steps of each path.
fn patch_operation(operation: &mut Value, start: &Tracks<'_>, replace: &Replace<'_>) -> usize {
    let pointer = operation["path"].as_str().unwrap_or_default().to_string();
    let Some(value) = operation.get_mut("value") else {
        return 0;
    };
    let mut tracks: Tracks<'_> = copy(start);
    for part in pointer.split('/').skip(1) {
        let part = unescaped(part);
        tracks = advance(&tracks, Segment::Pointer(&part));
        if let Some(track) = finished(&tracks) {
            return apply(value, track.rule, replace);
        }
    }
    if pointer.is_empty() {
        return whole(value, start, replace);
    }
    descend(value, &tracks, replace)
}

fn descend(value: &mut Value, tracks: &Tracks<'_>, replace: &Replace<'_>) -> usize {
    if tracks.is_empty() {
        return 0;
    }
    let mut count = 0;
    match value {
        Value::Object(members) => {
            for (key, member) in members.iter_mut() {
                count += child(member, tracks, Segment::Key(key), replace);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                count += child(item, tracks, Segment::Index(index), replace);
            }
        }
        _ => {}
    }
    count
}

fn child(
    value: &mut Value,
    tracks: &Tracks<'_>,
    segment: Segment<'_>,
    replace: &Replace<'_>,
) -> usize {
    let next = advance(tracks, segment);
    match finished(&next) {
        Some(track) => apply(value, track.rule, replace),
        None => descend(value, &next, replace),
    }
}

/// Both; `first` counts where both end.
pub(super) fn join<'a>(first: &Tracks<'a>, second: Tracks<'a>) -> Tracks<'a> {
    let mut both = copy(first);
    both.extend(second);
    both
}

fn copy<'a>(tracks: &Tracks<'a>) -> Tracks<'a> {
    let each = tracks.iter().map(|t| Track {
        rule: t.rule,
        path: t.path,
        positions: t.positions.clone(),
    });
    each.collect()
}

/// One step down.
pub(super) fn advance<'a>(tracks: &Tracks<'a>, segment: Segment<'_>) -> Tracks<'a> {
    let each = tracks.iter().filter_map(|t| {
        let positions = t.rule.paths[t.path].advance(&t.positions, segment);
        (!positions.is_empty()).then_some(Track {
            rule: t.rule,
            path: t.path,
            positions,
        })
    });
    each.collect()
}

/// A path that ends here.
pub(super) fn finished<'t, 'a>(tracks: &'t Tracks<'a>) -> Option<&'t Track<'a>> {
    tracks
        .iter()
        .find(|t| t.rule.paths[t.path].is_match(&t.positions))
}

fn apply(value: &mut Value, rule: &FieldRule, replace: &Replace<'_>) -> usize {
    match (rule.target, &mut *value) {
        (_, Value::Null) => 0,
        (Target::Value, _) => put(value, rule, replace),
        (_, Value::Object(members)) => {
            let members = members.iter_mut();
            members
                .filter(|(key, member)| !is_directive(key, member))
                .map(|(_, member)| apply(member, rule, replace))
                .sum()
        }
        (_, Value::Array(items)) => items.iter_mut().map(|i| apply(i, rule, replace)).sum(),
        _ => put(value, rule, replace),
    }
}

/// `$patch: replace` in a strategic merge patch says what to do, not what to store.
fn is_directive(key: &str, value: &Value) -> bool {
    key == "$patch" && value.as_str().is_some_and(is_directive_text)
}

pub(super) fn is_directive_text(text: &str) -> bool {
    matches!(text, "replace" | "merge" | "delete")
}

fn put(value: &mut Value, rule: &FieldRule, replace: &Replace<'_>) -> usize {
    let text = match &*value {
        Value::String(text) if rule.target == Target::Base64Leaves => {
            replace(&decoded(text), rule.action)
        }
        Value::String(text) => replace(text.as_bytes(), rule.action),
        other => replace(other.to_string().as_bytes(), rule.action),
    };
    *value = Value::String(text);
    1
}
