//! Summaries of many requests: the causes of refusals and failures, grouped and counted.
//!
//! `verbatim diagnose TOPIC --since 1h` feeds a [`Summarizer`] the events that [`Topic::query`] finds,
//! from a server or from files, and prints the [`Summary`].

use std::collections::HashMap;

use serde::Serialize;

use crate::base::tree::Value;
use crate::diagnose::cause::{Cause, Certainty, Class};
use crate::diagnose::causes;
use crate::diagnose::trace::Trace;

/// Audit IDs kept per group.
const EXAMPLES_MAX: usize = 5;
/// Users, resources and clients named per group.
const NAMED_MAX: usize = 5;

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// 403.
    Forbidden,
    /// 401.
    Unauthorized,
    /// Deadlines that passed, in the store, webhooks or elsewhere.
    Timeouts,
    /// Failures of the store.
    Etcd,
    /// 429.
    Overload,
}

/// All topics.
pub const TOPICS: [Topic; 5] = [
    Topic::Forbidden,
    Topic::Unauthorized,
    Topic::Timeouts,
    Topic::Etcd,
    Topic::Overload,
];

impl Topic {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Topic::Forbidden => "forbidden",
            Topic::Unauthorized => "unauthorized",
            Topic::Timeouts => "timeouts",
            Topic::Etcd => "etcd",
            Topic::Overload => "overload",
        }
    }

    /// The topic of a word.
    pub fn parse(word: &str) -> Option<Topic> {
        TOPICS.into_iter().find(|t| t.as_str() == word)
    }

    /// A query that finds all events of interest, and some more.
    pub fn query(self) -> &'static str {
        match self {
            Topic::Forbidden => "code:403",
            Topic::Unauthorized => "code:401",
            Topic::Timeouts => "code:[500 TO 599]",
            Topic::Etcd => "code:[500 TO 599] OR code:410",
            Topic::Overload => "code:429",
        }
    }

    /// Whether a cause belongs to the topic.
    pub fn is_about(self, code: u64, class: Class) -> bool {
        match self {
            Topic::Forbidden => code == 403,
            Topic::Unauthorized => code == 401,
            Topic::Overload => code == 429,
            Topic::Timeouts => {
                matches!(
                    class,
                    Class::Timeout
                        | Class::WebhookTimeout
                        | Class::StoreTimeout
                        | Class::FutureVersion
                        | Class::ClientGone
                ) || code == 504
            }
            Topic::Etcd => {
                class.as_str().starts_with("store-")
                    || matches!(class, Class::Gone | Class::FutureVersion)
            }
        }
    }
}

/// Causes with counts, most frequent first.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The topic.
    pub topic: &'static str,
    /// Requests that belong to it.
    pub requests: u64,
    /// By cause.
    pub groups: Vec<Group>,
}

/// Requests with the same cause.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Class of the cause.
    pub class: Class,
    /// Which one of its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Where it was decided.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// How sure.
    pub certainty: Certainty,
    /// The cause of the newest of them, in words.
    pub cause: String,
    /// How many.
    pub count: u64,
    /// The earliest time.
    pub first: String,
    /// The latest time.
    pub last: String,
    /// Who was hit most.
    pub users: Vec<Count>,
    /// What was asked for most: `list secrets`.
    pub asked: Vec<Count>,
    /// With which programs.
    pub clients: Vec<Count>,
    /// Audit IDs for `verbatim why`, newest first.
    pub examples: Vec<String>,
    /// What to do.
    pub fix: Vec<String>,
    /// Page in `runbooks/`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub runbook: &'static str,
}

/// How often something occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// Gathers events of one topic.
pub struct Summarizer {
    topic: Topic,
    requests: u64,
    groups: HashMap<(Class, String, String), Gathered>,
}

struct Gathered {
    newest: Cause,
    count: u64,
    first: String,
    last: String,
    users: Tally,
    asked: Tally,
    clients: Tally,
    /// Time and audit ID, newest first.
    examples: Vec<(String, String)>,
}

#[derive(Default)]
struct Tally(HashMap<String, u64>);

impl Tally {
    fn add(&mut self, name: String) {
        if !name.is_empty() {
            *self.0.entry(name).or_default() += 1;
        }
    }

    fn top(self) -> Vec<Count> {
        let mut all: Vec<Count> = self
            .0
            .into_iter()
            .map(|(name, count)| Count { name, count })
            .collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        all.truncate(NAMED_MAX);
        all
    }
}

impl Summarizer {
    /// For events of `topic`.
    pub fn new(topic: Topic) -> Self {
        Summarizer {
            topic,
            requests: 0,
            groups: HashMap::new(),
        }
    }

    /// Takes in one event, in any order. Events that are not the last of their request and those of
    /// other topics are passed over.
    pub fn add(&mut self, event: &Value) {
        if !is_last(event) {
            return;
        }
        let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
        let trace = Trace::of(event);
        let cause = causes::cause(event, &trace);
        if !self.topic.is_about(code, cause.class) {
            return;
        }
        self.requests += 1;
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let time = text(&event["requestReceivedTimestamp"]);
        let key = (cause.class, cause.detail.clone(), cause.stage.clone());
        let group = self.groups.entry(key).or_insert_with(|| Gathered {
            newest: cause.clone(),
            count: 0,
            first: time.clone(),
            last: time.clone(),
            users: Tally::default(),
            asked: Tally::default(),
            clients: Tally::default(),
            examples: Vec::new(),
        });
        group.count += 1;
        if time < group.first {
            group.first.clone_from(&time);
        }
        if time >= group.last {
            group.last.clone_from(&time);
            group.newest = cause;
        }
        group.users.add(user(event));
        group.asked.add(asked(event));
        group.clients.add(text(&event["userAgent"]));
        let at = group.examples.partition_point(|(other, _)| *other > time);
        group.examples.insert(at, (time, text(&event["auditID"])));
        group.examples.truncate(EXAMPLES_MAX);
    }

    /// The summary.
    pub fn finish(self) -> Summary {
        let groups = self.groups.into_iter();
        let mut groups: Vec<Group> = groups
            .map(|((class, detail, stage), gathered)| Group {
                class,
                detail,
                stage,
                certainty: gathered.newest.certainty,
                cause: gathered.newest.text,
                count: gathered.count,
                first: gathered.first,
                last: gathered.last,
                users: gathered.users.top(),
                asked: gathered.asked.top(),
                clients: gathered.clients.top(),
                examples: gathered.examples.into_iter().map(|(_, id)| id).collect(),
                fix: gathered.newest.fix,
                runbook: class.runbook(),
            })
            .collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| b.last.cmp(&a.last)));
        Summary {
            topic: self.topic.as_str(),
            requests: self.requests,
            groups,
        }
    }
}

/// Whether no later event of the request is to be expected. Refused credentials have only a
/// ResponseStarted.
fn is_last(event: &Value) -> bool {
    match event["stage"].as_str() {
        Some("ResponseComplete" | "Panic") => true,
        Some("ResponseStarted") => event["user"]["username"].as_str().is_none_or(str::is_empty),
        _ => false,
    }
}

fn user(event: &Value) -> String {
    let of = |user: &Value| user["username"].as_str().unwrap_or_default().to_string();
    match of(&event["impersonatedUser"]) {
        name if name.is_empty() => match of(&event["user"]) {
            name if name.is_empty() => {
                let from = event["sourceIPs"][0].as_str().unwrap_or_default();
                format!("(nobody, from {from})")
            }
            name => name,
        },
        name => name,
    }
}

fn asked(event: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let object = &event["objectRef"];
    let mut what = text(&object["resource"]);
    if what.is_empty() {
        let uri = text(&event["requestURI"]);
        what = uri.split('?').next().unwrap_or_default().to_string();
    } else if let Some(subresource) = object["subresource"].as_str() {
        what = format!("{what}/{subresource}");
    }
    format!("{} {what}", text(&event["verb"]))
}

#[cfg(test)]
mod tests {
    use crate::base::tree::json;

    use super::*;
    use crate::audit::event::TRACE_ANNOTATION;

    fn event(second: u32, user: &str, code: u64, trace: &str) -> Value {
        json!({
            "auditID": format!("id-{second}"), "stage": "ResponseComplete", "verb": "list",
            "requestURI": "/api/v1/secrets", "user": {"username": user},
            "objectRef": {"resource": "secrets", "apiVersion": "v1"},
            "requestReceivedTimestamp": format!("2026-01-01T00:00:{second:02}.000000Z"),
            "responseStatus": {"code": code},
            "annotations": {TRACE_ANNOTATION: trace},
        })
    }

    #[test]
    fn causes_are_grouped_and_counted() {
        let mut summarizer = Summarizer::new(Topic::Etcd);
        const DOWN: &str = r#"{"because":"store/unreachable: refused","stages":[]}"#;
        const FULL: &str = r#"{"because":"store/no-space","stages":[]}"#;
        for (second, user, code, trace) in [
            (3, "a", 503, DOWN),
            (1, "a", 503, DOWN),
            (2, "b", 503, DOWN),
            (4, "b", 500, FULL),
            (5, "b", 500, "{}"),
            (6, "b", 200, "{}"),
        ] {
            summarizer.add(&event(second, user, code, trace));
        }
        let mut received = event(9, "a", 503, DOWN);
        received["stage"] = json!("RequestReceived");
        summarizer.add(&received);
        let summary = summarizer.finish();
        assert_eq!(summary.requests, 4);
        let down = &summary.groups[0];
        assert_eq!((down.class, down.count), (Class::StoreUnreachable, 3));
        assert_eq!(down.examples, ["id-3", "id-2", "id-1"]);
        assert_eq!(
            down.users[0],
            Count {
                name: "a".into(),
                count: 2
            }
        );
        assert_eq!(down.asked[0].name, "list secrets");
        assert!(down.first.contains(":01.") && down.last.contains(":03."));
        assert_eq!(summary.groups[1].class, Class::StoreNoSpace);
        for topic in TOPICS {
            assert_eq!(Topic::parse(topic.as_str()), Some(topic));
            assert!(
                crate::search::query::parse(topic.query()).is_ok(),
                "{topic:?}"
            );
        }
    }
}
