//! Flow control: priority and fairness, or two plain limits.

use std::sync::Arc;
use std::time::Duration;

use crate::api::objects::Objects;
use crate::base::Tasks;
use crate::flowcontrol::{FlowControl, Load, MaxInFlight, PriorityAndFairness, ResourceLoad};
use crate::registry::Registry;
use crate::server::options::ServerOptions;
use crate::telemetry::Metrics;

/// How often high-water marks are published and the load is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What decides, and what of it follows objects.
pub(super) struct FlowControls {
    pub(super) control: Arc<dyn FlowControl>,
    fair: Option<Arc<PriorityAndFairness>>,
}

impl FlowControls {
    /// As `--enable-priority-and-fairness` and the in-flight limits say.
    pub(super) fn new(
        options: &ServerOptions,
        registry: &Arc<Registry>,
        metrics: &Arc<Metrics>,
        tasks: &Tasks,
    ) -> Self {
        let limits = &options.in_flight;
        let fair = limits.fair.then(|| {
            let registry = registry.clone();
            PriorityAndFairness::new(
                limits.read_only.saturating_add(limits.mutating),
                options.chain.request_timeout,
                Box::new(move || load(&registry)),
                metrics.clone(),
            )
        });
        let control: Arc<dyn FlowControl> = match &fair {
            Some(fair) => fair.clone(),
            None => Arc::new(MaxInFlight::new(limits.read_only, limits.mutating, metrics)),
        };
        let ticking = control.clone();
        tasks.spawn_until_stopped(async move {
            let mut every = tokio::time::interval(TICK);
            loop {
                every.tick().await;
                ticking.tick();
            }
        });
        FlowControls { control, fair }
    }

    /// Follows schemas and levels, once they exist.
    pub(super) fn follow(&self, objects: &dyn Objects) {
        if let Some(fair) = &self.fair {
            fair.follow(objects);
        }
    }
}

/// What the watch caches know of every resource.
fn load(registry: &Registry) -> Load {
    let table = registry.table().load();
    let mut load = Load::default();
    for (prefix, cache) in registry.caches() {
        let known = ResourceLoad {
            objects: cache.len() as u64,
            average_bytes: cache.average_bytes() as u64,
            watchers: cache.stats().watchers.get(),
        };
        for row in table.by_storage_prefix(&prefix) {
            load.insert(&row.group, &row.plural, known);
        }
    }
    load
}
