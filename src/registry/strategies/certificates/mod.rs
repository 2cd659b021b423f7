//! Strategies of the certificates.k8s.io group.

pub mod conditions;
pub mod csr;
pub mod pem;
pub mod pod_request;
pub mod request;
pub mod trust_bundle;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "CertificateSigningRequest" => &csr::CsrStrategy,
        "PodCertificateRequest" => &pod_request::PodRequestStrategy,
        "ClusterTrustBundle" => &trust_bundle::TrustBundleStrategy,
        _ => return None,
    })
}
