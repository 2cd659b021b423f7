//! `Partition`: the tantivy index of one day.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use tantivy::columnar::Column;
use tantivy::directory::MmapDirectory;
use tantivy::index::{IndexSettings, InvertedIndexReader};
use tantivy::merge_policy::LogMergePolicy;
use tantivy::schema::IndexRecordOption;
use tantivy::store::{Compressor, ZstdCompressor};
use tantivy::{DocSet, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TERMINATED, Term};

use crate::search::document::{EventDocument, KEY_LOW_BITS, Prepared};
use crate::search::fields::{self, Fields, KEY};
use crate::search::follower::Position;
use crate::search::in_flight::InFlight;

/// Threads of a writer, and the memory of each.
#[derive(Clone, Copy, Debug)]
pub struct WriterSize {
    /// Threads.
    pub threads: usize,
    /// Bytes of each.
    pub bytes: usize,
}

/// Segments of about one size that are merged together. Merging costs as much as indexing: more of
/// them at once means that an event is merged less often.
const MERGED_SEGMENTS_MIN: usize = 12;
/// For a writer that writes no documents.
const SMALL: WriterSize = WriterSize {
    threads: 1,
    bytes: 16 << 20,
};
/// Bytes of stored events that are compressed together.
const STORE_BLOCK_BYTES: usize = 128 << 10;

/// Up to where each log is indexed, by the source's name.
pub type Positions = BTreeMap<String, Position>;

/// A stretch of a log that a partition built anew still lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Up to where it was read again.
    pub at: Position,
    /// Up to where it must be.
    pub until: Position,
}

/// How the files of a day are written. A day of another format cannot be read; it is set aside and
/// built anew. 1 had its terms in an FST, 2 a value for each stage of the pipeline.
pub(super) const FORMAT: u32 = 3;

/// What is committed beside the documents.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payload {
    #[serde(default)]
    format: u32,
    positions: Positions,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rebuild: BTreeMap<String, Span>,
}

impl Default for Payload {
    fn default() -> Self {
        Payload {
            format: FORMAT,
            positions: Positions::new(),
            rebuild: BTreeMap::new(),
        }
    }
}

/// Finds events that are in the committed part of a day already.
pub(super) struct Known {
    segments: Vec<(Arc<InvertedIndexReader>, Column<u64>)>,
}

/// One day.
pub struct Partition {
    /// Which day.
    pub day: NaiveDate,
    directory: PathBuf,
    index: Index,
    reader: IndexReader,
    writer: Option<IndexWriter<EventDocument>>,
    in_flight: Arc<InFlight>,
    /// Up to where the logs are indexed as far as this day is concerned.
    pub positions: Positions,
    /// What is to be read again after the day was set aside, by source.
    pub rebuild: BTreeMap<String, Span>,
    /// Sort keys added since the last commit, and which event each is of.
    pending: HashMap<u64, u64>,
    known: Option<Known>,
}

impl Partition {
    /// Opens or creates the index of a day.
    pub fn open(root: &Path, day: NaiveDate, fields: &Fields) -> tantivy::Result<Self> {
        let directory = root.join(day.to_string());
        fs::create_dir_all(&directory)?;
        Self::at(directory, day, fields)
    }

    fn at(directory: PathBuf, day: NaiveDate, fields: &Fields) -> tantivy::Result<Self> {
        let settings = IndexSettings {
            docstore_compression: Compressor::Zstd(ZstdCompressor {
                compression_level: Some(1),
            }),
            docstore_blocksize: STORE_BLOCK_BYTES,
            ..IndexSettings::default()
        };
        let index = Index::builder()
            .schema(fields.schema.clone())
            .settings(settings)
            .open_or_create(MmapDirectory::open(&directory)?)?;
        fields::register(&index);
        let payload = index.load_metas()?.payload;
        let payload: Payload = match payload {
            Some(text) => serde_json::from_str(&text)
                .map_err(|e| tantivy::TantivyError::SystemError(e.to_string()))?,
            None => Payload::default(),
        };
        if payload.format != FORMAT {
            let text = format!("its format is {}, not {FORMAT}", payload.format);
            return Err(tantivy::TantivyError::SystemError(text));
        }
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        Ok(Partition {
            day,
            directory,
            index,
            reader,
            writer: None,
            in_flight: Arc::default(),
            positions: payload.positions,
            rebuild: payload.rebuild,
            pending: HashMap::new(),
            known: None,
        })
    }

    /// Sets the day's index aside and puts an empty one in its place that knows what it lacks.
    /// Crash-safe: the new one is whole before the old one goes. Answers where the old one is.
    pub fn replace(
        root: &Path,
        day: NaiveDate,
        fields: &Fields,
        positions: Positions,
        rebuild: BTreeMap<String, Span>,
    ) -> tantivy::Result<(Self, PathBuf)> {
        let fresh = root.join(format!("{day}.new"));
        fs::remove_dir_all(&fresh).or_else(absent)?;
        fs::create_dir_all(&fresh)?;
        let mut partition = Self::at(fresh.clone(), day, fields)?;
        (partition.positions, partition.rebuild) = (positions, rebuild);
        partition.write_payload()?;
        drop(partition);
        let directory = root.join(day.to_string());
        let aside = root.join(format!("{day}.corrupt-{}", chrono::Utc::now().timestamp()));
        fs::rename(&directory, &aside).or_else(absent)?;
        fs::rename(&fresh, &directory)?;
        Ok((Self::at(directory, day, fields)?, aside))
    }

    /// Finishes a [`Partition::replace`] that a crash cut off.
    pub fn finish_replacing(root: &Path, day: NaiveDate) -> io::Result<()> {
        let fresh = root.join(format!("{day}.new"));
        if !fresh.exists() {
            return Ok(());
        }
        match root.join(day.to_string()) {
            // The old one is still in its place: it is looked at again.
            there if there.exists() => fs::remove_dir_all(fresh),
            gone => fs::rename(fresh, gone),
        }
    }

    /// Adds a document, under a key that no other one of this commit has: pages end between keys.
    pub fn add(
        &mut self,
        mut prepared: Prepared,
        fields: &Fields,
        size: WriterSize,
    ) -> tantivy::Result<()> {
        let mut keys = slots(prepared.key);
        if let Some(key) = keys.find(|key| !self.pending.contains_key(key))
            && key != prepared.key
        {
            prepared.key = key;
            prepared.document.set_key(fields, key);
        }
        self.pending.insert(prepared.key, prepared.identity);
        prepared.document.hold(self.in_flight.enter());
        self.writer(size)?.add_document(prepared.document)?;
        Ok(())
    }

    fn writer(&mut self, size: WriterSize) -> tantivy::Result<&mut IndexWriter<EventDocument>> {
        Ok(match &mut self.writer {
            Some(writer) => writer,
            none => {
                let bytes = size.bytes * size.threads;
                let writer = self.index.writer_with_num_threads(size.threads, bytes)?;
                let mut policy = LogMergePolicy::default();
                policy.set_min_num_segments(MERGED_SEGMENTS_MIN);
                writer.set_merge_policy(Box::new(policy));
                none.insert(writer)
            }
        })
    }

    /// Whether there is something to commit.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the event is here already, committed or not.
    pub fn contains(&mut self, prepared: &Prepared, fields: &Fields) -> tantivy::Result<bool> {
        let mut pending = slots(prepared.key).map_while(|key| self.pending.get(&key));
        if pending.any(|identity| *identity == prepared.identity) {
            return Ok(true);
        }
        if self.known.is_none() {
            self.known = Some(Known::of(&self.reader.searcher(), fields)?);
        }
        match &self.known {
            Some(known) => known.contains(fields, prepared),
            None => Ok(false),
        }
    }

    /// Makes what was added durable and searchable, with the positions behind it.
    pub fn commit(&mut self, positions: Positions) -> tantivy::Result<()> {
        self.positions = positions;
        self.write_payload()
    }

    /// Commits with the positions as they are.
    pub fn write_payload(&mut self) -> tantivy::Result<()> {
        let payload = Payload {
            format: FORMAT,
            positions: self.positions.clone(),
            rebuild: self.rebuild.clone(),
        };
        let payload = serde_json::to_string(&payload).unwrap_or_default();
        let mut prepared = self.writer(SMALL)?.prepare_commit()?;
        prepared.set_payload(&payload);
        prepared.commit()?;
        self.reader.reload()?;
        self.pending = HashMap::new();
        self.known = None;
        Ok(())
    }

    /// Forgets what was added since the last commit, and the writer with it.
    pub fn roll_back(&mut self) -> tantivy::Result<()> {
        self.writer = None;
        self.pending = HashMap::new();
        let payload = self.index.load_metas()?.payload.unwrap_or_default();
        let payload: Payload = serde_json::from_str(&payload).unwrap_or_default();
        (self.positions, self.rebuild) = (payload.positions, payload.rebuild);
        Ok(())
    }

    /// Gives the writer's memory back. What was added must be committed.
    pub fn close_writer(&mut self) {
        if self.pending.is_empty() {
            self.writer = None;
        }
    }

    /// Waits for merges and gives the writer back. What was added must be committed.
    pub fn finish(&mut self) -> tantivy::Result<()> {
        if let Some(writer) = self.writer.take() {
            writer.wait_merging_threads()?;
            self.reader.reload()?;
            self.known = None;
        }
        Ok(())
    }

    /// Whether a writer is open.
    pub fn is_writing(&self) -> bool {
        self.writer.is_some()
    }

    /// A view of what is committed.
    pub fn searcher(&self) -> Searcher {
        self.reader.searcher()
    }

    /// Reads every file and compares checksums. Answers whether all is well.
    pub fn is_sound(&self) -> bool {
        self.index
            .validate_checksum()
            .is_ok_and(|damaged| damaged.is_empty())
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        directory_bytes(&self.directory)
    }

    /// Deletes the day.
    pub fn remove(self) -> io::Result<()> {
        let directory = self.directory.clone();
        drop(self);
        fs::remove_dir_all(directory)
    }
}

impl Known {
    pub(super) fn of(searcher: &Searcher, fields: &Fields) -> tantivy::Result<Self> {
        let segments = searcher.segment_readers().iter();
        let segments = segments.map(|segment| {
            let ids = segment.inverted_index(fields.audit_id)?;
            Ok((ids, segment.fast_fields().u64(KEY)?))
        });
        Ok(Known {
            segments: segments.collect::<tantivy::Result<_>>()?,
        })
    }

    pub(super) fn contains(&self, fields: &Fields, prepared: &Prepared) -> tantivy::Result<bool> {
        let term = Term::from_field_u64(fields.audit_id, prepared.audit_id);
        let key = prepared.key;
        for (ids, keys) in &self.segments {
            let Some(info) = ids.get_term_info(&term)? else {
                continue;
            };
            let mut documents = ids.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
            while documents.doc() != TERMINATED {
                // The low bits may have had to give way.
                let found = keys.first(documents.doc());
                if found.is_some_and(|found| found >> KEY_LOW_BITS == key >> KEY_LOW_BITS) {
                    return Ok(true);
                }
                documents.advance();
            }
        }
        Ok(false)
    }
}

/// The keys that an event may have, the one made of it first.
fn slots(key: u64) -> impl Iterator<Item = u64> {
    let count = 1u64 << KEY_LOW_BITS;
    let (high, low) = (key & !(count - 1), key & (count - 1));
    (0..count).map(move |step| high | ((low + step) & (count - 1)))
}

fn absent(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

/// Bytes of the files in a folder.
pub fn directory_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|e| e.ok()?.metadata().ok())
        .map(|m| m.len())
        .sum()
}

/// Days that have an index below `root`, oldest first.
pub fn days(root: &Path) -> io::Result<Vec<NaiveDate>> {
    let mut days: Vec<NaiveDate> = fs::read_dir(root)?
        .filter_map(|e| {
            let name = e.ok()?.file_name();
            let name = name.to_str()?;
            name.strip_suffix(".new").unwrap_or(name).parse().ok()
        })
        .collect();
    days.sort();
    days.dedup();
    Ok(days)
}

/// Folders of days that were set aside.
pub fn set_aside(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten();
    entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().contains(".corrupt-"))
        })
        .collect()
}
