//! `Kinds`: what admission must know of served versions and kinds without knowing the registry.

use std::borrow::Cow;
use std::sync::Arc;

use crate::api::names::GroupVersionKind;
use crate::api::resource::Resource;
use crate::base::tree::Value;

/// Versions of one resource, and objects in them. The registry implements this.
pub trait Kinds: Send + Sync {
    /// The row of a kind.
    fn row(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>>;

    /// Every served row whose objects are stored where those of `resource` are, itself included, in
    /// the order of the table.
    fn equivalents(&self, resource: &Resource) -> Vec<Arc<Resource>>;

    /// An object of `resource` as others see it: in the version of `to`, and as the subresource's own
    /// kind where it has one (Scale).
    fn present<'a>(
        &self,
        resource: &Resource,
        subresource: &str,
        object: &'a Value,
        to: &Resource,
    ) -> Cow<'a, Value>;

    /// Takes back what [`Kinds::present`] gave and somebody changed: decoded, defaulted, and in the
    /// version of `resource` again.
    ///
    /// # Errors
    /// It is no object of that kind any more; in the decoder's words.
    fn take_back(
        &self,
        resource: &Resource,
        subresource: &str,
        presented: Value,
        from: &Resource,
        object: &mut Value,
    ) -> Result<(), String>;

    /// Merges a configuration into an object of `kind` by its schema, as server-side apply would,
    /// without owners. `None`: no such kind is served. The inner error is what does not fit, in
    /// upstream's words.
    fn merge(
        &self,
        kind: &GroupVersionKind,
        object: &Value,
        config: &Value,
    ) -> Option<Result<Value, String>>;
}
