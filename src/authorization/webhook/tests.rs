//! What is asked, how often, and what answers come to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::*;
use crate::authorization::Verdict;
use crate::base::tree::{Value, json};

/// Answers what it is told to, and notes what it was asked.
struct Server {
    answers: Mutex<Vec<Result<Value, ReviewError>>>,
    asked: Mutex<Vec<Value>>,
}

impl Server {
    fn new(answers: Vec<Result<Value, ReviewError>>) -> Arc<Self> {
        Arc::new(Server {
            answers: Mutex::new(answers),
            asked: Mutex::default(),
        })
    }
}

#[async_trait]
impl ReviewClient for Server {
    async fn review(&self, body: Bytes, _: Duration) -> Result<Bytes, ReviewError> {
        let body = serde_json::from_slice(&body).expect("JSON");
        self.asked.lock().push(body);
        let answer = self.answers.lock().remove(0)?;
        Ok(Bytes::from(answer.to_string()))
    }
}

fn settings() -> WebhookSettings {
    WebhookSettings {
        authorized_ttl: Some(Duration::from_secs(60)),
        unauthorized_ttl: None,
        timeout: Duration::from_secs(1),
        version: ReviewVersion::V1,
        denies_on_error: false,
    }
}

fn webhook(
    server: &Arc<Server>,
    settings: WebhookSettings,
    conditions: &[&str],
) -> WebhookAuthorizer {
    let conditions = conditions.iter().map(|c| compile(c).expect("compiles"));
    let metrics = Metrics::new(&[]);
    WebhookAuthorizer::new(
        "w".into(),
        settings,
        conditions.collect(),
        server.clone(),
        metrics,
    )
}

fn user() -> UserInfo {
    UserInfo {
        username: "alice".into(),
        groups: vec!["dev".into()],
        ..UserInfo::default()
    }
}

fn status(status: Value) -> Result<Value, ReviewError> {
    Ok(
        json!({"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": status}),
    )
}

fn broken(is_transient: bool) -> Result<Value, ReviewError> {
    Err(ReviewError {
        text: "no answer".into(),
        is_timeout: false,
        is_transient,
    })
}

#[tokio::test]
async fn answers() {
    let both = "webhook subject access review returned both allow and deny response";
    for (answer, verdict, reason, errors) in [
        (
            json!({"allowed": true, "reason": "ok"}),
            Verdict::Allow,
            "ok",
            vec![],
        ),
        (
            json!({"denied": true, "reason": "no"}),
            Verdict::Deny,
            "no",
            vec![],
        ),
        (
            json!({"reason": "who?"}),
            Verdict::NoOpinion,
            "who?",
            vec![],
        ),
        (
            json!({"allowed": true, "denied": true}),
            Verdict::Deny,
            "",
            vec![both],
        ),
    ] {
        let server = Server::new(vec![status(answer)]);
        let webhook = webhook(&server, settings(), &[]);
        let user = user();
        let ask = Attributes::resource(&user, "get", "apps", "deployments", "ns", "d");
        let decision = webhook.authorize(&ask).await;
        assert_eq!(decision.verdict, verdict);
        assert_eq!(decision.reason, reason);
        assert_eq!(decision.errors, errors);
        assert_eq!(decision.asked.is_empty(), verdict == Verdict::Allow);
    }
}

#[tokio::test]
async fn what_is_sent() {
    let server = Server::new(vec![status(json!({})), status(json!({}))]);
    let webhook = webhook(
        &server,
        WebhookSettings {
            version: ReviewVersion::V1Beta1,
            ..settings()
        },
        &[],
    );
    let user = user();
    let ask = Attributes {
        field_selector: "spec.nodeName=n,a!=b",
        label_selector: "x in (y,z),!w",
        ..Attributes::resource(&user, "list", "", "pods", "ns", "")
    };
    webhook.authorize(&ask).await;
    let path = Attributes {
        is_resource: false,
        path: "/metrics",
        ..Attributes::resource(&user, "get", "", "", "", "")
    };
    webhook.authorize(&path).await;
    let asked = server.asked.lock();
    assert_eq!(
        asked[0],
        json!({
            "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1beta1", "metadata": {},
            "spec": {
                "resourceAttributes": {"namespace": "ns", "verb": "list", "version": "*", "resource": "pods",
                    "fieldSelector": {"requirements": [
                        {"key": "spec.nodeName", "operator": "In", "values": ["n"]},
                        {"key": "a", "operator": "NotIn", "values": ["b"]}]},
                    "labelSelector": {"requirements": [
                        {"key": "x", "operator": "In", "values": ["y", "z"]},
                        {"key": "w", "operator": "DoesNotExist"}]}},
                "user": "alice", "group": ["dev"]},
            "status": {"allowed": false},
        })
    );
    assert_eq!(
        asked[1]["spec"]["nonResourceAttributes"],
        json!({"path": "/metrics", "verb": "get"})
    );
}

#[tokio::test]
async fn permissions_are_kept_and_refusals_as_configured() {
    let server = Server::new(vec![
        status(json!({"allowed": true})),
        status(json!({})),
        status(json!({})),
    ]);
    let webhook = webhook(&server, settings(), &[]);
    let user = user();
    for (name, asked) in [("a", 1), ("a", 1), ("b", 2), ("b", 3)] {
        let ask = Attributes::resource(&user, "get", "", "pods", "ns", name);
        webhook.authorize(&ask).await;
        assert_eq!(server.asked.lock().len(), asked, "{name}");
    }
}

#[tokio::test]
async fn failures() {
    let user = user();
    let ask = Attributes::resource(&user, "get", "", "pods", "ns", "a");
    let server = Server::new(vec![broken(true), status(json!({"allowed": true}))]);
    let decision = webhook(&server, settings(), &[]).authorize(&ask).await;
    assert_eq!(decision.verdict, Verdict::Allow);
    for (denies_on_error, verdict) in [(false, Verdict::NoOpinion), (true, Verdict::Deny)] {
        let server = Server::new(vec![broken(false)]);
        let settings = WebhookSettings {
            denies_on_error,
            ..settings()
        };
        let decision = webhook(&server, settings, &[]).authorize(&ask).await;
        assert_eq!(decision.verdict, verdict);
        assert_eq!(decision.errors, ["no answer"]);
        assert_eq!(decision.asked[0].outcome, "unanswered");
    }
}

#[tokio::test]
async fn conditions() {
    let user = user();
    let ask = Attributes::resource(&user, "get", "", "pods", "ns", "a");
    let fails = "request.nonResourceAttributes.path == '/'";
    for (conditions, asked, is_error) in [
        (
            vec![
                "has(request.resourceAttributes) && request.resourceAttributes.verb == 'get'",
                "'dev' in request.groups",
            ],
            1,
            false,
        ),
        (vec!["request.user == 'bob'"], 0, false),
        (vec![fails, "request.user == 'bob'"], 0, false),
        (vec![fails, "true"], 0, true),
    ] {
        let server = Server::new(vec![status(json!({}))]);
        let decision = webhook(&server, settings(), &conditions)
            .authorize(&ask)
            .await;
        assert_eq!(server.asked.lock().len(), asked, "{conditions:?}");
        assert_eq!(decision.errors.is_empty(), !is_error, "{conditions:?}");
    }
    assert_eq!(
        compile("1").expect_err("is no bool"),
        "must evaluate to bool but got int"
    );
}
