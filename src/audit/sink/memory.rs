//! A sink that keeps events in memory, for tests of whoever emits them.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::audit::EventBytes;
use crate::audit::sink::{Loss, Receipt, Sink};
use crate::base::tree::Value;

/// Keeps every event, or loses every event.
#[derive(Debug, Default)]
pub struct MemorySink {
    events: Mutex<Vec<Value>>,
    /// When set, every event is lost with this reason.
    failure: Option<Loss>,
}

impl MemorySink {
    /// Loses every event.
    pub fn failing(loss: Loss) -> Self {
        MemorySink {
            failure: Some(loss),
            ..MemorySink::default()
        }
    }

    /// What was accepted so far, parsed.
    pub fn events(&self) -> Vec<Value> {
        self.events.lock().clone()
    }
}

#[async_trait]
impl Sink for MemorySink {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn accept(&self, event: &Arc<EventBytes>) -> Receipt {
        if let Some(loss) = self.failure {
            return Receipt::Lost(loss);
        }
        let tree = serde_json::from_slice(event.json()).unwrap_or_default();
        self.events.lock().push(tree);
        Receipt::Done
    }

    async fn flush(&self) {}
}
