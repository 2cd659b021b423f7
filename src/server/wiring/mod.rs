//! Wiring: which part gets which other part. The one place that names concrete types of all
//! modules; each file makes one part.

mod api;
mod checks;
mod identity;
mod record;
mod storage;

use std::sync::Arc;

use super::health::Health;
use super::http::App;
use super::life::StartError;
use super::options::ServerOptions;
use super::root::Root;
use crate::api::objects::Objects;
use crate::audit::Recorder;
use crate::authorization::rbac::Rbac;
use crate::base::Tasks;
use crate::filters::audit::Audit;
use crate::filters::audit_id::AuditId;
use crate::filters::authorization::Authorization;
use crate::filters::chain::{Parts, chain};
use crate::filters::impersonation::Impersonation;
use crate::filters::shutdown::Drain;
use crate::flowcontrol::{FlowControl, MaxInFlight};
use crate::registry::Registry;
use crate::storage::Storage;
use crate::telemetry::Metrics;

/// The parts of a server that its life needs again.
pub struct Wired {
    /// Health checks.
    pub health: Arc<Health>,
    /// The store.
    pub storage: Arc<dyn Storage>,
    /// The recorder.
    pub recorder: Arc<Recorder>,
    /// The registry.
    pub registry: Arc<Registry>,
    /// The registry as parts below it see it.
    pub objects: Arc<dyn Objects>,
    pub(super) app: Arc<App>,
    rbac: Arc<Rbac>,
    hooks: checks::Hooks,
}

/// Makes all parts.
pub(super) async fn wire(
    options: &ServerOptions,
    metrics: &Arc<Metrics>,
    drain: &Drain,
    tasks: &Tasks,
) -> Result<Wired, StartError> {
    let health = Health::new(options.api.livez_grace, metrics.clone());
    let storage = storage::open(options, tasks).await?;
    storage::measure(options, &storage, metrics, tasks);
    checks::add_store(&health, &storage, &options.storage);
    let recorder = record::recorder(options, metrics)?;
    record::watch_sinks(&recorder, tasks);
    let identity = identity::identity(options, &recorder, metrics)?;
    let registry = api::registry(options, &storage)?;
    let objects = api::objects(&registry);
    let mounts = record::mount(options, &recorder, &identity.rbac);
    let mounts = mounts.into_iter().collect();
    if options
        .authorization_modes
        .iter()
        .any(|mode| mode == "Node")
    {
        identity.node.follow(&*objects);
    }
    let endpoints = api::endpoints(options, &registry, &identity.authorizer, mounts, drain);
    let hooks = checks::add_hooks(&health);
    let flow_control = flow_control(options, metrics, tasks);
    let filters = chain(Parts {
        audit_id: Box::new(AuditId),
        authentication: Box::new(identity.authentication),
        audit: Box::new(Audit::new(recorder.clone())),
        impersonation: Box::new(Impersonation::new(identity.authorizer.clone(), true)),
        authorization: Box::new(Authorization::new(
            identity.authorizer.clone(),
            metrics.clone(),
        )),
        flow_control,
        metrics: metrics.clone(),
        known: api::known(&registry),
        drain: drain.clone(),
        settings: options.chain.clone(),
    });
    let root = Arc::new(Root {
        health: health.clone(),
        metrics: metrics.clone(),
        profiling: options.api.profiling,
        registry: registry.clone(),
        api: Arc::new(endpoints),
    });
    Ok(Wired {
        app: Arc::new(App::new(filters, root, recorder.clone())),
        health,
        storage,
        recorder,
        registry,
        objects,
        rbac: identity.rbac,
        hooks,
    })
}

fn flow_control(
    options: &ServerOptions,
    metrics: &Arc<Metrics>,
    tasks: &Tasks,
) -> Arc<dyn FlowControl> {
    let limits = &options.in_flight;
    let control: Arc<dyn FlowControl> =
        Arc::new(MaxInFlight::new(limits.read_only, limits.mutating, metrics));
    let ticking = control.clone();
    tasks.spawn_until_stopped(async move {
        let mut every = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            every.tick().await;
            ticking.tick();
        }
    });
    control
}

impl Wired {
    /// Runs what must run once the listener is open; answers when the server is ready.
    pub(super) async fn started(&self) -> Result<(), StartError> {
        self.registry.start_caches();
        self.rbac.follow(&*self.objects).await;
        self.hooks.all_done();
        Ok(())
    }

    /// The shutdown begins: requests are still served.
    pub(super) async fn stopping(&self) {}

    /// No request runs any more: flush the record, close the store.
    pub(super) async fn stopped(&self) {
        self.recorder.flush().await;
        self.storage.close().await;
    }
}
