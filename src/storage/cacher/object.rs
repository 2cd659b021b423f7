//! `CachedObject`: one object, ready to send; and the codec that makes it from stored bytes.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ::bytes::Bytes;

use crate::api::bytes::{self, FieldValue, Labels, Ready, Shape};
use crate::storage::{Error, Revision};

/// What a watch event says about its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// New to the watcher.
    Added,
    /// Known to the watcher, changed.
    Modified,
    /// Gone for the watcher.
    Deleted,
}

impl EventType {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Added => "ADDED",
            EventType::Modified => "MODIFIED",
            EventType::Deleted => "DELETED",
        }
    }

    /// What stands before the object in a JSON watch frame.
    pub fn head(self) -> &'static str {
        match self {
            EventType::Added => "{\"type\":\"ADDED\",\"object\":",
            EventType::Modified => "{\"type\":\"MODIFIED\",\"object\":",
            EventType::Deleted => "{\"type\":\"DELETED\",\"object\":",
        }
    }
}

/// What stands behind the object in a JSON watch frame.
pub const FRAME_TAIL: &str = "}\n";

/// One object in the cache.
///
/// Its text lies inside the watch frame that first announced it, so that sending that frame to any
/// number of watchers costs no further bytes. Labels and fields are spans into the text.
#[derive(Debug)]
pub struct CachedObject {
    key: Box<str>,
    prefix_len: u32,
    list_offset: u32,
    revision: Revision,
    frame: Bytes,
    announces: EventType,
    labels: Labels,
    fields: Box<[FieldValue]>,
    shape: Arc<Shape>,
}

impl CachedObject {
    /// Makes an object from its stored JSON text. `prefix_len` is the length of the cache's
    /// storage prefix within `key`; `announces` the event whose frame is laid out in advance.
    pub fn from_json(
        key: &str,
        prefix_len: usize,
        shape: &Arc<Shape>,
        stored: &[u8],
        revision: Revision,
        announces: EventType,
    ) -> Result<Self, Error> {
        let head = announces.head().as_bytes();
        let ready = bytes::ready(stored, revision, shape, head, FRAME_TAIL.as_bytes()).map_err(
            |error| Error::Corrupt {
                reason: format!("{key}: {error}"),
            },
        )?;
        Ok(Self::from_ready(
            key, prefix_len, shape, ready, revision, announces,
        ))
    }

    fn from_ready(
        key: &str,
        prefix_len: usize,
        shape: &Arc<Shape>,
        ready: Ready,
        revision: Revision,
        announces: EventType,
    ) -> Self {
        Self {
            key: key.into(),
            prefix_len: prefix_len as u32,
            list_offset: ready.list_offset as u32,
            revision,
            frame: Bytes::from(ready.frame),
            announces,
            labels: ready.labels,
            fields: ready.fields,
            shape: shape.clone(),
        }
    }

    /// The same object under another resourceVersion, announced by `announces`: what a watcher gets
    /// when the object is deleted or leaves its selection.
    pub fn at_revision(&self, revision: Revision, announces: EventType) -> Self {
        let ready = bytes::at_revision(
            self.text(),
            self.list_offset(),
            self.revision,
            revision,
            announces.head().as_bytes(),
            FRAME_TAIL.as_bytes(),
        );
        let digits = |n: Revision| i64::from(n.checked_ilog10().unwrap_or(0));
        let by = digits(revision) - digits(self.revision);
        let behind = bytes::revision_offset(self.list_offset()) + 1;
        let mut labels = self.labels.clone();
        labels.shift(behind, by);
        let mut fields = self.fields.clone();
        for field in &mut fields {
            field.shift(behind, by);
        }
        Self {
            labels,
            fields,
            ..Self::from_ready(
                &self.key,
                self.prefix_len as usize,
                &self.shape,
                ready,
                revision,
                announces,
            )
        }
    }

    /// Full storage key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The key without the cache's prefix: `namespace/name` or `name`.
    pub fn relative_key(&self) -> &str {
        self.key.get(self.prefix_len as usize..).unwrap_or_default()
    }

    /// Namespace, empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.relative_key()
            .rsplit_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    /// Name.
    pub fn name(&self) -> &str {
        let key = self.relative_key();
        key.rsplit_once('/').map_or(key, |(_, name)| name)
    }

    /// Revision of the object's last write; the number in its `metadata.resourceVersion`.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The object's JSON text, ready to send, shared. For borrowing use [`CachedObject::text`].
    pub fn json(&self) -> Bytes {
        let head = self.announces.head().len();
        self.frame.slice(head..self.frame.len() - FRAME_TAIL.len())
    }

    /// The object's JSON text, ready to send.
    pub fn text(&self) -> &[u8] {
        let head = self.announces.head().len();
        &self.frame[head..self.frame.len() - FRAME_TAIL.len()]
    }

    /// An item of a built-in kind's list is `{` followed by the text from here on.
    pub fn list_offset(&self) -> usize {
        self.list_offset as usize
    }

    /// The text from [`CachedObject::list_offset`] on, shared.
    pub fn list_item_tail(&self) -> Bytes {
        let start = self.announces.head().len() + self.list_offset();
        self.frame.slice(start..self.frame.len() - FRAME_TAIL.len())
    }

    /// The JSON watch frame of this object for `event`: laid out in advance for the event that
    /// announced it, copied together for the others.
    pub fn frame(&self, event: EventType) -> Bytes {
        if event == self.announces {
            return self.frame.clone();
        }
        let text = self.text();
        let head = event.head();
        let mut out = Vec::with_capacity(head.len() + text.len() + FRAME_TAIL.len());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(text);
        out.extend_from_slice(FRAME_TAIL.as_bytes());
        Bytes::from(out)
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(self.text(), key)
    }

    /// All labels.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter(self.text())
    }

    /// The value of the selectable field at `position` of the resource's `selectable_fields`, its
    /// default where the object does not say.
    pub fn field_at(&self, position: usize) -> Option<&str> {
        let field = self.shape.fields().get(position)?;
        let value = self.fields.get(position)?;
        Some(value.get(self.text()).unwrap_or(&field.default))
    }

    /// The value of a selectable field by its name in `fieldSelector`; `None` when the kind does
    /// not know it.
    pub fn field(&self, label: &str) -> Option<&str> {
        match label {
            "metadata.name" => Some(self.name()),
            "metadata.namespace" => Some(self.namespace()),
            _ => self.field_at(self.shape.position(label)?),
        }
    }
}

/// Makes cached objects from stored bytes: where encryption is undone and foreign encodings are
/// turned into JSON.
pub trait Codec: Send + Sync + 'static {
    /// The object stored under `key` at `revision`. `announces` is the event that brought it
    /// (pass it on to [`CachedObject::from_json`]).
    ///
    /// An error keeps the object out of the cache; it is counted and logged with its key.
    fn ready(
        &self,
        key: &str,
        stored: &Bytes,
        revision: Revision,
        announces: EventType,
    ) -> Result<CachedObject, Error>;
}

/// The codec for values stored as plain JSON.
#[derive(Clone, Debug)]
pub struct JsonCodec {
    prefix_len: usize,
    shape: Arc<Shape>,
}

impl JsonCodec {
    /// A codec for the cache over `prefix`, of a kind with this shape.
    pub fn new(prefix: &str, shape: Shape) -> Self {
        Self {
            prefix_len: prefix.len(),
            shape: Arc::new(shape),
        }
    }
}

impl Codec for JsonCodec {
    fn ready(
        &self,
        key: &str,
        stored: &Bytes,
        revision: Revision,
        announces: EventType,
    ) -> Result<CachedObject, Error> {
        CachedObject::from_json(
            key,
            self.prefix_len,
            &self.shape,
            stored,
            revision,
            announces,
        )
    }
}

/// A cached object as a member of an ordered set: ordered and found by its key.
#[derive(Clone, Debug)]
pub(super) struct ByKey(pub(super) Arc<CachedObject>);

impl Borrow<str> for ByKey {
    fn borrow(&self) -> &str {
        &self.0.key
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As its key, by which it is found.
        self.0.key.hash(state);
    }
}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}
