//! Clock, tasks and bounded queues.
