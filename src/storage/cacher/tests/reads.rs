//! Get and list: freshness, paging, exact revisions, corrupt values, a cache not yet filled.

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::storage::{Error, Failure, Range};

fn names(answer: &ListAnswer) -> Vec<&str> {
    answer
        .items
        .iter()
        .map(|item| item.relative_key())
        .collect()
}

#[tokio::test]
async fn objects_are_ready_to_send() {
    let store = FakeStore::new();
    store.put(&key("a/x"), &pod("web", "Running"));
    let cacher = start(&store).await;
    let answer = cacher
        .get(&key("a/x"), Freshness::Latest)
        .await
        .expect("reads");
    let object = answer.object.expect("exists");
    assert_eq!(
        object.json(),
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"1","labels":{"app":"web"}},"status":{"phase":"Running"}}"#
    );
    assert_eq!(
        object.list_item_tail(),
        r#""metadata":{"resourceVersion":"1","labels":{"app":"web"}},"status":{"phase":"Running"}}"#
    );
    assert_eq!((object.namespace(), object.name()), ("a", "x"));
    assert_eq!(object.label("app"), Some("web"));
    assert_eq!(object.field("status.phase"), Some("Running"));
    assert_eq!(object.field("metadata.name"), Some("x"));
    assert_eq!(object.field("spec.nodeName"), None);
}

#[tokio::test]
async fn latest_waits_for_the_store() {
    let store = FakeStore::new();
    let cacher = start(&store).await;
    store.hold();
    let revision = store.put(&key("a/x"), &pod("web", "Running"));
    let any = cacher.get(&key("a/x"), Freshness::Any).await;
    assert!(any.expect("reads").object.is_none(), "not there yet");
    let release = async {
        tokio::task::yield_now().await;
        store.release();
    };
    let key = key("a/x");
    let (latest, ()) = tokio::join!(cacher.get(&key, Freshness::Latest), release);
    let latest = latest.expect("reads");
    assert_eq!(latest.object.expect("exists").revision(), revision);
    assert_eq!(latest.revision, revision);

    // A write elsewhere moves the store's revision: progress must bring the cache there.
    let revision = store.put("/registry/nodes/n", &pod("n", ""));
    let list = cacher
        .list(everything(Freshness::Latest))
        .await
        .expect("lists");
    assert_eq!(list.revision, revision);
    let at_least = cacher.list(everything(Freshness::AtLeast(revision))).await;
    assert_eq!(at_least.expect("lists").revision, revision);
}

#[tokio::test]
async fn future_revisions_time_out() {
    let store = FakeStore::new();
    let revision = store.put(&key("a/x"), &pod("web", "Running"));
    let cacher = start(&store).await;
    let error = cacher
        .list(everything(Freshness::AtLeast(1000)))
        .await
        .expect_err("is in the future");
    assert!(matches!(
        error,
        Error::FutureRevision { wanted: 1000, current } if current == revision
    ));
}

#[tokio::test]
async fn untrustworthy_progress_reads_from_the_store() {
    let store = FakeStore::new();
    let cacher = start(&store).await;
    store.untrustworthy.store(true, Ordering::Relaxed);
    store.hold();
    store.put(&key("a/x"), &pod("web", "Running"));
    let got = cacher.get(&key("a/x"), Freshness::Latest).await;
    assert!(got.expect("reads").object.is_some());
    let list = cacher.list(everything(Freshness::Latest)).await;
    assert_eq!(names(&list.expect("lists")), ["a/x"]);
}

#[tokio::test]
async fn the_pulse_proves_freshness_where_progress_does_not() {
    let store = FakeStore::new();
    store.put(&key("a/x"), &pod("web", ""));
    store.untrustworthy.store(true, Ordering::Relaxed);
    let cacher = start(&store).await;
    let reads = store.reads.load(Ordering::Relaxed);
    for _ in 0..3 {
        let wanted = store.put(&key("a/x"), &pod("web", ""));
        let revision = store.put("/registry/nodes/n", &pod("n", ""));
        let list = cacher.list(everything(Freshness::Latest)).await;
        let list = list.expect("lists");
        assert_eq!(list.items[0].revision(), wanted);
        assert!(list.revision >= revision);
        let revision = store.put("odd", "");
        let got = cacher.get(&key("a/x"), Freshness::AtLeast(revision)).await;
        assert!(got.expect("reads").revision >= revision);
        store.break_watches(Error::Uncertain(Failure::Timeout));
    }
    // While the watch on the store is down, the store answers.
    let reads = store.reads.load(Ordering::Relaxed) - reads;
    assert!(reads <= 2, "{reads} reads from the store");
}

#[tokio::test]
async fn readers_share_revision_checks() {
    let store = FakeStore::new();
    let cacher = start(&store).await;
    store.gated.store(true, Ordering::Relaxed);
    let before = store.checks.load(Ordering::Relaxed);
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let cacher = cacher.clone();
            tokio::spawn(async move { cacher.get(&key("a/x"), Freshness::Latest).await })
        })
        .collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    store.gated.store(false, Ordering::Relaxed);
    store.gate.notify_one();
    for reader in readers {
        reader.await.expect("runs").expect("reads");
    }
    let checks = store.checks.load(Ordering::Relaxed) - before;
    assert!(checks <= 2, "{checks} checks for 100 readers");
}

#[tokio::test]
async fn pages_hold_their_revision() {
    let store = FakeStore::new();
    for name in ["a/1", "a/2", "b/1", "b/2", "c/1"] {
        store.put(&key(name), &pod(name, "Running"));
    }
    let cacher = start(&store).await;
    let mut page = ListQuery {
        limit: 2,
        ..everything(Freshness::Latest)
    };
    let first = cacher.list(page.clone()).await.expect("lists");
    assert_eq!(names(&first), ["a/1", "a/2"]);
    assert_eq!((first.more, first.remaining), (true, Some(3)));
    store.remove(&key("b/1"));
    store.put(&key("b/0"), &pod("x", ""));
    page.freshness = Freshness::Latest;
    cacher
        .list(page.clone())
        .await
        .expect("takes the changes in");
    page.freshness = Freshness::Exact(first.revision);
    page.start = Some("a/2\0");
    let reads = store.reads.load(Ordering::Relaxed);
    let second = cacher.list(page.clone()).await.expect("lists");
    assert_eq!(names(&second), ["b/1", "b/2"]);
    assert_eq!(
        (second.revision, second.remaining),
        (first.revision, Some(1))
    );
    page.start = Some("b/2\0");
    let third = cacher.list(page.clone()).await.expect("lists");
    assert_eq!(names(&third), ["c/1"]);
    assert_eq!((third.more, third.remaining), (false, None));
    page.namespace = "b";
    page.start = None;
    let namespaced = cacher.list(page).await.expect("lists");
    assert_eq!(names(&namespaced), ["b/1", "b/2"]);
    assert!(!namespaced.more);
    for (namespace, start) in [
        ("b", "c/1"),
        ("b", "b/2\0"),
        ("a", "zz"),
        ("", "zz"),
        ("", "c/1\0"),
    ] {
        let beyond = ListQuery {
            namespace,
            start: Some(start),
            ..everything(Freshness::Any)
        };
        assert!(names(&cacher.list(beyond).await.expect("lists")).is_empty());
    }
    assert_eq!(reads, store.reads.load(Ordering::Relaxed), "from the cache");
    let filter = |object: &CachedObject| object.label("app") != Some("a/1");
    let filtered = ListQuery {
        limit: 1,
        filter: Some(&filter),
        ..everything(Freshness::Any)
    };
    let filtered = cacher.list(filtered).await.expect("lists");
    assert_eq!(names(&filtered), ["a/2"]);
    assert_eq!((filtered.more, filtered.remaining), (true, None));
}

#[tokio::test]
async fn revisions_before_the_cache_come_from_the_store() {
    let store = FakeStore::new();
    let old = store.put(&key("a/1"), &pod("x", ""));
    store.remove(&key("a/1"));
    let cacher = start(&store).await;
    let answer = cacher.list(everything(Freshness::Exact(old))).await;
    assert_eq!(names(&answer.expect("lists")), ["a/1"]);
    store.compact(store.revision()).await.expect("compacts");
    let error = cacher.list(everything(Freshness::Exact(old))).await;
    assert!(matches!(error, Err(Error::Compacted { .. })));
}

#[tokio::test]
async fn corrupt_objects_are_kept_out_and_named() {
    let store = FakeStore::new();
    store.put(&key("a/bad"), "{\"kind\":");
    store.put(&key("a/good"), &pod("x", ""));
    let cacher = start(&store).await;
    let list = cacher
        .list(everything(Freshness::Any))
        .await
        .expect("lists");
    assert_eq!(names(&list), ["a/good"]);
    let error = cacher.get(&key("a/bad"), Freshness::Latest).await;
    assert!(
        matches!(&error, Err(Error::Corrupt { reason }) if reason.contains("a/bad")),
        "{error:?}"
    );
    assert_eq!(cacher.stats().corrupt_objects.get(), 1);
    let mut watch = cacher.watch(query(WatchStart::Now)).await.expect("watches");
    store.put(&key("a/bad"), &pod("x", ""));
    store.put(&key("a/good"), "null");
    expect(&mut watch, &["ADDED a/bad@3", "DELETED a/good@4"]).await;
}

#[tokio::test]
async fn before_it_is_filled() {
    let store = FakeStore::new();
    store.put(&key("a/1"), &pod("x", ""));
    store.put(&key("a/2"), &pod("x", ""));
    store.down.store(true, Ordering::Relaxed);
    let cacher = start_with(&store, WINDOW_EVENTS_MAX);
    let list = cacher.list(everything(Freshness::Any)).await;
    assert!(matches!(list, Err(Error::Initializing { .. })));
    let watch = cacher.watch(query(WatchStart::Now)).await.map(|_| ());
    assert!(matches!(watch, Err(Error::Initializing { .. })));
    let get = cacher.get(&key("a/1"), Freshness::Any).await;
    assert!(matches!(get, Err(Error::Unavailable { .. })));
    store.down.store(false, Ordering::Relaxed);
    let get = cacher.get(&key("a/1"), Freshness::Latest).await;
    assert!(get.expect("reads from the store").object.is_some());
    let page = ListQuery {
        limit: 1,
        ..everything(Freshness::Latest)
    };
    let page = cacher.list(page).await.expect("lists");
    assert_eq!((names(&page), page.remaining), (vec!["a/1"], Some(1)));
    assert!(cacher.wait_ready(PATIENCE).await);
    assert_eq!(cacher.len(), 2);
}

#[tokio::test]
async fn fills_page_by_page() {
    let store = FakeStore::new();
    for i in 0..12_000 {
        store.put(&key(&format!("n{}/p{i:05}", i % 7)), &pod("x", "Running"));
    }
    let cacher = start(&store).await;
    assert_eq!(cacher.len(), 12_000);
    assert!(store.reads.load(Ordering::Relaxed) > 1);
    let list = cacher
        .list(everything(Freshness::Any))
        .await
        .expect("lists");
    assert!(list.items.is_sorted_by_key(|item| item.key().to_string()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn exact_revisions_agree_with_the_store(writes in prop::collection::vec((0..6u8, 0..4u8), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let store = FakeStore::new();
            store.put(&key("a/0"), &pod("x", ""));
            let cacher = start(&store).await;
            let first = store.revision();
            for (name, what) in writes {
                let key = key(&format!("a/{name}"));
                if what == 0 {
                    store.remove(&key);
                } else {
                    store.put(&key, &pod("x", &what.to_string()));
                }
            }
            cacher.list(everything(Freshness::Latest)).await.expect("takes the changes in");
            let reads = store.reads.load(Ordering::Relaxed);
            for revision in (first..=store.revision()).rev() {
                let ours = cacher.list(everything(Freshness::Exact(revision))).await.expect("lists");
                let ours: Vec<_> = ours.items.iter().map(|o| (o.key().to_string(), o.revision())).collect();
                let range = Range { prefix: PREFIX.into(), revision, ..Range::default() };
                let theirs = store.list(range).await.expect("lists");
                let theirs: Vec<_> = theirs.kvs.into_iter().map(|kv| (kv.key, kv.mod_revision)).collect();
                assert_eq!(ours, theirs, "at {revision}");
            }
            let reads = store.reads.load(Ordering::Relaxed) - reads;
            assert_eq!(reads, store.revision() - first + 1, "only the test read from the store");
        });
    }
}
