//! Levels, queues and lending seen from outside.

use http::{HeaderMap, Method, Uri};

use super::*;
use crate::base::tree::json;
use crate::request::RequestInfo;

fn ctx(user: &str) -> RequestContext {
    let uri = Uri::from_static("/api/v1/namespaces/n/pods/p");
    let mut ctx = RequestContext::new(Method::GET, uri, HeaderMap::new(), None);
    ctx.info = RequestInfo::parse(&Method::GET, ctx.uri.path(), "").expect("a path");
    ctx.user = Some(Arc::new(UserInfo {
        username: user.into(),
        groups: vec!["system:authenticated".into()],
        ..UserInfo::default()
    }));
    ctx
}

/// A server of `seats` seats whose level `work` has nearly all of them, four queues with room for
/// two each, and a schema by user.
fn control(seats: u32) -> Arc<PriorityAndFairness> {
    control_with(seats, Duration::from_secs(60))
}

fn control_with(seats: u32, request_timeout: Duration) -> Arc<PriorityAndFairness> {
    let metrics = Metrics::new(&[]);
    let load = Box::new(Load::default);
    let control = PriorityAndFairness::new(seats, request_timeout, load, metrics);
    let level = json!({"metadata": {"name": "work", "uid": "level-uid"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 1000, "lendablePercent": 50,
        "limitResponse": {"type": "Queue", "queuing": {"queues": 4, "handSize": 1, "queueLengthLimit": 2}}}}});
    let schema = json!({"metadata": {"name": "everybody", "uid": "schema-uid"}, "spec": {
        "priorityLevelConfiguration": {"name": "work"}, "matchingPrecedence": 50,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "*"}}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]}]}});
    for (feed, object) in [(Feed::Levels, level), (Feed::Schemas, schema)] {
        control.apply(feed, Change::Upsert(Arc::new(object)));
        control.apply(feed, Change::Synced);
    }
    control
}

async fn refused(control: &PriorityAndFairness, user: &str) -> Rejected {
    match control.admit(&ctx(user)).await {
        Err(refused) => refused,
        Ok(permit) => panic!("runs: {}", permit.flow),
    }
}

#[tokio::test]
async fn the_answer_names_schema_and_level() {
    let control = control(2);
    let permit = control.admit(&ctx("a")).await.expect("a seat");
    let mut headers = HeaderMap::new();
    permit.mark(&mut headers);
    assert_eq!(headers[SCHEMA_UID], "schema-uid");
    assert_eq!(headers[LEVEL_UID], "level-uid");
    assert_eq!(permit.flow, r#"schema "everybody", level "work""#);
}

#[tokio::test]
async fn requests_wait_their_turn_and_are_refused_when_the_queue_is_full() {
    let control = control(1);
    let running = control.admit(&ctx("a")).await.expect("a seat");
    let wait = |control: &Arc<PriorityAndFairness>| {
        let control = control.clone();
        tokio::spawn(async move { control.admit(&ctx("a")).await.map(|_| ()) })
    };
    let waiting = [wait(&control), wait(&control)];
    let level = control.config.load().levels["work"].clone();
    while level.view().waiting < 2 {
        tokio::task::yield_now().await;
    }
    let refused = refused(&control, "a").await;
    assert_eq!(refused.reason, "queue-full");
    assert!(refused.flow.contains("2 waiting"), "{}", refused.flow);
    let page = control.dump(Dump::Requests { details: true });
    let page = page.expect("a page");
    assert_eq!(page.matches("everybody").count(), 2, "{page}");
    drop(running);
    for turn in waiting {
        assert!(turn.await.expect("ends").is_ok());
    }
    assert!(level.is_idle());
    let series = &control
        .metrics
        .apiserver_flowcontrol_rejected_requests_total;
    let count = series.with_label_values(&["everybody", "work", "queue-full"]);
    assert_eq!(count.get(), 1);
}

#[tokio::test]
async fn nobody_waits_longer_than_the_limit() {
    let control = control_with(1, Duration::from_millis(40));
    let running = control.admit(&ctx("a")).await.expect("a seat");
    let refused = refused(&control, "b").await;
    assert_eq!(refused.reason, "time-out");
    drop(running);
    assert!(control.admit(&ctx("b")).await.is_ok());
}

#[tokio::test]
async fn who_goes_away_leaves_the_queue() {
    let control = control(1);
    let running = control.admit(&ctx("a")).await.expect("a seat");
    let left = {
        let control = control.clone();
        tokio::spawn(async move { control.admit(&ctx("a")).await.map(|_| ()) })
    };
    let level = control.config.load().levels["work"].clone();
    while level.view().waiting == 0 {
        tokio::task::yield_now().await;
    }
    left.abort();
    assert!(left.await.is_err());
    assert_eq!(level.view().waiting, 0);
    assert_eq!(level.view().counts.cancelled, 1);
    drop(running);
    assert!(level.is_idle());
}

#[tokio::test]
async fn masters_are_exempt_and_a_removed_level_falls_to_catch_all() {
    let control = control(1);
    let _running = control.admit(&ctx("a")).await.expect("a seat");
    let mut master = ctx("m");
    master.user = Some(Arc::new(UserInfo::apiserver()));
    let permit = control.admit(&master).await.expect("always a seat");
    assert_eq!(permit.flow, r#"schema "exempt", level "exempt""#);
    let gone = json!({"metadata": {"name": "work"}});
    control.apply(Feed::Levels, Change::Delete(Arc::new(gone)));
    let permit = control.admit(&ctx("b")).await.expect("a seat");
    assert_eq!(permit.flow, r#"schema "catch-all", level "catch-all""#);
}

#[tokio::test]
async fn idle_levels_lend_their_seats() {
    let control = control(100);
    let catch_all = control.config.load().levels["catch-all"].clone();
    let work = control.config.load().levels["work"].clone();
    let before = work.limits();
    let permits: Vec<_> = {
        let mut permits = Vec::new();
        for n in 0..60 {
            permits.push(control.admit(&ctx(&format!("u{n}"))).await.ok());
        }
        permits
    };
    control.lend();
    let after = work.limits();
    assert_eq!((before.nominal, before.lower), (100, 50));
    assert!(after.current >= 60 && after.current <= 100, "{after:?}");
    assert!(catch_all.limits().current >= 1, "its own seat is not lent");
    assert!(permits.iter().all(Option::is_some));
}
