//! The checks: one per clause of the `Storage` documentation.
//!
//! Each takes a store and a prefix of its own, so that all run against one store at once. Nothing
//! is awaited by time alone, except where the clause is about time.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use verbatim::storage::{
    Error, Event, KeyValue, Range, Revision, Storage, WatchMessage, WatchStream,
};

/// How long anything may take that should happen at once.
const SOON: Duration = Duration::from_secs(20);

/// A store under test with a prefix that no other check uses.
#[derive(Clone)]
pub(crate) struct Subject {
    /// The store.
    pub(crate) store: Arc<dyn Storage>,
    /// Ends in `/`.
    pub(crate) prefix: String,
}

type Check = fn(Subject) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// The checks that may run side by side, with their names.
pub(crate) fn side_by_side() -> Vec<(&'static str, Check)> {
    vec![
        ("create_then_get", |s| Box::pin(create_then_get(s))),
        ("create_of_an_existing_key_fails", |s| {
            Box::pin(create_of_an_existing_key_fails(s))
        }),
        ("update_is_compare_and_swap", |s| {
            Box::pin(update_is_compare_and_swap(s))
        }),
        ("delete_is_compare_and_swap", |s| {
            Box::pin(delete_is_compare_and_swap(s))
        }),
        ("one_of_many_writers_wins", |s| {
            Box::pin(one_of_many_writers_wins(s))
        }),
        ("current_revision_covers_writes", |s| {
            Box::pin(current_revision_covers_writes(s))
        }),
        ("list_pages_and_counts", |s| {
            Box::pin(list_pages_and_counts(s))
        }),
        ("list_reads_the_past", |s| Box::pin(list_reads_the_past(s))),
        ("list_of_large_values", |s| {
            Box::pin(list_of_large_values(s))
        }),
        ("future_revision_is_refused", |s| {
            Box::pin(future_revision_is_refused(s))
        }),
        ("too_large_values_are_refused", |s| {
            Box::pin(too_large_values_are_refused(s))
        }),
        ("watch_tells_what_happened", |s| {
            Box::pin(watch_tells_what_happened(s))
        }),
        ("watch_sees_only_its_prefix", |s| {
            Box::pin(watch_sees_only_its_prefix(s))
        }),
        ("watch_from_now_starts_now", |s| {
            Box::pin(watch_from_now_starts_now(s))
        }),
        ("watch_is_complete_under_concurrency", |s| {
            Box::pin(watch_is_complete_under_concurrency(s))
        }),
        ("requested_progress_proves_freshness", |s| {
            Box::pin(requested_progress_proves_freshness(s))
        }),
        ("ttl_deletes_as_an_event", |s| {
            Box::pin(ttl_deletes_as_an_event(s))
        }),
        ("update_renews_or_ends_the_ttl", |s| {
            Box::pin(update_renews_or_ends_the_ttl(s))
        }),
        ("status_knows_its_store", |s| {
            Box::pin(status_knows_its_store(s))
        }),
    ]
}

/// The checks that change the whole store; run alone, in this order.
pub(crate) fn alone() -> Vec<(&'static str, Check)> {
    vec![
        ("revisions_grow_by_one", |s| {
            Box::pin(revisions_grow_by_one(s))
        }),
        ("compaction_forgets_only_history", |s| {
            Box::pin(compaction_forgets_only_history(s))
        }),
        ("closed_store_refuses", |s| {
            Box::pin(closed_store_refuses(s))
        }),
    ]
}

impl Subject {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn create(&self, name: &str, value: &str) -> Revision {
        let key = self.key(name);
        let created = self.store.create(&key, bytes(value), None);
        created.await.expect("create a new key")
    }

    async fn update(&self, name: &str, value: &str, expected: Revision) -> Revision {
        let key = self.key(name);
        let updated = self.store.update(&key, bytes(value), expected, None);
        updated.await.expect("update a key at its revision")
    }

    async fn delete(&self, name: &str, expected: Revision) -> Revision {
        let key = self.key(name);
        let deleted = self.store.delete(&key, expected);
        deleted.await.expect("delete a key at its revision")
    }

    async fn get(&self, name: &str) -> Option<KeyValue> {
        let got = self.store.get(&self.key(name)).await.expect("get");
        got.kv
    }

    fn range(&self) -> Range {
        Range {
            prefix: self.prefix.clone(),
            ..Range::default()
        }
    }

    async fn watch(&self, after: Revision) -> WatchStream {
        let watch = self.store.watch(&self.prefix, after);
        watch.await.expect("watch an uncompacted revision")
    }
}

fn bytes(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

async fn next(stream: &mut WatchStream) -> WatchMessage {
    let message = tokio::time::timeout(SOON, stream.recv());
    let message = message.await.expect("a watch message in time");
    message.expect("a watch never ends without saying why")
}

/// The next `count` events.
async fn events(stream: &mut WatchStream, count: usize) -> Vec<Event> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match next(stream).await {
            WatchMessage::Events(events) => seen.extend(events),
            WatchMessage::Progress(_) => {}
            WatchMessage::Failed(error) => panic!("watch failed: {error:?}"),
        }
    }
    assert_eq!(seen.len(), count, "more events than writes: {seen:?}");
    seen
}

async fn create_then_get(s: Subject) {
    assert_eq!(s.get("a").await, None);
    let revision = s.create("a", "1").await;
    let got = s.store.get(&s.key("a")).await.expect("get");
    let expected = KeyValue {
        key: s.key("a"),
        value: bytes("1"),
        mod_revision: revision,
        create_revision: revision,
    };
    assert_eq!(got.kv, Some(expected));
    assert!(got.revision >= revision);
}

async fn create_of_an_existing_key_fails(s: Subject) {
    let revision = s.create("a", "1").await;
    let again = s.store.create(&s.key("a"), bytes("2"), None).await;
    assert!(
        matches!(&again, Err(Error::KeyExists { key }) if *key == s.key("a")),
        "{again:?}"
    );
    s.delete("a", revision).await;
    let reborn = s.create("a", "3").await;
    let kv = s.get("a").await.expect("created again");
    assert_eq!((kv.create_revision, kv.mod_revision), (reborn, reborn));
}

async fn update_is_compare_and_swap(s: Subject) {
    let first = s.create("a", "1").await;
    let second = s.update("a", "2", first).await;
    assert!(second > first);
    let kv = s.get("a").await.expect("exists");
    assert_eq!((kv.create_revision, kv.mod_revision), (first, second));
    assert_eq!(kv.value, bytes("2"));
    let lost = s.store.update(&s.key("a"), bytes("3"), first, None).await;
    let Err(Error::Conflict { current, .. }) = lost else {
        panic!("an old revision must conflict: {lost:?}");
    };
    assert_eq!(current.as_deref(), Some(&kv));
    for expected in [0, second] {
        let key = s.key("b");
        let absent = s.store.update(&key, bytes("1"), expected, None).await;
        assert!(
            matches!(&absent, Err(Error::Conflict { current: None, .. })),
            "{absent:?}"
        );
    }
}

async fn delete_is_compare_and_swap(s: Subject) {
    let first = s.create("a", "1").await;
    let second = s.update("a", "2", first).await;
    let lost = s.store.delete(&s.key("a"), first).await;
    let Err(Error::Conflict { current, .. }) = lost else {
        panic!("an old revision must conflict: {lost:?}");
    };
    assert_eq!(current.map(|kv| kv.mod_revision), Some(second));
    let third = s.delete("a", second).await;
    assert!(third > second);
    assert_eq!(s.get("a").await, None);
    let gone = s.store.delete(&s.key("a"), second).await;
    assert!(
        matches!(&gone, Err(Error::Conflict { current: None, .. })),
        "{gone:?}"
    );
}

async fn one_of_many_writers_wins(s: Subject) {
    let first = s.create("a", "0").await;
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..16 {
        let s = s.clone();
        racers.spawn(async move {
            let value = bytes(&racer.to_string());
            let key = s.key("a");
            let result = s.store.update(&key, value.clone(), first, None).await;
            (value, result)
        });
    }
    let mut winners = Vec::new();
    while let Some(raced) = racers.join_next().await {
        match raced.expect("racer did not panic") {
            (value, Ok(revision)) => winners.push((value, revision)),
            (_, Err(Error::Conflict { current, .. })) => {
                let current = current.expect("never deleted");
                assert!(current.mod_revision > first, "the winner is told");
            }
            (_, Err(other)) => panic!("unexpected {other:?}"),
        }
    }
    let [(value, revision)] = &winners[..] else {
        panic!("exactly one wins: {winners:?}");
    };
    let kv = s.get("a").await.expect("exists");
    assert_eq!((&kv.value, kv.mod_revision), (value, *revision));
}

async fn current_revision_covers_writes(s: Subject) {
    let written = s.create("a", "1").await;
    let current = s.store.current_revision().await.expect("current revision");
    assert!(current >= written);
}

async fn list_pages_and_counts(s: Subject) {
    for n in 0..25 {
        s.create(&format!("k{n:02}"), &n.to_string()).await;
    }
    let all = s.store.list(s.range()).await.expect("list");
    assert_eq!((all.kvs.len(), all.count), (25, 25));
    assert!(all.kvs.is_sorted_by(|a, b| a.key < b.key), "key order");
    let mut start = None;
    let mut paged = Vec::new();
    for (len, count) in [(10, 25), (10, 15), (5, 5)] {
        let range = Range {
            start: start.take(),
            limit: 10,
            revision: all.revision,
            ..s.range()
        };
        let page = s.store.list(range).await.expect("page");
        assert_eq!((page.kvs.len(), page.count), (len, count));
        assert!(page.revision >= all.revision);
        start = page.kvs.last().map(|kv| format!("{}\0", kv.key));
        paged.extend(page.kvs);
    }
    assert_eq!(paged, all.kvs);
    let empty = Range {
        prefix: s.key("none/"),
        ..Range::default()
    };
    let empty = s.store.list(empty).await.expect("list of nothing");
    assert_eq!((empty.kvs.len(), empty.count), (0, 0));
    assert!(empty.revision >= all.revision);
}

async fn list_reads_the_past(s: Subject) {
    let a1 = s.create("a", "1").await;
    let b1 = s.create("b", "1").await;
    let a2 = s.update("a", "2", a1).await;
    let b2 = s.delete("b", b1).await;
    let b3 = s.create("b", "3").await;
    for (revision, expected) in [
        (a1, vec![("a", "1", a1)]),
        (b1, vec![("a", "1", a1), ("b", "1", b1)]),
        (a2, vec![("a", "2", a2), ("b", "1", b1)]),
        (b2, vec![("a", "2", a2)]),
        (b3, vec![("a", "2", a2), ("b", "3", b3)]),
    ] {
        let range = Range {
            revision,
            ..s.range()
        };
        let listed = s.store.list(range).await.expect("list the past");
        let got = listed.kvs.iter().map(|kv| {
            let name = kv.key.strip_prefix(&s.prefix).expect("its prefix");
            let value = std::str::from_utf8(&kv.value).expect("text");
            (name, value, kv.mod_revision)
        });
        assert_eq!(got.collect::<Vec<_>>(), expected, "at {revision}");
        assert_eq!(listed.count, expected.len() as u64);
        assert!(listed.revision >= b3, "tells the current revision");
    }
}

/// 12 MiB in 1,200 values: more than a gRPC message and more than one page.
async fn list_of_large_values(s: Subject) {
    let value = Bytes::from(vec![b'x'; 10 * 1024]);
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..1200 {
        let (s, value) = (s.clone(), value.clone());
        writes.spawn(async move {
            let key = s.key(&format!("k{n:04}"));
            s.store.create(&key, value, None).await.expect("create");
        });
    }
    while let Some(done) = writes.join_next().await {
        done.expect("writer did not panic");
    }
    let listed = s.store.list(s.range()).await.expect("list");
    assert_eq!((listed.kvs.len(), listed.count), (1200, 1200));
    assert!(listed.kvs.iter().all(|kv| kv.value == value));
    let range = Range {
        limit: 1100,
        ..s.range()
    };
    let listed = s.store.list(range).await.expect("list");
    assert_eq!((listed.kvs.len(), listed.count), (1100, 1200));
}

async fn future_revision_is_refused(s: Subject) {
    let written = s.create("a", "1").await;
    let range = Range {
        revision: written + 1_000_000,
        ..s.range()
    };
    let refused = s.store.list(range).await;
    assert!(
        matches!(&refused, Err(Error::FutureRevision { wanted, current })
            if *wanted == written + 1_000_000 && *current >= written),
        "{refused:?}"
    );
}

async fn too_large_values_are_refused(s: Subject) {
    let value = Bytes::from(vec![b'x'; 3 << 20]);
    let refused = s.store.create(&s.key("a"), value, None).await;
    assert!(matches!(&refused, Err(Error::TooLarge)), "{refused:?}");
    assert_eq!(s.get("a").await, None);
}

async fn watch_tells_what_happened(s: Subject) {
    let before = s.store.current_revision().await.expect("revision");
    let mut live = s.watch(before).await;
    let r1 = s.create("a", "1").await;
    let r2 = s.update("a", "2", r1).await;
    let r3 = s.delete("a", r2).await;
    let r4 = s.create("a", "4").await;
    let event = |value: Option<&str>, revision| Event {
        key: s.key("a"),
        value: value.map(bytes),
        revision,
        created: revision == r1 || revision == r4,
    };
    let expected = vec![
        event(Some("1"), r1),
        event(Some("2"), r2),
        event(None, r3),
        event(Some("4"), r4),
    ];
    assert_eq!(events(&mut live, 4).await, expected, "live");
    for (seen, after) in [(0, before), (1, r1), (3, r3)] {
        let mut resumed = s.watch(after).await;
        let rest = events(&mut resumed, 4 - seen).await;
        assert_eq!(rest, expected[seen..], "resumed after {after}");
    }
}

async fn watch_sees_only_its_prefix(s: Subject) {
    let before = s.store.current_revision().await.expect("revision");
    let inner = s.store.watch(&s.key("in/"), before).await;
    let mut inner = inner.expect("watch");
    s.create("in", "0").await;
    s.create("inner/a", "0").await;
    let r = s.create("in/a", "1").await;
    s.create("out/a", "2").await;
    let last = s.create("in/b", "3").await;
    let seen = events(&mut inner, 2).await;
    let revisions: Vec<_> = seen.iter().map(|e| e.revision).collect();
    assert_eq!(revisions, [r, last]);
}

async fn watch_from_now_starts_now(s: Subject) {
    s.create("a", "1").await;
    let mut watch = s.watch(0).await;
    let revision = s.create("b", "2").await;
    let seen = events(&mut watch, 1).await;
    assert_eq!(seen[0].revision, revision);
}

/// Writers write, watches begin in the middle; every watch must see every write after its start,
/// once and in order.
async fn watch_is_complete_under_concurrency(s: Subject) {
    const WRITERS: usize = 8;
    const WRITES: usize = 150;
    let before = s.store.current_revision().await.expect("revision");
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    for writer in 0..WRITERS {
        let (s, report) = (s.clone(), report.clone());
        tokio::spawn(async move {
            let name = format!("w{writer}");
            let mut revision = s.create(&name, "0").await;
            report.send(revision).expect("test runs");
            for n in 1..WRITES {
                revision = s.update(&name, &n.to_string(), revision).await;
                report.send(revision).expect("test runs");
            }
        });
    }
    drop(report);
    let mut written = Vec::new();
    let mut watches = vec![(before, s.watch(before).await)];
    while let Some(revision) = reports.recv().await {
        written.push(revision);
        if written.len() % 100 == 0 {
            // From here, and once more from the beginning.
            watches.push((revision, s.watch(revision).await));
            watches.push((before, s.watch(before).await));
        }
    }
    written.sort_unstable();
    assert_eq!(written.len(), WRITERS * WRITES);
    for (after, mut watch) in watches {
        let expected: Vec<_> = written.iter().copied().filter(|r| *r > after).collect();
        let seen = events(&mut watch, expected.len()).await;
        let revisions: Vec<_> = seen.iter().map(|e| e.revision).collect();
        assert_eq!(revisions, expected, "after {after}");
        if after == before {
            check_created(&seen);
        }
    }
}

/// Of the events of one key, from the beginning, the first and no other is a creation.
fn check_created(events: &[Event]) {
    let mut seen = BTreeSet::new();
    for event in events {
        assert_eq!(event.created, seen.insert(&event.key), "{event:?}");
    }
}

async fn requested_progress_proves_freshness(s: Subject) {
    if !s.store.progress_is_trustworthy() {
        s.store.request_progress().await.expect("a no-op");
        return;
    }
    let before = s.store.current_revision().await.expect("revision");
    let mut watch = s.watch(before).await;
    for n in 0..20 {
        let written = s.create(&format!("k{n}"), "1").await;
        let wanted = s.store.current_revision().await.expect("revision");
        let mut seen = 0;
        let mut asked = tokio::time::interval(Duration::from_millis(50));
        let give_up = tokio::time::Instant::now() + SOON;
        // A store may ignore the request while a watch catches up: ask again, as the cache does.
        loop {
            tokio::select! {
                _ = asked.tick() => s.store.request_progress().await.expect("request"),
                message = next(&mut watch) => match message {
                    WatchMessage::Events(events) => seen = events.last().map_or(seen, |e| e.revision),
                    WatchMessage::Progress(revision) if revision >= wanted => break,
                    WatchMessage::Progress(_) => {}
                    WatchMessage::Failed(error) => panic!("watch failed: {error:?}"),
                },
            }
            assert!(tokio::time::Instant::now() < give_up, "no progress");
        }
        assert_eq!(seen, written, "progress came before the event");
    }
}

async fn ttl_deletes_as_an_event(s: Subject) {
    let ttl = Some(Duration::from_secs(1));
    let created = s.store.create(&s.key("a"), bytes("1"), ttl).await;
    let created = created.expect("create with ttl");
    let mut watch = s.watch(created).await;
    let seen = events(&mut watch, 1).await;
    assert_eq!(seen[0].value, None);
    assert!(seen[0].revision > created && !seen[0].created);
    assert_eq!(s.get("a").await, None);
}

async fn update_renews_or_ends_the_ttl(s: Subject) {
    let short = Some(Duration::from_secs(1));
    let create = |name: &str| {
        let (store, key) = (s.store.clone(), s.key(name));
        async move { store.create(&key, bytes("1"), short).await.expect("create") }
    };
    let kept = create("kept").await;
    let renewed = create("renewed").await;
    let kept = s.update("kept", "2", kept).await;
    let hour = Some(Duration::from_secs(3600));
    let key = s.key("renewed");
    let renewed = s.store.update(&key, bytes("2"), renewed, hour).await;
    let renewed = renewed.expect("update with ttl");
    // Made last, so that the others' first deadlines are over when this one's is.
    let control = create("control").await;
    let mut watch = s.watch(control).await;
    let seen = events(&mut watch, 1).await;
    assert_eq!((&seen[0].key, &seen[0].value), (&s.key("control"), &None));
    for (name, revision) in [("kept", kept), ("renewed", renewed)] {
        let kv = s.get(name).await.expect("not expired");
        assert_eq!(kv.mod_revision, revision);
    }
}

async fn status_knows_its_store(s: Subject) {
    let written = s.create("a", "1").await;
    let status = s.store.status().await.expect("healthy");
    assert!(["etcd", "embedded"].contains(&status.backend));
    assert!(!status.version.is_empty() && status.size_bytes > 0);
    assert!(status.revision >= written);
}

async fn revisions_grow_by_one(s: Subject) {
    let mut last = s.store.current_revision().await.expect("revision");
    assert!(last > 0, "revisions start above zero");
    let mut at = None;
    for n in 0..9 {
        let revision = match (n % 3, at) {
            (1, Some(expected)) => s.update("a", "2", expected).await,
            (2, Some(expected)) => s.delete("a", expected).await,
            _ => s.create("a", "1").await,
        };
        assert_eq!(revision, last + 1, "write {n}");
        // Refused writes make no revision.
        let refused = s.store.delete(&s.key("none"), last).await;
        assert!(refused.is_err());
        last = revision;
        at = Some(revision);
    }
    let current = s.store.current_revision().await.expect("revision");
    assert_eq!(current, last);
}

async fn compaction_forgets_only_history(s: Subject) {
    let a1 = s.create("a", "1").await;
    let b1 = s.create("b", "1").await;
    let a2 = s.update("a", "2", a1).await;
    let b2 = s.delete("b", b1).await;
    let a3 = s.update("a", "3", a2).await;
    let mut before = s.watch(a1).await;
    events(&mut before, 4).await;
    s.store.compact(a3).await.expect("compact");
    s.store.compact(a3).await.expect("compacting again is fine");
    s.store.compact(a1).await.expect("and so is less");
    let future = s.store.compact(a3 + 1_000_000).await;
    assert!(
        matches!(future, Err(Error::FutureRevision { .. })),
        "{future:?}"
    );
    for revision in [a1, b2] {
        let range = Range {
            revision,
            ..s.range()
        };
        let listed = s.store.list(range).await;
        assert!(
            matches!(listed, Err(Error::Compacted { .. })),
            "list at {revision}: {listed:?}"
        );
        check_watch_compacted(&s, a1).await;
    }
    for revision in [0, a3] {
        let range = Range {
            revision,
            ..s.range()
        };
        let listed = s.store.list(range).await.expect("still readable");
        let keys: Vec<_> = listed.kvs.iter().map(|kv| (&*kv.key, &*kv.value)).collect();
        assert_eq!(keys, [(&*s.key("a"), &b"3"[..])]);
    }
    let a4 = s.update("a", "4", a3).await;
    let mut watch = s.watch(a3).await;
    assert_eq!(events(&mut watch, 1).await[0].revision, a4);
    // A watch that had caught up before the compaction goes on.
    assert_eq!(events(&mut before, 1).await[0].revision, a4);
}

async fn check_watch_compacted(s: &Subject, after: Revision) {
    let error = match s.store.watch(&s.prefix, after).await {
        Err(error) => error,
        Ok(mut stream) => match next(&mut stream).await {
            WatchMessage::Failed(error) => error,
            other => panic!("watch of compacted history: {other:?}"),
        },
    };
    assert!(
        matches!(error, Error::Compacted { compact_revision } if compact_revision > after),
        "{error:?}"
    );
}

async fn closed_store_refuses(s: Subject) {
    let mut watch = s.watch(0).await;
    s.store.close().await;
    let refused = s.store.get(&s.key("a")).await;
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
    let refused = s.store.create(&s.key("a"), bytes("1"), None).await;
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );
    loop {
        match next(&mut watch).await {
            WatchMessage::Failed(_) => break,
            WatchMessage::Progress(_) => {}
            WatchMessage::Events(events) => panic!("unexpected {events:?}"),
        }
    }
}
