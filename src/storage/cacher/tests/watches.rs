//! Watches: starts, scopes, selector transitions, bookmarks, slow watchers, a store that breaks.

use super::*;
use crate::storage::{Error, Failure};

#[tokio::test]
async fn starts() {
    let store = FakeStore::new();
    store.put(&key("a/1"), &pod("x", ""));
    store.put(&key("b/1"), &pod("x", ""));
    let cacher = start(&store).await;
    let mut now = cacher.watch(query(WatchStart::Now)).await.expect("watches");
    let mut state = WatchQuery {
        initial_events_end: true,
        ..query(WatchStart::State(Freshness::Latest))
    };
    let mut all = cacher.watch(state.clone()).await.expect("watches");
    state.scope = Scope::Namespace("b".into());
    let mut namespaced = cacher.watch(state.clone()).await.expect("watches");
    state.scope = Scope::Key(key("a/1"));
    let mut single = cacher.watch(state).await.expect("watches");
    let mut after = cacher
        .watch(query(WatchStart::After(3)))
        .await
        .expect("watches");
    let mut future = cacher
        .watch(query(WatchStart::After(4)))
        .await
        .expect("watches");
    store.put(&key("a/1"), &pod("x", "Running"));
    store.remove(&key("b/1"));
    store.put(&key("b/2"), &pod("y", ""));
    let changes = ["MODIFIED a/1@3", "DELETED b/1@4", "ADDED b/2@5"];
    expect(&mut now, &changes).await;
    expect(&mut all, &["ADDED a/1@1", "ADDED b/1@2", "BOOKMARK 2 true"]).await;
    expect(&mut all, &changes).await;
    expect(&mut namespaced, &["ADDED b/1@2", "BOOKMARK 2 true"]).await;
    expect(&mut namespaced, &changes[1..]).await;
    expect(&mut single, &["ADDED a/1@1", "BOOKMARK 2 true", changes[0]]).await;
    expect(&mut after, &changes[1..]).await;
    expect(&mut future, &changes[2..]).await;
    let mut late = cacher
        .watch(query(WatchStart::After(2)))
        .await
        .expect("watches");
    expect(&mut late, &changes).await;
    let too_old = cacher.watch(query(WatchStart::After(1))).await.map(|_| ());
    assert!(matches!(
        too_old,
        Err(Error::Compacted {
            compact_revision: 2
        })
    ));
    let shared = (
        next_frame(&store, &mut all).await,
        next_frame(&store, &mut now).await,
    );
    assert!(
        Arc::ptr_eq(shared.0.object(), shared.1.object()),
        "watchers share objects"
    );
}

async fn next_frame(store: &FakeStore, watch: &mut Watch) -> Arc<EventFrame> {
    if store.revision() == 5 {
        store.put(&key("c/1"), &pod("z", ""));
    }
    let event = next(watch).await.expect("an event");
    event.frame().expect("of an object").clone()
}

#[tokio::test]
async fn selector_transitions() {
    let store = FakeStore::new();
    let cacher = start(&store).await;
    let selected = |scope| WatchQuery {
        scope,
        filter: Some(Arc::new(|object: &CachedObject| {
            object.field("status.phase") == Some("Running")
        })),
        ..query(WatchStart::Now)
    };
    let mut plain = cacher.watch(selected(Scope::All)).await.expect("watches");
    let indexed = selected(Scope::Field(0, "Running".into()));
    let mut indexed = cacher.watch(indexed).await.expect("watches");
    for (phase, _) in [("Pending", 1), ("Running", 2), ("Running", 3), ("Done", 4)] {
        store.put(&key("a/1"), &pod("x", phase));
    }
    for _ in 5..12 {
        store.put(&key("a/1"), &pod("x", "Running"));
    }
    store.remove(&key("a/1"));
    for watch in [&mut plain, &mut indexed] {
        expect(watch, &["ADDED a/1@2", "MODIFIED a/1@3"]).await;
        let left = next(watch).await.expect("an event");
        let frame = left.frame().expect("of an object");
        assert_eq!(frame.object().field("status.phase"), Some("Running"));
        assert_eq!(show(Some(left.clone())), "DELETED a/1@4");
        expect(watch, &["ADDED a/1@5"]).await;
        for _ in 6..12 {
            next(watch).await;
        }
        expect(watch, &["DELETED a/1@12"]).await;
    }
    assert_eq!(cacher.stats().watchers.get(), 2);
    drop((plain, indexed));
    assert_eq!(cacher.stats().watchers.get(), 0);
}

#[tokio::test]
async fn bookmarks_and_deadlines() {
    let store = FakeStore::new();
    store.put(&key("a/1"), &pod("x", ""));
    let cacher = start(&store).await;
    let in_time = |millis| Some(tokio::time::Instant::now() + Duration::from_millis(millis));
    let mut watch = WatchQuery {
        bookmarks: true,
        deadline: in_time(2100),
        ..query(WatchStart::Now)
    };
    let mut marked = cacher.watch(watch.clone()).await.expect("watches");
    watch.start = WatchStart::After(100);
    let mut future = cacher.watch(watch).await.expect("watches");
    let revision = store.put("/registry/nodes/n", &pod("n", ""));
    cacher
        .list(everything(Freshness::Latest))
        .await
        .expect("moves on");
    expect(&mut marked, &[&format!("BOOKMARK {revision} false")]).await;
    let ended = WatchQuery {
        deadline: in_time(50),
        ..query(WatchStart::Now)
    };
    let mut ended = cacher.watch(ended).await.expect("watches");
    expect(&mut ended, &["end", "end"]).await;
    expect(&mut future, &["end"]).await;
}

#[tokio::test]
async fn slow_watchers_catch_up_or_are_cut_off() {
    let store = FakeStore::new();
    let cacher = start_with(&store, 1000);
    assert!(cacher.wait_ready(PATIENCE).await);
    let mut slow = cacher.watch(query(WatchStart::Now)).await.expect("watches");
    let mut slower = cacher.watch(query(WatchStart::Now)).await.expect("watches");
    store.put(&key("a/0"), &pod("x", ""));
    expect(&mut slow, &["ADDED a/0@1"]).await;
    expect(&mut slower, &["ADDED a/0@1"]).await;
    let write = async |count| {
        for _ in 0..count {
            store.put(&key("a/0"), &pod("x", ""));
        }
        cacher
            .list(everything(Freshness::Latest))
            .await
            .expect("takes the changes in");
        // The list may answer before the last change is dispatched.
        while cacher.inner.hub.dispatched() < store.revision() {
            tokio::task::yield_now().await;
        }
    };
    write(900).await;
    for revision in 2..=901 {
        expect(&mut slow, &[&format!("MODIFIED a/0@{revision}")]).await;
    }
    assert_eq!(cacher.stats().terminated_watchers.get(), 0);
    write(900).await;
    let event = next(&mut slow).await.expect("still there");
    assert_eq!(show(Some(event)), "MODIFIED a/0@902");
    expect(&mut slower, &["end"]).await;
    assert_eq!(cacher.stats().terminated_watchers.get(), 1);
}

#[tokio::test]
async fn a_broken_store_watch_loses_nothing() {
    let store = FakeStore::new();
    store.put(&key("a/1"), &pod("x", ""));
    let cacher = start(&store).await;
    let mut watch = cacher.watch(query(WatchStart::Now)).await.expect("watches");
    store.break_watches(Error::Uncertain(Failure::Timeout));
    store.put(&key("a/2"), &pod("x", ""));
    expect(&mut watch, &["ADDED a/2@2"]).await;
    assert_eq!(cacher.stats().initializations.get(), 1);
}

#[tokio::test]
async fn resync_after_compaction() {
    let store = FakeStore::new();
    for name in ["a/1", "a/2", "a/3"] {
        store.put(&key(name), &pod("x", ""));
    }
    let cacher = start(&store).await;
    let mut watch = cacher.watch(query(WatchStart::Now)).await.expect("watches");
    store.hold();
    store.put(&key("a/3"), &pod("x", "1"));
    store.put(&key("a/0"), &pod("x", ""));
    store.remove(&key("a/1"));
    store.put(&key("a/3"), &pod("x", "2"));
    store.compact(store.revision()).await.expect("compacts");
    store.break_watches(Error::Compacted {
        compact_revision: 7,
    });
    store.release();
    expect(
        &mut watch,
        &["ADDED a/0@5", "MODIFIED a/3@7", "DELETED a/1@7"],
    )
    .await;
    store.put(&key("a/1"), &pod("x", ""));
    expect(&mut watch, &["ADDED a/1@8"]).await;
    assert_eq!(cacher.stats().initializations.get(), 2);
    let lost = cacher.list(everything(Freshness::Exact(5))).await;
    assert!(matches!(lost, Err(Error::Compacted { .. })), "not made up");
}

#[tokio::test]
async fn a_store_that_went_back_in_time_ends_watches() {
    let store = FakeStore::new();
    for name in ["a/1", "a/2", "a/3"] {
        store.put(&key(name), &pod("x", ""));
    }
    let cacher = start(&store).await;
    let mut watch = cacher.watch(query(WatchStart::Now)).await.expect("watches");
    store.lose_everything();
    let event = next(&mut watch).await;
    assert!(matches!(
        event,
        Some(WatchEvent::Failed(Error::Compacted { .. }))
    ));
    expect(&mut watch, &["end"]).await;
    assert_eq!((cacher.len(), cacher.revision()), (0, 1));
    store.put(&key("a/1"), &pod("x", ""));
    let list = cacher
        .list(everything(Freshness::Latest))
        .await
        .expect("lists");
    assert_eq!((list.items.len(), list.revision), (1, 2));
}

#[tokio::test]
async fn ten_thousand_watchers() {
    let store = FakeStore::new();
    let cacher = start(&store).await;
    let mut all = Vec::new();
    let mut nodes = Vec::new();
    for n in 0..5000 {
        all.push(cacher.watch(query(WatchStart::Now)).await.expect("watches"));
        let node = WatchQuery {
            scope: Scope::Field(0, n.to_string()),
            ..query(WatchStart::Now)
        };
        nodes.push(cacher.watch(node).await.expect("watches"));
    }
    for watch in all.iter_mut().chain(&mut nodes) {
        assert!(futures::poll!(std::pin::pin!(watch.recv())).is_pending());
    }
    for n in 0..10 {
        store.put(&key(&format!("a/{n}")), &pod("x", &n.to_string()));
    }
    for watch in &mut all {
        for n in 0..10 {
            let event = next(watch).await.expect("an event");
            assert_eq!(event.frame().expect("of an object").revision(), n + 1);
        }
    }
    for watch in &mut nodes[..10] {
        assert!(next(watch).await.is_some());
    }
    assert_eq!(cacher.stats().events_dispatched.get(), 50_010);
    drop((all, nodes));
    assert_eq!(cacher.stats().watchers.get(), 0);
}

#[tokio::test]
async fn who_is_woken_later_misses_nothing() {
    let store = FakeStore::new();
    let cacher = start(&store).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let mut watch = cacher.watch(query(WatchStart::Now)).await.expect("watches");
        tasks.spawn(async move {
            expect(&mut watch, &["ADDED a/0@1", "MODIFIED a/0@2"]).await;
            // The end is told, too, while somebody waits to be woken.
            while next(&mut watch).await.is_some() {}
        });
    }
    for _ in 0..2 {
        tokio::task::yield_now().await;
        store.put(&key("a/0"), &pod("x", ""));
    }
    while cacher.inner.hub.dispatched() < store.revision() {
        tokio::task::yield_now().await;
    }
    store.lose_everything();
    while let Some(told) = tasks.join_next().await {
        told.expect("sees everything");
    }
}
