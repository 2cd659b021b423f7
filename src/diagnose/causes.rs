//! Causes by status code: what the event and its stage trace prove, and what to do about it.

use serde_json::Value;

/// How sure a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Certainty {
    /// The event says so itself.
    Certain,
    /// The evidence points there.
    Likely,
    /// It cannot be told.
    Unknown,
}

/// A cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// How sure.
    pub certainty: Certainty,
    /// Stage of the pipeline where it was decided; empty when unknown.
    pub stage: String,
    /// One or two sentences.
    pub text: String,
    /// What to do.
    pub fix: Vec<String>,
}

/// One stage of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedStage {
    /// Name.
    pub name: String,
    /// Microseconds it took.
    pub micros: u64,
    /// Outcome.
    pub outcome: String,
    /// Reason, may be empty.
    pub reason: String,
}

/// Outcomes that end a request.
const BAD: [&str; 9] = [
    "denied",
    "refused",
    "forbid",
    "error",
    "conflict",
    "timeout",
    "rejected",
    "invalid",
    "cancelled",
];

/// The stages of a parsed trace.
pub fn stages(trace: &Value) -> Vec<TracedStage> {
    let list = trace["stages"].as_array();
    list.into_iter()
        .flatten()
        .map(|stage| {
            let text = |at: usize| stage[at].as_str().unwrap_or_default().to_string();
            TracedStage {
                name: text(0),
                micros: stage[2].as_u64().unwrap_or_default(),
                outcome: text(3),
                reason: text(4),
            }
        })
        .collect()
}

/// The stage that ended the request, if one says so.
pub fn failed(stages: &[TracedStage]) -> Option<&TracedStage> {
    stages
        .iter()
        .rev()
        .find(|s| BAD.contains(&s.outcome.as_str()))
}

fn certain(stage: &str, text: impl Into<String>, fix: &[&str]) -> Cause {
    Cause {
        certainty: Certainty::Certain,
        stage: stage.into(),
        text: text.into(),
        fix: fix.iter().map(|f| f.to_string()).collect(),
    }
}

fn likely(stage: &str, text: impl Into<String>, fix: &[&str]) -> Cause {
    Cause {
        certainty: Certainty::Likely,
        ..certain(stage, text, fix)
    }
}

/// The cause of anything but a refusal by an authorizer, which [`super::explain`] asks RBAC about.
pub fn cause(event: &Value, trace: &Value) -> Cause {
    let status = &event["responseStatus"];
    let code = status["code"].as_u64().unwrap_or_default();
    let message = status["message"].as_str().unwrap_or_default();
    let reason = status["reason"].as_str().unwrap_or_default();
    let stages = stages(trace);
    match code {
        0 => unknown("the request has no answer in the record yet"),
        200..400 => success(event, trace, &stages),
        400 => certain(
            "decode",
            format!("the request was malformed: {message}"),
            &["correct the request; kubectl --validate=strict and -v=8 show what was sent"],
        ),
        401 => unauthorized(&stages, message),
        403 => forbidden(&stages, message),
        404 => not_found(event, message),
        405 => certain(
            "router",
            "this resource does not serve that method",
            &["kubectl api-resources -o wide lists the verbs of each resource"],
        ),
        406 => certain(
            "negotiation",
            "the client accepts none of the media types that are served",
            &["ask for application/json, application/yaml or application/vnd.kubernetes.protobuf"],
        ),
        409 if reason == "AlreadyExists" => certain(
            "store",
            format!("an object of that name exists: {message}"),
            &["use apply or update instead of create, or another name (generateName)"],
        ),
        409 => certain(
            "store",
            format!("somebody else wrote the object in between: {message}"),
            &[
                "get the object again, make the change on that, write it with its resourceVersion (retry on conflict)",
                "verbatim search 'name:NAME verb:(update OR patch)' shows who wrote it",
            ],
        ),
        410 => certain(
            "watch cache",
            format!("the resourceVersion or continue token is older than what is kept: {message}"),
            &["list again from the start, then watch from the list's resourceVersion"],
        ),
        413 => certain(
            "decode",
            format!("the body is too large: {message}"),
            &["an object and its patches may have 3 MiB; keep large data elsewhere"],
        ),
        415 => certain(
            "negotiation",
            format!("the body's Content-Type is not served here: {message}"),
            &["send application/json, application/yaml or, for patches, one of the patch types"],
        ),
        422 => certain(
            "validation",
            format!("the object is invalid: {message}"),
            &["correct the fields named above; kubectl explain shows what they may hold"],
        ),
        429 => too_many(&stages, message),
        504 => timeout(trace, &stages, message),
        500..600 => server_error(code, &stages, message),
        _ => unknown("no rule explains this status code"),
    }
}

fn unknown(text: &str) -> Cause {
    Cause {
        certainty: Certainty::Unknown,
        stage: String::new(),
        text: format!("unknown: {text}"),
        fix: Vec::new(),
    }
}

fn success(event: &Value, trace: &Value, stages: &[TracedStage]) -> Cause {
    let micros = trace["us"].as_u64().unwrap_or_default();
    let slowest = stages
        .iter()
        .filter(|s| s.name != "stream")
        .max_by_key(|s| s.micros);
    let allowed = event["annotations"]["authorization.k8s.io/reason"].as_str();
    let mut text = "the request succeeded".to_string();
    if let Some(reason) = allowed.filter(|r| !r.is_empty()) {
        text.push_str(&format!("; {reason}"));
    }
    let is_slow = micros > 500_000 && event["verb"] != "watch";
    match slowest {
        Some(slowest) if is_slow => likely(
            &slowest.name,
            format!(
                "{text}. It took {} ms, most of it ({} ms) in {}",
                micros / 1000,
                slowest.micros / 1000,
                slowest.name
            ),
            &["look at the stages above; admission webhooks and the store are the usual suspects"],
        ),
        _ => certain("", text, &[]),
    }
}

fn unauthorized(stages: &[TracedStage], message: &str) -> Cause {
    let reason = stages
        .iter()
        .find(|s| s.name == "authentication")
        .map_or("", |s| s.reason.as_str());
    if reason.is_empty() {
        return unknown(&format!(
            "the credentials were refused ({message}), and the record does not say why"
        ));
    }
    let fix = match reason.to_lowercase() {
        r if r.contains("expired") => {
            "the token or certificate has run out: get a new one (kubectl create token, or renew the certificate)"
        }
        r if r.contains("audience") => {
            "the token is for somebody else: ask for one with this server's audience"
        }
        r if r.contains("no credentials") || r.contains("anonymous") => {
            "the client sent nothing that this server understands: check the user entry of its kubeconfig"
        }
        r if r.contains("sign") || r.contains("key") || r.contains("unknown authority") => {
            "the credential was made by another cluster or with a key that this server does not have"
        }
        _ => "check the client's credentials: kubectl config view --minify --raw",
    };
    certain(
        "authentication",
        format!("the credentials were refused: {reason}"),
        &[fix],
    )
}

fn forbidden(stages: &[TracedStage], message: &str) -> Cause {
    if let Some(stage) = failed(stages)
        && let Some(plugin) = stage.name.strip_prefix("admission/")
    {
        return certain(
            &stage.name,
            format!("admission plugin {plugin} refused it: {message}"),
            &["change the object as the message says, or the plugin's policy for this namespace"],
        );
    }
    if failed(stages).is_some_and(|s| s.name == "impersonation") {
        return certain(
            "impersonation",
            format!("the caller may not impersonate: {message}"),
            &[
                "give the caller the verb impersonate on the users, groups or serviceaccounts in question",
            ],
        );
    }
    if message.contains("attempting to grant RBAC permissions not currently held") {
        return certain(
            "registry",
            "the role or binding would give more than its author has (escalation check)",
            &[
                "let somebody with those permissions do it, or give the author the verb escalate or bind",
            ],
        );
    }
    if message.contains("denied the request") {
        return certain(
            "admission",
            format!("an admission webhook or policy refused it: {message}"),
            &["change the object as the message says"],
        );
    }
    if message.contains("exceeded quota") || message.contains("because it is being terminated") {
        return certain(
            "admission",
            message.to_string(),
            &["free or raise what the message names"],
        );
    }
    unknown(&format!("refused behind authorization: {message}"))
}

fn not_found(event: &Value, message: &str) -> Cause {
    let object = &event["objectRef"];
    if !object.is_object() || message.contains("the server could not find the requested resource") {
        return certain(
            "router",
            "nothing is served at this path",
            &[
                "kubectl api-resources and kubectl api-versions list what is; a custom resource needs its definition",
            ],
        );
    }
    certain(
        "store",
        message.to_string(),
        &[
            "check name and namespace; verbatim search 'name:NAME verb:delete' tells whether somebody deleted it",
        ],
    )
}

fn too_many(stages: &[TracedStage], message: &str) -> Cause {
    if let Some(stage) = failed(stages) {
        return certain(
            &stage.name,
            format!("too many requests: {} {}", stage.reason, message),
            &[
                "the client should wait for Retry-After",
                "verbatim search --from -5m --limit 1000 shows who fills the server",
            ],
        );
    }
    if message.contains("disruption budget") {
        return certain(
            "registry",
            message.to_string(),
            &["wait until the budget allows another disruption"],
        );
    }
    likely(
        "flowcontrol",
        format!("too many requests: {message}"),
        &["the client should wait for Retry-After"],
    )
}

fn timeout(trace: &Value, stages: &[TracedStage], message: &str) -> Cause {
    if let Some(name) = trace["running"][0].as_str() {
        let millis = trace["running"][1].as_u64().unwrap_or_default() / 1000;
        return certain(
            name,
            format!("the deadline passed while {name} was running, for {millis} ms by then"),
            &["look at what that stage waits for: a webhook's service, the store, a slow client"],
        );
    }
    if message.contains("Too large resource version") {
        return certain(
            "watch cache",
            message.to_string(),
            &[
                "the client asks for a version this server has not seen: it talked to another store before",
            ],
        );
    }
    match stages.iter().max_by_key(|s| s.micros) {
        Some(slowest) if slowest.micros > 0 => likely(
            &slowest.name,
            format!(
                "the deadline passed; most of the time ({} ms) went into {}",
                slowest.micros / 1000,
                slowest.name
            ),
            &["look at what that stage waits for"],
        ),
        _ => unknown("the deadline passed, and the record does not show in which stage"),
    }
}

fn server_error(code: u64, stages: &[TracedStage], message: &str) -> Cause {
    /// Texts of etcd's errors, and what they mean.
    const STORE: [(&str, &str, &str); 6] = [
        (
            "no leader",
            "etcd has no leader",
            "check etcd's members and the network between them (etcdctl endpoint status)",
        ),
        (
            "database space exceeded",
            "etcd is full (NOSPACE)",
            "compact and defragment etcd, then disarm the alarm; or raise its quota",
        ),
        (
            "request is too large",
            "the object is larger than etcd takes",
            "make the object smaller",
        ),
        (
            "required revision has been compacted",
            "the revision was compacted",
            "list again",
        ),
        (
            "connection refused",
            "etcd cannot be reached",
            "check that etcd runs and that --etcd-servers is right",
        ),
        (
            "deadline exceeded",
            "etcd did not answer in time",
            "look at etcd's disk (etcd_disk_wal_fsync_duration_seconds) and load",
        ),
    ];
    let failed = failed(stages);
    let reason = failed.map_or("", |s| s.reason.as_str());
    for (sign, text, fix) in STORE {
        if reason.contains(sign) || message.contains(sign) {
            return likely("store", format!("{text}: {message}"), &[fix]);
        }
    }
    match failed {
        Some(stage) => likely(
            &stage.name,
            format!("{} failed: {} {message}", stage.name, stage.reason),
            &["the server's log has the details under this audit ID"],
        ),
        None if code == 503 => unknown(&format!(
            "a part of the server or a backend behind it is not available: {message}"
        )),
        None => unknown(&format!(
            "the server failed: {message}; its log has the details under this audit ID"
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn causes_by_code_and_trace() {
        use Certainty::{Certain, Likely, Unknown};
        for (status, trace, certainty, stage, text) in [
            (
                json!({"code": 401}),
                json!({"stages": [["authentication", 0, 1, "denied", "token is expired"]]}),
                Certain,
                "authentication",
                "token is expired",
            ),
            (json!({"code": 401}), json!({}), Unknown, "", "unknown"),
            (
                json!({"code": 403, "message": "no"}),
                json!({"stages": [["admission/PodSecurity", 0, 1, "denied", "x"]]}),
                Certain,
                "admission/PodSecurity",
                "PodSecurity refused it",
            ),
            (
                json!({"code": 403, "message": "no"}),
                json!({"stages": []}),
                Unknown,
                "",
                "unknown",
            ),
            (
                json!({"code": 409, "reason": "AlreadyExists", "message": "m"}),
                json!({}),
                Certain,
                "store",
                "exists",
            ),
            (
                json!({"code": 409, "reason": "Conflict"}),
                json!({}),
                Certain,
                "store",
                "somebody else",
            ),
            (
                json!({"code": 422, "message": "spec.x: Required"}),
                json!({}),
                Certain,
                "validation",
                "spec.x",
            ),
            (
                json!({"code": 504}),
                json!({"running": ["validating-webhook", 9000000]}),
                Certain,
                "validating-webhook",
                "9000 ms",
            ),
            (
                json!({"code": 504}),
                json!({"stages": [["store/get", 0, 5000000, "ok"]]}),
                Likely,
                "store/get",
                "5000 ms",
            ),
            (json!({"code": 504}), json!({}), Unknown, "", "unknown"),
            (
                json!({"code": 500, "message": "etcdserver: no leader"}),
                json!({}),
                Likely,
                "store",
                "no leader",
            ),
            (
                json!({"code": 500, "message": "x"}),
                json!({}),
                Unknown,
                "",
                "unknown",
            ),
            (
                json!({"code": 200}),
                json!({"us": 900000, "stages": [["store/get", 0, 800000, "ok"]]}),
                Likely,
                "store/get",
                "900 ms",
            ),
        ] {
            let cause = cause(&json!({"responseStatus": status, "objectRef": {}}), &trace);
            assert_eq!(
                (cause.certainty, cause.stage.as_str()),
                (certainty, stage),
                "{status}: {cause:?}"
            );
            assert!(cause.text.contains(text), "{cause:?}");
        }
    }
}
