//! What every watch guarantees, checked on histories recorded under concurrent writes, breaking
//! store watches and impatient watchers: ordered, unique, atomic, reliable, resumable,
//! bookmarkable (the names are those of etcd's robustness tests).

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::storage::{Error, Event, Failure, Revision};

const WRITES: usize = 3000;
const WATCHERS: u64 = 24;

/// One event as recorded.
#[derive(Clone, Debug)]
struct Seen {
    revision: Revision,
    event: EventType,
    key: String,
}

/// What one watcher saw over all its watches.
#[derive(Default)]
struct Record {
    seen: Vec<Seen>,
    /// Bookmark and number of events seen before it.
    bookmarks: Vec<(Revision, usize)>,
    start: Revision,
}

fn selects(object: &CachedObject) -> bool {
    object.field("status.phase") == Some("Running")
}

fn scope(watcher: u64) -> (Scope, bool) {
    match watcher % 4 {
        0 => (Scope::All, false),
        1 => (Scope::Namespace("n1".into()), false),
        2 => (Scope::Key(key("n2/p3")), false),
        _ => (Scope::Field(0, "Running".into()), true),
    }
}

/// Watches until the revision `until`, giving up and resuming at random.
async fn watch_all(cacher: Arc<Cacher>, watcher: u64, until: Revision) -> Record {
    let mut rng = StdRng::seed_from_u64(watcher);
    let start = cacher.revision();
    let mut record = Record {
        start,
        ..Record::default()
    };
    let mut last = start;
    let (scope, filtered) = scope(watcher);
    while last < until {
        let query = WatchQuery {
            scope: scope.clone(),
            filter: filtered.then(|| Arc::new(selects) as Filter),
            bookmarks: true,
            // A bookmark is due two seconds before: soon.
            deadline: Some(tokio::time::Instant::now() + Duration::from_millis(2030)),
            ..query(WatchStart::After(last))
        };
        let mut watch = cacher
            .watch(query)
            .await
            .expect("the window is wide enough");
        let patience = rng.random_range(1..400);
        for _ in 0..patience {
            match next(&mut watch).await {
                None => break,
                Some(WatchEvent::Bookmark { revision, .. }) => {
                    record.bookmarks.push((revision, record.seen.len()));
                    last = revision;
                }
                Some(WatchEvent::Failed(error)) => panic!("{error}"),
                Some(event) => {
                    let frame = event.frame().expect("an object's event");
                    last = frame.revision();
                    record.seen.push(Seen {
                        revision: last,
                        event: frame.event(),
                        key: frame.object().key().into(),
                    });
                }
            }
            if last >= until {
                break;
            }
            if rng.random_ratio(1, 50) {
                tokio::task::yield_now().await;
            }
        }
    }
    record
}

/// What a watcher must see of a history, worked out the plain way.
fn model(history: &[Event], after: Revision, scope: &Scope, filtered: bool) -> Vec<Seen> {
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    let mut out = Vec::new();
    for event in history {
        let running = event
            .value
            .as_ref()
            .is_some_and(|value| String::from_utf8_lossy(value).contains("Running"));
        let in_scope = match scope {
            Scope::All | Scope::Field(..) => true,
            Scope::Namespace(namespace) => event.key.starts_with(&key(&format!("{namespace}/"))),
            Scope::Key(key) => event.key == *key,
        };
        let now = in_scope && event.value.is_some() && (!filtered || running);
        let before = known.insert(&event.key, now).unwrap_or(false);
        let event_type = match (before, now) {
            (false, true) => EventType::Added,
            (true, true) => EventType::Modified,
            (true, false) => EventType::Deleted,
            (false, false) => continue,
        };
        if event.revision > after && event.key.starts_with(PREFIX) {
            out.push(Seen {
                revision: event.revision,
                event: event_type,
                key: event.key.clone(),
            });
        }
    }
    out
}

fn ordered(record: &Record) {
    assert!(record.seen.is_sorted_by_key(|seen| seen.revision));
}

fn unique(record: &Record) {
    let mut pairs: Vec<_> = record.seen.iter().map(|s| (s.revision, &s.key)).collect();
    pairs.dedup();
    assert_eq!(pairs.len(), record.seen.len());
}

/// Events of one revision belong to one transaction, which here writes one key.
fn atomic(record: &Record) {
    let mut keys: BTreeMap<Revision, &str> = BTreeMap::new();
    for seen in &record.seen {
        assert_eq!(*keys.entry(seen.revision).or_insert(&seen.key), seen.key);
    }
}

/// Nothing is missing and nothing made up; as watchers resume all the time, also resumable.
fn reliable(record: &Record, history: &[Event], scope: &Scope, filtered: bool, until: Revision) {
    let wanted = model(history, record.start, scope, filtered);
    let show = |seen: &Seen| format!("{:?} {}@{}", seen.event, seen.key, seen.revision);
    let wanted: Vec<_> = wanted
        .iter()
        .filter(|s| s.revision <= until)
        .map(show)
        .collect();
    let seen: Vec<_> = record.seen.iter().map(show).collect();
    assert_eq!(seen, wanted);
}

fn bookmarkable(record: &Record) {
    assert!(record.bookmarks.is_sorted_by_key(|(revision, _)| *revision));
    for (revision, before) in &record.bookmarks {
        assert!(
            record.seen[..*before]
                .iter()
                .all(|s| s.revision <= *revision)
        );
        assert!(
            record.seen[*before..]
                .iter()
                .all(|s| s.revision > *revision)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_guarantees_hold_under_concurrent_writes() {
    let store = FakeStore::new();
    for i in 0..20 {
        store.put(
            &key(&format!("n{}/p{}", i % 4, i % 5)),
            &pod("x", "Running"),
        );
    }
    let cacher = start(&store).await;
    let until = store.revision() + WRITES as Revision;
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|watcher| tokio::spawn(watch_all(cacher.clone(), watcher, until)))
        .collect();
    let mut rng = StdRng::seed_from_u64(7);
    for write in 0..WRITES {
        let name = format!("n{}/p{}", rng.random_range(0..4), rng.random_range(0..5));
        match rng.random_range(0..10) {
            0 | 1 => store.remove(&key(&name)),
            2 => store.put("/registry/nodes/n", &pod("x", "")),
            3..6 => store.put(&key(&name), &pod("x", "Pending")),
            _ => store.put(&key(&name), &pod("x", "Running")),
        };
        if write % 500 == 250 {
            store.break_watches(Error::Uncertain(Failure::Timeout));
        }
        if write % 20 == 0 {
            tokio::task::yield_now().await;
        }
    }
    // The cache learns of writes elsewhere by asking.
    let list = cacher
        .list(everything(Freshness::Latest))
        .await
        .expect("lists");
    assert_eq!(list.revision, until);
    let history = store.history();
    for (watcher, task) in (0..WATCHERS).zip(watchers) {
        let record = task.await.expect("the watcher runs");
        let (scope, filtered) = scope(watcher);
        ordered(&record);
        unique(&record);
        atomic(&record);
        reliable(&record, &history, &scope, filtered, until);
        bookmarkable(&record);
    }
}
