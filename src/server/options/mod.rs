//! Options of `verbatim serve`: flags → [`Values`] (raw) → [`ServerOptions`] (validated).
//!
//! # Decisions
//! - Defaults are safe whatever other flags are given: `--authorization-mode` is `Node,RBAC`
//!   (kube-apiserver: `AlwaysAllow`), audit is on, keys that nobody gave are made below
//!   `--data-dir`.

mod audit_webhook;
mod authorization;
pub mod collect;
pub mod flags;
pub mod parse;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

pub use self::authorization::{AuthorizationOptions, load as load_authorizers};
pub use self::collect::{CollectOptions, Role};
pub use self::flags::FLAGS;
pub use self::parse::{Flag, FlagError, Kind, Section, Status, Values};
use crate::audit::config::SinkSettings;
use crate::endpoints::proxy::KubeletOptions;
use crate::filters::chain;
use crate::telemetry::logging::LogFormat;

/// Everything a server is told.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Folder of everything that the server keeps itself.
    pub data_dir: PathBuf,
    /// Address, port, certificates.
    pub listen: ListenOptions,
    /// Where objects are.
    pub storage: StorageOptions,
    /// The chain's settings.
    pub chain: chain::Settings,
    /// Limits on requests at once.
    pub in_flight: InFlightOptions,
    /// Who may come in.
    pub authentication: AuthenticationOptions,
    /// Who decides what they may.
    pub authorization: AuthorizationOptions,
    /// Admission plugins.
    pub admission: AdmissionOptions,
    /// The audit log and index.
    pub audit: AuditOptions,
    /// Audit events of other API servers.
    pub collect: CollectOptions,
    /// What the server is to others.
    pub role: Role,
    /// Services and the kubernetes Service.
    pub services: ServiceOptions,
    /// API behaviour.
    pub api: ApiOptions,
    /// How kubelets are reached.
    pub kubelets: KubeletFlags,
    /// How the server ends.
    pub shutdown: ShutdownOptions,
    /// Metrics not shown.
    pub disabled_metrics: Vec<String>,
    /// Log lines.
    pub logging: LoggingOptions,
}

/// Address, port, certificates.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Where to listen; port 0 takes a free one (tests).
    pub address: SocketAddr,
    /// Address for other members of the cluster.
    pub advertise: Option<IpAddr>,
    /// Name in URLs of the server.
    pub external_hostname: Option<String>,
    /// Serving certificate; `None`: the server's own.
    pub tls: Option<TlsOptions>,
    /// Versions and protocols where `tls` is `None`.
    pub tls13_only: bool,
    /// Offer HTTP/2.
    pub http2: bool,
    /// Streams per HTTP/2 connection; 0 for the default.
    pub http2_max_streams: u32,
    /// Certificates by server name.
    pub sni: Vec<CertificateFiles>,
}

/// Settings of TLS.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The default certificate.
    pub certificate: CertificateFiles,
    /// More, by server name.
    pub sni: Vec<CertificateFiles>,
    /// Refuse TLS 1.2.
    pub tls13_only: bool,
    /// Offer HTTP/2.
    pub http2: bool,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM file with the chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the key.
    pub key: PathBuf,
    /// Server names; empty: those in the certificate.
    pub names: Vec<String>,
}

/// Where objects are.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// etcd endpoints; empty: the embedded store.
    pub etcd_servers: Vec<String>,
    /// CA of etcd.
    pub etcd_ca: Option<PathBuf>,
    /// Client certificate for etcd.
    pub etcd_certificate: Option<CertificateFiles>,
    /// Start of all keys, without a slash at its end.
    pub prefix: String,
    /// How often history is compacted; zero is never.
    pub compaction_interval: Duration,
    /// How often objects are counted; zero is never.
    pub count_interval: Duration,
    /// How often the store's size is read.
    pub size_interval: Duration,
    /// Timeout of the health check.
    pub health_timeout: Duration,
    /// Timeout of the readiness check.
    pub ready_timeout: Duration,
    /// How long the start waits for the store.
    pub initialization_timeout: Duration,
    /// How long one lease serves new keys.
    pub lease_reuse: Duration,
}

/// Limits on requests at once.
#[derive(Clone, Debug)]
pub struct InFlightOptions {
    /// Reading.
    pub read_only: u32,
    /// Writing.
    pub mutating: u32,
    /// Priority and fairness instead of two plain limits.
    pub fair: bool,
}

/// Who may come in.
#[derive(Clone, Debug)]
pub struct AuthenticationOptions {
    /// Requests without credentials are system:anonymous's.
    pub anonymous: bool,
    /// CAs of client certificates; `None`: the server's own.
    pub client_ca: Option<PathBuf>,
    /// Static tokens.
    pub token_file: Option<PathBuf>,
    /// Bootstrap tokens.
    pub bootstrap_tokens: bool,
    /// Audiences of this server; never empty.
    pub audiences: Vec<String>,
    /// Front proxies, when their CA is set.
    pub request_header: Option<RequestHeaderOptions>,
    /// Service account tokens.
    pub service_accounts: ServiceAccountOptions,
}

/// Front proxies.
#[derive(Clone, Debug)]
pub struct RequestHeaderOptions {
    /// CA of their certificates.
    pub client_ca: PathBuf,
    /// Their common names; empty: any.
    pub allowed_names: Vec<String>,
    /// Headers with the user name.
    pub username_headers: Vec<String>,
    /// Headers with the UID.
    pub uid_headers: Vec<String>,
    /// Headers with the groups.
    pub group_headers: Vec<String>,
    /// Starts of headers with extra attributes.
    pub extra_prefixes: Vec<String>,
}

/// Service account tokens.
#[derive(Clone, Debug)]
pub struct ServiceAccountOptions {
    /// Accepted issuers; the first signs.
    pub issuers: Vec<String>,
    /// Keys that verify; empty: the server's own.
    pub verify_keys: Vec<PathBuf>,
    /// Key that signs; `None`: the server's own.
    pub signing_key: Option<PathBuf>,
    /// URI of the key set in the discovery document.
    pub jwks_uri: Option<String>,
    /// Check that the account still exists.
    pub lookup: bool,
    /// Longest life of a token; zero is no limit.
    pub max_expiration: Duration,
    /// Let pods' tokens live a year.
    pub extend_expiration: bool,
}

/// Admission plugins.
#[derive(Clone, Debug)]
pub struct AdmissionOptions {
    /// Beyond the default ones.
    pub enable: Vec<String>,
    /// Of the default ones.
    pub disable: Vec<String>,
    /// Toleration of not-ready nodes, in seconds.
    pub not_ready_toleration_seconds: i64,
    /// Toleration of unreachable nodes, in seconds.
    pub unreachable_toleration_seconds: i64,
}

/// Modes of audit sinks.
const AUDIT_MODES: &[&str] = &["batch", "blocking", "blocking-strict"];

/// The audit log and index.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// Policy; `None`: the built-in one.
    pub policy_file: Option<PathBuf>,
    /// Log file; `-` is standard output; `None` is no log.
    pub log_path: Option<PathBuf>,
    /// `json` or `legacy`.
    pub log_format: String,
    /// `batch`, `blocking` or `blocking-strict`.
    pub log_mode: String,
    /// Days that rotated files are kept; 0 is forever.
    pub max_age_days: u32,
    /// Rotated files kept; 0 is all.
    pub max_backups: u32,
    /// Megabytes before rotation; 0 is never.
    pub max_size_mb: u32,
    /// Compress rotated files.
    pub compress: bool,
    /// Batch mode.
    pub batch: AuditBatchOptions,
    /// Cut large events: largest event and batch in bytes.
    pub truncate: Option<(usize, usize)>,
    /// The webhook.
    pub webhook: Option<SinkSettings>,
    /// Chain and checkpoints of the log; `None`: off.
    pub chain: Option<AuditChainOptions>,
    /// /readyz fails while the log has a problem.
    pub fails_readyz: bool,
    /// Index every event.
    pub index: bool,
    /// Days that events stay in the index; 0 is forever.
    pub index_max_age_days: u64,
    /// Bytes of the index; 0 is no limit.
    pub index_max_bytes: u64,
}

/// Chain and checkpoints of the audit log.
#[derive(Clone, Debug)]
pub struct AuditChainOptions {
    /// Key that signs.
    pub key_file: PathBuf,
    /// Longest time without a checkpoint; zero is no limit.
    pub interval: Duration,
    /// Most events without a checkpoint; zero is no limit.
    pub events: u32,
    /// Second file or folder for them.
    pub copy: Option<PathBuf>,
    /// Kubeconfig of a receiver.
    pub webhook_config_file: Option<PathBuf>,
}

/// Batch mode of the audit log.
#[derive(Clone, Debug)]
pub struct AuditBatchOptions {
    /// Events waiting.
    pub buffer: usize,
    /// Events in one batch.
    pub max_size: usize,
    /// Longest wait for a batch to fill.
    pub max_wait: Duration,
    /// Batches per second and at once, when limited.
    pub throttle: Option<(f64, u32)>,
}

/// Services and the kubernetes Service.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Cluster IP ranges; one or two.
    pub cluster_ip_ranges: Vec<ipnet::IpNet>,
    /// First and last node port.
    pub node_ports: (u16, u16),
    /// Node port of the kubernetes Service; 0 is none.
    pub kubernetes_node_port: u16,
    /// Keep the kubernetes Service's endpoints.
    pub reconcile_endpoints: bool,
}

impl ServiceOptions {
    /// Cluster IP of the kubernetes Service: the first of the first range.
    pub fn kubernetes_ip(&self) -> Option<IpAddr> {
        self.cluster_ip_ranges.first()?.hosts().next()
    }
}

/// API behaviour.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// `--runtime-config`.
    pub runtime_config: Vec<(String, String)>,
    /// Time to live of events.
    pub event_ttl: Duration,
    /// Allow privileged containers.
    pub allow_privileged: bool,
    /// Finalizers for a garbage collector on deletion.
    pub garbage_collector: bool,
    /// Shortest life of a watch without timeoutSeconds.
    pub min_request_timeout: Duration,
    /// Grace for start hooks in /livez.
    pub livez_grace: Duration,
    /// Serve /debug/pprof/.
    pub profiling: bool,
}

/// How kubelets are reached.
#[derive(Clone, Debug)]
pub struct KubeletFlags {
    /// Client certificate.
    pub certificate: Option<CertificateFiles>,
    /// CA of their certificates; `None`: not verified.
    pub authority: Option<PathBuf>,
    /// Where and how long.
    pub options: KubeletOptions,
}

/// How the server ends.
#[derive(Clone, Debug, Default)]
pub struct ShutdownOptions {
    /// Serve on while /readyz fails.
    pub delay: Duration,
    /// Keep the listener open and answer 429.
    pub send_retry_after: bool,
    /// Wait for watches.
    pub watch_grace: Duration,
}

/// Log lines.
#[derive(Clone, Debug, Default)]
pub struct LoggingOptions {
    /// Text or JSON.
    pub format: LogFormat,
    /// `-v`.
    pub verbosity: u8,
    /// `--vmodule`.
    pub vmodule: String,
}

impl ServerOptions {
    /// Options of a server without any flag, for tests and tools.
    pub fn defaults() -> Self {
        let values = Values::parse(FLAGS, &[]).expect("no flags are valid flags");
        ServerOptions::from_values(&values).expect("the defaults are valid")
    }

    /// Parses and validates a command line.
    pub fn parse(args: &[String]) -> Result<(Self, Values), FlagError> {
        let values = Values::parse(FLAGS, args)?;
        Ok((ServerOptions::from_values(&values)?, values))
    }

    /// Validates flags.
    pub fn from_values(v: &Values) -> Result<Self, FlagError> {
        let data_dir = PathBuf::from(v.text("data-dir"));
        Ok(ServerOptions {
            listen: listen(v)?,
            storage: storage(v)?,
            chain: chain_settings(v)?,
            in_flight: InFlightOptions {
                read_only: unsigned(v, "max-requests-inflight")?,
                mutating: unsigned(v, "max-mutating-requests-inflight")?,
                fair: v.bool("enable-priority-and-fairness"),
            },
            authentication: authentication(v)?,
            authorization: authorization::options(v)?,
            admission: AdmissionOptions {
                enable: v.list("enable-admission-plugins"),
                disable: v.list("disable-admission-plugins"),
                not_ready_toleration_seconds: v.int("default-not-ready-toleration-seconds"),
                unreachable_toleration_seconds: v.int("default-unreachable-toleration-seconds"),
            },
            audit: audit(v, &data_dir)?,
            collect: collect::options(v)?,
            role: Role::ApiServer,
            services: services(v)?,
            api: ApiOptions {
                runtime_config: v.pairs("runtime-config"),
                event_ttl: v.duration("event-ttl"),
                allow_privileged: v.bool("allow-privileged"),
                garbage_collector: v.bool("enable-garbage-collector"),
                min_request_timeout: Duration::from_secs(
                    unsigned(v, "min-request-timeout")?.into(),
                ),
                livez_grace: v.duration("livez-grace-period"),
                profiling: v.bool("profiling"),
            },
            kubelets: kubelets(v)?,
            shutdown: ShutdownOptions {
                delay: v.duration("shutdown-delay-duration"),
                send_retry_after: v.bool("shutdown-send-retry-after"),
                watch_grace: v.duration("shutdown-watch-termination-grace-period"),
            },
            disabled_metrics: v.list("disabled-metrics"),
            logging: LoggingOptions {
                format: match v.text("logging-format").as_str() {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => return Err(v.invalid("logging-format", "must be text or json")),
                },
                verbosity: u8::try_from(v.int("v").max(0)).unwrap_or(u8::MAX),
                vmodule: v.text("vmodule"),
            },
            data_dir,
        })
    }
}

fn path(v: &Values, name: &str) -> Option<PathBuf> {
    v.non_empty(name).map(PathBuf::from)
}

fn unsigned(v: &Values, name: &str) -> Result<u32, FlagError> {
    u32::try_from(v.int(name)).map_err(|_| v.invalid(name, "must not be negative"))
}

/// A certificate and key flag, which belong together.
fn pair(v: &Values, cert: &str, key: &str) -> Result<Option<CertificateFiles>, FlagError> {
    match (path(v, cert), path(v, key)) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(CertificateFiles {
            certificate,
            key,
            names: Vec::new(),
        })),
        (Some(_), None) => Err(v.invalid(key, format!("must be set together with --{cert}"))),
        (None, Some(_)) => Err(v.invalid(cert, format!("must be set together with --{key}"))),
    }
}

fn kubelets(v: &Values) -> Result<KubeletFlags, FlagError> {
    let port = u16::try_from(v.int("kubelet-port"));
    Ok(KubeletFlags {
        certificate: pair(v, "kubelet-client-certificate", "kubelet-client-key")?,
        authority: path(v, "kubelet-certificate-authority"),
        options: KubeletOptions {
            port: port.map_err(|_| v.invalid("kubelet-port", "must be between 0 and 65535"))?,
            preferred_addresses: v.list("kubelet-preferred-address-types"),
            timeout: v.duration("kubelet-timeout"),
        },
    })
}

fn listen(v: &Values) -> Result<ListenOptions, FlagError> {
    let port = u16::try_from(v.int("secure-port"))
        .map_err(|_| v.invalid("secure-port", "must be between 0 and 65535"))?;
    let ip = v.ip("bind-address");
    let address = ip.ok_or_else(|| v.invalid("bind-address", "must be an IP address"))?;
    let tls13_only = match v.text("tls-min-version").as_str() {
        "" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => false,
        "VersionTLS13" => true,
        _ => {
            return Err(v.invalid("tls-min-version", "must be VersionTLS12 or VersionTLS13"));
        }
    };
    let http2 = !v.bool("disable-http2-serving");
    let sni = v.list("tls-sni-cert-key");
    let sni = sni
        .iter()
        .map(|text| {
            sni_pair(text).ok_or_else(|| {
                v.invalid("tls-sni-cert-key", "must be certfile,keyfile[:name,name…]")
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let own = pair(v, "tls-cert-file", "tls-private-key-file")?;
    Ok(ListenOptions {
        address: SocketAddr::new(address, port),
        advertise: v.ip("advertise-address"),
        external_hostname: v.non_empty("external-hostname"),
        tls: own.map(|certificate| TlsOptions {
            certificate,
            sni: sni.clone(),
            tls13_only,
            http2,
        }),
        tls13_only,
        http2,
        http2_max_streams: unsigned(v, "http2-max-streams-per-connection")?,
        sni,
    })
}

fn sni_pair(text: &str) -> Option<CertificateFiles> {
    let (files, names) = text.split_once(':').unwrap_or((text, ""));
    let (certificate, key) = files.split_once(',')?;
    let names = names.split(',').filter(|n| !n.is_empty());
    Some(CertificateFiles {
        certificate: certificate.into(),
        key: key.into(),
        names: names.map(String::from).collect(),
    })
}

fn storage(v: &Values) -> Result<StorageOptions, FlagError> {
    if v.text("storage-backend") != "etcd3" {
        return Err(v.invalid("storage-backend", "must be etcd3"));
    }
    let prefix = v.text("etcd-prefix");
    Ok(StorageOptions {
        etcd_servers: v.list("etcd-servers"),
        etcd_ca: path(v, "etcd-cafile"),
        etcd_certificate: pair(v, "etcd-certfile", "etcd-keyfile")?,
        prefix: format!("/{}", prefix.trim_matches('/')),
        compaction_interval: v.duration("etcd-compaction-interval"),
        count_interval: v.duration("etcd-count-metric-poll-period"),
        size_interval: v.duration("etcd-db-metric-poll-interval"),
        health_timeout: v.duration("etcd-healthcheck-timeout"),
        ready_timeout: v.duration("etcd-readycheck-timeout"),
        initialization_timeout: v.duration("storage-initialization-timeout"),
        lease_reuse: Duration::from_secs(unsigned(v, "lease-reuse-duration-seconds")?.into()),
    })
}

fn chain_settings(v: &Values) -> Result<chain::Settings, FlagError> {
    let chance = v.float("goaway-chance");
    if !(0.0..=0.02).contains(&chance) {
        return Err(v.invalid("goaway-chance", "must be between 0 and 0.02"));
    }
    let origins = v.list("cors-allowed-origins");
    let origins = origins
        .iter()
        .map(|text| Regex::new(text).map_err(|e| v.invalid("cors-allowed-origins", e.to_string())))
        .collect::<Result<Vec<_>, _>>()?;
    let request_timeout = v.duration("request-timeout");
    if request_timeout.is_zero() {
        return Err(v.invalid("request-timeout", "must be longer than zero"));
    }
    Ok(chain::Settings {
        request_timeout,
        goaway_chance: chance,
        hsts_directives: v.list("strict-transport-security-directives"),
        cors_allowed_origins: origins,
        send_retry_after: v.bool("shutdown-send-retry-after"),
    })
}

fn authentication(v: &Values) -> Result<AuthenticationOptions, FlagError> {
    let issuers = v.list("service-account-issuer");
    if issuers.is_empty() {
        return Err(v.invalid("service-account-issuer", "must not be empty"));
    }
    let audiences = v.list("api-audiences");
    let request_header =
        path(v, "requestheader-client-ca-file").map(|client_ca| RequestHeaderOptions {
            client_ca,
            allowed_names: v.list("requestheader-allowed-names"),
            username_headers: v.list("requestheader-username-headers"),
            uid_headers: v.list("requestheader-uid-headers"),
            group_headers: v.list("requestheader-group-headers"),
            extra_prefixes: v.list("requestheader-extra-headers-prefix"),
        });
    let keys = v.list("service-account-key-file");
    let signing_key = path(v, "service-account-signing-key-file");
    if signing_key.is_some() && keys.is_empty() {
        return Err(v.invalid(
            "service-account-key-file",
            "must be set together with --service-account-signing-key-file",
        ));
    }
    Ok(AuthenticationOptions {
        anonymous: v.bool("anonymous-auth"),
        client_ca: path(v, "client-ca-file"),
        token_file: path(v, "token-auth-file"),
        bootstrap_tokens: v.bool("enable-bootstrap-token-auth"),
        audiences: match audiences.is_empty() {
            true => issuers.clone(),
            false => audiences,
        },
        request_header,
        service_accounts: ServiceAccountOptions {
            issuers,
            verify_keys: keys.into_iter().map(PathBuf::from).collect(),
            signing_key,
            jwks_uri: v.non_empty("service-account-jwks-uri"),
            lookup: v.bool("service-account-lookup"),
            max_expiration: v.duration("service-account-max-token-expiration"),
            extend_expiration: v.bool("service-account-extend-token-expiration"),
        },
    })
}

fn audit(v: &Values, data_dir: &Path) -> Result<AuditOptions, FlagError> {
    let one_of = |name: &str, allowed: &[&str]| match allowed.contains(&v.text(name).as_str()) {
        true => Ok(v.text(name)),
        false => Err(v.invalid(name, format!("must be {}", allowed.join(", ")))),
    };
    one_of("audit-log-version", &["audit.k8s.io/v1"])?;
    let log_path = match v.is_given("audit-log-path") {
        true => path(v, "audit-log-path"),
        false => Some(data_dir.join("audit").join("audit.log")),
    };
    one_of("audit-webhook-version", &["audit.k8s.io/v1"])?;
    let log_mode = one_of("audit-log-mode", AUDIT_MODES)?;
    if log_mode == "batch" {
        audit_webhook::check_batch(v, "log")?;
    }
    let batch = AuditBatchOptions {
        buffer: unsigned(v, "audit-log-batch-buffer-size")? as usize,
        max_size: unsigned(v, "audit-log-batch-max-size")? as usize,
        max_wait: v.duration("audit-log-batch-max-wait"),
        throttle: v.bool("audit-log-batch-throttle-enable").then(|| {
            let burst = v.int("audit-log-batch-throttle-burst").max(1);
            (
                v.float("audit-log-batch-throttle-qps"),
                u32::try_from(burst).unwrap_or(u32::MAX),
            )
        }),
    };
    Ok(AuditOptions {
        policy_file: path(v, "audit-policy-file"),
        log_path,
        log_format: one_of("audit-log-format", &["json", "legacy"])?,
        log_mode,
        max_age_days: unsigned(v, "audit-log-maxage")?,
        max_backups: unsigned(v, "audit-log-maxbackup")?,
        max_size_mb: unsigned(v, "audit-log-maxsize")?,
        compress: v.bool("audit-log-compress"),
        batch,
        truncate: match v.bool("audit-log-truncate-enabled") {
            true => Some((
                unsigned(v, "audit-log-truncate-max-event-size")? as usize,
                unsigned(v, "audit-log-truncate-max-batch-size")? as usize,
            )),
            false => None,
        },
        webhook: audit_webhook::parse(v)?,
        chain: match v.bool("audit-log-chain") {
            true => Some(audit_chain(v, data_dir)?),
            false => None,
        },
        fails_readyz: one_of("audit-log-readyz", &["report", "fail"])? == "fail",
        index: v.bool("search-index"),
        index_max_age_days: unsigned(v, "search-index-max-age")?.into(),
        index_max_bytes: u64::try_from(v.int("search-index-max-bytes"))
            .map_err(|_| v.invalid("search-index-max-bytes", "must not be negative"))?,
    })
}

fn audit_chain(v: &Values, data_dir: &Path) -> Result<AuditChainOptions, FlagError> {
    let key_file = match v.is_given("audit-checkpoint-key-file") {
        true => path(v, "audit-checkpoint-key-file"),
        false => None,
    };
    Ok(AuditChainOptions {
        key_file: key_file.unwrap_or_else(|| data_dir.join("pki").join("audit-checkpoint.key")),
        interval: v.duration("audit-checkpoint-interval"),
        events: unsigned(v, "audit-checkpoint-events")?,
        copy: path(v, "audit-checkpoint-copy"),
        webhook_config_file: path(v, "audit-checkpoint-webhook-config-file"),
    })
}

fn services(v: &Values) -> Result<ServiceOptions, FlagError> {
    let ranges = v.text("service-cluster-ip-range");
    let cluster_ip_ranges = ranges
        .split(',')
        .map(|text| text.trim().parse())
        .collect::<Result<Vec<ipnet::IpNet>, _>>()
        .map_err(|_| v.invalid("service-cluster-ip-range", "must be one or two CIDR ranges"))?;
    if cluster_ip_ranges.len() > 2 {
        return Err(v.invalid("service-cluster-ip-range", "must be at most two ranges"));
    }
    let ports = v.text("service-node-port-range");
    let node_ports = port_range(&ports)
        .ok_or_else(|| v.invalid("service-node-port-range", "must be first-last"))?;
    let reconcile_endpoints = match v.text("endpoint-reconciler-type").as_str() {
        "lease" | "master-count" => true,
        "none" => false,
        _ => return Err(v.invalid("endpoint-reconciler-type", "must be lease or none")),
    };
    Ok(ServiceOptions {
        cluster_ip_ranges,
        node_ports,
        kubernetes_node_port: u16::try_from(v.int("kubernetes-service-node-port"))
            .map_err(|_| v.invalid("kubernetes-service-node-port", "must be a port"))?,
        reconcile_endpoints,
    })
}

/// `30000-32767`, or `30000+2767`.
fn port_range(text: &str) -> Option<(u16, u16)> {
    if let Some((first, more)) = text.split_once('+') {
        let first: u16 = first.parse().ok()?;
        return Some((first, first.checked_add(more.parse().ok()?)?));
    }
    let (first, last) = text.split_once('-')?;
    let range: (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (range.0 <= range.1).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<ServerOptions, FlagError> {
        let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
        ServerOptions::parse(&args).map(|(options, _)| options)
    }

    #[test]
    fn defaults_are_safe() {
        let options = ServerOptions::defaults();
        assert!(options.authorization.has("Node") && options.authorization.has("RBAC"));
        assert_eq!(
            options.audit.log_path,
            Some(PathBuf::from("./verbatim-data/audit/audit.log"))
        );
        assert_eq!(
            options.services.kubernetes_ip(),
            "10.0.0.1".parse::<IpAddr>().ok()
        );
    }

    #[test]
    fn a_kubeadm_manifest_is_accepted() {
        let options = options(&[
            "--advertise-address=192.168.1.2",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--client-ca-file=/etc/kubernetes/pki/ca.crt",
            "--enable-admission-plugins=NodeRestriction",
            "--enable-bootstrap-token-auth=true",
            "--etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt",
            "--etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt",
            "--etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key",
            "--etcd-servers=https://127.0.0.1:2379",
            "--kubelet-client-certificate=/etc/kubernetes/pki/apiserver-kubelet-client.crt",
            "--kubelet-client-key=/etc/kubernetes/pki/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
            "--proxy-client-cert-file=/etc/kubernetes/pki/front-proxy-client.crt",
            "--proxy-client-key-file=/etc/kubernetes/pki/front-proxy-client.key",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            "--secure-port=6443",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-account-key-file=/etc/kubernetes/pki/sa.pub",
            "--service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
            "--service-cluster-ip-range=10.96.0.0/12",
            "--tls-cert-file=/etc/kubernetes/pki/apiserver.crt",
            "--tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
        ])
        .expect("kubeadm's flags");
        assert!(options.authentication.request_header.is_some());
        assert_eq!(options.storage.etcd_servers.len(), 1);
    }

    #[test]
    fn contradictions_are_named() {
        for (args, part) in [
            (&["--tls-cert-file=a"][..], "tls-private-key-file"),
            (&["--authorization-mode=Foo"], "\"Foo\" is not a valid mode"),
            (&["--authorization-mode=ABAC"], "authorization-policy-file"),
            (
                &["--authorization-webhook-config-file=a"],
                "without mode Webhook",
            ),
            (
                &["--authorization-config=a", "--authorization-mode=RBAC"],
                "authorization-config",
            ),
            (&["--goaway-chance=0.5"], "between 0 and 0.02"),
            (&["--service-cluster-ip-range=x"], "CIDR"),
            (&["--secure-port=70000"], "65535"),
            (&["--audit-log-mode=fast"], "blocking-strict"),
        ] {
            let error = options(args).expect_err("a contradiction").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
