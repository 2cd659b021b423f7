//! The object of a write as webhooks and mutating policies see it, and back.

use crate::admission::matching::presented;
use crate::admission::{Admission, Kinds, Operation};
use crate::api::resource::Resource;
use crate::base::tree::{Map, Value};

/// Metadata that a new object gets after mutating admission upstream.
const FILLED_LATER: [&str; 2] = ["uid", "creationTimestamp"];

/// An object in the version that somebody asked for, without what is not there yet upstream.
pub(super) struct Shown {
    /// As it is seen.
    pub(super) object: Value,
    /// The metadata that is not seen.
    hidden: Map,
}

impl Shown {
    /// The object of `admission` in the version of `version`.
    pub(super) fn new(kinds: &dyn Kinds, admission: &Admission<'_>, version: &Resource) -> Self {
        let object = presented(kinds, admission, admission.object, version);
        let mut object = object.into_owned();
        let mut hidden = Map::new();
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        if let (Operation::Create, Some(metadata)) = (admission.operation, metadata) {
            let name = admission.name_is_generated.then_some("name");
            for member in FILLED_LATER.into_iter().chain(name) {
                if let Some(value) = metadata.remove(member) {
                    hidden.insert(member.into(), value);
                }
            }
        }
        Shown { object, hidden }
    }

    /// Makes what somebody made of it the request's object.
    ///
    /// # Errors
    /// It is no object of its kind any more; in the decoder's words.
    pub(super) fn put_back(
        self,
        kinds: &dyn Kinds,
        admission: &mut Admission<'_>,
        version: &Resource,
        mut changed: Value,
    ) -> Result<(), String> {
        if let Some(metadata) = changed.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.extend(self.hidden);
        }
        let (resource, subresource) = (admission.resource, admission.subresource);
        kinds.take_back(resource, subresource, changed, version, admission.object)
    }
}
