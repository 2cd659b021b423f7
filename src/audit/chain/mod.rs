//! The hash chain over the audit log, its signed checkpoints, and their verification.
//!
//! [`writer::Chain`] keeps the chain beside the log that [`super::sink::file`] writes;
//! [`notary::Notary`] signs checkpoints; [`verify`] is what `verbatim verify` runs.
//!
//! # The format, version 1
//! Beside each file of the log stands its chain file, `FILE.chain` (`audit.log.chain`; a backup's is
//! `audit-TIME.log.chain`, also when the backup is compressed). Its first line is a JSON [`Header`];
//! each further line belongs to one line of the log: `HASH OFFSET`, where
//! - `HASH` is base64 (no padding) of SHA-256(previous hash, 32 bytes ‖ the line without its break);
//!   before a file's first line the previous hash is SHA-256(the header line), and the header names
//!   the last hash of the file before: so no rotation severs the chain;
//! - `OFFSET` says in 13 decimal digits where the line ends in the (uncompressed) file.
//!
//! `LOG.checkpoints` has one [`Checkpoint`] per line: how many events the log has had, the hash at
//! that place, the time, signed with an Ed25519 key.
//!
//! # What is proven
//! - A change to the log alone is found, and its place named, from the chain files: an altered,
//!   missing, inserted or moved line, a missing file, a cut end.
//! - A change to log and chain together is found from the next checkpoint on: whoever lacks the key
//!   cannot sign what the changed chain comes to. The place is then named as the events between two
//!   checkpoints, or between one and the end of the file: the header of the next file says what that
//!   was, and a checkpoint of any later file vouches for it.
//! - A log cut back together with its chain and the checkpoints beside it is found from a copy of the
//!   checkpoints that is kept elsewhere (`--audit-checkpoint-copy`,
//!   `--audit-checkpoint-webhook-config-file`). So is a log rewritten by somebody who stole the key.
//!
//! # What is not proven
//! - What happened to events after the last checkpoint (by default the last ten seconds): somebody
//!   who may write the files can end the server and cut or change these as a crash would.
//! - That the server recorded what happened: the chain begins where a line is written.
//! - Without `--public-key` a checkpoint is measured by the key that it names itself.
//!
//! # Invariants
//! - Lines of the log are upstream's, byte for byte; the log is written before its chain. After
//!   kill -9 the log may be ahead of its chain, never behind; [`recovery`] chains what is missing and
//!   says so in the log.
//! - Log and chain are on disk (`fdatasync`) before a checkpoint is signed: what a power cut takes
//!   lies behind the last checkpoint.
//! - A chain that cannot be written (disk full) loses no event: it is caught up from the log, and
//!   what it is caught up with must come to the hash that was kept in memory.
//! - Retention deletes files from the oldest on, after a signed statement where the chain now begins.
//!
//! # Decisions
//! - **One chain file per log file**, which moves and is deleted with it. Rejected: one chain for all
//!   files, which retention would have to rewrite.
//! - **Every entry carries the whole hash**: a reader checks each line against its neighbours alone,
//!   so checking is parallel and a break has a place. Rejected: hashes shortened to 128 bits, which
//!   save a third and leave 2^64 work to somebody who may choose what is logged.
//! - **A file that somebody touched is sealed**: log and chain are moved aside as they are and a new
//!   pair begins, whose header says why and how many events are missing. Nothing is repaired.

pub mod checkpoint;
pub mod format;
pub mod notary;
pub mod recovery;
pub mod verify;
pub mod writer;

#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointKind, SigningKey};
pub use format::{Hash, Head, Header};
pub use notary::{Notary, NotaryOptions};
pub use writer::Chain;
