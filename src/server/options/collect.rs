//! `--follow`, `--webhook-clusters`, and what `verbatim collect` makes of the flags.

use super::{FlagError, ServerOptions, Values};
use crate::authorization::config::AuthorizerConfig;
use crate::search::FollowedLog;
use crate::search::ingest::check_cluster;

/// What a collector serves beside the record: what says who may read and send.
const COLLECTOR_RESOURCES: [(&str, &str); 8] = [
    ("api/all", "false"),
    ("v1/namespaces", "true"),
    ("v1/serviceaccounts", "true"),
    ("v1/secrets", "true"),
    ("rbac.authorization.k8s.io/v1", "true"),
    ("authentication.k8s.io/v1", "true"),
    ("authorization.k8s.io/v1", "true"),
    ("audit.verbatim.dev/v1alpha1", "true"),
];

/// Admission plugins that look at objects a collector does not have.
const COLLECTOR_WITHOUT: [&str; 8] = [
    "DefaultIngressClass",
    "DefaultStorageClass",
    "LimitRanger",
    "MutatingAdmissionWebhook",
    "PodSecurity",
    "Priority",
    "ResourceQuota",
    "ValidatingAdmissionWebhook",
];

/// What the server is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The API server of a cluster.
    ApiServer,
    /// A collector beside other API servers.
    Collector,
}

/// Audit events of other API servers.
#[derive(Clone, Debug)]
pub struct CollectOptions {
    /// Logs to follow.
    pub follow: Vec<FollowedLog>,
    /// Clusters that send.
    pub clusters: Vec<String>,
}

pub(super) fn options(v: &Values) -> Result<CollectOptions, FlagError> {
    let follow = v.list("follow");
    let follow = follow.iter().map(|text| FollowedLog::parse(text));
    let clusters = v.list("webhook-clusters");
    for cluster in &clusters {
        check_cluster(cluster).map_err(|why| v.invalid("webhook-clusters", why))?;
    }
    Ok(CollectOptions {
        follow: follow
            .collect::<Result<_, _>>()
            .map_err(|why| v.invalid("follow", why))?,
        clusters,
    })
}

impl ServerOptions {
    /// Makes these the options of a collector. The error says which flag does not go with that.
    pub fn become_collector(&mut self, given: &Values) -> Result<(), FlagError> {
        self.role = Role::Collector;
        if !given.is_given("authorization-mode") && !given.is_given("authorization-config") {
            self.authorization.authorizers = vec![AuthorizerConfig::plain("RBAC")];
        }
        let pairs = COLLECTOR_RESOURCES.iter();
        let pairs = pairs.map(|(key, value)| (key.to_string(), value.to_string()));
        self.api.runtime_config = pairs.collect();
        self.services.reconcile_endpoints = false;
        let without = COLLECTOR_WITHOUT.iter().map(|name| name.to_string());
        self.admission.disable.extend(without);
        if !self.audit.index {
            return Err(given.invalid("search-index", "a collector needs its index"));
        }
        // What was answered with 200 must be in the log.
        if self.audit.log_mode == "batch" {
            let why = "a collector writes before it answers: use blocking or blocking-strict";
            return Err(given.invalid("audit-log-mode", why));
        }
        Ok(())
    }
}
