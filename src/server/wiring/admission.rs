//! The admission plugins, in upstream's order.

use std::sync::Arc;

use crate::admission::AdmissionChain;
use crate::admission::plugins::{PluginOptions, TolerationSeconds, built_in};
use crate::api::objects::Objects;
use crate::authorization::Authorizer;
use crate::authorization::rbac::{Rbac, RoleEscalation};
use crate::server::options::ServerOptions;
use crate::telemetry::Metrics;

/// The chain, from the flags.
pub(super) fn chain(
    options: &ServerOptions,
    objects: &Arc<dyn Objects>,
    authorizer: Arc<dyn Authorizer>,
    rbac: &Arc<Rbac>,
    metrics: &Arc<Metrics>,
) -> AdmissionChain {
    let with_rbac = options.authorization_modes.iter().any(|m| m == "RBAC");
    let plugins = built_in(&PluginOptions {
        enable: options.admission.enable.clone(),
        disable: options.admission.disable.clone(),
        tolerations: TolerationSeconds {
            not_ready: options.admission.not_ready_toleration_seconds,
            unreachable: options.admission.unreachable_toleration_seconds,
        },
        objects: objects.clone(),
        authorizer: authorizer.clone(),
        escalation: with_rbac
            .then(|| Arc::new(RoleEscalation::new(rbac.clone(), authorizer.clone()))),
    });
    AdmissionChain::new(plugins).with_metrics(metrics.clone())
}
