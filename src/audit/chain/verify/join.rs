//! Puts the files of each log in order and holds them against the checkpoints.

use std::path::{Path, PathBuf};

use super::files::Scope;
use super::scan::{FileReport, problem};
use super::{LogReport, Problem, ProblemKind, Signed};
use crate::audit::chain::checkpoint::{Checkpoint, CheckpointKind};
use crate::audit::chain::format::{Hash, Header, Reason};
use crate::audit::chain::writer::ChainFile;

/// One log's files, each with a header, in their order.
struct Log<'a> {
    files: Vec<(&'a Header, &'a FileReport)>,
    /// Its checkpoints in the order of their counts.
    checkpoints: Vec<&'a Checkpoint>,
    scope: Scope,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

/// Joins what was found of single files.
pub fn join(reports: Vec<FileReport>, signed: &Signed, scope: Scope) -> Vec<LogReport> {
    let mut ids: Vec<&str> = Vec::new();
    let from_files = reports.iter().filter_map(|r| r.header.as_ref());
    let from_files = from_files.map(|h| h.log.as_str());
    let from_checkpoints = signed.checkpoints.iter().map(|c| c.log.as_str());
    for id in from_files.chain(from_checkpoints) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let mut logs: Vec<LogReport> = ids
        .iter()
        .map(|id| {
            let own = |c: &&Checkpoint| c.log == *id;
            let mut checkpoints: Vec<&Checkpoint> = signed.checkpoints.iter().filter(own).collect();
            checkpoints.sort_by_key(|c| (c.file, c.count));
            let with_header = reports.iter().filter_map(|r| Some((r.header.as_ref()?, r)));
            let mut files: Vec<_> = with_header.filter(|(h, _)| h.log == *id).collect();
            files.sort_by_key(|(header, report)| (header.file, report.path.clone()));
            let log = Log {
                files,
                checkpoints,
                scope,
                problems: Vec::new(),
                notes: Vec::new(),
            };
            log.report(id)
        })
        .collect();
    add_unchained(&reports, &mut logs);
    logs
}

/// Files without a readable chain file: from before the chain, or put there, or robbed of it.
fn add_unchained(reports: &[FileReport], logs: &mut [LogReport]) {
    let Some(log) = logs.first_mut() else {
        return;
    };
    let began = reports
        .iter()
        .filter_map(|r| r.header.as_ref())
        .filter(|h| h.file == 1)
        .map(|h| h.previous == Hash::default());
    let has_genesis = began.into_iter().any(|is_genesis| is_genesis);
    let first_chained = reports.iter().position(|r| r.header.is_some());
    for (index, report) in reports.iter().enumerate() {
        if report.header.is_some() {
            continue;
        }
        let gaps = report.statements.iter().filter(|s| s.lost > 0);
        log.gaps.extend(gaps.cloned());
        let is_older = has_genesis && first_chained.is_some_and(|first| index < first);
        if is_older && report.chain.is_none() {
            let path = report.path.display();
            log.notes.push(format!(
                "{path} is from before the chain began: nothing proves it"
            ));
            continue;
        }
        let found = report.problem.clone().unwrap_or_else(|| {
            let message = match report.lines {
                0 => "this file has no chain file".to_string(),
                n => format!("this file has no chain file: nothing proves its {n} lines"),
            };
            problem(&report.path, ProblemKind::ChainMissing, None, message)
        });
        log.problems.push(found);
    }
    // The order of the files is the order of the places.
    let place = |p: &Problem| {
        let is_in = |r: &FileReport| r.path == p.file || r.chain.as_deref() == Some(&*p.file);
        (reports.iter().position(is_in).unwrap_or(usize::MAX), p.line)
    };
    log.problems.sort_by_key(place);
}

impl Log<'_> {
    fn report(mut self, id: &str) -> LogReport {
        self.leave_out_deleted();
        self.check_begin();
        let good = self.good_checkpoints();
        let signed = self.signed_files(&good);
        for index in 0..self.files.len() {
            self.check_file(index);
            self.check_next(index, &signed);
        }
        self.check_checkpoints(&good);
        self.check_ends(&good, &signed);
        self.date_problems(&good);
        let (first, last) = (self.files.first(), self.files.last());
        let named = self.files.iter().map(|(h, _)| (&h.server, &h.name)).next();
        let signed = self.checkpoints.first().map(|c| (&c.server, &c.name));
        let (server, name) = named
            .or(signed)
            .map_or_else(Default::default, |(s, n)| (s.clone(), n.clone()));
        let mut keys: Vec<String> = self
            .checkpoints
            .iter()
            .map(|c| c.key.fingerprint())
            .collect();
        keys.sort();
        keys.dedup();
        let reports = || self.files.iter().map(|(_, report)| *report);
        LogReport {
            log: id.into(),
            server,
            name,
            files: self.files.len(),
            first: first.map_or(0, |(header, _)| header.first),
            last: last.map_or(0, |(header, report)| {
                header.first - 1 + report.entries.max(report.lines)
            }),
            bytes: reports().map(|r| r.bytes).sum(),
            checkpoints: good.len(),
            last_checkpoint: good.last().map(|c| c.time.clone()),
            keys,
            gaps: reports()
                .flat_map(|r| r.statements.iter().filter(|s| s.lost > 0))
                .cloned()
                .collect(),
            notes: {
                let told = reports().flat_map(|r| r.statements.iter().filter(|s| s.lost == 0));
                let told = told.map(|s| format!("{}:{}: {}", s.file.display(), s.line, s.message));
                let seen = reports().flat_map(|r| r.notes.iter().cloned());
                self.notes.iter().cloned().chain(seen).chain(told).collect()
            },
            problems: self.problems,
        }
    }

    /// Chain files whose logs retention has just deleted.
    fn leave_out_deleted(&mut self) {
        let told = self.checkpoints.iter();
        let told = told.filter(|c| c.kind == CheckpointKind::Retention);
        let begin = told.map(|c| c.file).max().unwrap_or(0);
        self.files
            .retain(|(header, report)| report.exists || header.file >= begin);
    }

    /// The first file is the genesis, or retention says that it is the first now.
    fn check_begin(&mut self) {
        let Some((header, report)) = self.files.first().copied() else {
            return;
        };
        if header.file == 1 && header.first == 1 {
            return;
        }
        let is_told = self.checkpoints.iter().any(|c| {
            c.kind == CheckpointKind::Retention
                && (c.file, c.count, c.hash) == (header.file, header.first - 1, header.previous)
        });
        if is_told {
            self.notes.push(format!(
                "events up to {} were deleted by retention; a signed statement says so",
                header.first - 1
            ));
            return;
        }
        if !self.scope.is_complete() {
            self.notes.push(format!(
                "begins with event {}: what was before was not looked at",
                header.first
            ));
            return;
        }
        let known = self
            .checkpoints
            .iter()
            .filter(|c| c.kind == CheckpointKind::Retention);
        let from = known
            .map(|c| c.count)
            .filter(|c| *c < header.first)
            .max()
            .unwrap_or(0);
        let message = format!(
            "events {} to {} are missing before this file, and no signed statement says that retention deleted them{}",
            from + 1,
            header.first - 1,
            noticed(header)
        );
        let mut found = problem(&report.path, ProblemKind::Missing, None, message);
        found.event = Some(from + 1);
        found.count = Some(header.first - 1 - from);
        self.problems.push(found);
    }

    /// One file against its own chain.
    fn check_file(&mut self, index: usize) {
        let (header, report) = self.files[index];
        if let Some(found) = &report.problem {
            self.problems.push(found.clone());
            return;
        }
        if !report.exists {
            if report.entries > 0 && !self.is_excused(index, header.first) {
                let message = format!(
                    "the file is missing; its chain file has its events {} to {}{}",
                    header.first,
                    header.first + report.entries - 1,
                    self.noticed(index)
                );
                let mut found = problem(&report.path, ProblemKind::Missing, None, message);
                (found.event, found.count) = (Some(header.first), Some(report.entries));
                self.problems.push(found);
            }
            return;
        }
        if report.lines < report.entries {
            let missing = report.entries - report.lines;
            let event = header.first + report.lines;
            if self.is_excused(index, event) {
                self.notes.push(format!(
                    "{}: {missing} events at the end went with a power cut or were cut off, behind the last checkpoint; the server noticed when it started",
                    report.path.display()
                ));
                return;
            }
            let message = format!(
                "{missing} events are missing behind line {}: the end of the file was cut off{}",
                report.lines,
                self.noticed(index)
            );
            let mut found = problem(
                &report.path,
                ProblemKind::CutOff,
                Some(report.lines + 1),
                message,
            );
            (found.event, found.count) = (Some(event), Some(missing));
            found.audit_id.clone_from(&report.last_id);
            self.problems.push(found);
        } else if report.lines > report.entries {
            self.check_surplus(index);
        }
    }

    /// Lines behind the last entry.
    fn check_surplus(&mut self, index: usize) {
        let (header, report) = self.files[index];
        let surplus = report.lines - report.entries;
        let is_last = index + 1 == self.files.len();
        let ended_well = self.checkpoints.last().is_some_and(|c| {
            c.kind == CheckpointKind::Shutdown && c.count + 1 == header.first + report.entries
        });
        if is_last && !ended_well {
            self.notes.push(format!(
                "{}: the last {surplus} lines are not in the chain yet: the server is writing them, or crashed and will chain them when it starts",
                report.path.display()
            ));
            return;
        }
        let message = format!(
            "{surplus} lines from this one on were added behind what the server wrote{}",
            self.noticed(index)
        );
        let mut found = problem(
            &report.path,
            ProblemKind::Inserted,
            Some(report.entries + 1),
            message,
        );
        found.count = Some(surplus);
        found.event = Some(header.first + report.entries);
        found.audit_id.clone_from(&report.last_id);
        self.problems.push(found);
    }

    /// What the server said about a file when it began the next one.
    fn noticed(&self, index: usize) -> String {
        let next = self.files.get(index + 1);
        next.map_or(String::new(), |(header, _)| noticed(header))
    }

    /// Whether the server told at its start that events from this one on were gone, and none of them
    /// was under a checkpoint: a power cut takes such events.
    fn is_excused(&self, index: usize, event: u64) -> bool {
        let (header, _) = self.files[index];
        let is_told = self
            .files
            .get(index + 1)
            .is_some_and(|(next, _)| next.reason == Reason::Missing && next.missing > 0);
        let is_signed = self.checkpoints.iter().any(|c| {
            c.kind != CheckpointKind::Retention && c.file == header.file && c.count >= event
        });
        is_told && !is_signed
    }

    /// The step from one file to the next.
    fn check_next(&mut self, index: usize, signed: &[bool]) {
        let (header, report) = self.files[index];
        let Some((next, next_report)) = self.files.get(index + 1).copied() else {
            return;
        };
        let end = header.first + report.entries - 1;
        if next.file == header.file {
            // Plain and compressed: a crash came between the renaming and the deletion.
            return;
        }
        let mut wrong = |kind, message: String, event, count| {
            let mut found = problem(&next_report.path, kind, None, message);
            (found.event, found.count) = (event, count);
            found.audit_id.clone_from(&report.last_id);
            self.problems.push(found);
        };
        if next.first > end + 1 {
            let (from, to) = (end + 1, next.first - 1);
            let files = next.file - header.file - 1;
            let message = match files {
                0 => format!("events {from} to {to} are missing before this file"),
                1 => format!(
                    "events {from} to {to} are missing before this file: file {} and its chain file are gone",
                    header.file + 1
                ),
                n => format!(
                    "events {from} to {to} are missing before this file: {n} files and their chain files are gone"
                ),
            };
            wrong(
                ProblemKind::Missing,
                message,
                Some(from),
                Some(to + 1 - from),
            );
        } else if !self.follows(index) && !self.is_next_signed(index, signed) {
            let chain = next_report.chain.clone().unwrap_or_default();
            let message = format!(
                "this file does not follow {}: its chain file, or that one's, was changed",
                name_of(&report.path)
            );
            let mut found = problem(&chain, ProblemKind::ChainAltered, None, message);
            found.event = Some(next.first);
            self.problems.push(found);
        }
    }

    /// Whether the next file begins where this one ends.
    fn follows(&self, index: usize) -> bool {
        let (header, report) = self.files[index];
        let (next, _) = self.files[index + 1];
        let end = header.first + report.entries - 1;
        next.first == end + 1 && next.file == header.file + 1 && next.previous == report.end
    }

    /// For which files a checkpoint vouches, and so for what their headers say of the file before:
    /// every hash of a chain comes from its header, and that of the next file from its end.
    fn signed_files(&self, good: &[Checkpoint]) -> Vec<bool> {
        let mut signed = vec![false; self.files.len()];
        for index in (0..self.files.len()).rev() {
            let (header, report) = self.files[index];
            let has_own = || good.iter().any(|c| c.file == header.file);
            let is_followed = signed.get(index + 1) == Some(&true) && self.follows(index);
            signed[index] = report.problem.is_none() && (is_followed || has_own());
        }
        signed
    }

    /// Whether the next file is this one's successor by its numbers, and signed.
    fn is_next_signed(&self, index: usize, signed: &[bool]) -> bool {
        let (header, report) = self.files[index];
        self.files.get(index + 1).is_some_and(|(next, _)| {
            next.file == header.file + 1
                && next.first == header.first + report.entries
                && signed[index + 1]
        })
    }

    /// A file that does not end as the signed header of the next one says was rewritten. This finds
    /// it also when a crash came before its end had a checkpoint of its own.
    fn check_ends(&mut self, good: &[Checkpoint], signed: &[bool]) {
        for index in 0..self.files.len() {
            if !self.is_next_signed(index, signed) || self.follows(index) {
                continue;
            }
            let (header, report) = self.files[index];
            let end = header.first + report.entries - 1;
            let before = good.iter().filter(|c| c.file == header.file);
            let from = before.map(|c| c.count).max().unwrap_or(header.first - 1) + 1;
            let why = "are not those that the signed chain of the next file follows";
            self.add_rewritten(from, end, why);
        }
    }

    /// Checkpoints that say what the chain says, in the order of their counts.
    fn good_checkpoints(&self) -> Vec<Checkpoint> {
        let is_good = |c: &&&Checkpoint| matches!(self.hash_at(c), Held::Here(h) if h == c.hash);
        let told = self.told_checkpoints();
        told.filter(is_good).map(|c| (*c).clone()).collect()
    }

    /// Checkpoints about events that are still there.
    fn told_checkpoints(&self) -> impl Iterator<Item = &&Checkpoint> {
        let begin = self.files.first().map_or(u64::MAX, |(h, _)| h.file);
        let is_told =
            move |c: &&&Checkpoint| c.kind != CheckpointKind::Retention && c.file >= begin;
        self.checkpoints.iter().filter(is_told)
    }

    /// The first checkpoint that does not say what the chain says, and the last one of all.
    fn check_checkpoints(&mut self, good: &[Checkpoint]) {
        let is_bad = |c: &&&Checkpoint| matches!(self.hash_at(c), Held::Here(h) if h != c.hash);
        let bad = self.told_checkpoints().find(is_bad).copied();
        if let Some(bad) = bad {
            let place = |c: &Checkpoint| (c.file, c.count);
            let before = good.iter().rfind(|c| place(c) < place(bad));
            let from = before.map_or(0, |c| c.count) + 1;
            let why = format!("are not those of the checkpoint of {}", bad.time);
            self.add_rewritten(from, bad.count, &why);
        }
        let last = self.checkpoints.iter();
        let last = last.filter(|c| c.kind != CheckpointKind::Retention);
        if let Some(last) = last.max_by_key(|c| c.count).copied() {
            self.check_tail(last);
        }
    }

    fn hash_at(&self, checkpoint: &Checkpoint) -> Held {
        let Some((header, report)) = self.files.iter().find(|(h, _)| h.file == checkpoint.file)
        else {
            return Held::Nowhere;
        };
        let chain = report.chain.as_deref().map(ChainFile::open);
        let Some(Ok(Some(chain))) = chain else {
            return Held::Nowhere;
        };
        match (checkpoint.count + 1).checked_sub(header.first) {
            Some(0) => Held::Here(chain.seed),
            Some(n) if n <= report.entries => match chain.entry(n - 1) {
                Ok(Some(entry)) => Held::Here(entry.hash),
                // What is unreadable was reported with its file.
                _ => Held::Elsewhere,
            },
            _ => Held::Nowhere,
        }
    }

    /// Log and chain agree and what was signed does not. Where the exact place is known that says
    /// enough.
    fn add_rewritten(&mut self, from: u64, to: u64, why: &str) {
        let is_known = |p: &Problem| p.event.is_some_and(|e| (from..=to).contains(&e));
        if self.problems.iter().any(is_known) {
            return;
        }
        let (path, line) = self.place_of(from);
        let message = format!("log and chain were rewritten: events {from} to {to} {why}");
        let mut found = problem(&path, ProblemKind::Rewritten, line, message);
        (found.event, found.count) = (Some(from), Some((to + 1).saturating_sub(from)));
        self.problems.push(found);
    }

    /// Where an event stands.
    fn place_of(&self, event: u64) -> (PathBuf, Option<u64>) {
        let at = self.files.iter().rfind(|(header, _)| header.first <= event);
        match at.or(self.files.first()) {
            Some((header, report)) => {
                let line = (event + 1).saturating_sub(header.first).max(1);
                (report.path.clone(), Some(line))
            }
            None => (PathBuf::new(), None),
        }
    }

    /// The log is as long as the last checkpoint says.
    fn check_tail(&mut self, last: &Checkpoint) {
        let end = self
            .files
            .last()
            .map_or(0, |(header, report)| header.first - 1 + report.entries);
        let is_further = self
            .files
            .last()
            .is_none_or(|(header, _)| last.file >= header.file);
        if last.count <= end || !is_further || !(self.scope.is_complete() || self.has_live()) {
            return;
        }
        let message = match self.files.is_empty() {
            true => format!(
                "nothing is left of this log, of which the checkpoint of {} has {} events",
                last.time, last.count
            ),
            false => format!(
                "the log ends with event {end}, but the checkpoint of {} has {} events: the end was cut off",
                last.time, last.count
            ),
        };
        let (path, report) = match self.files.last() {
            Some((_, report)) => (report.path.clone(), Some(*report)),
            None => (PathBuf::from(&last.name), None),
        };
        let line = report.map(|r| r.lines + 1);
        let mut found = problem(&path, ProblemKind::CutOff, line, message);
        (found.event, found.count) = (Some(end + 1), Some(last.count - end));
        found.audit_id = report.and_then(|r| r.last_id.clone());
        self.problems.push(found);
    }

    fn has_live(&self) -> bool {
        self.files.last().is_some_and(|(_, report)| report.is_live)
    }

    /// Puts the problems in the order of their places and adds the last good checkpoint before each.
    fn date_problems(&mut self, good: &[Checkpoint]) {
        let order = |p: &Problem| {
            let is_in = |r: &FileReport| r.path == p.file || r.chain.as_deref() == Some(&*p.file);
            let file = self.files.iter().position(|(_, report)| is_in(report));
            (file.unwrap_or(usize::MAX), p.line.unwrap_or(0))
        };
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(order);
        for found in &mut problems {
            let before = good
                .iter()
                .rfind(|c| found.event.is_some_and(|e| c.count < e));
            found.last_good_checkpoint = before.map(|c| c.time.clone());
        }
        self.problems = problems;
    }
}

/// What the server noticed when it began a file.
fn noticed(header: &Header) -> String {
    let what = match header.reason {
        Reason::Missing => "missing events at its start",
        Reason::Deleted => "that the file was deleted",
        Reason::Moved => "that the file was moved away",
        Reason::Truncated => "that the file was cut",
        Reason::Altered => "that the file was altered",
        Reason::Unchained => "that the chain file was touched",
        Reason::Genesis | Reason::Rotation => return String::new(),
    };
    format!(" (the server noticed {what} at {})", header.began)
}

/// What the chain says about a place.
enum Held {
    /// This.
    Here(Hash),
    /// Another problem stands there.
    Elsewhere,
    /// The place is not there.
    Nowhere,
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
