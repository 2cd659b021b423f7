//! The sink with a scripted transport; `server::client` tests it with real connections.

use parking_lot::Mutex;

use super::*;
use crate::audit::Stage;
use crate::base::tree::Value;

/// Refuses a number of posts, then takes all.
#[derive(Default)]
struct Receiver {
    refusals: AtomicU64,
    tries: AtomicU64,
    lists: Mutex<Vec<Value>>,
}

#[async_trait]
impl Poster for Receiver {
    async fn post(&self, body: Bytes) -> Result<(), String> {
        self.tries.fetch_add(1, Ordering::SeqCst);
        let left = self.refusals.load(Ordering::SeqCst);
        if left > 0 {
            self.refusals.store(left - 1, Ordering::SeqCst);
            return Err("500".into());
        }
        let list = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
        self.lists.lock().push(list);
        Ok(())
    }
}

fn quick() -> WebhookOptions {
    WebhookOptions {
        batch: BatchOptions {
            max_wait: Duration::from_millis(10),
            throttle: None,
            ..BatchOptions::webhook()
        },
        initial_backoff: Duration::from_millis(1),
        ..WebhookOptions::default()
    }
}

fn event(n: usize) -> Arc<EventBytes> {
    let line = format!("{{\"n\":{n}}}\n").into_bytes();
    Arc::new(EventBytes::from_line(line, Stage::ResponseComplete))
}

#[tokio::test]
async fn thread_15_batches_and_retries() {
    let receiver = Arc::new(Receiver::default());
    receiver.refusals.store(4, Ordering::SeqCst);
    let metrics = Metrics::new();
    let sink = WebhookSink::start(receiver.clone(), quick(), metrics.clone());
    for n in 0..1000 {
        sink.accept(&event(n)).settle().await.expect("queued");
    }
    sink.flush().await;
    let lists = receiver.lists.lock();
    let sizes: Vec<usize> = lists
        .iter()
        .filter_map(|l| Some(l["items"].as_array()?.len()))
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 1000);
    assert!(sizes.iter().all(|s| *s <= 400));
    assert!(lists.iter().all(|l| l["kind"] == "EventList"));
    assert_eq!(metrics.lost_total("webhook"), 0);
}

#[tokio::test]
async fn blocking_waits_and_five_failures_are_a_loss() {
    let receiver = Arc::new(Receiver::default());
    receiver.refusals.store(5, Ordering::SeqCst);
    let options = WebhookOptions {
        is_blocking: true,
        ..quick()
    };
    let metrics = Metrics::new();
    let sink = WebhookSink::start(receiver.clone(), options, metrics.clone());
    assert_eq!(sink.accept(&event(1)).settle().await, Err(Loss::Rejected));
    assert_eq!(receiver.tries.load(Ordering::SeqCst), 5);
    assert_eq!(metrics.lost_total("webhook"), 1);
    sink.accept(&event(2)).settle().await.expect("delivered");
    let lists = receiver.lists.lock();
    assert_eq!(lists[0]["items"][0]["verb"], "gap");
    assert_eq!(lists[0]["items"][1]["n"], 2);
}

#[tokio::test]
async fn thread_14_memory_stays_bounded() {
    let receiver = Arc::new(Receiver::default());
    receiver.refusals.store(u64::MAX, Ordering::SeqCst);
    let mut options = quick();
    options.batch.buffer_size = 100;
    let metrics = Metrics::new();
    let sink = WebhookSink::start(receiver, options, metrics.clone());
    for n in 0..1000 {
        sink.accept(&event(n)).settle().await.expect("never waits");
    }
    assert_eq!(metrics.lost_total("buffered"), 900);
}

#[tokio::test]
async fn thread_14_large_events_are_bounded_in_bytes() {
    let receiver = Arc::new(Receiver::default());
    receiver.refusals.store(u64::MAX, Ordering::SeqCst);
    let metrics = Metrics::new();
    let sink = WebhookSink::start(receiver, quick(), metrics.clone());
    let line = format!("{{\"n\":\"{}\"}}\n", "x".repeat(8 * 1024 * 1024)).into_bytes();
    let large = Arc::new(EventBytes::from_line(line, Stage::ResponseComplete));
    for _ in 0..20 {
        sink.accept(&large).settle().await.expect("never waits");
    }
    assert!(sink.budget.used() <= QUEUE_BYTES_MAX);
    assert_eq!(metrics.lost_total("buffered"), 13, "seven fit into 64 MiB");
}

#[tokio::test]
async fn batches_stay_below_their_size_in_bytes() {
    let receiver = Arc::new(Receiver::default());
    let mut options = quick();
    options.truncation = Some(Truncation {
        max_event_bytes: 100,
        max_batch_bytes: 25,
    });
    let metrics = Metrics::new();
    let sink = WebhookSink::start(receiver.clone(), options, metrics.clone());
    for n in 0..10 {
        sink.accept(&event(n)).settle().await.expect("queued");
    }
    sink.flush().await;
    let lists = receiver.lists.lock();
    let sizes: Vec<usize> = lists
        .iter()
        .filter_map(|l| Some(l["items"].as_array()?.len()))
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 10);
    assert!(
        sizes.iter().all(|s| *s <= 3),
        "{sizes:?}: an event has seven bytes"
    );
    assert_eq!(metrics.lost_total("truncate"), 0);
}

#[tokio::test]
async fn what_is_given_up_is_counted_and_told_to_others() {
    let receiver = Arc::new(Receiver::default());
    receiver.refusals.store(u64::MAX, Ordering::SeqCst);
    let options = WebhookOptions {
        initial_backoff: Duration::from_secs(60),
        ..quick()
    };
    let metrics = Metrics::new();
    let sink = WebhookSink::start(receiver, options, metrics.clone());
    for n in 0..5 {
        sink.accept(&event(n)).settle().await.expect("queued");
    }
    sink.give_up();
    assert_eq!(metrics.lost_total("webhook"), 5);
    let record = sink.gap_for_others().expect("a gap");
    let text = String::from_utf8_lossy(record.json()).into_owned();
    assert!(
        text.contains(r#"\"lost\":5"#) && text.contains(r#"\"reason\":\"closed\""#),
        "{text}"
    );
    assert!(sink.gap_for_others().is_none());
}
