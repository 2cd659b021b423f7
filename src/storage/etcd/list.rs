//! Listing in pages, all at the revision of the first.
//!
//! A range of any size would be one message of that size, built in etcd's memory and ours.

use etcd_client::GetOptions;

use super::errors::Call;
use super::{EtcdStore, key_value, revision_of, signed};
use crate::storage::{Error, Listed, Range, Revision};

/// Values of the first page of everything.
const FIRST_PAGE: usize = 1000;
/// Values of one page at most.
const PAGE_MAX: usize = 10_000;
/// Pages grow while they are smaller than this.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

pub(super) async fn list(store: &EtcdStore, range: &Range) -> Result<Listed, Error> {
    let end = range_end(&range.prefix);
    let mut from = match &range.start {
        Some(start) if start.as_str() > range.prefix.as_str() => start.clone().into_bytes(),
        _ => range.prefix.clone().into_bytes(),
    };
    // Who sets a limit knows how large the values are.
    let mut page = match range.limit {
        0 => FIRST_PAGE,
        limit => limit.min(PAGE_MAX),
    };
    let mut at = range.revision;
    let mut listed: Option<Listed> = None;
    loop {
        let have = listed.as_ref().map_or(0, |l| l.kvs.len());
        let limit = match range.limit {
            0 => page,
            limit => page.min(limit - have),
        };
        let mut kv = store.kv()?;
        let options = options(&end, limit, at);
        let work = kv.get(from, Some(options));
        let answer = store.call(Call::Read, work).await;
        let mut answer = answer.map_err(|e| with_wanted(e, at))?;
        let revision = revision_of(answer.header());
        let count = u64::try_from(answer.count()).unwrap_or(0);
        let listed = listed.get_or_insert_with(|| Listed {
            kvs: Vec::new(),
            count,
            revision,
        });
        if at == 0 {
            at = revision;
        }
        let more = answer.more();
        let kvs = answer.take_kvs();
        page = next_page(page, kvs.iter().map(|kv| kv.value().len()).sum());
        listed.kvs.reserve(kvs.len());
        for kv in kvs {
            listed.kvs.push(key_value(kv)?);
        }
        let full = range.limit != 0 && listed.kvs.len() >= range.limit;
        match listed.kvs.last() {
            Some(last) if more && !full => from = after(&last.key),
            _ => break,
        }
    }
    Ok(listed.expect("there is a first page"))
}

fn options(end: &[u8], limit: usize, at: Revision) -> GetOptions {
    let options = GetOptions::new()
        .with_range(end)
        .with_limit(i64::try_from(limit).unwrap_or(i64::MAX));
    match at {
        0 => options,
        at => options.with_revision(signed(at)),
    }
}

fn next_page(page: usize, bytes: usize) -> usize {
    match bytes {
        0..PAGE_BYTES => (page * 2).min(PAGE_MAX),
        _ => (page / 2).max(1),
    }
}

/// The first key that does not begin with the prefix; `\0` (no end) if there is none.
fn range_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// The smallest key after this one.
fn after(key: &str) -> Vec<u8> {
    let mut next = key.as_bytes().to_vec();
    next.push(0);
    next
}

fn with_wanted(error: Error, wanted: Revision) -> Error {
    match error {
        Error::FutureRevision { current, .. } => Error::FutureRevision { wanted, current },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_the_size_of_values() {
        for (page, bytes, next) in [
            (1000, 1, 2000),
            (8000, 1, 10_000),
            (1000, PAGE_BYTES, 500),
            (1, PAGE_BYTES, 1),
        ] {
            assert_eq!(next_page(page, bytes), next);
        }
        assert_eq!(range_end("/a/"), b"/a0");
        assert_eq!(range_end(""), [0]);
    }
}
