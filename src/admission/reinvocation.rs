//! The second mutating pass: who is asked again (`reinvocationPolicy`).
//!
//! Webhooks and mutating policies that want to see later changes wait; a change by somebody else makes
//! them due, and the pass is run once more for those.

use std::collections::BTreeSet;

use crate::base::tree::Value;

/// A mutating webhook or policy that changed the object makes all mutating plugins run once more.
#[derive(Debug, Default)]
pub struct Reinvocation {
    /// This is the second time.
    pub(super) is_second: bool,
    /// There shall be a second time.
    pub(super) is_wanted: bool,
    pub(super) webhooks: Rounds,
    pub(super) policies: Rounds,
}

/// What the first round of a request leaves for the second, of one plugin.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Those that want to see later changes and have been called.
    waiting: BTreeSet<String>,
    /// Those of them that must be called again.
    due: BTreeSet<String>,
    /// The object as the plugin left it.
    last: Option<Value>,
}

impl Rounds {
    /// The second round begins: plugins in between may have changed the object.
    pub(super) fn resume(&mut self, object: &Value) {
        if self.last.as_ref() != Some(object) {
            self.object_changed();
        }
    }

    /// Whoever waits is due.
    pub(super) fn object_changed(&mut self) {
        self.due.append(&mut self.waiting);
    }

    /// Whether this one must be called again.
    pub(super) fn is_due(&self, key: &str) -> bool {
        self.due.contains(key)
    }

    /// This one was called and wants to see later changes.
    pub(super) fn wait(&mut self, key: String) {
        self.waiting.insert(key);
    }

    /// The round ends with this object.
    pub(super) fn leave(&mut self, object: &Value) {
        self.last = Some(object.clone());
    }
}
