//! The metric catalogue: every family Verbatim knows, in ONE table (contract/metrics.md).
//!
//! The table makes one public field of [`Metrics`] per family. A family whose label sets are unused
//! is not shown. To add a family, add a row; nothing else.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, TextEncoder,
};

use super::histogram::{self, Histogram, HistogramVec};
use super::process;
use super::requests::AllSeries;
use super::summary::SummaryVec;

/// Upstream's stability level of a family; it is the start of the help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// May change at any time.
    Alpha,
    /// May change with notice.
    Beta,
    /// Does not change.
    Stable,
    /// Not for users.
    Internal,
    /// Alpha and marked as an experiment by upstream.
    Experimental,
    /// Stable, and shown at `/metrics/slis` only.
    Sli,
}

impl Stability {
    fn prefix(self) -> &'static str {
        match self {
            Stability::Alpha => "[ALPHA] ",
            Stability::Beta => "[BETA] ",
            Stability::Stable | Stability::Sli => "[STABLE] ",
            Stability::Internal => "[INTERNAL] ",
            Stability::Experimental => "EXPERIMENTAL: [ALPHA] ",
        }
    }

    fn level(self) -> &'static str {
        match self {
            Stability::Alpha | Stability::Experimental => "ALPHA",
            Stability::Beta => "BETA",
            Stability::Stable | Stability::Sli => "STABLE",
            Stability::Internal => "INTERNAL",
        }
    }
}

/// One row of the table.
struct Row {
    name: &'static str,
    stability: Stability,
    labels: &'static [&'static str],
    buckets: &'static [f64],
    help: &'static str,
}

impl Row {
    fn opts(&self) -> Opts {
        Opts::new(
            self.name,
            format!("{}{}", self.stability.prefix(), self.help),
        )
    }

    fn histogram(&self) -> HistogramOpts {
        HistogramOpts::from(self.opts()).buckets(self.buckets.to_vec())
    }
}

/// A family that can be made from a row. The rows are constants, so making them cannot fail.
trait Family: Collector + Clone + 'static {
    fn make(row: &Row) -> Self;
}

macro_rules! family {
    ($($ty:ident => |$row:ident| $make:expr;)*) => {
        $(impl Family for $ty {
            fn make($row: &Row) -> Self {
                $make.expect("a row of the catalogue is a valid family")
            }
        })*
    };
}

family! {
    IntCounter => |row| IntCounter::with_opts(row.opts());
    IntCounterVec => |row| IntCounterVec::new(row.opts(), row.labels);
    IntGauge => |row| IntGauge::with_opts(row.opts());
    IntGaugeVec => |row| IntGaugeVec::new(row.opts(), row.labels);
    Gauge => |row| Gauge::with_opts(row.opts());
    GaugeVec => |row| GaugeVec::new(row.opts(), row.labels);
    Histogram => |row| Histogram::with_opts(row.histogram());
    HistogramVec => |row| histogram::family(row.histogram(), row.labels);
    SummaryVec => |row| SummaryVec::new(row.opts(), row.labels);
}

macro_rules! catalogue {
    ($($name:ident: $ty:ident, $stability:ident, [$($label:literal),*], $buckets:ident, $help:literal;)*) => {
        /// Every metric family. Cheap to share (`Arc<Metrics>`); each field is a handle.
        pub struct Metrics {
            collectors: Vec<(Stability, Box<dyn Collector>)>,
            pub(super) request_series: AllSeries,
            $(
                #[doc = $help]
                #[doc = concat!("\n\nLabels:" $(, " `", $label, "`")*)]
                pub $name: $ty,
            )*
        }

        impl Metrics {
            /// Makes every family but shows none of those named in `disabled`
            /// (`--disabled-metrics`).
            pub fn new(disabled: &[String]) -> Arc<Self> {
                let mut collectors: Vec<(Stability, Box<dyn Collector>)> = Vec::new();
                let mut hidden = 0;
                $(
                    let row = Row {
                        name: stringify!($name),
                        stability: Stability::$stability,
                        labels: &[$($label),*],
                        buckets: $buckets,
                        help: $help,
                    };
                    let $name = <$ty as Family>::make(&row);
                    if disabled.iter().any(|name| name == row.name) {
                        hidden += 1;
                    } else {
                        collectors.push((row.stability, Box::new($name.clone())));
                    }
                )*
                let metrics = Metrics {
                    collectors,
                    request_series: AllSeries::default(),
                    $($name,)*
                };
                metrics.describe_itself(hidden);
                Arc::new(metrics)
            }
        }

        /// Names of all families, as the table has them.
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

/// For families without buckets.
const NONE: &[f64] = &[];
/// Bucket set default of the contract.
const DEFAULT: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Bucket set B1 of the contract.
const B1: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];
/// Bucket set B2 of the contract.
const B2: &[f64] = &[
    1000.0,
    10000.0,
    100000.0,
    1000000.0,
    10000000.0,
    100000000.0,
    1000000000.0,
];
/// Bucket set B3 of the contract.
const B3: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];
/// Bucket set B4 of the contract.
const B4: &[f64] = &[
    50000.0, 150000.0, 250000.0, 350000.0, 450000.0, 550000.0, 650000.0, 750000.0, 850000.0,
    950000.0, 1050000.0, 1150000.0, 1250000.0, 1350000.0, 1450000.0, 1550000.0, 1650000.0,
    1750000.0, 1850000.0, 1950000.0, 2050000.0, 2150000.0, 2250000.0, 2350000.0, 2450000.0,
    2550000.0, 2650000.0, 2750000.0, 2850000.0, 2950000.0, 3050000.0,
];
/// Bucket set B5 of the contract.
const B5: &[f64] = &[
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0, 10.0, 15.0, 30.0,
];
/// Bucket set B6 of the contract.
const B6: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0,
    30.0, 45.0, 60.0,
];
/// Bucket set B7 of the contract.
const B7: &[f64] = &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0];
/// Bucket set B8 of the contract.
const B8: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Bucket set B9 of the contract.
const B9: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];
/// Bucket set B10 of the contract.
const B10: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Bucket set B11 of the contract.
const B11: &[f64] = &[
    0.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0, 172800.0, 345600.0, 604800.0,
    2592000.0, 7776000.0, 15552000.0, 31104000.0,
];
/// Bucket set B12 of the contract.
const B12: &[f64] = &[0.25, 0.5, 0.7, 1.0, 1.5, 3.0, 5.0, 10.0];
/// Bucket set B14 of the contract.
const B14: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192, 16.384,
];
/// Bucket set B15 of the contract.
const B15: &[f64] = &[
    0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024, 0.2048,
];
/// Bucket set B16 of the contract.
const B16: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
/// Bucket set B17 of the contract.
const B17: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// Bucket set B18 of the contract.
const B18: &[f64] = &[5e-07, 0.001, 0.01, 0.1, 1.0];
/// Bucket set B19 of the contract.
const B19: &[f64] = &[
    1e-05, 4e-05, 0.00016, 0.00064, 0.00256, 0.01024, 0.04096, 0.16384, 0.65536, 2.62144,
];
/// Bucket set B20 of the contract.
const B20: &[f64] = &[
    0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0,
];
/// Bucket set B21 of the contract.
const B21: &[f64] = &[
    0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0,
];
/// Bucket set B22 of the contract.
const B22: &[f64] = &[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0];
/// Bucket set B23 of the contract.
const B23: &[f64] = &[0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0];
/// Bucket set B24 of the contract.
const B24: &[f64] = &[
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0,
];
/// Bucket set B25 of the contract.
const B25: &[f64] = &[
    0.0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0,
];
/// Bucket set B26 of the contract.
const B26: &[f64] = &[0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
/// Bucket set B27 of the contract.
const B27: &[f64] = &[0.0, 1.0, 10.0, 100.0, 1000.0, 10000.0];
/// Bucket set B28 of the contract.
const B28: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];
/// Bucket set B29 of the contract.
const B29: &[f64] = &[
    5e-06, 1e-05, 2e-05, 4e-05, 8e-05, 0.00016, 0.00032, 0.00064, 0.00128, 0.00256, 0.00512,
    0.01024, 0.02048, 0.04096,
];
/// Bucket set B30 of the contract.
const B30: &[f64] = &[
    5e-06, 1e-05, 2e-05, 4e-05, 8e-05, 0.00016, 0.00032, 0.00064, 0.00128, 0.00256, 0.00512,
    0.01024, 0.02048, 0.04096, 0.08192, 0.16384, 0.32768, 0.65536, 1.31072, 2.62144, 5.24288,
    10.4858, 20.9715, 41.943, 83.8861,
];
/// Bucket set B31 of the contract.
const B31: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0,
];
/// Bucket set B32 of the contract.
const B32: &[f64] = &[
    1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131072.0,
];
/// Bucket set B33 of the contract.
const B33: &[f64] = &[10.0, 50.0, 100.0, 500.0, 1000.0, 2500.0, 5000.0];
/// Bucket set B35 of the contract.
const B35: &[f64] = &[
    0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024, 0.2048,
    0.4096, 0.8192, 1.6384, 3.2768, 6.5536, 13.1072, 26.2144, 52.4288,
];
/// Bucket set B37 of the contract.
const B37: &[f64] = &[
    1e-08, 1e-07, 1e-06, 1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0,
];

catalogue! {
    // Request path
    apiserver_current_inflight_requests: IntGaugeVec, Stable, ["request_kind"], NONE,
        "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.";
    apiserver_longrunning_requests: IntGaugeVec, Stable, ["component", "group", "resource", "scope", "subresource", "verb", "version"], NONE,
        "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.";
    apiserver_request_duration_seconds: HistogramVec, Stable, ["component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"], B1,
        "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.";
    apiserver_request_total: IntCounterVec, Stable, ["code", "component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"], NONE,
        "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.";
    apiserver_requested_deprecated_apis: IntGaugeVec, Stable, ["group", "removed_release", "resource", "subresource", "version"], NONE,
        "Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, subresource, and removed_release.";
    apiserver_response_sizes: HistogramVec, Stable, ["component", "group", "resource", "scope", "subresource", "verb", "version"], B2,
        "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.";
    apiserver_watch_list_duration_seconds: HistogramVec, Beta, ["group", "resource", "scope", "version"], B3,
        "Response latency distribution in seconds for watch list requests broken by group, version, resource and scope.";
    apiserver_current_inqueue_requests: IntGaugeVec, Alpha, ["request_kind"], NONE,
        "Maximal number of queued requests in this apiserver per request kind in last second.";
    apiserver_init_events_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Counter of init events processed in watch cache broken by resource type.";
    apiserver_request_aborts_total: IntCounterVec, Alpha, ["group", "resource", "scope", "subresource", "verb", "version"], NONE,
        "Number of requests which apiserver aborted possibly due to a timeout, for each group, version, verb, resource, subresource and scope";
    apiserver_request_body_size_bytes: HistogramVec, Alpha, ["group", "resource", "verb"], B4,
        "Apiserver request body size in bytes broken out by resource and verb.";
    apiserver_request_filter_duration_seconds: HistogramVec, Alpha, ["filter"], B5,
        "Request filter latency distribution in seconds, for each filter type";
    apiserver_request_post_timeout_total: IntCounterVec, Alpha, ["source", "status"], NONE,
        "Tracks the activity of the request handlers after the associated requests have been timed out by the apiserver";
    apiserver_request_sli_duration_seconds: HistogramVec, Alpha, ["component", "group", "resource", "scope", "subresource", "verb", "version"], B6,
        "Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.";
    apiserver_request_slo_duration_seconds: HistogramVec, Alpha, ["component", "group", "resource", "scope", "subresource", "verb", "version"], B6,
        "Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.";
    apiserver_request_terminations_total: IntCounterVec, Alpha, ["code", "component", "group", "resource", "scope", "subresource", "verb", "version"], NONE,
        "Number of requests which apiserver terminated in self-defense.";
    apiserver_request_timestamp_comparison_time: HistogramVec, Alpha, ["code_path"], B7,
        "Time taken for comparison of old vs new objects in UPDATE or PATCH requests";
    apiserver_selfrequest_total: IntCounterVec, Alpha, ["group", "resource", "subresource", "verb"], NONE,
        "Counter of apiserver self-requests broken out for each verb, API resource and subresource.";
    apiserver_terminated_watchers_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Counter of watchers closed due to unresponsiveness broken by resource type.";
    apiserver_tls_handshake_errors_total: IntCounter, Alpha, [], NONE,
        "Number of requests dropped with 'TLS handshake error from' error";
    field_validation_request_duration_seconds: HistogramVec, Alpha, ["field_validation"], B6,
        "Response latency distribution in seconds for each field validation value";

    // Authentication / authorization / certs
    apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds: GaugeVec, Beta, ["apiserver_id_hash", "status"], NONE,
        "Timestamp of the last automatic reload of authentication configuration split by status and apiserver identity.";
    apiserver_authentication_config_controller_automatic_reloads_total: IntCounterVec, Beta, ["apiserver_id_hash", "status"], NONE,
        "Total number of automatic reloads of authentication configuration split by status and apiserver identity.";
    apiserver_authorization_config_controller_automatic_reload_last_timestamp_seconds: GaugeVec, Beta, ["apiserver_id_hash", "status"], NONE,
        "Timestamp of the last automatic reload of authorization configuration split by status and apiserver identity.";
    apiserver_authorization_config_controller_automatic_reloads_total: IntCounterVec, Beta, ["apiserver_id_hash", "status"], NONE,
        "Total number of automatic reloads of authorization configuration split by status and apiserver identity.";
    apiserver_authentication_config_controller_last_config_info: IntGaugeVec, Alpha, ["apiserver_id_hash", "hash"], NONE,
        "Information about the last applied authentication configuration with hash as label, split by apiserver identity.";
    apiserver_authentication_jwt_authenticator_jwks_fetch_last_key_set_info: IntGaugeVec, Alpha, ["jwt_issuer_hash", "apiserver_id_hash", "hash"], NONE,
        "Information about the last JSON Web Key Set fetched by the JWT authenticator with hash as label, split by api server identity and jwt issuer.";
    apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds: GaugeVec, Alpha, ["apiserver_id_hash", "jwt_issuer_hash", "result"], NONE,
        "Timestamp of the last successful or failed JWKS fetch split by result, api server identity and jwt issuer for the JWT authenticator.";
    apiserver_authentication_jwt_authenticator_latency_seconds: HistogramVec, Alpha, ["jwt_issuer_hash", "result"], B8,
        "Latency of jwt authentication operations in seconds. This is the time spent authenticating a token for cache miss only (i.e. when the token is not found in the cache).";
    apiserver_authorization_config_controller_last_config_info: IntGaugeVec, Alpha, ["apiserver_id_hash", "hash"], NONE,
        "Information about the last applied authorization configuration with hash as label, split by apiserver identity.";
    apiserver_authorization_decisions_total: IntCounterVec, Alpha, ["decision", "name", "type"], NONE,
        "Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.";
    apiserver_authorization_match_condition_evaluation_errors_total: IntCounterVec, Alpha, ["name", "type"], NONE,
        "Total number of errors when an authorization webhook encounters a match condition error split by authorizer type and name.";
    apiserver_authorization_match_condition_evaluation_seconds: HistogramVec, Alpha, ["name", "type"], B9,
        "Authorization match condition evaluation time in seconds, split by authorizer type and name.";
    apiserver_authorization_match_condition_exclusions_total: IntCounterVec, Alpha, ["name", "type"], NONE,
        "Total number of exclusions when an authorization webhook is skipped because match conditions exclude it.";
    apiserver_authorization_webhook_duration_seconds: HistogramVec, Alpha, ["name", "result"], B10,
        "Request latency in seconds.";
    apiserver_authorization_webhook_evaluations_fail_open_total: IntCounterVec, Alpha, ["name", "result"], NONE,
        "NoOpinion results due to webhook timeout or error.";
    apiserver_authorization_webhook_evaluations_total: IntCounterVec, Alpha, ["name", "result"], NONE,
        "Round-trips to authorization webhooks.";
    apiserver_certificates_registry_csr_honored_duration_total: IntCounterVec, Alpha, ["signerName"], NONE,
        "Total number of issued CSRs with a requested duration that was honored, sliced by signer (only kubernetes.io signer names are specifically identified)";
    apiserver_certificates_registry_csr_requested_duration_total: IntCounterVec, Alpha, ["signerName"], NONE,
        "Total number of issued CSRs with a requested duration, sliced by signer (only kubernetes.io signer names are specifically identified)";
    apiserver_client_certificate_expiration_seconds: Histogram, Alpha, [], B11,
        "Distribution of the remaining lifetime on the certificate used to authenticate a request.";
    apiserver_delegated_authn_request_duration_seconds: HistogramVec, Alpha, ["code"], B12,
        "Request latency in seconds. Broken down by status code.";
    apiserver_delegated_authn_request_total: IntCounterVec, Alpha, ["code"], NONE,
        "Number of HTTP requests partitioned by status code.";
    apiserver_delegated_authz_request_duration_seconds: HistogramVec, Alpha, ["code"], B12,
        "Request latency in seconds. Broken down by status code.";
    apiserver_delegated_authz_request_total: IntCounterVec, Alpha, ["code"], NONE,
        "Number of HTTP requests partitioned by status code.";
    authenticated_user_requests: IntCounterVec, Alpha, ["username"], NONE,
        "Counter of authenticated requests broken out by username.";
    authentication_attempts: IntCounterVec, Alpha, ["result"], NONE,
        "Counter of authenticated attempts.";
    authentication_duration_seconds: HistogramVec, Alpha, ["result"], B14,
        "Authentication duration in seconds broken out by result.";
    authentication_token_cache_active_fetch_count: IntGaugeVec, Alpha, ["status"], NONE,
        "";
    authentication_token_cache_fetch_total: IntCounterVec, Alpha, ["status"], NONE,
        "";
    authentication_token_cache_request_duration_seconds: HistogramVec, Alpha, ["status"], DEFAULT,
        "";
    authentication_token_cache_request_total: IntCounterVec, Alpha, ["status"], NONE,
        "";
    authorization_attempts_total: IntCounterVec, Alpha, ["result"], NONE,
        "Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.";
    authorization_duration_seconds: HistogramVec, Alpha, ["result"], B14,
        "Authorization duration in seconds broken out by result.";
    node_authorizer_graph_actions_duration_seconds: HistogramVec, Alpha, ["operation"], B15,
        "Histogram of duration of graph actions in node authorizer.";
    serviceaccount_invalid_legacy_auto_token_uses_total: IntCounter, Alpha, [], NONE,
        "Cumulative invalid auto-generated legacy tokens used";
    serviceaccount_legacy_auto_token_uses_total: IntCounter, Alpha, [], NONE,
        "Cumulative auto-generated legacy tokens used";
    serviceaccount_legacy_manual_token_uses_total: IntCounter, Alpha, [], NONE,
        "Cumulative manually created legacy tokens used";
    serviceaccount_legacy_tokens_total: IntCounter, Alpha, [], NONE,
        "Cumulative legacy service account tokens used";
    serviceaccount_stale_tokens_total: IntCounter, Alpha, [], NONE,
        "Cumulative stale projected service account tokens used";
    serviceaccount_valid_tokens_total: IntCounter, Alpha, [], NONE,
        "Cumulative valid projected service account tokens used";

    // Admission, webhooks, policies, CEL, validation
    apiserver_admission_controller_admission_duration_seconds: HistogramVec, Stable, ["name", "operation", "rejected", "type"], B16,
        "Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).";
    apiserver_admission_step_admission_duration_seconds: HistogramVec, Stable, ["operation", "rejected", "type"], B16,
        "Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).";
    apiserver_admission_webhook_admission_duration_seconds: HistogramVec, Stable, ["name", "operation", "rejected", "type"], B17,
        "Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).";
    apiserver_cel_compilation_duration_seconds: Histogram, Beta, [], DEFAULT,
        "CEL compilation time in seconds.";
    apiserver_cel_evaluation_duration_seconds: Histogram, Beta, [], DEFAULT,
        "CEL evaluation time in seconds.";
    apiserver_validating_admission_policy_check_duration_seconds: HistogramVec, Beta, ["enforcement_action", "error_type", "policy", "policy_binding"], B18,
        "Validation admission latency for individual validation expressions in seconds, labeled by policy and further including binding and enforcement action taken.";
    apiserver_validating_admission_policy_check_total: IntCounterVec, Beta, ["enforcement_action", "error_type", "policy", "policy_binding"], NONE,
        "Validation admission policy check total, labeled by policy and further identified by binding and enforcement action taken.";
    apiserver_validation_declarative_validation_mismatch_total: IntCounter, Beta, [], NONE,
        "Number of times declarative validation results differed from handwritten validation results for core types.";
    apiserver_validation_declarative_validation_panic_total: IntCounter, Beta, [], NONE,
        "Number of times declarative validation has panicked during validation.";
    apiextensions_apiserver_validation_ratcheting_seconds: Histogram, Alpha, [], B19,
        "Time for comparison of old to new for the purposes of CRDValidationRatcheting during an UPDATE in seconds.";
    apiextensions_openapi_v2_regeneration_count: IntCounterVec, Alpha, ["crd", "reason"], NONE,
        "Counter of OpenAPI v2 spec regeneration count broken down by causing CRD name and reason.";
    apiextensions_openapi_v3_regeneration_count: IntCounterVec, Alpha, ["crd", "group", "reason", "version"], NONE,
        "Counter of OpenAPI v3 spec regeneration count broken down by group, version, causing CRD and reason.";
    apiserver_admission_match_condition_evaluation_errors_total: IntCounterVec, Alpha, ["kind", "name", "operation", "type"], NONE,
        "Admission match condition evaluation errors count, identified by name of resource containing the match condition and broken out for each kind containing matchConditions (webhook or policy), operation and admission type (validate or admit).";
    apiserver_admission_match_condition_evaluation_seconds: HistogramVec, Alpha, ["kind", "name", "operation", "type"], B9,
        "Admission match condition evaluation time in seconds, identified by name and broken out for each kind containing matchConditions (webhook or policy), operation and type (validate or admit).";
    apiserver_admission_match_condition_exclusions_total: IntCounterVec, Alpha, ["kind", "name", "operation", "type"], NONE,
        "Admission match condition evaluation exclusions count, identified by name of resource containing the match condition and broken out for each kind containing matchConditions (webhook or policy), operation and admission type (validate or admit).";
    apiserver_admission_step_admission_duration_seconds_summary: SummaryVec, Alpha, ["operation", "rejected", "type"], NONE,
        "Admission sub-step latency summary in seconds, broken out for each operation and API resource and step type (validate or admit).";
    apiserver_admission_webhook_fail_open_count: IntCounterVec, Alpha, ["name", "type"], NONE,
        "Admission webhook fail open count, identified by name and broken out for each admission type (validating or mutating).";
    apiserver_admission_webhook_rejection_count: IntCounterVec, Alpha, ["error_type", "name", "operation", "rejection_code", "type"], NONE,
        "Admission webhook rejection count, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify an error type (calling_webhook_error or apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero rejection code if the webhook rejects the request with an HTTP status code (honored by the apiserver when the code is greater or equal to 400). Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.";
    apiserver_admission_webhook_request_total: IntCounterVec, Alpha, ["code", "name", "operation", "rejected", "type"], NONE,
        "Admission webhook request total, identified by name and broken out for each admission type (validating or mutating) and operation. Additional labels specify whether the request was rejected or not and an HTTP status code. Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.";
    apiserver_conversion_webhook_duration_seconds: HistogramVec, Alpha, ["failure_type", "result"], B20,
        "Conversion webhook request latency";
    apiserver_conversion_webhook_request_total: IntCounterVec, Alpha, ["failure_type", "result"], NONE,
        "Counter for conversion webhook requests with success/failure and failure error type";
    apiserver_crd_conversion_webhook_duration_seconds: HistogramVec, Alpha, ["crd_name", "from_version", "succeeded", "to_version"], B14,
        "CRD webhook conversion duration in seconds";
    apiserver_mutating_admission_policy_check_duration_seconds: HistogramVec, Alpha, ["error_type", "policy", "policy_binding"], B18,
        "Mutation admission latency for individual mutation expressions in seconds, labeled by policy and binding.";
    apiserver_mutating_admission_policy_check_total: IntCounterVec, Alpha, ["error_type", "policy", "policy_binding"], NONE,
        "Mutation admission policy check total, labeled by policy and further identified by binding.";
    apiserver_webhooks_x509_insecure_sha1_total: IntCounter, Alpha, [], NONE,
        "Counts the number of requests to servers with insecure SHA1 signatures in their serving certificate OR the number of connection failures due to the insecure SHA1 signatures (either/or, based on the runtime environment)";
    apiserver_webhooks_x509_missing_san_total: IntCounter, Alpha, [], NONE,
        "Counts the number of requests to servers missing SAN extension in their serving certificate OR the number of connection failures due to the lack of x509 certificate SAN extension missing (either/or, based on the runtime environment)";
    pod_security_errors_total: IntCounterVec, Alpha, ["fatal", "request_operation", "resource", "subresource"], NONE,
        "Number of errors preventing normal evaluation. Non-fatal errors may result in the latest restricted profile being used for evaluation.";
    pod_security_evaluations_total: IntCounterVec, Alpha, ["decision", "mode", "policy_level", "policy_version", "request_operation", "resource", "subresource"], NONE,
        "Number of policy evaluations that occurred, not counting ignored or exempt requests.";
    pod_security_exemptions_total: IntCounterVec, Alpha, ["request_operation", "resource", "subresource"], NONE,
        "Number of exempt requests, not counting ignored or out of scope requests.";

    // Priority and fairness
    apiserver_flowcontrol_current_executing_requests: IntGaugeVec, Beta, ["flow_schema", "priority_level"], NONE,
        "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem";
    apiserver_flowcontrol_current_executing_seats: IntGaugeVec, Beta, ["flow_schema", "priority_level"], NONE,
        "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem";
    apiserver_flowcontrol_current_inqueue_requests: IntGaugeVec, Beta, ["flow_schema", "priority_level"], NONE,
        "Number of requests currently pending in queues of the API Priority and Fairness subsystem";
    apiserver_flowcontrol_dispatched_requests_total: IntCounterVec, Beta, ["flow_schema", "priority_level"], NONE,
        "Number of requests executed by API Priority and Fairness subsystem";
    apiserver_flowcontrol_nominal_limit_seats: IntGaugeVec, Beta, ["priority_level"], NONE,
        "Nominal number of execution seats configured for each priority level";
    apiserver_flowcontrol_rejected_requests_total: IntCounterVec, Beta, ["flow_schema", "priority_level", "reason"], NONE,
        "Number of requests rejected by API Priority and Fairness subsystem";
    apiserver_flowcontrol_request_wait_duration_seconds: HistogramVec, Beta, ["execute", "flow_schema", "priority_level"], B21,
        "Length of time a request spent waiting in its queue";
    apiserver_flowcontrol_current_inqueue_seats: IntGaugeVec, Alpha, ["flow_schema", "priority_level"], NONE,
        "Number of seats currently pending in queues of the API Priority and Fairness subsystem";
    apiserver_flowcontrol_current_limit_seats: IntGaugeVec, Alpha, ["priority_level"], NONE,
        "current derived number of execution seats available to each priority level";
    apiserver_flowcontrol_current_r: GaugeVec, Alpha, ["priority_level"], NONE,
        "R(time of last change)";
    apiserver_flowcontrol_demand_seats: HistogramVec, Experimental, ["priority_level"], B22,
        "Observations, at the end of every nanosecond, of (the number of seats each priority level could use) / (nominal number of seats for that level)";
    apiserver_flowcontrol_demand_seats_average: GaugeVec, Alpha, ["priority_level"], NONE,
        "Time-weighted average, over last adjustment period, of demand_seats";
    apiserver_flowcontrol_demand_seats_high_watermark: GaugeVec, Alpha, ["priority_level"], NONE,
        "High watermark, over last adjustment period, of demand_seats";
    apiserver_flowcontrol_demand_seats_smoothed: GaugeVec, Alpha, ["priority_level"], NONE,
        "Smoothed seat demands";
    apiserver_flowcontrol_demand_seats_stdev: GaugeVec, Alpha, ["priority_level"], NONE,
        "Time-weighted standard deviation, over last adjustment period, of demand_seats";
    apiserver_flowcontrol_dispatch_r: GaugeVec, Alpha, ["priority_level"], NONE,
        "R(time of last dispatch)";
    apiserver_flowcontrol_epoch_advance_total: IntCounterVec, Alpha, ["priority_level", "success"], NONE,
        "Number of times the queueset's progress meter jumped backward";
    apiserver_flowcontrol_latest_s: GaugeVec, Alpha, ["priority_level"], NONE,
        "S(most recently dispatched request)";
    apiserver_flowcontrol_lower_limit_seats: IntGaugeVec, Alpha, ["priority_level"], NONE,
        "Configured lower bound on number of execution seats available to each priority level";
    apiserver_flowcontrol_next_discounted_s_bounds: GaugeVec, Alpha, ["bound", "priority_level"], NONE,
        "min and max, over queues, of S(oldest waiting request in queue) - estimated work in progress";
    apiserver_flowcontrol_next_s_bounds: GaugeVec, Alpha, ["bound", "priority_level"], NONE,
        "min and max, over queues, of S(oldest waiting request in queue)";
    apiserver_flowcontrol_priority_level_request_utilization: HistogramVec, Experimental, ["phase", "priority_level"], B23,
        "Observations, at the end of every nanosecond, of number of requests (as a fraction of the relevant limit) waiting or in any stage of execution (but only initial stage for WATCHes)";
    apiserver_flowcontrol_priority_level_seat_utilization: HistogramVec, Experimental, ["phase", "priority_level"], B24,
        "Observations, at the end of every nanosecond, of utilization of seats for any stage of execution (but only initial stage for WATCHes)";
    apiserver_flowcontrol_read_vs_write_current_requests: HistogramVec, Experimental, ["phase", "request_kind"], B25,
        "Observations, at the end of every nanosecond, of the number of requests (as a fraction of the relevant limit) waiting or in regular stage of execution";
    apiserver_flowcontrol_request_concurrency_in_use: GaugeVec, Alpha, ["flow_schema", "priority_level"], NONE,
        "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem";
    apiserver_flowcontrol_request_concurrency_limit: GaugeVec, Alpha, ["priority_level"], NONE,
        "Nominal number of execution seats configured for each priority level";
    apiserver_flowcontrol_request_dispatch_no_accommodation_total: IntCounterVec, Alpha, ["flow_schema", "priority_level"], NONE,
        "Number of times a dispatch attempt resulted in a non accommodation due to lack of available seats";
    apiserver_flowcontrol_request_execution_seconds: HistogramVec, Alpha, ["flow_schema", "priority_level", "type"], B21,
        "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem";
    apiserver_flowcontrol_request_queue_length_after_enqueue: HistogramVec, Alpha, ["flow_schema", "priority_level"], B26,
        "Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued";
    apiserver_flowcontrol_seat_fair_frac: Gauge, Alpha, [], NONE,
        "Fair fraction of server's concurrency to allocate to each priority level that can use it";
    apiserver_flowcontrol_target_seats: IntGaugeVec, Alpha, ["priority_level"], NONE,
        "Seat allocation targets";
    apiserver_flowcontrol_upper_limit_seats: IntGaugeVec, Alpha, ["priority_level"], NONE,
        "Configured upper bound on number of execution seats available to each priority level";
    apiserver_flowcontrol_watch_count_samples: HistogramVec, Alpha, ["flow_schema", "priority_level"], B27,
        "count of watchers for mutating requests in API Priority and Fairness";
    apiserver_flowcontrol_work_estimated_seats: HistogramVec, Alpha, ["flow_schema", "priority_level"], B28,
        "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness";

    // Storage, etcd, watch cache
    apiserver_storage_objects: IntGaugeVec, Stable, ["resource"], NONE,
        "[DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.";
    apiserver_storage_size_bytes: IntGaugeVec, Stable, ["storage_cluster_id"], NONE,
        "Size of the storage database file physically allocated in bytes.";
    apiserver_storage_events_received_total: IntCounterVec, Beta, ["group", "resource"], NONE,
        "Number of etcd events received split by kind.";
    apiserver_cache_list_fetched_objects_total: IntCounterVec, Alpha, ["group", "index", "resource"], NONE,
        "Number of objects read from watch cache in the course of serving a LIST request";
    apiserver_cache_list_returned_objects_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Number of objects returned for a LIST request from watch cache";
    apiserver_cache_list_total: IntCounterVec, Alpha, ["group", "index", "resource"], NONE,
        "Number of LIST requests served from watch cache";
    apiserver_resource_objects: IntGaugeVec, Alpha, ["group", "resource"], NONE,
        "Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.";
    apiserver_resource_size_estimate_bytes: IntGaugeVec, Alpha, ["group", "resource"], NONE,
        "Estimated size of stored objects in database. Estimate is based on sum of last observed sizes of serialized objects. In case of a fetching error, the value will be -1.";
    apiserver_storage_consistency_checks_total: IntCounterVec, Alpha, ["group", "resource", "status"], NONE,
        "Counter for status of consistency checks between etcd and watch cache";
    apiserver_storage_data_key_generation_duration_seconds: Histogram, Alpha, [], B29,
        "Latencies in seconds of data encryption key(DEK) generation operations.";
    apiserver_storage_data_key_generation_failures_total: IntCounter, Alpha, [], NONE,
        "Total number of failed data encryption key(DEK) generation operations.";
    apiserver_storage_decode_errors_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Number of stored object decode errors split by object type";
    apiserver_storage_envelope_transformation_cache_misses_total: IntCounter, Alpha, [], NONE,
        "Total number of cache misses while accessing key decryption key(KEK).";
    apiserver_storage_list_evaluated_objects_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Number of objects tested in the course of serving a LIST request from storage";
    apiserver_storage_list_fetched_objects_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Number of objects read from storage in the course of serving a LIST request";
    apiserver_storage_list_returned_objects_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Number of objects returned for a LIST request from storage";
    apiserver_storage_list_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Number of LIST requests served from storage";
    apiserver_storage_transformation_duration_seconds: HistogramVec, Alpha, ["transformation_type", "transformer_prefix"], B30,
        "Latencies in seconds of value transformation operations.";
    apiserver_storage_transformation_operations_total: IntCounterVec, Alpha, ["resource", "status", "transformation_type", "transformer_prefix"], NONE,
        "Total number of transformations. Successful transformation will have a status 'OK' and a varied status string when the transformation fails. The status, resource, and transformation_type fields can be used for alerting purposes. For example, you can monitor for encryption/decryption failures using the transformation_type (e.g., from_storage for decryption and to_storage for encryption). Additionally, these fields can be used to ensure that the correct transformers are applied to each resource.";
    apiserver_watch_cache_consistent_read_total: IntCounterVec, Alpha, ["fallback", "group", "resource", "success"], NONE,
        "Counter for consistent reads from cache.";
    apiserver_watch_cache_events_dispatched_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Counter of events dispatched in watch cache broken by resource type.";
    apiserver_watch_cache_events_received_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Counter of events received in watch cache broken by resource type.";
    apiserver_watch_cache_initializations_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Counter of watch cache initializations broken by resource type.";
    apiserver_watch_cache_read_wait_seconds: HistogramVec, Alpha, ["group", "resource"], B31,
        "Histogram of time spent waiting for a watch cache to become fresh.";
    apiserver_watch_cache_resource_version: IntGaugeVec, Alpha, ["group", "resource"], NONE,
        "Current resource version of watch cache broken by resource type. This is truncated to the 15 least significant digits.";
    apiserver_watch_events_sizes: HistogramVec, Alpha, ["group", "resource", "version"], B32,
        "Watch event size distribution in bytes";
    apiserver_watch_events_total: IntCounterVec, Alpha, ["group", "resource", "version"], NONE,
        "Number of events sent in watch clients";
    etcd_bookmark_counts: IntGaugeVec, Alpha, ["group", "resource"], NONE,
        "Number of etcd bookmarks (progress notify events) split by kind.";
    etcd_bookmark_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Number of etcd bookmarks (progress notify events) split by kind.";
    etcd_lease_object_counts: Histogram, Alpha, [], B33,
        "Number of objects attached to a single etcd lease.";
    etcd_request_duration_seconds: HistogramVec, Alpha, ["group", "operation", "resource"], B1,
        "Etcd request latency in seconds for each operation and object type.";
    etcd_request_errors_total: IntCounterVec, Alpha, ["group", "operation", "resource"], NONE,
        "Etcd failed request counts for each operation and object type.";
    etcd_requests_total: IntCounterVec, Alpha, ["group", "operation", "resource"], NONE,
        "Etcd request counts for each operation and object type.";
    watch_cache_capacity: IntGaugeVec, Alpha, ["group", "resource"], NONE,
        "Total capacity of watch cache broken by resource type.";
    watch_cache_capacity_decrease_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Total number of watch cache capacity decrease events broken by resource type.";
    watch_cache_capacity_increase_total: IntCounterVec, Alpha, ["group", "resource"], NONE,
        "Total number of watch cache capacity increase events broken by resource type.";

    // Encryption at rest
    apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds: GaugeVec, Alpha, ["apiserver_id_hash", "status"], NONE,
        "Timestamp of the last successful or failed automatic reload of encryption configuration split by apiserver identity.";
    apiserver_encryption_config_controller_automatic_reloads_total: IntCounterVec, Alpha, ["apiserver_id_hash", "status"], NONE,
        "Total number of reload successes and failures of encryption configuration split by apiserver identity.";
    apiserver_encryption_config_controller_last_config_info: IntGaugeVec, Alpha, ["apiserver_id_hash", "hash"], NONE,
        "Information about the last applied encryption configuration with hash as label, split by apiserver identity.";
    apiserver_envelope_encryption_dek_cache_fill_percent: IntGauge, Alpha, [], NONE,
        "Percent of the cache slots currently occupied by cached DEKs.";
    apiserver_envelope_encryption_key_id_hash_total: IntCounterVec, Alpha, ["apiserver_id_hash", "key_id_hash", "provider_name", "transformation_type"], NONE,
        "Number of times a keyID is used split by transformation type, provider, and apiserver identity.";
    apiserver_envelope_encryption_kms_operations_latency_seconds: HistogramVec, Alpha, ["grpc_status_code", "method_name", "provider_name"], B35,
        "KMS operation duration with gRPC error code status total.";

    // Audit
    apiserver_audit_error_total: IntCounterVec, Alpha, ["plugin"], NONE,
        "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.";
    apiserver_audit_event_total: IntCounter, Alpha, [], NONE,
        "Counter of audit events generated and sent to the audit backend.";
    apiserver_audit_level_total: IntCounterVec, Alpha, ["level"], NONE,
        "Counter of policy levels for audit events (1 per request).";
    apiserver_audit_requests_rejected_total: IntCounter, Alpha, [], NONE,
        "Counter of apiserver requests rejected due to an error in audit logging backend.";

    // Aggregator, discovery, peer proxy, egress
    aggregator_discovery_aggregation_count_total: IntCounter, Alpha, [], NONE,
        "Counter of number of times discovery was aggregated";
    aggregator_discovery_nopeer_requests_total: IntCounter, Alpha, [], NONE,
        "Counter of number of times no-peer (non peer-aggregated) discovery was requested";
    aggregator_discovery_peer_aggregated_cache_hits_total: IntCounter, Alpha, [], NONE,
        "Counter of number of times discovery was served from peer-aggregated cache";
    aggregator_discovery_peer_aggregated_cache_misses_total: IntCounter, Alpha, [], NONE,
        "Counter of number of times discovery was aggregated across all API servers";
    aggregator_openapi_v2_regeneration_count: IntCounterVec, Alpha, ["apiservice", "reason"], NONE,
        "Counter of OpenAPI v2 spec regeneration count broken down by causing APIService name and reason.";
    aggregator_openapi_v2_regeneration_duration: GaugeVec, Alpha, ["reason"], NONE,
        "Gauge of OpenAPI v2 spec regeneration duration in seconds.";
    aggregator_unavailable_apiservice: IntGaugeVec, Alpha, ["name"], NONE,
        "Gauge of APIServices which are marked as unavailable broken down by APIService name.";
    aggregator_unavailable_apiservice_total: IntCounterVec, Alpha, ["name", "reason"], NONE,
        "Counter of APIServices which are marked as unavailable broken down by APIService name and reason.";
    apiserver_kube_aggregator_x509_insecure_sha1_total: IntCounter, Alpha, [], NONE,
        "Counts the number of requests to servers with insecure SHA1 signatures in their serving certificate OR the number of connection failures due to the insecure SHA1 signatures (either/or, based on the runtime environment)";
    apiserver_kube_aggregator_x509_missing_san_total: IntCounter, Alpha, [], NONE,
        "Counts the number of requests to servers missing SAN extension in their serving certificate OR the number of connection failures due to the lack of x509 certificate SAN extension missing (either/or, based on the runtime environment)";

    // Service IP / NodePort allocators, pod logs
    apiserver_clusterip_repair_ip_errors_total: IntCounterVec, Alpha, ["type"], NONE,
        "Number of errors detected on clusterips by the repair loop broken down by type of error: leak, repair, full, outOfRange, duplicate, unknown, invalid";
    apiserver_clusterip_repair_reconcile_errors_total: IntCounter, Alpha, [], NONE,
        "Number of reconciliation failures on the clusterip repair reconcile loop";
    apiserver_nodeport_repair_port_errors_total: IntCounterVec, Alpha, ["type"], NONE,
        "Number of errors detected on ports by the repair loop broken down by type of error: leak, repair, full, outOfRange, duplicate, unknown";
    apiserver_nodeport_repair_reconcile_errors_total: IntCounter, Alpha, [], NONE,
        "Number of reconciliation failures on the nodeport repair reconcile loop";
    kube_apiserver_clusterip_allocator_allocated_ips: IntGaugeVec, Alpha, ["cidr"], NONE,
        "Gauge measuring the number of allocated IPs for Services";
    kube_apiserver_clusterip_allocator_allocation_duration_seconds: HistogramVec, Alpha, ["cidr"], B10,
        "Duration in seconds to allocate a Cluster IP by ServiceCIDR";
    kube_apiserver_clusterip_allocator_allocation_errors_total: IntCounterVec, Alpha, ["cidr", "scope"], NONE,
        "Number of errors trying to allocate Cluster IPs";
    kube_apiserver_clusterip_allocator_allocation_total: IntCounterVec, Alpha, ["cidr", "scope"], NONE,
        "Number of Cluster IPs allocations";
    kube_apiserver_clusterip_allocator_available_ips: IntGaugeVec, Alpha, ["cidr"], NONE,
        "Gauge measuring the number of available IPs for Services";
    kube_apiserver_nodeport_allocator_allocated_ports: IntGauge, Alpha, [], NONE,
        "Gauge measuring the number of allocated NodePorts for Services";
    kube_apiserver_nodeport_allocator_allocation_errors_total: IntCounterVec, Alpha, ["scope"], NONE,
        "Number of errors trying to allocate NodePort";
    kube_apiserver_nodeport_allocator_allocation_total: IntCounterVec, Alpha, ["scope"], NONE,
        "Number of NodePort allocations";
    kube_apiserver_nodeport_allocator_available_ports: IntGauge, Alpha, [], NONE,
        "Gauge measuring the number of available NodePorts for Services";
    kube_apiserver_pod_logs_backend_tls_failure_total: IntCounter, Alpha, [], NONE,
        "Total number of requests for pods/logs that failed due to kubelet server TLS verification";
    kube_apiserver_pod_logs_insecure_backend_total: IntCounterVec, Alpha, ["usage"], NONE,
        "Total number of requests for pods/logs sliced by usage type: enforce_tls, skip_tls_allowed, skip_tls_denied";

    // Client-side (loopback clients), informers, workqueues, leader election
    workqueue_adds_total: IntCounterVec, Beta, ["name"], NONE,
        "Total number of adds handled by workqueue";
    workqueue_depth: IntGaugeVec, Beta, ["name"], NONE,
        "Current depth of workqueue";
    workqueue_longest_running_processor_seconds: GaugeVec, Beta, ["name"], NONE,
        "How many seconds has the longest running processor for workqueue been running.";
    workqueue_queue_duration_seconds: HistogramVec, Beta, ["name"], B37,
        "How long in seconds an item stays in workqueue before being requested.";
    workqueue_retries_total: IntCounterVec, Beta, ["name"], NONE,
        "Total number of retries handled by workqueue";
    workqueue_unfinished_work_seconds: GaugeVec, Beta, ["name"], NONE,
        "How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases.";
    workqueue_work_duration_seconds: HistogramVec, Beta, ["name"], B37,
        "How long in seconds processing an item from workqueue takes.";

    // Component base
    kubernetes_healthcheck: IntGaugeVec, Sli, ["name", "type"], NONE,
        "This metric records the result of a single healthcheck.";
    kubernetes_healthchecks_total: IntCounterVec, Sli, ["name", "status", "type"], NONE,
        "This metric records the results of all healthcheck.";
    disabled_metrics_total: IntCounter, Beta, [], NONE,
        "The count of disabled metrics.";
    hidden_metrics_total: IntCounter, Beta, [], NONE,
        "The count of hidden metrics.";
    kubernetes_build_info: IntGaugeVec, Beta, ["build_date", "compiler", "git_commit", "git_tree_state", "git_version", "go_version", "major", "minor", "platform"], NONE,
        "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.";
    kubernetes_feature_enabled: IntGaugeVec, Beta, ["name", "stage"], NONE,
        "This metric records the data about the stage and enablement of a k8s feature.";
    registered_metrics_total: IntCounterVec, Beta, ["deprecated_version", "stability_level"], NONE,
        "The count of registered metrics broken by stability level and deprecation version.";
    version_info: IntGaugeVec, Alpha, ["binary", "component", "emulation", "min_compat"], NONE,
        "Provides the compatibility version info of the component. The component label is the name of the component, usually kube, but is relevant for aggregated-apiservers.";
    apiserver_validation_duplicate_validation_error_total: IntCounter, Internal, [], NONE,
        "Number of duplicate validation errors during validation.";
    cardinality_enforcement_unexpected_categorizations_total: IntCounter, Alpha, [], NONE,
        "The count of unexpected categorizations during cardinality enforcement.";

    // Verbatim's own
    verbatim_queue_dropped_total: IntCounterVec, Alpha, ["queue"], NONE,
        "Items dropped because a bounded queue was full, by queue.";
    verbatim_connections_current: IntGauge, Alpha, [], NONE,
        "Client connections open now.";
    verbatim_tls_reloads_total: IntCounterVec, Alpha, ["result"], NONE,
        "Reloads of changed certificate, key and client CA files, by result (ok or error).";
    verbatim_audit_lost_events_total: IntCounterVec, Alpha, ["reason", "sink"], NONE,
        "Audit events that did not reach a sink, by sink and reason.";
    verbatim_audit_rule_requests_total: IntCounterVec, Alpha, ["level", "rule", "sink"], NONE,
        "Requests that an audit policy rule decided about, by the rule's level and name and the sink that the policy is for.";
    verbatim_audit_watchers_current: IntGauge, Alpha, [], NONE,
        "Watches of audit events open now.";
    verbatim_audit_watchers_ended_total: IntCounterVec, Alpha, ["reason"], NONE,
        "Watches of audit events that were cut off (slow) or refused (too_many), by reason.";
    verbatim_audit_log_incidents_total: IntCounterVec, Alpha, ["kind"], NONE,
        "What others did to the audit log: deleted, moved, truncated, foreign (bytes that the server did not write), unchained (its chain file).";
    verbatim_audit_log_writes_total: IntCounter, Alpha, [], NONE,
        "Writes to the audit log. Events that come together share one.";
    verbatim_audit_checkpoints_total: IntCounterVec, Alpha, ["place", "result"], NONE,
        "Signed checkpoints of the audit log, by the place that keeps them (log, copy, webhook) and result.";
    verbatim_audit_sink_problem: IntGaugeVec, Alpha, ["sink"], NONE,
        "1 while a sink of the audit log cannot do its work.";
    verbatim_panics_total: IntCounter, Alpha, [], NONE,
        "Requests answered with 500 because their handler panicked.";
    verbatim_search_events_indexed_total: IntCounter, Alpha, [], NONE,
        "Audit events added to the search index.";
    verbatim_search_events_duplicate_total: IntCounter, Alpha, [], NONE,
        "Audit events that were in the search index already and were not added again.";
    verbatim_search_lines_bad_total: IntCounter, Alpha, [], NONE,
        "Lines of followed logs that are no audit events.";
    verbatim_search_index_failures_total: IntCounterVec, Alpha, ["operation"], NONE,
        "Failures while the search index was written or searched, by operation (write, read, log).";
    verbatim_search_partitions_set_aside_total: IntCounter, Alpha, [], NONE,
        "Partitions of the search index that were damaged, set aside and built anew from the log.";
    verbatim_search_log_gaps_total: IntCounter, Alpha, [], NONE,
        "Times that a followed log had lost the place to go on from before it was indexed.";
    verbatim_search_partitions: IntGauge, Alpha, [], NONE,
        "Partitions (days) of the search index.";
    verbatim_search_partitions_rebuilding: IntGauge, Alpha, [], NONE,
        "Partitions of the search index that are being built anew from the log.";
    verbatim_search_index_bytes: IntGauge, Alpha, [], NONE,
        "Size of the search index on disk.";
    verbatim_search_behind_bytes: IntGauge, Alpha, [], NONE,
        "Bytes of followed logs that wait to be indexed, while requests need the processors or after a failure.";
}

impl Metrics {
    /// Everything but the SLI families, in text format.
    pub fn render(&self) -> Vec<u8> {
        let mut families = self.gather(|stability| stability != Stability::Sli);
        families.extend(process::gather());
        encode(families)
    }

    /// The SLI families (`/metrics/slis`), in text format.
    pub fn render_slis(&self) -> Vec<u8> {
        encode(self.gather(|stability| stability == Stability::Sli))
    }

    fn gather(&self, wanted: impl Fn(Stability) -> bool) -> Vec<MetricFamily> {
        self.collectors
            .iter()
            .filter(|(stability, _)| wanted(*stability))
            .flat_map(|(_, collector)| collector.collect())
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }

    fn describe_itself(&self, hidden: u64) {
        self.disabled_metrics_total.inc_by(hidden);
        for (stability, _) in &self.collectors {
            self.registered_metrics_total
                .with_label_values(&["", stability.level()])
                .inc();
        }
    }
}

fn encode(mut families: Vec<MetricFamily>) -> Vec<u8> {
    families.sort_by(|a, b| a.name().cmp(b.name()));
    for family in &mut families {
        family
            .mut_metric()
            .sort_by(|a, b| labels_key(a).cmp(&labels_key(b)));
    }
    let mut out = Vec::with_capacity(64 * 1024);
    TextEncoder::new()
        .encode(&families, &mut out)
        .expect("families are not empty and a Vec takes every byte");
    out
}

fn labels_key(metric: &prometheus::proto::Metric) -> Vec<&str> {
    metric.get_label().iter().map(|l| l.value()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_made_and_unused_ones_are_not_shown() {
        let metrics = Metrics::new(&["apiserver_audit_event_total".to_string()]);
        let text = String::from_utf8(metrics.render()).expect("metrics are text");
        assert!(NAMES.len() > 200);
        assert!(text.contains("# TYPE apiserver_tls_handshake_errors_total counter"));
        assert!(!text.contains("# TYPE apiserver_request_total"));
        assert!(!text.contains("apiserver_audit_event_total"));
        assert!(text.contains("disabled_metrics_total 1"));
        assert!(text.contains("process_resident_memory_bytes "));
        assert!(!text.contains("kubernetes_healthcheck{"));
    }

    #[test]
    fn slis_are_apart() {
        let metrics = Metrics::new(&[]);
        metrics
            .kubernetes_healthcheck
            .with_label_values(&["ping", "livez"])
            .set(1);
        let text = String::from_utf8(metrics.render_slis()).expect("metrics are text");
        assert!(text.contains("kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1"));
        assert!(!text.contains("process_"));
    }
}
