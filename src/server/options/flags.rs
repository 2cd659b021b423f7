//! Every flag of `verbatim serve`, defined once (contract/flags.md).

use super::parse::{Flag, Kind, Section, Status};

use Kind::{Array, Bool, DurationFlag, Float, Int, Ip, List, Map, Str};
use Section::{
    Admission, Audit, Authentication, Authorization, Etcd, Generic, Logs, Metrics, Misc, Serving,
    Verbatim,
};
use Status::{Ignored, Later, Works};

const API: Status = Later("0.2 (the API issue)");
const RECORD: Status = Later("0.3 (the record issue)");

const fn flag(
    section: Section,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    status: Status,
    help: &'static str,
) -> Flag {
    Flag {
        section,
        name,
        kind,
        default,
        status,
        help,
    }
}

/// The table.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    // Verbatim's own
    flag(Verbatim, "data-dir", Str, "./verbatim-data", Works, "Folder for everything the server keeps: its keys and certificates, the embedded store, the audit log, the search index."),
    flag(Verbatim, "follow", Array, "", Works, "Audit log of another API server to take in, [CLUSTER=]PATH; its rotated files are read, too."),
    flag(Verbatim, "webhook-clusters", List, "", Works, "Clusters whose API servers send their audit events here: for each a role, and webhook-NAME.kubeconfig below --data-dir for its --audit-webhook-config-file."),
    flag(Verbatim, "search-index-max-age", Int, "90", Works, "Days that events stay in the search index (the log has its own limits); 0 is forever."),
    flag(Verbatim, "search-index-max-bytes", Int, "0", Works, "Bytes beyond which the oldest days leave the search index; 0 is no limit."),
    flag(Verbatim, "search-index", Bool, "true", Works, "Index every audit event, so that `verbatim search` and `verbatim why` find it."),

    // Generic
    flag(Generic, "advertise-address", Ip, "", Works, "Address that members of the cluster reach this server at. Default: the bind address, or this host's."),
    flag(Generic, "cors-allowed-origins", List, "", Works, "Regular expressions of origins that may use the API from a browser."),
    flag(Generic, "external-hostname", Str, "", Works, "Host name in URLs that the server makes of itself."),
    flag(Generic, "goaway-chance", Float, "0", Works, "Chance (at most 0.02) that an HTTP/2 client is asked to connect anew."),
    flag(Generic, "livez-grace-period", DurationFlag, "0s", Works, "How long after the start /livez calls unfinished start hooks healthy."),
    flag(Generic, "max-requests-inflight", Int, "400", Works, "Reading requests answered at once; 0 is no limit."),
    flag(Generic, "max-mutating-requests-inflight", Int, "200", Works, "Writing requests answered at once; 0 is no limit."),
    flag(Generic, "min-request-timeout", Int, "1800", Works, "Seconds that a watch without timeoutSeconds stays open, at least."),
    flag(Generic, "request-timeout", DurationFlag, "1m0s", Works, "Time in which requests other than watches must be answered."),
    flag(Generic, "shutdown-delay-duration", DurationFlag, "0s", Works, "How long requests are still served after SIGTERM, while /readyz fails."),
    flag(Generic, "shutdown-send-retry-after", Bool, "false", Works, "Answer requests during shutdown with 429 and Retry-After instead of closing the listener."),
    flag(Generic, "shutdown-watch-termination-grace-period", DurationFlag, "0s", Works, "How long a shutdown waits for watches to end."),
    flag(Generic, "storage-initialization-timeout", DurationFlag, "1m0s", Works, "How long the start waits for the store."),
    flag(Generic, "strict-transport-security-directives", List, "", Works, "Directives of the Strict-Transport-Security header."),
    flag(Generic, "feature-gates", Map, "", Ignored("features are on or off as in Kubernetes 1.36"), "Feature gates, name=true|false."),
    flag(Generic, "emulated-version", List, "", Ignored("the server speaks 1.36 only"), "Versions to emulate."),
    flag(Generic, "min-compatibility-version", List, "", Ignored("the server speaks 1.36 only"), "Oldest versions to stay compatible with."),
    flag(Generic, "emulation-forward-compatible", Bool, "false", Ignored("the server speaks 1.36 only"), "Serve newer API versions under an emulated version."),
    flag(Generic, "runtime-config-emulation-forward-compatible", Bool, "false", Ignored("the server speaks 1.36 only"), "As emulation-forward-compatible, for runtime-config."),

    // etcd
    flag(Etcd, "etcd-servers", List, "", Works, "etcd endpoints (scheme://ip:port). Without them the embedded store below --data-dir is used."),
    flag(Etcd, "etcd-servers-overrides", List, "", API, "etcd endpoints per resource, group/resource#url;url."),
    flag(Etcd, "etcd-cafile", Str, "", Works, "CA of etcd's certificates."),
    flag(Etcd, "etcd-certfile", Str, "", Works, "Client certificate for etcd."),
    flag(Etcd, "etcd-keyfile", Str, "", Works, "Key of the client certificate for etcd."),
    flag(Etcd, "etcd-prefix", Str, "/registry", Works, "Start of all keys."),
    flag(Etcd, "etcd-compaction-interval", DurationFlag, "5m0s", Works, "How often history is compacted; 0 is never."),
    flag(Etcd, "etcd-count-metric-poll-period", DurationFlag, "1m0s", Works, "How often stored objects are counted for the metrics; 0 is never."),
    flag(Etcd, "etcd-db-metric-poll-interval", DurationFlag, "30s", Works, "How often the store is asked for its size."),
    flag(Etcd, "etcd-healthcheck-timeout", DurationFlag, "2s", Works, "Timeout of the etcd health check."),
    flag(Etcd, "etcd-readycheck-timeout", DurationFlag, "2s", Works, "Timeout of the etcd readiness check."),
    flag(Etcd, "storage-backend", Str, "etcd3", Works, "Kind of store behind --etcd-servers; only etcd3."),
    flag(Etcd, "storage-media-type", Str, "application/json", Ignored("objects are stored as JSON; protobuf written by others is read"), "Media type of stored objects."),
    flag(Etcd, "watch-cache", Bool, "true", Ignored("reads always come from the watch cache"), "Whether there is a watch cache."),
    flag(Etcd, "watch-cache-sizes", List, "", Ignored("the watch cache sizes itself"), "Cache sizes per resource."),
    flag(Etcd, "default-watch-cache-size", Int, "100", Ignored("the watch cache sizes itself"), "Default cache size."),
    flag(Etcd, "delete-collection-workers", Int, "1", Ignored("collections are deleted in order"), "Workers that delete a collection."),
    flag(Etcd, "enable-garbage-collector", Bool, "true", Works, "Whether a garbage collector runs in the cluster; decides about finalizers on deletion."),
    flag(Etcd, "encryption-provider-config", Str, "", API, "Configuration of encryption at rest."),
    flag(Etcd, "encryption-provider-config-automatic-reload", Bool, "false", API, "Reload that configuration when it changes."),
    flag(Etcd, "lease-reuse-duration-seconds", Int, "60", API, "How long one etcd lease serves new keys with a time to live."),

    // Secure serving
    flag(Serving, "bind-address", Ip, "0.0.0.0", Works, "Address to listen on."),
    flag(Serving, "secure-port", Int, "6443", Works, "Port to listen on."),
    flag(Serving, "cert-dir", Str, "", Ignored("without --tls-cert-file certificates are kept below --data-dir"), "Folder of generated certificates."),
    flag(Serving, "tls-cert-file", Str, "", Works, "Serving certificate, with its chain. Default: one signed by the server's own CA."),
    flag(Serving, "tls-private-key-file", Str, "", Works, "Key of the serving certificate."),
    flag(Serving, "tls-cipher-suites", List, "", Ignored("rustls offers only secure suites"), "Cipher suites."),
    flag(Serving, "tls-min-version", Str, "", Works, "Oldest TLS version, VersionTLS12 or VersionTLS13."),
    flag(Serving, "tls-curve-preferences", List, "", Ignored("rustls offers only secure groups"), "Key exchange groups."),
    flag(Serving, "tls-sni-cert-key", Array, "", Works, "More certificates, certfile,keyfile[:name,name…]."),
    flag(Serving, "http2-max-streams-per-connection", Int, "0", Works, "Requests at once on one HTTP/2 connection; 0 is 100."),
    flag(Serving, "disable-http2-serving", Bool, "false", Works, "Speak HTTP/1.1 only."),
    flag(Serving, "permit-port-sharing", Bool, "false", API, "Listen with SO_REUSEPORT."),
    flag(Serving, "permit-address-sharing", Bool, "false", Ignored("SO_REUSEADDR is always set"), "Listen with SO_REUSEADDR."),

    // Audit
    flag(Audit, "audit-policy-file", Str, "", Works, "Audit policy: a Policy as kube-apiserver takes it, or an AuditConfiguration with sinks, redaction and sampling. Read again when it changes. Default: a built-in one that records every change, reads by metadata, secrets never, and leaves out noise."),
    flag(Audit, "audit-log-path", Str, "(data dir)/audit/audit.log", Works, "Audit log file; - is standard output, empty is none."),
    flag(Audit, "audit-log-format", Str, "json", Works, "json or legacy."),
    flag(Audit, "audit-log-version", Str, "audit.k8s.io/v1", Works, "Only audit.k8s.io/v1."),
    flag(Audit, "audit-log-maxage", Int, "366", Works, "Days that rotated files are kept; 0 is forever."),
    flag(Audit, "audit-log-maxbackup", Int, "100", Works, "Rotated files kept; 0 is all."),
    flag(Audit, "audit-log-maxsize", Int, "100", Works, "Megabytes before a file is rotated; 0 is never."),
    flag(Audit, "audit-log-compress", Bool, "false", Works, "Compress rotated files with gzip."),
    flag(Audit, "audit-log-mode", Str, "blocking", Works, "batch, blocking or blocking-strict."),
    flag(Audit, "audit-log-batch-buffer-size", Int, "10000", Works, "Events waiting in batch mode."),
    flag(Audit, "audit-log-batch-max-size", Int, "1", Works, "Events in one batch."),
    flag(Audit, "audit-log-batch-max-wait", DurationFlag, "0s", Works, "Longest wait for a batch to fill."),
    flag(Audit, "audit-log-batch-throttle-enable", Bool, "false", Works, "Limit the rate of batches."),
    flag(Audit, "audit-log-batch-throttle-qps", Float, "0", Works, "Batches per second."),
    flag(Audit, "audit-log-batch-throttle-burst", Int, "0", Works, "Batches at once after a pause."),
    flag(Audit, "audit-log-truncate-enabled", Bool, "false", Works, "Cut large events and batches."),
    flag(Audit, "audit-log-truncate-max-batch-size", Int, "10485760", Works, "Bytes of one batch."),
    flag(Audit, "audit-log-truncate-max-event-size", Int, "102400", Works, "Bytes of one event."),
    flag(Audit, "audit-log-chain", Bool, "true", Works, "Hash-chain the audit log (FILE.chain beside each of its files) and sign checkpoints, so that `verbatim verify` finds what was altered, cut or removed."),
    flag(Audit, "audit-log-readyz", Str, "report", Works, "What an audit log that cannot be written, or that somebody deleted, moved or cut, does to /readyz: report (only /readyz/audit-log says so) or fail."),
    flag(Audit, "audit-checkpoint-key-file", Str, "(data dir)/pki/audit-checkpoint.key", Works, "Ed25519 private key (PEM, PKCS#8) that signs checkpoints; made where there is none, with its public key beside it (.pub)."),
    flag(Audit, "audit-checkpoint-interval", DurationFlag, "10s", Works, "Longest time from an event to the checkpoint that covers it; 0 is no limit."),
    flag(Audit, "audit-checkpoint-events", Int, "10000", Works, "Most events between two checkpoints; 0 is no limit."),
    flag(Audit, "audit-checkpoint-copy", Str, "", Works, "A second file, or an existing folder (SERVER.LOG.checkpoints in it), that gets every checkpoint: better on another machine. `verbatim verify --checkpoints` compares with it."),
    flag(Audit, "audit-checkpoint-webhook-config-file", Str, "", Works, "Kubeconfig of a server that gets every checkpoint, one JSON line by POST. While it does not answer the newest one waits: it covers those before it."),
    flag(Audit, "audit-webhook-config-file", Str, "", Works, "Kubeconfig of an audit webhook."),
    flag(Audit, "audit-webhook-version", Str, "audit.k8s.io/v1", Works, "Only audit.k8s.io/v1."),
    flag(Audit, "audit-webhook-mode", Str, "batch", Works, "batch, blocking or blocking-strict."),
    flag(Audit, "audit-webhook-initial-backoff", DurationFlag, "10s", Works, "Wait before the first retry."),
    flag(Audit, "audit-webhook-batch-initial-backoff", DurationFlag, "10s", Works, "Old name of audit-webhook-initial-backoff."),
    flag(Audit, "audit-webhook-batch-buffer-size", Int, "10000", Works, "Events waiting in batch mode."),
    flag(Audit, "audit-webhook-batch-max-size", Int, "400", Works, "Events in one batch."),
    flag(Audit, "audit-webhook-batch-max-wait", DurationFlag, "30s", Works, "Longest wait for a batch to fill."),
    flag(Audit, "audit-webhook-batch-throttle-enable", Bool, "true", Works, "Limit the rate of batches."),
    flag(Audit, "audit-webhook-batch-throttle-qps", Float, "10", Works, "Batches per second."),
    flag(Audit, "audit-webhook-batch-throttle-burst", Int, "15", Works, "Batches at once after a pause."),
    flag(Audit, "audit-webhook-truncate-enabled", Bool, "false", Works, "Cut large events and batches."),
    flag(Audit, "audit-webhook-truncate-max-batch-size", Int, "10485760", Works, "Bytes of one batch."),
    flag(Audit, "audit-webhook-truncate-max-event-size", Int, "102400", Works, "Bytes of one event."),

    // Authentication
    flag(Authentication, "anonymous-auth", Bool, "true", Works, "Whether requests without credentials are system:anonymous's; otherwise they are refused."),
    flag(Authentication, "api-audiences", List, "", Works, "Audiences of service account tokens for this server. Default: the issuers."),
    flag(Authentication, "authentication-config", Str, "", API, "AuthenticationConfiguration file."),
    flag(Authentication, "authentication-token-webhook-config-file", Str, "", API, "Kubeconfig of a token webhook."),
    flag(Authentication, "authentication-token-webhook-version", Str, "v1beta1", API, "Version of TokenReview to send."),
    flag(Authentication, "authentication-token-webhook-cache-ttl", DurationFlag, "2m0s", API, "How long its answers are kept."),
    flag(Authentication, "client-ca-file", Str, "", Works, "CAs whose client certificates authenticate. Default: the server's own CA."),
    flag(Authentication, "enable-bootstrap-token-auth", Bool, "false", Works, "Accept bootstrap tokens from secrets in kube-system."),
    flag(Authentication, "oidc-issuer-url", Str, "", API, "OpenID Connect issuer."),
    flag(Authentication, "oidc-client-id", Str, "", API, "OpenID Connect client ID."),
    flag(Authentication, "oidc-ca-file", Str, "", API, "CA of the issuer."),
    flag(Authentication, "oidc-username-claim", Str, "sub", API, "Claim with the user name."),
    flag(Authentication, "oidc-username-prefix", Str, "", API, "Start of the user name."),
    flag(Authentication, "oidc-groups-claim", Str, "", API, "Claim with the groups."),
    flag(Authentication, "oidc-groups-prefix", Str, "", API, "Start of each group."),
    flag(Authentication, "oidc-signing-algs", List, "RS256", API, "Accepted algorithms."),
    flag(Authentication, "oidc-required-claim", Map, "", API, "Claims that must be there, key=value."),
    flag(Authentication, "requestheader-allowed-names", List, "", Works, "Common names of front proxies; empty is any that the CA signed."),
    flag(Authentication, "requestheader-client-ca-file", Str, "", Works, "CA of front proxies' client certificates."),
    flag(Authentication, "requestheader-extra-headers-prefix", List, "", Works, "Start of headers with extra user attributes."),
    flag(Authentication, "requestheader-group-headers", List, "", Works, "Headers with the groups."),
    flag(Authentication, "requestheader-username-headers", List, "", Works, "Headers with the user name."),
    flag(Authentication, "requestheader-uid-headers", List, "", Works, "Headers with the user's UID."),
    flag(Authentication, "service-account-issuer", Array, "https://kubernetes.default.svc.cluster.local", Works, "Issuer of service account tokens; the first signs, all are accepted."),
    flag(Authentication, "service-account-key-file", Array, "", Works, "Keys that verify service account tokens. Default: the server's own."),
    flag(Authentication, "service-account-signing-key-file", Str, "", Works, "Key that signs service account tokens. Default: the server's own."),
    flag(Authentication, "service-account-signing-endpoint", Str, "", API, "Socket of an external signer."),
    flag(Authentication, "service-account-jwks-uri", Str, "", Works, "URI of the key set in the discovery document."),
    flag(Authentication, "service-account-lookup", Bool, "true", Works, "Check that the service account of a token still exists."),
    flag(Authentication, "service-account-max-token-expiration", DurationFlag, "0s", Works, "Longest life of a token; 0 is no limit."),
    flag(Authentication, "service-account-extend-token-expiration", Bool, "true", Works, "Let tokens of pods live a year, to ease the change from old tokens."),
    flag(Authentication, "token-auth-file", Str, "", Works, "File of static tokens: token,user,uid,\"group,group\"."),

    // Authorization
    flag(Authorization, "authorization-mode", List, "Node,RBAC", Works, "Authorizers, in order: Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny. kube-apiserver's own default is AlwaysAllow; Verbatim's is safe."),
    flag(Authorization, "authorization-config", Str, "", Works, "AuthorizationConfiguration file, instead of the other flags; read again when it changes."),
    flag(Authorization, "authorization-policy-file", Str, "", Works, "ABAC policy file."),
    flag(Authorization, "authorization-webhook-config-file", Str, "", Works, "Kubeconfig of an authorization webhook."),
    flag(Authorization, "authorization-webhook-version", Str, "v1beta1", Works, "Version of SubjectAccessReview to send."),
    flag(Authorization, "authorization-webhook-cache-authorized-ttl", DurationFlag, "5m0s", Works, "How long its permissions are kept."),
    flag(Authorization, "authorization-webhook-cache-unauthorized-ttl", DurationFlag, "30s", Works, "How long its refusals are kept."),

    // Admission and API enablement
    flag(Admission, "enable-admission-plugins", List, "", Works, "Admission plugins beyond the default ones."),
    flag(Admission, "disable-admission-plugins", List, "", Works, "Default admission plugins to leave out."),
    flag(Admission, "admission-control-config-file", Str, "", API, "Configuration of admission plugins."),
    flag(Admission, "admission-control", List, "", Ignored("use --enable-admission-plugins"), "Old form of enable-admission-plugins."),
    flag(Admission, "default-not-ready-toleration-seconds", Int, "300", Works, "Toleration of not-ready nodes that pods get."),
    flag(Admission, "default-unreachable-toleration-seconds", Int, "300", Works, "Toleration of unreachable nodes that pods get."),
    flag(Admission, "runtime-config", Map, "", Works, "API versions and resources to serve or not, group/version[/resource]=true|false."),

    // Metrics, tracing, logs
    flag(Metrics, "allow-metric-labels", Map, "", RECORD, "Allowed label values, metric,label=v1,v2."),
    flag(Metrics, "allow-metric-labels-manifest", Str, "", RECORD, "File of allowed label values."),
    flag(Metrics, "disabled-metrics", List, "", Works, "Metrics not to show."),
    flag(Metrics, "show-hidden-metrics-for-version", Str, "", Ignored("no hidden metric is kept"), "Show metrics hidden since that version."),
    flag(Metrics, "tracing-config-file", Str, "", RECORD, "TracingConfiguration file."),
    flag(Metrics, "egress-selector-config-file", Str, "", API, "EgressSelectorConfiguration file."),
    flag(Metrics, "profiling", Bool, "true", Works, "Serve /debug/pprof/ (index only; there is no Go runtime) and DELETE /metrics."),
    flag(Metrics, "contention-profiling", Bool, "false", Ignored("there is no Go runtime"), "Profile lock contention."),
    flag(Metrics, "debug-socket-path", Str, "", Ignored("there is no Go runtime"), "Socket for profiles."),
    flag(Logs, "logging-format", Str, "text", Works, "text or json."),
    flag(Logs, "v", Int, "0", Works, "Verbosity: 0 to 1 information, 2 to 4 debugging, more everything."),
    flag(Logs, "vmodule", Str, "", Works, "Verbosity per module, module=n."),
    flag(Logs, "log-flush-frequency", DurationFlag, "5s", Ignored("log lines are written as they come"), "How often logs are flushed."),
    flag(Logs, "log-text-split-stream", Bool, "false", Ignored("all lines go to standard error"), "Errors to standard error, the rest to standard output."),
    flag(Logs, "log-text-info-buffer-size", Str, "0", Ignored("all lines go to standard error"), "Buffer of the split stream."),
    flag(Logs, "log-json-split-stream", Bool, "false", Ignored("all lines go to standard error"), "Errors to standard error, the rest to standard output."),
    flag(Logs, "log-json-info-buffer-size", Str, "0", Ignored("all lines go to standard error"), "Buffer of the split stream."),

    // Misc
    flag(Misc, "enable-priority-and-fairness", Bool, "true", Works, "Priority and fairness; otherwise two plain limits."),
    flag(Misc, "allow-privileged", Bool, "false", Works, "Allow privileged containers."),
    flag(Misc, "event-ttl", DurationFlag, "1h0m0s", Works, "How long events are kept."),
    flag(Misc, "enable-logs-handler", Bool, "false", Ignored("/logs is not served"), "Serve /logs."),
    flag(Misc, "max-connection-bytes-per-sec", Int, "0", API, "Limit of each user connection."),
    flag(Misc, "proxy-client-cert-file", Str, "", API, "Client certificate for aggregated servers and webhooks."),
    flag(Misc, "proxy-client-key-file", Str, "", API, "Its key."),
    flag(Misc, "peer-ca-file", Str, "", Ignored("requests are not proxied to other servers"), "CA of other servers."),
    flag(Misc, "peer-advertise-ip", Str, "", Ignored("requests are not proxied to other servers"), "Address for other servers."),
    flag(Misc, "peer-advertise-port", Str, "", Ignored("requests are not proxied to other servers"), "Port for other servers."),
    flag(Misc, "enable-aggregator-routing", Bool, "false", API, "Send requests of aggregated APIs to endpoints instead of cluster IPs."),
    flag(Misc, "aggregator-reject-forwarding-redirect", Bool, "true", API, "Do not pass redirects of aggregated servers on."),
    flag(Misc, "endpoint-reconciler-type", Str, "lease", Works, "lease or none: whether the kubernetes Service's endpoints are kept."),
    flag(Misc, "apiserver-count", Int, "1", Ignored("servers are counted by their leases"), "Number of servers."),
    flag(Misc, "kubernetes-service-node-port", Int, "0", Works, "Node port of the kubernetes Service; 0 is none."),
    flag(Misc, "service-cluster-ip-range", Str, "10.0.0.0/24", Works, "Range of cluster IPs; two of them for dual stack."),
    flag(Misc, "service-node-port-range", Str, "30000-32767", Works, "Range of node ports."),
    flag(Misc, "kubelet-client-certificate", Str, "", Works, "Client certificate for kubelets."),
    flag(Misc, "kubelet-client-key", Str, "", Works, "Its key."),
    flag(Misc, "kubelet-certificate-authority", Str, "", Works, "CA of kubelets' certificates. Without it they are not verified."),
    flag(Misc, "kubelet-preferred-address-types", List, "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP", Works, "Which node addresses to use, best first."),
    flag(Misc, "kubelet-timeout", DurationFlag, "5s", Works, "Longest wait for a connection to a kubelet."),
    flag(Misc, "kubelet-port", Int, "10250", Works, "Port of kubelets whose node names none."),
    flag(Misc, "kubelet-read-only-port", Int, "10255", Ignored("read-only ports are gone"), "Read-only port of kubelets."),
    flag(Misc, "coordinated-leadership-lease-duration", DurationFlag, "15s", Ignored("coordinated leader election is off in 1.36"), "Lease duration of coordinated leader election."),
    flag(Misc, "coordinated-leadership-renew-deadline", DurationFlag, "10s", Ignored("coordinated leader election is off in 1.36"), "Its renew deadline."),
    flag(Misc, "coordinated-leadership-retry-period", DurationFlag, "2s", Ignored("coordinated leader election is off in 1.36"), "Its retry period."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::options::parse::Values;

    #[test]
    fn names_are_unique_and_defaults_are_valid() {
        let mut names: Vec<&str> = FLAGS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        for flag in FLAGS.iter().filter(|f| !f.default.is_empty()) {
            let args = [format!("--{}={}", flag.name, flag.default)];
            assert!(Values::parse(FLAGS, &args).is_ok(), "{}", flag.name);
        }
    }
}
