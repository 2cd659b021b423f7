//! `Partition`: the tantivy index of one day.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use tantivy::directory::MmapDirectory;
use tantivy::index::IndexSettings;
use tantivy::store::{Compressor, ZstdCompressor};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyDocument};

use crate::search::fields::{self, Fields};
use crate::search::follower::Position;

/// Memory of one writer.
const WRITER_BYTES: usize = 64 << 20;

/// What is committed beside the documents.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Payload {
    position: Position,
}

/// One day.
pub struct Partition {
    /// Which day.
    pub day: NaiveDate,
    directory: PathBuf,
    index: Index,
    reader: IndexReader,
    writer: Option<IndexWriter>,
    /// Up to where the log is indexed as far as this day is concerned.
    pub position: Position,
    /// Documents since the last commit.
    pub pending: u64,
}

impl Partition {
    /// Opens or creates the index of a day. One that cannot be opened is set aside and made anew;
    /// the second value is then true and the log must be read again.
    pub fn open(root: &Path, day: NaiveDate, fields: &Fields) -> tantivy::Result<(Self, bool)> {
        let directory = root.join(day.to_string());
        match Self::try_open(&directory, day, fields) {
            Ok(partition) => Ok((partition, false)),
            Err(error) => {
                let aside = root.join(format!("{day}.corrupt-{}", chrono::Utc::now().timestamp()));
                tracing::error!(%day, %error, aside = %aside.display(), "the index of a day cannot be opened; building it anew from the log");
                fs::rename(&directory, &aside)?;
                Ok((Self::try_open(&directory, day, fields)?, true))
            }
        }
    }

    fn try_open(directory: &Path, day: NaiveDate, fields: &Fields) -> tantivy::Result<Self> {
        fs::create_dir_all(directory)?;
        let settings = IndexSettings {
            docstore_compression: Compressor::Zstd(ZstdCompressor {
                compression_level: Some(3),
            }),
            docstore_blocksize: 32 << 10,
            ..IndexSettings::default()
        };
        let index = Index::builder()
            .schema(fields.schema.clone())
            .settings(settings)
            .open_or_create(MmapDirectory::open(directory)?)?;
        fields::register(&index);
        let payload = index.load_metas()?.payload.unwrap_or_default();
        let payload: Payload = serde_json::from_str(&payload).unwrap_or_default();
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        Ok(Partition {
            day,
            directory: directory.into(),
            index,
            reader,
            writer: None,
            position: payload.position,
            pending: 0,
        })
    }

    /// Adds a document.
    pub fn add(&mut self, document: TantivyDocument, threads: usize) -> tantivy::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(
                self.index
                    .writer_with_num_threads(threads, WRITER_BYTES * threads)?,
            ),
        };
        writer.add_document(document)?;
        self.pending += 1;
        Ok(())
    }

    /// Makes what was added durable and searchable, with the position behind it.
    pub fn commit(&mut self, position: &Position) -> tantivy::Result<()> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.pending > 0) else {
            return Ok(());
        };
        let payload = Payload {
            position: position.clone(),
        };
        let mut prepared = writer.prepare_commit()?;
        prepared.set_payload(&serde_json::to_string(&payload).unwrap_or_default());
        prepared.commit()?;
        self.reader.reload()?;
        self.position = payload.position;
        self.pending = 0;
        Ok(())
    }

    /// Gives the writer's memory back. What was added must be committed.
    pub fn close_writer(&mut self) {
        if self.pending == 0 {
            self.writer = None;
        }
    }

    /// Whether a writer is open.
    pub fn is_writing(&self) -> bool {
        self.writer.is_some()
    }

    /// A view of what is committed.
    pub fn searcher(&self) -> Searcher {
        self.reader.searcher()
    }

    /// Bytes on disk.
    pub fn disk_bytes(&self) -> u64 {
        let entries = fs::read_dir(&self.directory).into_iter().flatten();
        entries
            .filter_map(|e| e.ok()?.metadata().ok())
            .map(|m| m.len())
            .sum()
    }

    /// Deletes the day.
    pub fn remove(self) -> std::io::Result<()> {
        let directory = self.directory.clone();
        drop(self);
        fs::remove_dir_all(directory)
    }
}

/// Days that have an index below `root`, oldest first.
pub fn days(root: &Path) -> std::io::Result<Vec<NaiveDate>> {
    let mut days: Vec<NaiveDate> = fs::read_dir(root)?
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    days.sort();
    Ok(days)
}
