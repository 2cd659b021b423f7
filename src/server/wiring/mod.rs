//! Wiring: which part gets which other part. The one place that names concrete types of all
//! modules; each file makes one part.

mod admission;
mod api;
mod authorizers;
mod checks;
mod collect;
mod flow_control;
mod identity;
mod kubelets;
mod policy;
mod record;
mod sinks;
mod start;
mod storage;

use std::sync::Arc;

pub(super) use api::server_address;

use super::bootstrap::BootstrapOptions;
use super::health::Health;
use super::http::App;
use super::life::StartError;
use super::options::ServerOptions;
use super::root::Root;
use crate::admission::policy::Policies;
use crate::admission::webhook::Webhooks;
use crate::api::objects::Objects;
use crate::audit::Recorder;
use crate::authorization::node::NodeAuthorizer;
use crate::authorization::rbac::Rbac;
use crate::base::Tasks;
use crate::diagnose::api::Asked;
use crate::endpoints::Mount;
use crate::filters::audit::Audit;
use crate::filters::audit_id::AuditId;
use crate::filters::authorization::Authorization;
use crate::filters::chain::{Parts, chain};
use crate::filters::impersonation::Impersonation;
use crate::filters::shutdown::Drain;
use crate::registry::Registry;
use crate::search::Index;
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
    /// The index over the record.
    pub index: Option<Arc<Index>>,
    /// The registry.
    pub registry: Arc<Registry>,
    /// The registry as parts below it see it.
    pub objects: Arc<dyn Objects>,
    pub(super) app: Arc<App>,
    rbac: Arc<Rbac>,
    webhooks: Arc<Webhooks>,
    policies: Arc<Policies>,
    node: Option<Arc<NodeAuthorizer>>,
    flow_control: flow_control::FlowControls,
    hooks: checks::Hooks,
    bootstrap: Arc<BootstrapOptions>,
    tasks: Tasks,
}

/// Makes all parts.
pub(super) async fn wire(
    options: &ServerOptions,
    metrics: &Arc<Metrics>,
    drain: &Drain,
    tasks: &Tasks,
) -> Result<Wired, StartError> {
    describe_build(metrics);
    let health = Health::new(options.api.livez_grace, metrics.clone());
    let storage = storage::open(options, tasks).await?;
    storage::measure(options, &storage, metrics, tasks);
    checks::add_store(&health, &storage, &options.storage);
    let hooks = checks::add_hooks(&health);

    let record = record::record(options, metrics)?;
    record::watch_sinks(&options.audit, &record.recorder, &health, tasks);
    let files = record.policy_files.clone();
    policy::watch(options, &record.recorder, &record.sinks, files, tasks);
    let registry = api::registry(options, &storage)?;
    let objects = api::objects(&registry);
    let identity = identity::identity(options, &objects, &record.recorder, metrics, tasks)?;
    let authorizer = identity.authorizer;
    let webhooks = admission::webhooks(&registry, &objects, authorizer.clone(), metrics);
    let policies = Arc::new(Policies::default());
    registry.set_admission(admission::chain(
        options,
        &objects,
        authorizer.clone(),
        &identity.rbac,
        &webhooks,
        &policies,
        metrics,
    ));

    if let Some(ingest) = &record.ingest {
        collect::follow(options, ingest, tasks);
    }

    let asked = Asked {
        access: options
            .authorization
            .has("RBAC")
            .then(|| identity.rbac.clone() as _),
        authorizer: Some(authorizer.clone()),
        storage: Some(storage.clone()),
        metrics: Some(metrics.clone()),
    };
    let mut mounts: Vec<Box<dyn Mount>> = vec![Box::new(identity.openid)];
    if let Some(ingest) = &record.ingest {
        mounts.push(Box::new(collect::IngestMount(ingest.clone())));
    }
    let limits = api::watch_limits(options, drain);
    if let Some(mount) = record::RecordMount::new(&record, asked, limits) {
        mounts.push(Box::new(mount));
    }
    let endpoints = api::endpoints(
        options,
        &registry,
        authorizer.clone(),
        identity.reviewers,
        mounts,
        metrics,
        drain,
    )?;
    let flow_control = flow_control::FlowControls::new(options, &registry, metrics, tasks);
    let filters = chain(Parts {
        audit_id: Box::new(AuditId),
        authentication: Box::new(identity.authentication),
        audit: Box::new(Audit::new(record.recorder.clone())),
        impersonation: Box::new(Impersonation::new(authorizer.clone(), true)),
        authorization: Box::new(Authorization::new(authorizer, metrics.clone())),
        flow_control: flow_control.control.clone(),
        metrics: metrics.clone(),
        known: api::known(&registry),
        drain: drain.clone(),
        settings: options.chain.clone(),
    });
    let root = Arc::new(Root {
        health: health.clone(),
        metrics: metrics.clone(),
        before_scrape: api::cache_metrics(&registry, metrics),
        profiling: options.api.profiling,
        registry: registry.clone(),
        flow_control: flow_control.control.clone(),
        api: Arc::new(endpoints),
    });
    Ok(Wired {
        app: Arc::new(App::new(filters, root, record.recorder.clone())),
        health,
        storage,
        recorder: record.recorder,
        index: record.index,
        bootstrap: Arc::new(start::options(options, &registry)),
        registry,
        objects,
        rbac: identity.rbac,
        node: identity.node,
        flow_control,
        webhooks,
        policies,
        hooks,
        tasks: tasks.clone(),
    })
}

/// `kubernetes_build_info` and `version_info`: which API this is, for dashboards.
fn describe_build(metrics: &Metrics) {
    let version = crate::endpoints::version::KUBERNETES_VERSION;
    let platform = match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        _ => "linux",
    };
    metrics
        .kubernetes_build_info
        .with_label_values(&["", "rustc", "", "", version, "rust", "1", "36", platform])
        .set(1);
    metrics
        .version_info
        .with_label_values(&["1.36", "kube", "1.36", "1.35"])
        .set(1);
}

impl Wired {
    /// Runs what must run once the listener is open; answers when the server is ready.
    pub(super) async fn started(&self) -> Result<(), StartError> {
        self.registry.start_caches();
        start::bootstrap(&self.objects, &self.bootstrap).await?;
        self.rbac.follow(&*self.objects).await;
        if let Some(node) = &self.node {
            node.follow(&*self.objects);
        }
        // A collector serves no such objects: following them ends at once.
        self.flow_control.follow(&*self.objects);
        self.webhooks.configurations.follow(&self.objects);
        self.policies.follow(&self.objects);
        start::keep(&self.objects, &self.bootstrap, &self.tasks);
        self.hooks.all_done();
        Ok(())
    }

    /// The shutdown begins: requests are still served, but others should go elsewhere.
    pub(super) async fn stopping(&self) {
        start::withdraw(&self.objects, &self.bootstrap).await;
    }

    /// No request runs any more: flush the record, close the store.
    pub(super) async fn stopped(&self) {
        self.recorder.flush().await;
        if let Some(index) = &self.index {
            index.flush().await;
        }
        self.storage.close().await;
    }
}
