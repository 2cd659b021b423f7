//! `Followed`: the configuration objects of one resource, parsed, as they are now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::api::names::GroupResource;
use crate::api::objects::{Change, Objects};
use crate::base::tree::Value;

/// How long a request waits for the configuration after a start.
const SYNC_WAIT: Duration = Duration::from_secs(10);

/// Parsed objects in order of their names.
pub(super) type All<T> = Arc<Vec<Arc<T>>>;

/// See the module.
pub(super) struct Followed<T> {
    all: ArcSwap<Vec<Arc<T>>>,
    synced: watch::Sender<bool>,
}

impl<T> Default for Followed<T> {
    fn default() -> Self {
        Followed {
            all: ArcSwap::default(),
            synced: watch::Sender::new(false),
        }
    }
}

impl<T: Send + Sync + 'static> Followed<T> {
    /// Starts to follow a resource of admissionregistration.k8s.io. An object is parsed once per
    /// change of it.
    pub(super) fn follow(
        self: &Arc<Self>,
        plural: &'static str,
        objects: &Arc<dyn Objects>,
        parse: impl Fn(&Value) -> T + Send + 'static,
    ) {
        let resource = GroupResource::new("admissionregistration.k8s.io", plural);
        let mut changes = objects.informer(&resource);
        let this = self.clone();
        tokio::spawn(async move {
            let mut by_name: BTreeMap<String, Arc<T>> = BTreeMap::new();
            // Between a reset and the next `Synced` what was known stays in force.
            let mut is_complete = false;
            while let Some(change) = changes.recv().await {
                match change {
                    Change::Upsert(object) => {
                        by_name.insert(name(&object), Arc::new(parse(&object)));
                    }
                    Change::Delete(object) => {
                        by_name.remove(&name(&object));
                    }
                    Change::Reset => {
                        by_name.clear();
                        is_complete = false;
                    }
                    Change::Synced => is_complete = true,
                }
                if is_complete {
                    this.all
                        .store(Arc::new(by_name.values().cloned().collect()));
                    this.synced.send_replace(true);
                }
            }
            // An informer ends by itself only where the resource is not served (a collector): there is
            // nothing to wait for.
            this.synced.send_replace(true);
        });
    }

    /// All of them; waits for the first list. `None` when it does not come.
    pub(super) async fn current(&self) -> Option<All<T>> {
        if !*self.synced.borrow() {
            let mut synced = self.synced.subscribe();
            let wait = synced.wait_for(|synced| *synced);
            tokio::time::timeout(SYNC_WAIT, wait).await.ok()?.ok()?;
        }
        Some(self.all.load_full())
    }
}

fn name(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str();
    name.unwrap_or_default().to_string()
}
