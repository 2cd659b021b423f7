//! Which webhooks there are: both kinds of configuration, followed and parsed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::admission::expressions::{CONDITION_ENV, compile_bool};
use crate::admission::followed::{All, Followed};
use crate::admission::matching::{Criteria, texts};
use crate::admission::webhook::client::Client;
use crate::api::cel::Program;
use crate::api::objects::Objects;
use crate::base::tree::Value;

/// What a webhook may take when its configuration does not say.
const TIMEOUT_DEFAULT: u64 = 10;

/// The two kinds of webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mutating,
    Validating,
}

impl Kind {
    /// Start of the names of its stages.
    pub(super) fn stage(self) -> &'static str {
        match self {
            Kind::Mutating => "mutating-webhook",
            Kind::Validating => "validating-webhook",
        }
    }

    /// The `type` label of its metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Kind::Mutating => "admit",
            Kind::Validating => "validating",
        }
    }
}

/// One webhook of a configuration.
pub(super) struct Hook {
    /// Name of the configuration.
    pub(super) configuration: String,
    /// Name of the webhook.
    pub(super) name: String,
    /// Tells webhooks of one name apart.
    pub(super) uid: String,
    pub(super) criteria: Criteria,
    pub(super) conditions: Vec<Condition>,
    /// A webhook that cannot be asked is as if it had agreed.
    pub(super) fails_open: bool,
    /// It may be called for requests that change nothing.
    pub(super) takes_dry_run: bool,
    pub(super) timeout: Duration,
    /// Called again when others changed the object after it.
    pub(super) reinvoked: bool,
    pub(super) versions: Vec<String>,
    /// How it is reached.
    pub(super) client: Client,
}

/// One match condition; a stored one may not compile (any more).
pub(super) struct Condition {
    pub(super) program: Result<Program, String>,
}

impl Hook {
    fn parse(configuration: &str, uid: String, hook: &Value, objects: &Arc<dyn Objects>) -> Self {
        let list = |key: &str| hook[key].as_array().into_iter().flatten();
        let is = |key: &str, value: &str| hook[key].as_str() == Some(value);
        let seconds = hook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_DEFAULT);
        Hook {
            configuration: configuration.to_string(),
            name: hook["name"].as_str().unwrap_or_default().to_string(),
            uid,
            criteria: Criteria::of_webhook(hook),
            conditions: list("matchConditions").map(Condition::parse).collect(),
            fails_open: is("failurePolicy", "Ignore"),
            takes_dry_run: is("sideEffects", "None") || is("sideEffects", "NoneOnDryRun"),
            timeout: Duration::from_secs(seconds),
            reinvoked: is("reinvocationPolicy", "IfNeeded"),
            versions: texts(&hook["admissionReviewVersions"]),
            client: Client::new(&hook["clientConfig"], objects.clone()),
        }
    }
}

impl Condition {
    fn parse(condition: &Value) -> Self {
        let expression = condition["expression"].as_str().unwrap_or_default();
        Condition {
            program: compile_bool(expression, &CONDITION_ENV).map_err(|error| error.to_string()),
        }
    }
}

/// The webhooks of one configuration.
type Hooks = Vec<Arc<Hook>>;

/// Both kinds of configuration.
#[derive(Default)]
pub struct Configurations {
    mutating: Arc<Followed<Hooks>>,
    validating: Arc<Followed<Hooks>>,
}

impl Configurations {
    /// Starts to follow the configurations.
    pub fn follow(&self, objects: &Arc<dyn Objects>) {
        for (followed, plural) in [
            (&self.mutating, "mutatingwebhookconfigurations"),
            (&self.validating, "validatingwebhookconfigurations"),
        ] {
            let reached = objects.clone();
            followed.follow(plural, objects, move |object| parse(object, &reached));
        }
    }

    /// The configurations of a kind, in the order they are called. `None` when they are not known yet.
    pub(super) async fn current(&self, kind: Kind) -> Option<All<Hooks>> {
        match kind {
            Kind::Mutating => self.mutating.current().await,
            Kind::Validating => self.validating.current().await,
        }
    }
}

fn parse(object: &Value, objects: &Arc<dyn Objects>) -> Hooks {
    let configuration = object["metadata"]["name"].as_str().unwrap_or_default();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let list = object["webhooks"].as_array().into_iter().flatten();
    let hooks = list.map(|hook| {
        let name = hook["name"].as_str().unwrap_or_default();
        let times = seen.entry(name).or_default();
        let uid = format!("{configuration}/{name}/{times}");
        *times += 1;
        Arc::new(Hook::parse(configuration, uid, hook, objects))
    });
    hooks.collect()
}
