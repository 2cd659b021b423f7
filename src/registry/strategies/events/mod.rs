//! Strategies of Event, in the core group and in events.k8s.io: one kind, stored as core/v1.

pub mod convert;
pub mod event;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of events.k8s.io.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    match kind {
        "Event" => Some(&event::EventStrategy { core: false }),
        _ => None,
    }
}
