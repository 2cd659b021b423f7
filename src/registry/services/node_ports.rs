//! Node ports: one stored bitmap, changed by compare-and-swap.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rand::Rng as _;

use super::{Resource, held_ports, needs_health_check, needs_node_port, refuse};
use crate::api::field::{FieldErrors, Path};
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::registry::Registry;
use crate::registry::allocate::Allocation;
use crate::registry::strategies::common::access::{
    arr_at, at, ensure_object, int_at, items_mut, object_mut, str_at,
};
use crate::storage::{Error, Revision};

const TAKEN: &str = "provided port is already allocated";

/// The bitmap as it is stored.
struct Bitmap {
    first: u16,
    last: u16,
    bits: Vec<u8>,
    revision: Option<Revision>,
}

impl Bitmap {
    async fn load(registry: &Registry) -> Result<Self, Status> {
        let (first, last) = registry.node_ports();
        let mut bitmap = Bitmap {
            first,
            last,
            bits: vec![0; (usize::from(last - first) + 8) / 8],
            revision: None,
        };
        let got = registry.storage().get(&registry.node_ports_key()).await;
        let got = got.map_err(|error| Status::internal(&error.to_string()))?;
        if let Some(kv) = got.kv {
            bitmap.revision = Some(kv.mod_revision);
            let stored: Value = serde_json::from_slice(&kv.value).unwrap_or_default();
            bitmap.adopt(&stored);
        }
        Ok(bitmap)
    }

    /// Takes over the ports of a stored bitmap, which may be of another range.
    fn adopt(&mut self, stored: &Value) {
        let data = STANDARD.decode(str_at(stored, "data")).unwrap_or_default();
        let range = str_at(stored, "range");
        let base: u16 = range
            .split_once('-')
            .and_then(|(first, _)| first.parse().ok())
            .unwrap_or(self.first);
        for (byte, bits) in data.iter().enumerate() {
            for bit in (0..8).filter(|bit| bits & (1 << bit) != 0) {
                if let Ok(offset) = u16::try_from(byte * 8 + bit) {
                    self.set(base.saturating_add(offset), true);
                }
            }
        }
    }

    async fn store(&self, registry: &Registry) -> Result<bool, Status> {
        let text = json!({
            "kind": "RangeAllocation",
            "apiVersion": "v1",
            "metadata": {},
            "range": format!("{}-{}", self.first, self.last),
            "data": STANDARD.encode(&self.bits),
        });
        let (key, bytes) = (registry.node_ports_key(), Bytes::from(text.to_string()));
        let stored = match self.revision {
            None => registry.storage().create(&key, bytes, None).await,
            Some(revision) => registry.storage().update(&key, bytes, revision, None).await,
        };
        match stored {
            Ok(_) => Ok(true),
            Err(Error::Conflict { .. } | Error::KeyExists { .. }) => Ok(false),
            Err(error) => Err(Status::internal(&error.to_string())),
        }
    }

    fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    fn has(&self, port: u16) -> bool {
        let offset = usize::from(port.saturating_sub(self.first));
        self.contains(port) && self.bits[offset / 8] & (1 << (offset % 8)) != 0
    }

    fn set(&mut self, port: u16, on: bool) {
        if !self.contains(port) {
            return;
        }
        let offset = usize::from(port - self.first);
        let mask = 1 << (offset % 8);
        if on {
            self.bits[offset / 8] |= mask;
        } else {
            self.bits[offset / 8] &= !mask;
        }
    }

    /// Any free port: of the upper part from a random start, else of the lower part.
    fn pick(&self) -> Option<u16> {
        let size = u32::from(self.last - self.first) + 1;
        let lower = if size <= 16 {
            0
        } else {
            (size / 32).clamp(16, 128)
        };
        for (first, len) in [(lower, size - lower), (0, lower)] {
            if len == 0 {
                continue;
            }
            let start = rand::rng().random_range(0..len);
            let offsets = (0..len).map(|step| first + (start + step) % len);
            let mut ports = offsets.filter_map(|n| self.first.checked_add(u16::try_from(n).ok()?));
            if let Some(port) = ports.find(|port| !self.has(*port)) {
                return Some(port);
            }
        }
        None
    }
}

/// Takes the node ports of a service and its health check port.
pub(super) async fn allocate(
    registry: &Registry,
    object: &mut Value,
    old: Option<&Value>,
    dry_run: bool,
    allocation: &mut Allocation,
) -> Result<(), Status> {
    let held = old.map(held_ports).unwrap_or_default();
    if !needs_node_port(object) && !needs_health_check(object) {
        // Ports that are written nevertheless are refused by validation or kept as they are.
        let kept = held_ports(object);
        free(&held, &kept, dry_run, allocation);
        return Ok(());
    }
    if !held.is_empty() && is_complete(object, &held) {
        let kept = held_ports(object);
        free(&held, &kept, dry_run, allocation);
        return Ok(());
    }
    loop {
        let mut bitmap = Bitmap::load(registry).await?;
        let mut candidate = object.clone();
        let mut taken = Vec::new();
        if needs_node_port(&candidate) {
            fill_ports(&mut candidate, &held, &mut bitmap, dry_run, &mut taken)?;
        }
        if needs_health_check(&candidate) {
            fill_health_check(&mut candidate, &held, &mut bitmap, dry_run, &mut taken)?;
        }
        if !dry_run && !taken.is_empty() && !bitmap.store(registry).await? {
            continue;
        }
        *object = candidate;
        if !dry_run {
            allocation
                .taken
                .extend(taken.into_iter().map(Resource::Port));
        }
        free(&held, &held_ports(object), dry_run, allocation);
        return Ok(());
    }
}

/// Whether every port that is needed is held already.
fn is_complete(object: &Value, held: &[u16]) -> bool {
    let holds = |port: i64| u16::try_from(port).is_ok_and(|port| held.contains(&port));
    let spec = &object["spec"];
    let ports = arr_at(spec, "ports");
    (!needs_node_port(object) || ports.iter().all(|p| holds(int_at(p, "nodePort"))))
        && (!needs_health_check(object) || holds(int_at(spec, "healthCheckNodePort")))
}

fn free(held: &[u16], kept: &[u16], dry_run: bool, allocation: &mut Allocation) {
    if !dry_run {
        let freed = held.iter().filter(|port| !kept.contains(port));
        allocation
            .freed
            .extend(freed.map(|port| Resource::Port(*port)));
    }
}

fn fill_ports(
    object: &mut Value,
    held: &[u16],
    bitmap: &mut Bitmap,
    dry_run: bool,
    taken: &mut Vec<u16>,
) -> Result<(), Status> {
    let mut errors = FieldErrors::default();
    // Node ports of this service so far, with the service port and protocol that have them.
    let mut own: Vec<(u16, i64, String)> = Vec::new();
    let parent = Path::ROOT.field("spec");
    let path = parent.field("ports");
    let mut full = false;
    for (i, port) in items_mut(ensure_object(object, "spec"), "ports").enumerate() {
        let (number, protocol) = (int_at(port, "port"), str_at(port, "protocol").to_string());
        let asked = int_at(port, "nodePort");
        let item = path.index(i);
        let chosen = if asked == 0 {
            let shared = own.iter().find(|(_, n, p)| *n == number && *p != protocol);
            let Some(chosen) = shared.map(|(port, _, _)| *port).or_else(|| bitmap.pick()) else {
                full = true;
                break;
            };
            chosen
        } else {
            let known = u16::try_from(asked).ok();
            let mine = known
                .is_some_and(|port| held.contains(&port) || own.iter().any(|(p, _, _)| *p == port));
            let in_range = known.is_some_and(|port| bitmap.contains(port));
            let problem = match known {
                _ if mine => None,
                Some(port) if in_range && bitmap.has(port) && !dry_run => Some(TAKEN.to_string()),
                _ if in_range => None,
                _ => Some(out_of_range(bitmap)),
            };
            if let Some(problem) = problem {
                errors.invalid(&item.field("nodePort"), &asked.into(), problem);
                continue;
            }
            known.unwrap_or_default()
        };
        if !bitmap.has(chosen) && !held.contains(&chosen) {
            taken.push(chosen);
        }
        bitmap.set(chosen, true);
        own.push((chosen, number, protocol));
        object_mut(port).insert("nodePort".into(), chosen.into());
    }
    if full {
        return Err(Status::internal(
            "failed to allocate a nodePort: range is full",
        ));
    }
    refuse(object, &errors)
}

fn out_of_range(bitmap: &Bitmap) -> String {
    format!(
        "provided port is not in the valid range. The range of valid ports is {}-{}",
        bitmap.first, bitmap.last
    )
}

fn fill_health_check(
    object: &mut Value,
    held: &[u16],
    bitmap: &mut Bitmap,
    dry_run: bool,
    taken: &mut Vec<u16>,
) -> Result<(), Status> {
    let asked = at(object, "spec").map_or(0, |spec| int_at(spec, "healthCheckNodePort"));
    let fail = |why: &str| {
        Err(Status::internal(&format!(
            "failed to allocate requested HealthCheck NodePort {asked}: {why}"
        )))
    };
    let chosen = match u16::try_from(asked) {
        Ok(0) => match bitmap.pick() {
            Some(port) => port,
            None => {
                return Err(Status::internal(
                    "failed to allocate a HealthCheck NodePort 0: range is full",
                ));
            }
        },
        Ok(port) if held.contains(&port) => port,
        Ok(port) if bitmap.contains(port) => {
            if bitmap.has(port) && !dry_run {
                return fail(TAKEN);
            }
            port
        }
        _ => return fail(&out_of_range(bitmap)),
    };
    if !held.contains(&chosen) {
        taken.push(chosen);
    }
    bitmap.set(chosen, true);
    object_mut(ensure_object(object, "spec")).insert("healthCheckNodePort".into(), chosen.into());
    Ok(())
}

/// Gives ports back.
pub(super) async fn release(registry: &Registry, ports: &[u16]) {
    loop {
        let stored = match Bitmap::load(registry).await {
            Ok(mut bitmap) => {
                for port in ports {
                    bitmap.set(*port, false);
                }
                bitmap.store(registry).await
            }
            Err(status) => Err(status),
        };
        match stored {
            Ok(true) => return,
            Ok(false) => {}
            Err(status) => {
                tracing::warn!(?ports, %status, "node ports could not be released");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitmap(first: u16, last: u16) -> Bitmap {
        Bitmap {
            first,
            last,
            bits: vec![0; (usize::from(last - first) + 8) / 8],
            revision: None,
        }
    }

    #[test]
    fn ports_are_picked_until_the_range_is_full() {
        let mut bitmap = bitmap(30000, 30003);
        for _ in 0..4 {
            let port = bitmap.pick().expect("a free port");
            assert!(!bitmap.has(port));
            bitmap.set(port, true);
        }
        assert_eq!(bitmap.pick(), None);
        bitmap.set(30001, false);
        assert_eq!(bitmap.pick(), Some(30001));
    }

    #[test]
    fn equal_ports_of_two_protocols_share() {
        let mut object = json!({"spec": {"type": "NodePort", "ports": [
            {"name": "a", "port": 53, "protocol": "TCP"}, {"name": "b", "port": 53, "protocol": "UDP"}]}});
        let mut taken = Vec::new();
        fill_ports(
            &mut object,
            &[],
            &mut bitmap(30000, 32767),
            false,
            &mut taken,
        )
        .expect("ports are free");
        let ports = &object["spec"]["ports"];
        assert_eq!(ports[0]["nodePort"], ports[1]["nodePort"]);
        assert_eq!(taken.len(), 1);
    }
}
