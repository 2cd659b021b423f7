//! Which webhooks there are: both kinds of configuration, followed and parsed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::admission::Operation;
use crate::admission::expressions::{CONDITION_ENV, compile_bool};
use crate::admission::webhook::client::Client;
use crate::api::cel::Program;
use crate::api::names::GroupResource;
use crate::api::objects::{Change, Objects};
use crate::api::selector::LabelSelector;

/// How long a request waits for the configurations after a start.
const SYNC_WAIT: Duration = Duration::from_secs(10);
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
    pub(super) rules: Vec<Rule>,
    /// Other versions of a resource match as well.
    pub(super) matches_equivalent: bool,
    pub(super) namespaces: LabelSelector,
    pub(super) objects: LabelSelector,
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

/// One rule.
pub(super) struct Rule {
    pub(super) operations: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) versions: Vec<String>,
    pub(super) resources: Vec<String>,
    pub(super) scope: String,
}

/// One match condition; a stored one may not compile (any more).
pub(super) struct Condition {
    pub(super) program: Result<Program, String>,
}

impl Rule {
    fn parse(rule: &Value) -> Self {
        Rule {
            operations: texts(&rule["operations"]),
            groups: texts(&rule["apiGroups"]),
            versions: texts(&rule["apiVersions"]),
            resources: texts(&rule["resources"]),
            scope: rule["scope"].as_str().unwrap_or("*").to_string(),
        }
    }

    pub(super) fn has_operation(&self, operation: Operation) -> bool {
        let name = operation.name();
        self.operations.iter().any(|o| o == "*" || o == name)
    }
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|i| i.as_str().map(str::to_string))
        .collect()
}

impl Hook {
    fn parse(configuration: &str, uid: String, hook: &Value, objects: &Arc<dyn Objects>) -> Self {
        let list = |key: &str| hook[key].as_array().into_iter().flatten();
        let selector = |key: &str| LabelSelector::from_object(&hook[key]).unwrap_or_default();
        let is = |key: &str, value: &str| hook[key].as_str() == Some(value);
        let seconds = hook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_DEFAULT);
        Hook {
            configuration: configuration.to_string(),
            name: hook["name"].as_str().unwrap_or_default().to_string(),
            uid,
            rules: list("rules").map(Rule::parse).collect(),
            matches_equivalent: !is("matchPolicy", "Exact"),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
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

type Hooks = Vec<Arc<Hook>>;

/// One kind of configuration as it is now.
struct Followed {
    hooks: ArcSwap<Hooks>,
    synced: watch::Sender<bool>,
}

impl Default for Followed {
    fn default() -> Self {
        Followed {
            hooks: ArcSwap::default(),
            synced: watch::Sender::new(false),
        }
    }
}

impl Followed {
    /// The webhooks in order of their configurations' names. `None` when they are not known yet.
    async fn current(&self) -> Option<Arc<Hooks>> {
        if !*self.synced.borrow() {
            let mut synced = self.synced.subscribe();
            let wait = synced.wait_for(|synced| *synced);
            tokio::time::timeout(SYNC_WAIT, wait).await.ok()?.ok()?;
        }
        Some(self.hooks.load_full())
    }
}

/// Both kinds of configuration.
#[derive(Default)]
pub struct Configurations {
    mutating: Arc<Followed>,
    validating: Arc<Followed>,
}

impl Configurations {
    /// Starts to follow the configurations.
    pub fn follow(&self, objects: &Arc<dyn Objects>) {
        for (followed, plural) in [
            (&self.mutating, "mutatingwebhookconfigurations"),
            (&self.validating, "validatingwebhookconfigurations"),
        ] {
            let resource = GroupResource::new("admissionregistration.k8s.io", plural);
            let changes = objects.informer(&resource);
            tokio::spawn(follow(followed.clone(), changes, objects.clone()));
        }
    }

    /// The webhooks of a kind, in the order they are called. `None` when they are not known yet.
    pub(super) async fn current(&self, kind: Kind) -> Option<Arc<Hooks>> {
        match kind {
            Kind::Mutating => self.mutating.current().await,
            Kind::Validating => self.validating.current().await,
        }
    }
}

async fn follow(
    followed: Arc<Followed>,
    mut changes: mpsc::Receiver<Change>,
    objects: Arc<dyn Objects>,
) {
    // Between a reset and the next `Synced` the old webhooks stay in force.
    let mut by_name: BTreeMap<String, Hooks> = BTreeMap::new();
    let mut is_complete = false;
    while let Some(change) = changes.recv().await {
        match change {
            Change::Upsert(object) => {
                let (name, hooks) = parse(&object, &objects);
                by_name.insert(name, hooks);
            }
            Change::Delete(object) => {
                by_name.remove(object["metadata"]["name"].as_str().unwrap_or_default());
            }
            Change::Reset => {
                by_name.clear();
                is_complete = false;
            }
            Change::Synced => is_complete = true,
        }
        if is_complete {
            let hooks = by_name.values().flatten().cloned().collect();
            followed.hooks.store(Arc::new(hooks));
            followed.synced.send_replace(true);
        }
    }
}

fn parse(object: &Value, objects: &Arc<dyn Objects>) -> (String, Hooks) {
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
    (configuration.to_string(), hooks.collect())
}
