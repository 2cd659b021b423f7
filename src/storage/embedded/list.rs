//! Listing: a prefix at one revision, from the index and the log.

use super::Shared;
use super::index::Version;
use super::tables::{Tables, View};
use crate::storage::{Error, KeyValue, Listed, Range, Revision};

/// Keys walked under one hold of the index lock, so that a long list does not delay the writer.
const KEYS_PER_LOCK: usize = 1024;

/// Lists; blocks on disk.
pub(super) fn list(shared: &Shared, tables: &Tables, range: &Range) -> Result<Listed, Error> {
    loop {
        match list_once(shared, tables, range) {
            // Compacted under our feet: the current state is still there to be read.
            Err(Error::Compacted { .. }) if range.revision == 0 => {}
            done => return done,
        }
    }
}

fn list_once(shared: &Shared, tables: &Tables, range: &Range) -> Result<Listed, Error> {
    let (view, at, revision) = {
        let index = shared.index.read();
        let at = match range.revision {
            0 => index.revision(),
            exact => exact,
        };
        index.check_readable(at)?;
        // Under the lock: compaction removes values only after it raised the compact revision.
        (tables.view(), at, index.revision())
    };
    let (found, count) = scan(shared, range, at)?;
    let kvs = read(&view, found)?;
    Ok(Listed {
        kvs,
        count,
        revision,
    })
}

type Found = Vec<(Box<str>, Version)>;

fn scan(shared: &Shared, range: &Range, at: Revision) -> Result<(Found, u64), Error> {
    let wanted = match range.limit {
        0 => usize::MAX,
        limit => limit,
    };
    let start = match &range.start {
        Some(start) if start.as_str() > range.prefix.as_str() => start,
        _ => &range.prefix,
    };
    let mut from: Box<str> = start.as_str().into();
    let mut found = Vec::new();
    let mut uncounted = 0;
    loop {
        let scanned = {
            let index = shared.index.read();
            index.check_readable(at)?;
            let left = wanted - found.len();
            index.scan(&range.prefix, &from, at, left, KEYS_PER_LOCK)
        };
        found.extend(scanned.found);
        uncounted += scanned.uncounted;
        match scanned.next {
            Some(next) => from = next,
            None => break,
        }
    }
    let count = found.len() as u64 + uncounted;
    Ok((found, count))
}

fn read(view: &View<'_>, found: Found) -> Result<Vec<KeyValue>, Error> {
    let mut kvs = Vec::with_capacity(found.len());
    for (key, version) in found {
        let record = view
            .record(version.revision)?
            .ok_or_else(|| Error::Corrupt {
                reason: format!("revision {} of {key} is missing", version.revision),
            })?;
        kvs.push(record.into_key_value(version.revision));
    }
    Ok(kvs)
}
