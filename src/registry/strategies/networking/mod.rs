//! Strategies of networking.k8s.io.

pub mod addresses;
pub mod ingress;
pub mod ingress_class;
pub mod network_policy;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of networking.k8s.io.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "Ingress" => &ingress::IngressStrategy,
        "IngressClass" => &ingress_class::IngressClassStrategy,
        "NetworkPolicy" => &network_policy::NetworkPolicyStrategy,
        "IPAddress" => &addresses::IpAddressStrategy,
        "ServiceCIDR" => &addresses::ServiceCidrStrategy,
        _ => return None,
    })
}
