//! Seats: how much of a level a request occupies (contract/flow_control.md §4).
//!
//! A list costs by the bytes it is likely to answer, a write by the watchers that hear of it, all
//! else one seat. What is known of resources comes from [`Load`], a picture that the server renews.

use std::collections::HashMap;
use std::time::Duration;

use crate::request::RequestContext;

/// Bytes of a list that one seat pays for.
const BYTES_PER_SEAT: u64 = 100_000;
/// Bytes that a list from the cache is charged at most.
const CACHED_LIST_MAX_BYTES: u64 = 1_000_000;
/// Most seats of a list, before the level's own bound.
const LIST_MAX_SEATS: u64 = 100;
/// Watchers that one final seat of a write pays for.
const WATCHERS_PER_SEAT: u64 = 10;
/// Most final seats of a write.
const WRITE_MAX_SEATS: u64 = 10;
/// How long one final seat is held.
const TIME_PER_SEAT: Duration = Duration::from_millis(5);

/// What one request occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seats {
    /// While it runs.
    pub(super) initial: u32,
    /// Afterwards, while watchers are told.
    pub(super) last: u32,
    /// How long afterwards.
    pub(super) extra: Duration,
}

/// What is known of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceLoad {
    /// Objects in memory.
    pub objects: u64,
    /// Their size on average.
    pub average_bytes: u64,
    /// Running watches.
    pub watchers: u64,
}

/// What is known of resources, by group and plural.
#[derive(Clone, Debug, Default)]
pub struct Load(HashMap<String, HashMap<String, ResourceLoad>>);

impl Load {
    /// Adds a resource.
    pub fn insert(&mut self, group: &str, resource: &str, load: ResourceLoad) {
        let group = self.0.entry(group.into()).or_default();
        group.insert(resource.into(), load);
    }

    fn get(&self, group: &str, resource: &str) -> Option<ResourceLoad> {
        self.0.get(group)?.get(resource).copied()
    }
}

impl Seats {
    pub(super) const ONE: Seats = Seats {
        initial: 1,
        last: 0,
        extra: Duration::ZERO,
    };

    /// Estimates a request; `most` is what its level gives one request.
    pub(super) fn of(ctx: &RequestContext, load: &Load, most: u32) -> Seats {
        if Seats::is_one(ctx) {
            return Seats::ONE;
        }
        let info = &ctx.info;
        match info.verb.as_str() {
            "list" => Seats::list(ctx, load, most),
            "watch" if reads_everything(ctx) => Seats::list(ctx, load, most),
            "create" | "update" | "patch" | "delete" => {
                let known = load.get(&info.group, &info.resource).unwrap_or_default();
                Seats::write(known.watchers, most)
            }
            _ => Seats::ONE,
        }
    }

    /// Whether a request takes one seat wherever it goes.
    pub(super) fn is_one(ctx: &RequestContext) -> bool {
        let info = &ctx.info;
        // A token is not stored, nobody hears of it.
        let is_token = info.resource == "serviceaccounts" && info.subresource == "token";
        !info.is_resource || is_token || info.verb == "get"
    }

    fn list(ctx: &RequestContext, load: &Load, most: u32) -> Seats {
        let info = &ctx.info;
        let Some(known) = load.get(&info.group, &info.resource) else {
            return Seats::ONE;
        };
        let number = |name: &str| ctx.query_value(name).and_then(|v| v.parse::<u64>().ok());
        let limit = number("limit").filter(|limit| *limit > 0);
        let from_store = ctx.query_value("continue").is_some_and(|c| !c.is_empty())
            || limit.is_some() && ctx.query_value("resourceVersion").is_none_or(|v| v != "0");
        let has_selector = !info.field_selector.is_empty() || !info.label_selector.is_empty();
        let count = match limit {
            _ if !info.name.is_empty() => 1,
            None => known.objects,
            Some(limit) if from_store && has_selector => limit.max(known.objects / 2),
            Some(limit) => limit.min(known.objects),
        };
        let mut bytes = count.saturating_mul(known.average_bytes);
        if !from_store {
            bytes = bytes.min(CACHED_LIST_MAX_BYTES);
        }
        let seats = bytes.div_ceil(BYTES_PER_SEAT).clamp(1, LIST_MAX_SEATS);
        Seats {
            initial: u32::try_from(seats).unwrap_or(u32::MAX).min(most.max(1)),
            ..Seats::ONE
        }
    }

    fn write(watchers: u64, most: u32) -> Seats {
        if watchers < WATCHERS_PER_SEAT {
            return Seats::ONE;
        }
        let seats = watchers.div_ceil(WATCHERS_PER_SEAT).min(WRITE_MAX_SEATS);
        let seats = u32::try_from(seats).unwrap_or(u32::MAX);
        Seats {
            initial: 1,
            last: seats.min(most.max(1)),
            extra: TIME_PER_SEAT * seats,
        }
    }

    /// The most it occupies at any time.
    pub(super) fn most(self) -> u32 {
        self.initial.max(self.last)
    }
}

/// Whether a watch begins with all objects.
fn reads_everything(ctx: &RequestContext) -> bool {
    match ctx.query_value("resourceVersion").as_deref() {
        None | Some("" | "0") => true,
        _ => ctx.query_value("sendInitialEvents").as_deref() == Some("true"),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::request::RequestInfo;

    #[test]
    fn seats_follow_bytes_and_watchers() {
        let mut load = Load::default();
        let pods = ResourceLoad {
            objects: 5000,
            average_bytes: 2000,
            watchers: 25,
        };
        load.insert("", "pods", pods);
        for (method, uri, most, wanted) in [
            (Method::GET, "/api/v1/pods/x", 50, (1, 0, 0)),
            (Method::GET, "/api/v1/pods", 50, (10, 0, 0)),
            (Method::GET, "/api/v1/pods", 4, (4, 0, 0)),
            (Method::GET, "/api/v1/pods?limit=100", 50, (2, 0, 0)),
            (
                Method::GET,
                "/api/v1/pods?limit=100&labelSelector=a",
                60,
                (50, 0, 0),
            ),
            (
                Method::GET,
                "/api/v1/pods?fieldSelector=metadata.name%3Dx",
                50,
                (1, 0, 0),
            ),
            (Method::GET, "/api/v1/pods?watch=1", 50, (10, 0, 0)),
            (
                Method::GET,
                "/api/v1/pods?watch=1&resourceVersion=7",
                50,
                (1, 0, 0),
            ),
            (Method::GET, "/api/v1/secrets", 50, (1, 0, 0)),
            (Method::POST, "/api/v1/namespaces/n/pods", 50, (1, 3, 15)),
            (Method::POST, "/api/v1/namespaces/n/pods", 2, (1, 2, 15)),
            (Method::POST, "/api/v1/namespaces/n/secrets", 50, (1, 0, 0)),
            (
                Method::POST,
                "/api/v1/namespaces/n/serviceaccounts/s/token",
                50,
                (1, 0, 0),
            ),
            (
                Method::PATCH,
                "/api/v1/namespaces/n/pods/p/status",
                50,
                (1, 3, 15),
            ),
        ] {
            let uri: Uri = uri.parse().expect("a URI");
            let mut ctx = RequestContext::new(method, uri.clone(), HeaderMap::new(), None);
            let query = uri.query().unwrap_or_default();
            ctx.info = RequestInfo::parse(&ctx.method, uri.path(), query).expect("a path");
            let seats = Seats::of(&ctx, &load, most);
            let got = (seats.initial, seats.last, seats.extra.as_millis());
            assert_eq!(got, wanted, "{uri} of at most {most}");
        }
    }
}
