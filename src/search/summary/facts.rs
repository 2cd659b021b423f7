//! What one event says to a summary. Bodies are skipped, nothing is copied.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use crate::request::GOOD_OUTCOMES;
use crate::search::summary::Key;

/// Subresources that are streams.
const STREAMS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// The facts.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Facts<'a> {
    #[serde(borrow, rename = "auditID")]
    audit_id: Cow<'a, str>,
    #[serde(borrow, rename = "requestURI")]
    request_uri: Cow<'a, str>,
    #[serde(borrow)]
    verb: Cow<'a, str>,
    #[serde(borrow)]
    user: User<'a>,
    #[serde(borrow)]
    impersonated_user: Option<User<'a>>,
    #[serde(borrow, rename = "sourceIPs")]
    source_ips: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    user_agent: Cow<'a, str>,
    #[serde(borrow)]
    object_ref: Object<'a>,
    #[serde(borrow)]
    response_status: Answer<'a>,
    #[serde(borrow)]
    request_received_timestamp: Cow<'a, str>,
    #[serde(borrow)]
    stage_timestamp: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "annotations")]
    annotations: Annotations<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User<'a> {
    #[serde(borrow)]
    username: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object<'a> {
    #[serde(borrow)]
    resource: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    api_group: Cow<'a, str>,
    #[serde(borrow)]
    subresource: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer<'a> {
    code: u16,
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

/// The annotations that count, the trace already parsed.
#[derive(Debug, Default)]
struct Annotations<'a> {
    decision: Cow<'a, str>,
    trace: Trace,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Trace {
    us: Option<u64>,
    dry_run: bool,
    field_manager: String,
    stages: Vec<Vec<Value>>,
}

fn annotations<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Annotations<'de>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Raw<'a> {
        #[serde(borrow, rename = "authorization.k8s.io/decision")]
        decision: Cow<'a, str>,
        #[serde(borrow, rename = "audit.verbatim.dev/stages")]
        trace: Cow<'a, str>,
    }
    let raw = Raw::deserialize(deserializer)?;
    Ok(Annotations {
        decision: raw.decision,
        trace: serde_json::from_str(&raw.trace).unwrap_or_default(),
    })
}

fn parse(text: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
}

impl Facts<'_> {
    pub(super) fn audit_id(&self) -> &str {
        &self.audit_id
    }

    pub(super) fn code(&self) -> u16 {
        self.response_status.code
    }

    pub(super) fn time(&self) -> Option<DateTime<Utc>> {
        parse(&self.stage_timestamp).or_else(|| parse(&self.request_received_timestamp))
    }

    /// From arrival to this event.
    pub(super) fn micros(&self) -> Option<u32> {
        let micros = match self.annotations.trace.us {
            Some(micros) => micros,
            None => {
                let from = parse(&self.request_received_timestamp)?;
                let spent = parse(&self.stage_timestamp)? - from;
                u64::try_from(spent.num_microseconds()?).ok()?
            }
        };
        Some(u32::try_from(micros).unwrap_or(u32::MAX))
    }

    /// Watches and streams last as long as their clients like.
    pub(super) fn is_long_running(&self) -> bool {
        matches!(&*self.verb, "watch" | "proxy") || STREAMS.contains(&&*self.object_ref.subresource)
    }

    /// Stages with their duration, and whether they ended well.
    pub(super) fn stages(&self) -> impl Iterator<Item = (Cow<'_, str>, u32, bool)> {
        self.annotations.trace.stages.iter().filter_map(|stage| {
            let name = stage.first()?.as_str()?;
            let micros = u32::try_from(stage.get(2)?.as_u64()?).unwrap_or(u32::MAX);
            let outcome = stage.get(3).and_then(Value::as_str).unwrap_or_default();
            Some((name.into(), micros, GOOD_OUTCOMES.contains(&outcome)))
        })
    }

    /// What a group has in common; empty where the event does not say.
    pub(super) fn value(&self, key: Key) -> String {
        let object = &self.object_ref;
        let value: &str = match key {
            Key::User => match &self.impersonated_user {
                Some(user) => &user.username,
                None => &self.user.username,
            },
            Key::Authenticated => &self.user.username,
            Key::Verb => &self.verb,
            Key::Resource => return self.resource(),
            Key::Group => &object.api_group,
            Key::Plural => &object.resource,
            Key::Subresource => &object.subresource,
            Key::Name => &object.name,
            Key::Namespace => &object.namespace,
            Key::Client => &self.user_agent,
            Key::Code => match self.code() {
                0 => "",
                code => return code.to_string(),
            },
            Key::Class => match self.code() {
                0 => "",
                code => return format!("{}xx", code / 100),
            },
            Key::Reason => &self.response_status.reason,
            Key::Ip => self.source_ips.first().map_or("", |ip| ip),
            Key::Decision => &self.annotations.decision,
            Key::Path => match object.resource.is_empty() {
                true => self.request_uri.split('?').next().unwrap_or_default(),
                false => "",
            },
            Key::DryRun => match self.annotations.trace.dry_run {
                true => "true",
                false => "",
            },
            Key::Manager => &self.annotations.trace.field_manager,
            Key::FailedStage => {
                let mut stages = self.stages();
                let failed = stages.find(|(_, _, is_good)| !is_good);
                return failed.map_or_else(String::new, |(name, _, _)| name.into_owned());
            }
        };
        value.to_string()
    }

    /// `deployments.apps/scale`.
    fn resource(&self) -> String {
        let object = &self.object_ref;
        let mut out = object.resource.to_string();
        for (separator, part) in [(".", &object.api_group), ("/", &object.subresource)] {
            if !part.is_empty() && !object.resource.is_empty() {
                out.push_str(separator);
                out.push_str(part);
            }
        }
        out
    }
}
