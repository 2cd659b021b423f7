//! The admission plugins, in upstream's order.

use std::sync::Arc;

use crate::admission::AdmissionChain;
use crate::admission::plugins::{PluginOptions, TolerationSeconds, built_in};
use crate::admission::policy::{Policies, PolicyContext};
use crate::admission::webhook::{Configurations, Webhooks};
use crate::api::objects::Objects;
use crate::authorization::Authorizer;
use crate::authorization::rbac::{Rbac, RoleEscalation};
use crate::registry::Registry;
use crate::registry::objects::RegistryObjects;
use crate::server::options::ServerOptions;
use crate::telemetry::Metrics;

/// What calls webhooks. It knows none before it follows the configurations.
pub(super) fn webhooks(
    registry: &Arc<Registry>,
    objects: &Arc<dyn Objects>,
    authorizer: Arc<dyn Authorizer>,
    metrics: &Arc<Metrics>,
) -> Arc<Webhooks> {
    Arc::new(Webhooks {
        configurations: Arc::new(Configurations::default()),
        objects: objects.clone(),
        kinds: Arc::new(RegistryObjects(registry.clone())),
        authorizer,
        metrics: metrics.clone(),
    })
}

/// The chain, from the flags.
pub(super) fn chain(
    options: &ServerOptions,
    objects: &Arc<dyn Objects>,
    authorizer: Arc<dyn Authorizer>,
    rbac: &Arc<Rbac>,
    webhooks: &Arc<Webhooks>,
    policies: &Arc<Policies>,
    metrics: &Arc<Metrics>,
) -> AdmissionChain {
    let with_rbac = options.authorization.has("RBAC");
    let plugins = built_in(&PluginOptions {
        enable: options.admission.enable.clone(),
        disable: options.admission.disable.clone(),
        tolerations: TolerationSeconds {
            not_ready: options.admission.not_ready_toleration_seconds,
            unreachable: options.admission.unreachable_toleration_seconds,
        },
        objects: objects.clone(),
        authorizer: authorizer.clone(),
        policies: Arc::new(PolicyContext {
            policies: policies.clone(),
            objects: objects.clone(),
            kinds: webhooks.kinds.clone(),
            authorizer: authorizer.clone(),
            metrics: metrics.clone(),
        }),
        webhooks: webhooks.clone(),
        escalation: with_rbac
            .then(|| Arc::new(RoleEscalation::new(rbac.clone(), authorizer.clone()))),
    });
    AdmissionChain::new(plugins).with_metrics(metrics.clone())
}
