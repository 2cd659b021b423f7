//! Allocation around writes: what an object takes from pools that all objects share.
//!
//! Two phases: before an object is validated and stored the allocator takes what it needs; when the
//! write fails that is given back, when it succeeds what the old object alone had is given back.

use async_trait::async_trait;

use super::Registry;
use super::services::{self, Resource};
use crate::api::status::Status;
use crate::base::tree::Value;

/// Fills an object with what it takes from shared pools. A strategy provides it.
#[async_trait]
pub trait Allocator: Send + Sync {
    /// Fills `object`. With `dry_run` nothing lasting is taken. After an error nothing is held.
    async fn allocate(
        &self,
        registry: &Registry,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<Allocation, Status>;

    /// Gives back what a removed object held.
    async fn release(&self, registry: &Registry, object: &Value);
}

/// What one write took and what it is to give back.
#[derive(Debug, Default)]
#[must_use = "an allocation is committed or aborted"]
pub struct Allocation {
    /// Taken for the new object.
    pub taken: Vec<Resource>,
    /// Held by the old object only.
    pub freed: Vec<Resource>,
}

impl Allocation {
    /// The write succeeded.
    pub async fn commit(self, registry: &Registry) {
        if !self.freed.is_empty() {
            services::release(registry, &self.freed).await;
        }
    }

    /// The write failed.
    pub async fn abort(self, registry: &Registry) {
        if !self.taken.is_empty() {
            services::release(registry, &self.taken).await;
        }
    }
}
