//! Names what is wrong at the first line that does not fit its chain.
//!
//! A line fits an entry when it links the entry before it to that entry. Lines and entries behind the
//! break are tried against each other until they fit again; how they had to be shifted tells what was
//! done.

use super::scan::{FileReport, lines_from, problem};
use super::{Problem, ProblemKind, audit_id};
use crate::audit::chain::format::{Entry, Hash};
use crate::audit::chain::writer::ChainFile;

/// Bytes of lines behind the break that are looked at.
const WINDOW_BYTES: usize = 256 << 20;
/// How far both lines and entries may have to be shifted.
const BOTH_MAX: usize = 256;

/// Lines and entries from the break on.
struct Broken {
    lines: Vec<Vec<u8>>,
    /// The entry before the first line, then those of the lines.
    entries: Vec<Option<Entry>>,
}

impl Broken {
    fn hash(&self, entry: usize) -> Option<Hash> {
        self.entries.get(entry).copied().flatten().map(|e| e.hash)
    }

    /// Whether the line belongs to the entry (both counted from the break).
    fn fits(&self, line: usize, entry: usize) -> bool {
        match (self.lines.get(line), self.hash(entry), self.hash(entry + 1)) {
            (Some(line), Some(before), Some(here)) => before.link(line) == here,
            _ => false,
        }
    }

    /// The entry behind the break that the first line belongs to.
    fn entry_of_first_line(&self) -> Option<usize> {
        (1..self.entries.len() - 1).find(|entry| self.fits(0, *entry))
    }

    /// The line behind the break that belongs to the first entry.
    fn line_of_first_entry(&self) -> Option<usize> {
        (1..self.lines.len()).find(|line| self.fits(*line, 0))
    }

    /// From where on lines and entries fit unshifted.
    fn fits_again(&self) -> Option<usize> {
        let both = self.lines.len().min(self.entries.len() - 1);
        (1..both).find(|n| self.fits(*n, *n))
    }

    /// From where on they fit when both are shifted.
    fn fits_shifted(&self) -> Option<(usize, usize)> {
        let lines = self.lines.len().min(BOTH_MAX);
        let entries = (self.entries.len() - 1).min(BOTH_MAX);
        let lines = (1..lines).flat_map(|line| (1..entries).map(move |entry| (line, entry)));
        lines
            .into_iter()
            .find(|(line, entry)| self.fits(*line, *entry))
    }

    /// The first entry alone was changed: line and next line agree without it.
    fn only_entry_changed(&self) -> bool {
        let (Some(before), Some(first), Some(second)) =
            (self.hash(0), self.lines.first(), self.lines.get(1))
        else {
            return false;
        };
        let between = before.link(first);
        self.hash(1) != Some(between) && self.hash(2) == Some(between.link(second))
    }
}

/// What is wrong at line `index` (from zero).
pub(super) fn diagnose(report: &FileReport, index: u64, chain: &ChainFile) -> Problem {
    let lines = lines_from(&report.path, index.saturating_sub(1), WINDOW_BYTES);
    let mut lines = lines.unwrap_or_default();
    let before_id = match index {
        0 => None,
        _ => (!lines.is_empty())
            .then(|| lines.remove(0))
            .and_then(|line| audit_id(&line)),
    };
    let mut entries = Vec::new();
    entries.push(match index {
        0 => Some(Entry {
            hash: chain.seed,
            offset: 0,
        }),
        n => chain.entry(n - 1).ok().flatten(),
    });
    entries.extend(chain.entries_from(index, chain.entries));
    let broken = Broken { lines, entries };
    let (kind, count, message) = in_words(&broken, index);
    let file = match kind {
        ProblemKind::ChainAltered => report.chain.as_ref().unwrap_or(&report.path),
        _ => &report.path,
    };
    let mut found = problem(file, kind, Some(index + 1), message);
    found.count = count;
    found.event = Some(chain.header.first + index);
    let own_id = broken.lines.first().and_then(|line| audit_id(line));
    found.audit_id = match kind {
        ProblemKind::Missing => before_id.or(own_id),
        _ => own_id.or(before_id),
    };
    found
}

fn in_words(broken: &Broken, index: u64) -> (ProblemKind, Option<u64>, String) {
    let entry_changed = |message: &str| (ProblemKind::ChainAltered, Some(1), message.to_string());
    if broken.fits(0, 0) {
        return entry_changed(
            "the entry of this line in the chain file names another place in the log",
        );
    }
    if broken.hash(0).is_none() || broken.hash(1).is_none() {
        return entry_changed("the entry of this line in the chain file cannot be read");
    }
    if broken.only_entry_changed() {
        return entry_changed(
            "the entry of this line in the chain file was changed; the line agrees with those around it",
        );
    }
    match (broken.entry_of_first_line(), broken.line_of_first_entry()) {
        (Some(entry), Some(line)) => (
            ProblemKind::Reordered,
            Some(entry.max(line) as u64 + 1),
            format!(
                "the events are in another order: this line was written {entry} places later, and the one that belongs here stands {line} lines below"
            ),
        ),
        (Some(1), None) => (
            ProblemKind::Missing,
            Some(1),
            "an event that stood before this line is missing".into(),
        ),
        (Some(entry), None) => (
            ProblemKind::Missing,
            Some(entry as u64),
            format!("{entry} events that stood before this line are missing"),
        ),
        (None, Some(line)) => (
            ProblemKind::Inserted,
            Some(line as u64),
            match line {
                1 => "this line was inserted; it was not written here".into(),
                n => {
                    format!("{n} lines from this one on were inserted; they were not written here")
                }
            },
        ),
        (None, None) => replaced(broken, index),
    }
}

fn replaced(broken: &Broken, index: u64) -> (ProblemKind, Option<u64>, String) {
    if let Some(count) = broken.fits_again() {
        let message = match (count, index) {
            (1, 0) => "this line was altered, or the header of the chain file was".into(),
            (1, _) => "this line was altered (or the line before it together with its entry in the chain file)".into(),
            (n, _) => format!("{n} lines from this one on were altered"),
        };
        return (ProblemKind::Altered, Some(count as u64), message);
    }
    if let Some((lines, entries)) = broken.fits_shifted() {
        let message =
            format!("{lines} lines from this one on stand where {entries} events were written");
        return (
            ProblemKind::Altered,
            Some(lines.max(entries) as u64),
            message,
        );
    }
    let lines = broken.lines.len() as u64;
    let message = match lines {
        1 => "this line, the last one, was altered".into(),
        n => format!(
            "this line and all {} behind it are not what was written",
            n - 1
        ),
    };
    (ProblemKind::Altered, Some(lines), message)
}
