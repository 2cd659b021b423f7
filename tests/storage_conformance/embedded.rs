//! The embedded store: conformance, and what only a store with files of its own must keep.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use verbatim::storage::embedded::{EmbeddedOptions, EmbeddedStore};
use verbatim::storage::{Error, Range, Storage, WatchMessage};

use super::cached::check_cached;
use super::check_all;

/// Directory of the store the re-executed test writes to until it is killed.
const WRITE_TO: &str = "VERBATIM_TEST_WRITE_TO";
const WRITERS: usize = 16;
const KILLS: u32 = 10;

fn open(dir: &Path) -> Arc<EmbeddedStore> {
    EmbeddedStore::open(dir, EmbeddedOptions::default()).expect("open the store")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_conforms() {
    let dir = tempfile::tempdir().expect("temporary directory");
    check_all(open(dir.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_behind_the_watch_cache() {
    let dir = tempfile::tempdir().expect("temporary directory");
    check_cached(open(dir.path())).await;
}

#[tokio::test]
async fn everything_survives_reopening() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path());
    let value = |n: u64| Bytes::from(n.to_string());
    let a = store.create("/a/a", value(1), None).await.expect("create");
    let b = store.create("/a/b", value(2), None).await.expect("create");
    let c = store
        .update("/a/a", value(3), a, None)
        .await
        .expect("update");
    let ttl = Some(Duration::from_millis(300));
    let gone = store.create("/t/a", value(4), ttl).await.expect("create");
    store.compact(b).await.expect("compact");
    store.close().await;
    drop(store);

    let store = open(dir.path());
    let revision = store.current_revision().await.expect("revision");
    // The key with a TTL may have expired before closing or after reopening.
    assert!((gone..=gone + 1).contains(&revision), "{revision}");
    let mut watch = store.watch("/t/", gone).await.expect("watch");
    loop {
        match watch.recv().await.expect("the deadline was kept") {
            WatchMessage::Events(events) => {
                assert_eq!((&*events[0].key, &events[0].value), ("/t/a", &None));
                assert_eq!(events[0].revision, gone + 1);
                break;
            }
            WatchMessage::Progress(_) => {}
            WatchMessage::Failed(error) => panic!("{error:?}"),
        }
    }
    let past = |revision| Range {
        prefix: "/a/".to_owned(),
        revision,
        ..Range::default()
    };
    let listed = store.list(past(b)).await.expect("uncompacted");
    let revisions: Vec<_> = listed.kvs.iter().map(|kv| kv.mod_revision).collect();
    assert_eq!(revisions, [a, b]);
    let refused = store.list(past(a)).await;
    assert!(
        matches!(refused, Err(Error::Compacted { .. })),
        "{refused:?}"
    );
    let kv = store.get("/a/a").await.expect("get").kv.expect("exists");
    assert_eq!((kv.mod_revision, kv.create_revision), (c, a));
    store.close().await;
}

#[tokio::test]
async fn a_directory_opens_once() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path());
    let second = EmbeddedStore::open(dir.path(), EmbeddedOptions::default());
    let Err(Error::Unavailable { reason, .. }) = second.map(|_| ()) else {
        panic!("opened twice");
    };
    assert!(reason.contains("in use"), "{reason}");
    store.close().await;
    open(dir.path()).close().await;
}

#[tokio::test]
async fn a_slow_watch_ends_and_harms_nobody() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = EmbeddedOptions {
        watch_buffer: 4,
        ..EmbeddedOptions::default()
    };
    let store = EmbeddedStore::open(dir.path(), options).expect("open the store");
    let mut slow = store.watch("/a/", 0).await.expect("watch");
    let mut quick = store.watch("/a/", 0).await.expect("watch");
    for n in 0..50 {
        let key = format!("/a/{n}");
        let revision = store.create(&key, Bytes::new(), None).await;
        let revision = revision.expect("nobody blocks the writer");
        let seen = loop {
            match quick.recv().await.expect("the quick watch goes on") {
                WatchMessage::Events(events) => break events[0].revision,
                WatchMessage::Progress(_) => {}
                WatchMessage::Failed(error) => panic!("{error:?}"),
            }
        };
        assert_eq!(seen, revision);
    }
    let mut last = None;
    while let Some(message) = slow.recv().await {
        last = Some(message);
    }
    assert!(matches!(last, Some(WatchMessage::Failed(_))), "{last:?}");
    assert_eq!(store.slow_watches_ended(), 1);
    store.close().await;
}

#[tokio::test]
async fn damage_is_named() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = open(dir.path());
    for n in 0..20 {
        let key = format!("/a/{n}");
        let created = store.create(&key, Bytes::from("v"), None);
        created.await.expect("create");
    }
    store.close().await;
    drop(store);
    let journal = std::fs::read_dir(dir.path().join("db")).expect("list");
    let journal = journal
        .map(|entry| entry.expect("entry").path())
        .find(|path| path.extension().is_some_and(|e| e == "jnl"))
        .expect("a journal");
    let mut bytes = std::fs::read(&journal).expect("read the journal");
    let at = bytes.windows(6).position(|w| w == b"/a/10\0".as_slice());
    bytes[at.expect("an index entry of the journal")] ^= 0xff;
    std::fs::write(&journal, bytes).expect("damage the journal");
    let opened = EmbeddedStore::open(dir.path(), EmbeddedOptions::default());
    let Err(Error::Corrupt { reason }) = opened.map(|_| ()) else {
        panic!("opened a damaged store");
    };
    assert!(!reason.is_empty());
}

/// Not a test of its own: the writer that `nothing_acknowledged_is_lost` runs and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_until_killed() {
    let Ok(dir) = std::env::var(WRITE_TO) else {
        return;
    };
    let store = open(Path::new(&dir));
    let writers = (0..WRITERS).map(|writer| tokio::spawn(write_forever(store.clone(), writer)));
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("killed before that");
    }
}

/// Tells each acknowledged write on a line `acknowledged <key> <revision>`.
async fn write_forever(store: Arc<EmbeddedStore>, writer: usize) {
    use std::io::Write;
    for n in 0_u64.. {
        let key = format!("/w/{writer}/{}", n % 50);
        let value = Bytes::from(format!("{writer} {n} {}", "x".repeat(500)));
        let current = store.get(&key).await.expect("get").kv;
        let written = match current.map(|kv| kv.mod_revision) {
            None => store.create(&key, value, None).await,
            Some(revision) => store.update(&key, value, revision, None).await,
        };
        let revision = written.expect("only this task writes the key");
        if n % 100 == 99 {
            // Several ask at once; whoever is late finds it done.
            store.compact(revision - 50).await.expect("compact");
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {key} {revision}").expect("the parent listens");
        out.flush().expect("the parent listens");
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut acknowledged = std::collections::BTreeMap::new();
    for kill in 0..KILLS {
        let before = acknowledged.values().max().copied();
        let lines = 20 + rand::random_range(0..1500) / (kill + 1);
        run_and_kill(dir.path(), lines as usize, &mut acknowledged);
        let store = open(dir.path());
        let last = acknowledged.values().max().copied().expect("some were");
        assert!(Some(last) > before, "revisions continue");
        let current = store.current_revision().await.expect("revision");
        assert!(current >= last, "kill {kill}: {current} < {last}");
        for (key, revision) in &acknowledged {
            let kv = store.get(key).await.expect("get").kv.expect("was written");
            // Killed between commit and report: a later revision is right, too.
            assert!(kv.mod_revision >= *revision, "kill {kill}: {kv:?}");
        }
        store.close().await;
    }
}

/// Runs the writer and kills it after so many acknowledged writes; reads the rest it told.
fn run_and_kill(dir: &Path, lines: usize, into: &mut std::collections::BTreeMap<String, u64>) {
    let exe = std::env::current_exe().expect("this test binary");
    let mut child = Command::new(exe)
        .args(["--exact", "embedded::write_until_killed", "--nocapture"])
        .env(WRITE_TO, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("run this test binary again");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let mut told = 0;
    for line in out.lines() {
        let line = line.expect("text");
        let mut words = line.split(' ').skip_while(|word| *word != "acknowledged");
        let (Some(_), Some(key), Some(revision)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        // The last line may be torn.
        if let Ok(revision) = revision.parse() {
            into.insert(key.to_owned(), revision);
        }
        told += 1;
        if told == lines {
            child.kill().expect("kill -9");
        }
    }
    child.wait().expect("reap");
    assert!(told >= lines, "the writer ended by itself");
}
