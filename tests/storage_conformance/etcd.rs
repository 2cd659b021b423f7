//! The etcd backend against a real etcd.

use std::time::Duration;

use bytes::Bytes;
use verbatim::storage::etcd::{EtcdOptions, EtcdStore};
use verbatim::storage::{Error, Failure, Storage, WatchMessage};

use super::cached::check_cached;
use super::check_all;
use super::common::etcd::{self, Etcd};

fn options(etcd: &Etcd) -> EtcdOptions {
    EtcdOptions {
        endpoints: vec![etcd.endpoint().to_owned()],
        ..EtcdOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_conforms() {
    let etcd = Etcd::start();
    let store = EtcdStore::connect(options(&etcd)).await.expect("connect");
    check_all(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_behind_the_watch_cache() {
    let etcd = Etcd::start();
    let store = EtcdStore::connect(options(&etcd)).await.expect("connect");
    check_cached(store).await;
}

#[tokio::test]
async fn a_lost_etcd_is_told() {
    let etcd = Etcd::start();
    let options = EtcdOptions {
        request_timeout: Duration::from_millis(500),
        ..options(&etcd)
    };
    let store = EtcdStore::connect(options.clone()).await.expect("connect");
    let mut watch = store.watch("/a/", 0).await.expect("watch");
    drop(etcd);
    loop {
        match watch.recv().await.expect("a watch says why it ends") {
            WatchMessage::Failed(error) => {
                assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
                break;
            }
            WatchMessage::Progress(_) => {}
            WatchMessage::Events(events) => panic!("unexpected {events:?}"),
        }
    }
    let read = store.get("/a/a").await;
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    let written = store.create("/a/a", Bytes::new(), None).await;
    assert!(
        matches!(
            written,
            Err(Error::Unavailable { .. } | Error::Uncertain(_))
        ),
        "{written:?}"
    );
    let again = EtcdStore::connect(options).await.map(|_| ());
    assert!(matches!(again, Err(Error::Unavailable { .. })), "{again:?}");
}

#[tokio::test]
async fn a_stopped_etcd_is_told() {
    let etcd = Etcd::start();
    let options = EtcdOptions {
        request_timeout: Duration::from_millis(300),
        ..options(&etcd)
    };
    let store = EtcdStore::connect(options).await.expect("connect");
    etcd.signal("STOP");
    let read = store.get("/a/a").await.map(|_| ()).expect_err("no answer");
    assert_eq!(read.failure(), Failure::Timeout, "{read:?}");
    let written = store.create("/a/a", Bytes::new(), None).await;
    assert!(
        matches!(written, Err(Error::Uncertain(Failure::Timeout))),
        "{written:?}"
    );
    let examination = store.examine().await.expect("an examination");
    assert!(examination.members[0].state.is_err(), "{examination:?}");
    etcd.signal("CONT");
    let examination = store.examine().await.expect("an examination");
    let state = examination.members[0].state.as_ref().expect("an answer");
    assert!(
        state.has_leader && state.log_sync_p99_ms.is_some(),
        "{state:?}"
    );
}

#[tokio::test]
async fn a_full_etcd_is_told() {
    let flags = ["--quota-backend-bytes", "2097152"];
    let etcd = Etcd::start_binary(&etcd::binary(), &flags);
    let store = EtcdStore::connect(options(&etcd)).await.expect("connect");
    let value = Bytes::from(vec![b'x'; 256 * 1024]);
    for n in 0..100 {
        let key = format!("/a/{n}");
        match store.create(&key, value.clone(), None).await {
            Ok(_) => {}
            Err(Error::NoSpace) => return,
            Err(other) => panic!("unexpected {other:?}"),
        }
    }
    panic!("25 MiB fit into 2");
}
