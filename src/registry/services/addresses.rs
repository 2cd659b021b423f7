//! Cluster addresses: IPAddress objects in the ranges of the ready ServiceCIDRs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use ipnet::IpNet;
use rand::Rng as _;

use super::families::family_of;
use super::{Resource, held_addresses, is_headless, kind, needs_cluster_ip, refuse};
use crate::api::field::{FieldErrors, Path};
use crate::api::options::{DeleteOptions, WriteOptions};
use crate::api::resource::Resource as Row;
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::registry::allocate::Allocation;
use crate::registry::strategies::common::access::{arr_at, at, ensure_object, object_mut, str_at};
use crate::registry::{Page, ReadVersion, Registry, Selection, Target, meta};
use crate::request::{RequestContext, UserInfo};

const GROUP: &str = "networking.k8s.io";
/// The ServiceCIDR that servers make of their flags; its ranges say which families there are.
const DEFAULT_CIDR: &str = "kubernetes";
/// Most of a range that is looked through; larger ranges only exist for IPv6.
const MOST: u128 = 1 << 20;

/// The ranges addresses come from.
pub(super) struct Ranges {
    /// The cluster's families, the primary first.
    pub(super) families: Vec<&'static str>,
    ready: Vec<IpNet>,
}

impl Ranges {
    /// Reads the ServiceCIDRs; from the store when the cache knows none yet.
    pub(super) async fn load(registry: &Registry) -> Result<Self, Status> {
        let ranges = Self::read(registry, ReadVersion::Any).await?;
        if ranges.ready.is_empty() {
            return Self::read(registry, ReadVersion::Latest).await;
        }
        Ok(ranges)
    }

    async fn read(registry: &Registry, version: ReadVersion) -> Result<Self, Status> {
        let mut ranges = Ranges {
            families: Vec::new(),
            ready: Vec::new(),
        };
        let Some(row) = row(registry, "servicecidrs") else {
            return Ok(ranges);
        };
        let target = Target::new(row, "", "");
        let listing = registry
            .list(&target, version, &Selection::default(), Page::all())
            .await?;
        for cached in &listing.items {
            let object = registry.cached_tree(cached, &target.resource)?;
            let cidrs = at(&object, "spec").map_or(&[][..], |spec| arr_at(spec, "cidrs"));
            let nets = cidrs
                .iter()
                .filter_map(|c| c.as_str()?.parse::<IpNet>().ok());
            let nets: Vec<IpNet> = nets.collect();
            if meta::name(&object) == DEFAULT_CIDR {
                ranges.families = nets.iter().map(family_of_net).collect();
            }
            if is_ready(&object) && !meta::is_being_deleted(&object) {
                ranges.ready.extend(nets);
            }
        }
        Ok(ranges)
    }
}

fn family_of_net(net: &IpNet) -> &'static str {
    match net {
        IpNet::V4(_) => "IPv4",
        IpNet::V6(_) => "IPv6",
    }
}

fn is_ready(cidr: &Value) -> bool {
    at(cidr, "status").is_some_and(|status| {
        arr_at(status, "conditions")
            .iter()
            .any(|c| str_at(c, "type") == "Ready" && str_at(c, "status") == "True")
    })
}

fn row(registry: &Registry, plural: &str) -> Option<Arc<Row>> {
    registry.table().load().get(GROUP, "v1", plural).cloned()
}

/// Takes an address per family, those asked for first.
pub(super) async fn allocate(
    registry: &Registry,
    ranges: Ranges,
    object: &mut Value,
    old: Option<&Value>,
    dry_run: bool,
    allocation: &mut Allocation,
) -> Result<(), Status> {
    let held: Vec<String> = old
        .map(held_addresses)
        .unwrap_or_default()
        .into_iter()
        .map(str::to_string)
        .collect();
    let mut ips: Vec<String> = Vec::new();
    if needs_cluster_ip(object) && !is_headless(object) && kind(object) != "ExternalName" {
        let spec = &object["spec"];
        let asked = arr_at(spec, "clusterIPs").iter().filter_map(Value::as_str);
        let asked: Vec<String> = asked.map(str::to_string).collect();
        let families = arr_at(spec, "ipFamilies").iter().filter_map(Value::as_str);
        let families: Vec<String> = families.map(str::to_string).collect();
        for (i, family) in families.iter().enumerate() {
            // What a service has never changes; validation says so to those who try.
            let is_fixed = i < held.len();
            let ip = match asked.get(i) {
                Some(ip) if is_fixed || held.contains(ip) => ip.clone(),
                Some(ip) => {
                    take(registry, &ranges, object, ip, dry_run).await?;
                    ip.clone()
                }
                None => pick(registry, &ranges, object, family, dry_run).await?,
            };
            if !dry_run && !is_fixed && !held.contains(&ip) {
                allocation.taken.push(Resource::Address(ip.clone()));
            }
            ips.push(ip);
        }
        let spec = object_mut(ensure_object(object, "spec"));
        if let Some(first) = ips.first() {
            spec.insert("clusterIP".into(), first.clone().into());
            spec.insert("clusterIPs".into(), json!(ips));
        }
    }
    if !dry_run {
        let freed = held.into_iter().filter(|ip| !ips.contains(ip));
        allocation.freed.extend(freed.map(Resource::Address));
    }
    Ok(())
}

/// Takes the address `ip`.
async fn take(
    registry: &Registry,
    ranges: &Ranges,
    object: &Value,
    ip: &str,
    dry_run: bool,
) -> Result<(), Status> {
    let problem = match ip.parse::<IpAddr>() {
        Err(_) => Some("the provided network does not match the current range".to_string()),
        Ok(addr) => match ranges.ready.iter().find(|net| net.contains(&addr)) {
            None => Some("the provided network does not match the current range".to_string()),
            Some(net) if !is_usable(net, addr) => Some(format!(
                "the provided IP ({ip}) is not in the valid range. The range of valid IPs is {net}"
            )),
            Some(_) if dry_run => None,
            Some(_) => match create(registry, object, addr).await {
                Ok(()) => None,
                Err(status) if status.reason == "AlreadyExists" => {
                    Some("provided IP is already allocated".to_string())
                }
                Err(status) => Some(status.message),
            },
        },
    };
    let Some(problem) = problem else {
        return Ok(());
    };
    let mut errors = FieldErrors::default();
    let spec = Path::ROOT.field("spec");
    let list = object["spec"].get("clusterIPs").cloned();
    errors.invalid(
        &spec.field("clusterIPs"),
        &list.unwrap_or_default(),
        format!("failed to allocate IP {ip}: {problem}"),
    );
    refuse(object, &errors)
}

fn is_usable(net: &IpNet, addr: IpAddr) -> bool {
    addr != net.network() && (addr.is_ipv6() || addr != net.broadcast())
}

/// Takes any free address of a family.
async fn pick(
    registry: &Registry,
    ranges: &Ranges,
    object: &Value,
    family: &str,
    dry_run: bool,
) -> Result<String, Status> {
    let nets = ranges
        .ready
        .iter()
        .filter(|net| family_of_net(net) == family);
    for net in nets {
        if dry_run {
            return Ok(net.network().to_string());
        }
        if let Some(ip) = pick_in(registry, net, object).await? {
            return Ok(ip);
        }
    }
    Err(Status::internal(&format!(
        "failed to allocate a serviceIP for Service \"{}\": range is full",
        meta::name(object)
    )))
}

/// Looks through the upper part of a range from a random start, then through the lower part, which
/// is kept for addresses that clients choose.
async fn pick_in(
    registry: &Registry,
    net: &IpNet,
    object: &Value,
) -> Result<Option<String>, Status> {
    let size = size(net);
    let lower = lower_band(size);
    for (first, len) in [(lower, size - lower), (0, lower)] {
        if len == 0 {
            continue;
        }
        let start = rand::rng().random_range(0..len);
        for step in 0..len.min(MOST) {
            let addr = nth(net, first + (start + step) % len);
            if is_taken(registry, addr).await? {
                continue;
            }
            match create(registry, object, addr).await {
                Ok(()) => return Ok(Some(addr.to_string())),
                Err(status) if status.reason == "AlreadyExists" => {}
                Err(status) => return Err(status),
            }
        }
    }
    Ok(None)
}

/// How many addresses of a range can be used.
fn size(net: &IpNet) -> u128 {
    let bits = u32::from(net.max_prefix_len() - net.prefix_len());
    let all = 1u128.checked_shl(bits.min(64)).unwrap_or(u128::MAX);
    match net {
        IpNet::V4(_) => all.saturating_sub(2),
        IpNet::V6(_) => all.saturating_sub(1),
    }
}

fn lower_band(size: u128) -> u128 {
    if size <= 16 {
        0
    } else {
        (size / 16).clamp(16, 256)
    }
}

/// The n-th usable address of a range.
fn nth(net: &IpNet, n: u128) -> IpAddr {
    match net.network() {
        IpAddr::V4(base) => {
            let offset = u32::try_from(n + 1).unwrap_or(u32::MAX);
            IpAddr::V4(Ipv4Addr::from(u32::from(base).wrapping_add(offset)))
        }
        IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from(u128::from(base).wrapping_add(n + 1))),
    }
}

/// Whether the cache knows an address to be taken; creating it is what decides.
async fn is_taken(registry: &Registry, addr: IpAddr) -> Result<bool, Status> {
    let Some(row) = row(registry, "ipaddresses") else {
        return Ok(false);
    };
    let target = Target::new(row, "", &addr.to_string());
    Ok(registry.cached(&target).await?.is_some())
}

fn context() -> RequestContext {
    let uri = Uri::from_static("/");
    let mut ctx = RequestContext::new(Method::GET, uri, HeaderMap::new(), None);
    ctx.user = Some(Arc::new(UserInfo::apiserver()));
    ctx
}

async fn create(registry: &Registry, service: &Value, addr: IpAddr) -> Result<(), Status> {
    let Some(row) = row(registry, "ipaddresses") else {
        return Ok(());
    };
    let name = addr.to_string();
    let family = family_of(&name).unwrap_or("IPv4");
    let object = json!({
        "kind": "IPAddress",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": name, "labels": {
            "ipaddress.kubernetes.io/ip-family": family,
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }},
        "spec": {"parentRef": {
            "resource": "services",
            "namespace": meta::namespace(service),
            "name": meta::name(service),
        }},
    });
    let target = Target::new(row, "", &name);
    let options = WriteOptions::default();
    registry
        .create_unadmitted(&mut context(), &target, object, &options)
        .await?;
    Ok(())
}

/// Gives an address back.
pub(super) async fn release(registry: &Registry, ip: &str) {
    let Some(row) = row(registry, "ipaddresses") else {
        return;
    };
    let target = Target::new(row, "", ip);
    let Ok(options) = DeleteOptions::from_query("propagationPolicy=Background") else {
        return;
    };
    let mut ctx = context();
    match registry
        .delete_unadmitted(&mut ctx, &target, &options)
        .await
    {
        Ok(_) => {}
        Err(status) if status.reason == "NotFound" => {}
        Err(status) => tracing::warn!(ip, %status, "a service address could not be released"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands() {
        let cases = [
            ("10.0.0.0/24", 254, 16),
            ("10.0.0.0/28", 14, 0),
            ("10.0.0.0/16", 65534, 256),
        ];
        for (net, want, lower) in cases {
            let net: IpNet = net.parse().expect("a range");
            assert_eq!((size(&net), lower_band(size(&net))), (want, lower));
        }
        let net: IpNet = "10.0.0.0/24".parse().expect("a range");
        assert_eq!(nth(&net, 0).to_string(), "10.0.0.1");
        assert_eq!(nth(&net, 253).to_string(), "10.0.0.254");
    }
}
