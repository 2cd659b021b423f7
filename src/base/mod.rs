//! The ground: clock, tasks, bounded queues, backoff, Go durations, JSON trees, WebSocket
//! frames. Knows nothing of Kubernetes.

pub mod backoff;
pub mod clock;
pub mod duration;
pub mod queue;
pub mod tasks;
pub mod tree;
pub mod websocket;

pub use backoff::Backoff;
pub use clock::{Clock, ManualClock, SystemClock};
pub use tasks::Tasks;
