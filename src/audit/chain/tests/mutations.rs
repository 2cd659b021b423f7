//! 200 random changes to a log of 100,000 events: each is found, and its place named.
//!
//! The log is written by the real sink, with rotation, compression and a restart. Each change is made
//! in place and taken back. Files that a change does not touch are scanned once: a scan depends on its
//! file and chain file only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Log, end, plain, write};
use crate::audit::chain::format::{ENTRY_BYTES, Entry, Hash, chain_path, checkpoints_path};
use crate::audit::chain::verify::scan::{FileReport, scan};
use crate::audit::chain::verify::{LogReport, Problem, Progress, Signed, files, join};
use crate::audit::sink::upkeep::backups;

const EVENTS: u64 = 100_000;
const MUTATIONS: usize = 200;
const FILE_BYTES: u64 = 300_000;

/// A log on the disk, what its files say untouched, and the way back.
struct Subject {
    log: Log,
    other: Log,
    reports: BTreeMap<PathBuf, FileReport>,
    saved: BTreeMap<PathBuf, Vec<u8>>,
}

/// Where a change must be found: in one of these files, at a line of this range.
#[derive(Debug)]
struct Place {
    files: BTreeSet<PathBuf>,
    lines: Option<(u64, u64)>,
}

fn at(file: &Path, first: u64, last: u64) -> Place {
    Place {
        files: BTreeSet::from([plain(file)]),
        lines: Some((first, last)),
    }
}

fn anywhere_in(files: &[&Path]) -> Place {
    Place {
        files: files.iter().map(|f| plain(f)).collect(),
        lines: None,
    }
}

impl Subject {
    fn new() -> Self {
        let log = Log::new("a");
        let mut options = log.options();
        options.rotation.max_bytes = FILE_BYTES;
        // The oldest are compressed.
        options.rotation.compress = true;
        let sink = log.open_with(&options);
        write(&sink, "a", 0..EVENTS / 10);
        end(sink);
        options.rotation.compress = false;
        let sink = log.open_with(&options);
        write(&sink, "a", EVENTS / 10..EVENTS);
        end(sink);
        let other = Log::new("b");
        let sink = other.open();
        write(&sink, "b", 0..2_000);
        end(sink);
        let mut subject = Subject {
            log,
            other,
            reports: BTreeMap::new(),
            saved: BTreeMap::new(),
        };
        let found = subject.look();
        assert!(found.problems.is_empty(), "{found:#?}");
        assert_eq!((found.first, found.last), (1, EVENTS));
        subject
    }

    /// Verifies, scanning only what was changed or not seen before.
    fn look(&mut self) -> LogReport {
        let found = files::find(&[self.log.folder()]).expect("can be read");
        let mut reports = Vec::new();
        for pair in &found.pairs {
            let path = pair
                .log
                .clone()
                .or(pair.chain.clone())
                .expect("one of them");
            let is_touched = self.saved.keys().any(|s| plain(s) == plain(&path));
            let report = match self.reports.get(&path).filter(|_| !is_touched) {
                Some(report) => report.clone(),
                None => scan(pair, &Progress::default()).expect("can be read"),
            };
            if self.saved.is_empty() {
                self.reports.insert(path, report.clone());
            }
            reports.push(report);
        }
        let path = checkpoints_path(&self.log.path());
        let signed = Signed::read(&path, &[]).expect("can be read");
        let mut logs = join::join(reports, &signed, found.scope);
        let mut report = logs.remove(0);
        // Another log's files among these are problems of the folder.
        for other in logs {
            report.problems.extend(other.problems);
        }
        report
    }

    fn save(&mut self, path: &Path) {
        if let Ok(bytes) = fs::read(path) {
            self.saved.entry(path.into()).or_insert(bytes);
        }
    }

    fn put(&mut self, path: &Path, bytes: &[u8]) {
        self.save(path);
        fs::write(path, bytes).expect("writes");
    }

    fn remove(&mut self, path: &Path) {
        self.save(path);
        fs::remove_file(path).expect("deletes");
    }

    fn restore(&mut self) {
        for (path, bytes) in std::mem::take(&mut self.saved) {
            fs::write(path, bytes).expect("writes");
        }
    }

    fn backups(&self) -> Vec<PathBuf> {
        let backups = backups(&self.log.path()).expect("lists");
        backups.into_iter().map(|(_, path)| path).collect()
    }

    fn any_backup(&self, rng: &mut StdRng) -> PathBuf {
        let backups = self.backups();
        backups[rng.random_range(0..backups.len())].clone()
    }

    fn any_file(&self, rng: &mut StdRng) -> PathBuf {
        match rng.random_range(0..8) {
            0 => self.log.path(),
            _ => self.any_backup(rng),
        }
    }

    fn lines(&self, path: &Path) -> Vec<Vec<u8>> {
        let bytes = fs::read(path).expect("can be read");
        let text = match path.extension().is_some_and(|e| e == "gz") {
            true => {
                let mut text = Vec::new();
                MultiGzDecoder::new(&bytes[..])
                    .read_to_end(&mut text)
                    .expect("is an archive");
                text
            }
            false => bytes,
        };
        let lines = text.split_inclusive(|b| *b == b'\n');
        lines.map(<[u8]>::to_vec).collect()
    }

    fn put_lines(&mut self, path: &Path, lines: &[Vec<u8>]) {
        let text = lines.concat();
        if path.extension().is_none_or(|e| e != "gz") {
            return self.put(path, &text);
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&text).expect("a Vec takes all");
        let bytes = encoder.finish().expect("a Vec takes all");
        self.put(path, &bytes);
    }

    /// A line of another server's log.
    fn foreign_line(&self, rng: &mut StdRng) -> Vec<u8> {
        let lines = self.lines(&self.other.path());
        lines[rng.random_range(0..lines.len())].clone()
    }

    fn chain(&self, log: &Path) -> (Vec<u8>, Vec<Vec<u8>>) {
        let text = fs::read(chain_path(log)).expect("a chain");
        let header = memchr::memchr(b'\n', &text).expect("a header") + 1;
        let entries = text[header..].chunks(ENTRY_BYTES).map(<[u8]>::to_vec);
        (text[..header].to_vec(), entries.collect())
    }

    fn put_chain(&mut self, log: &Path, header: &[u8], entries: &[Vec<u8>]) {
        let text = [header, &entries.concat()].concat();
        self.put(&chain_path(log), &text);
    }
}

fn flip(line: &mut [u8], rng: &mut StdRng) {
    // The line break stays: a line more or less is another change.
    let index = rng.random_range(0..line.len() - 1);
    line[index] ^= 1 << rng.random_range(0..7);
    if line[index] == b'\n' {
        line[index] = b'#';
    }
}

/// Entries of these lines behind `previous`, for somebody who forges the chain too.
fn forge(previous: Hash, mut offset: u64, lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut hash = previous;
    let entries = lines.iter().map(|line| {
        hash = hash.link(&line[..line.len() - 1]);
        offset += line.len() as u64;
        let mut text = Vec::new();
        Entry { hash, offset }.push(&mut text);
        text
    });
    entries.collect()
}

fn hash_before(header: &[u8], entries: &[Vec<u8>], index: usize) -> (Hash, u64) {
    match index {
        0 => (Hash::of(&header[..header.len() - 1]), 0),
        n => {
            let entry = &entries[n - 1];
            let entry = Entry::parse(&entry[..ENTRY_BYTES - 1]).expect("an entry");
            (entry.hash, entry.offset)
        }
    }
}

/// Makes one change. Answers its name and where it must be found.
fn mutate(subject: &mut Subject, kind: usize, rng: &mut StdRng) -> (&'static str, Place) {
    let file = subject.any_file(rng);
    let mut lines = subject.lines(&file);
    let index = rng.random_range(0..lines.len() - 2);
    let line = index as u64 + 1;
    match kind {
        0 => {
            flip(&mut lines[index], rng);
            subject.put_lines(&file, &lines);
            ("flip a byte of a line", at(&file, line, line))
        }
        1 => {
            lines.remove(index);
            subject.put_lines(&file, &lines);
            ("delete a line", at(&file, line, line))
        }
        2 => {
            let far = rng.random_range(index + 1..lines.len());
            lines.swap(index, far);
            subject.put_lines(&file, &lines);
            ("swap two lines", at(&file, line, line))
        }
        3 => {
            lines.truncate(index + 1);
            if rng.random_bool(0.5) {
                let half = lines[index].len() / 2;
                lines[index].truncate(half);
            }
            subject.put_lines(&file, &lines);
            ("truncate a file", at(&file, line, line + 1))
        }
        4 => {
            let again = lines[index].clone();
            let to = rng.random_range(index + 1..lines.len());
            lines.insert(to, again);
            subject.put_lines(&file, &lines);
            (
                "write a line twice",
                at(&file, to as u64 + 1, to as u64 + 1),
            )
        }
        5 => {
            lines[index] = subject.foreign_line(rng);
            subject.put_lines(&file, &lines);
            ("replace a line by another server's", at(&file, line, line))
        }
        6 => {
            let count = rng.random_range(1..20);
            for _ in 0..count {
                lines.insert(index, subject.foreign_line(rng));
            }
            subject.put_lines(&file, &lines);
            ("insert another server's lines", at(&file, line, line))
        }
        7 => {
            let file = subject.any_backup(rng);
            let foreign = subject.lines(&subject.other.path());
            subject.put_lines(&file, &foreign);
            ("put another server's file in place", at(&file, 1, 1))
        }
        8 => {
            let file = subject.any_backup(rng);
            subject.remove(&file);
            ("remove a file", anywhere_in(&[&file]))
        }
        9 => {
            let backups = subject.backups();
            let index = rng.random_range(0..backups.len());
            subject.remove(&backups[index]);
            subject.remove(&chain_path(&backups[index]));
            let next = backups
                .get(index + 1)
                .cloned()
                .unwrap_or(subject.log.path());
            ("remove a file and its chain", anywhere_in(&[&next]))
        }
        10 => {
            let (header, mut entries) = subject.chain(&file);
            let at_byte = rng.random_range(0..ENTRY_BYTES);
            entries[index][at_byte] = if entries[index][at_byte] == b'7' {
                b'8'
            } else {
                b'7'
            };
            subject.put_chain(&file, &header, &entries);
            ("edit an entry of the chain", at(&file, line, line))
        }
        11 => {
            let (header, mut entries) = subject.chain(&file);
            flip(&mut lines[index], rng);
            let (before, offset) = hash_before(&header, &entries, index);
            entries[index] = forge(before, offset, &lines[index..=index]).remove(0);
            subject.put_lines(&file, &lines);
            subject.put_chain(&file, &header, &entries);
            ("edit a line and its entry", at(&file, line, line + 1))
        }
        12 => {
            let (header, mut entries) = subject.chain(&file);
            flip(&mut lines[index], rng);
            let (before, offset) = hash_before(&header, &entries, index);
            entries.truncate(index);
            entries.extend(forge(before, offset, &lines[index..]));
            subject.put_lines(&file, &lines);
            subject.put_chain(&file, &header, &entries);
            // No more can be told than between which checkpoints.
            ("edit a line and all entries from it on", at(&file, 1, line))
        }
        13 => {
            let (header, mut entries) = subject.chain(&file);
            lines.remove(index);
            entries.remove(index);
            subject.put_lines(&file, &lines);
            subject.put_chain(&file, &header, &entries);
            ("delete a line and its entry", at(&file, line, line))
        }
        14 => {
            let file = subject.log.path();
            let mut lines = subject.lines(&file);
            let (header, mut entries) = subject.chain(&file);
            let keep = rng.random_range(1..lines.len());
            lines.truncate(keep);
            entries.truncate(keep);
            subject.put_lines(&file, &lines);
            subject.put_chain(&file, &header, &entries);
            (
                "cut log and chain",
                at(&file, keep as u64 + 1, keep as u64 + 1),
            )
        }
        15 => {
            let mut backups = subject.backups();
            backups.retain(|b| b.extension().is_some_and(|e| e == "log"));
            let first = rng.random_range(0..backups.len() - 1);
            let second = rng.random_range(first + 1..backups.len());
            let (a, b) = (
                subject.lines(&backups[first]),
                subject.lines(&backups[second]),
            );
            subject.put_lines(&backups[first], &b);
            subject.put_lines(&backups[second], &a);
            ("swap two files", at(&backups[first], 1, 1))
        }
        16 => {
            let file = subject.any_backup(rng);
            let mut lines = subject.lines(&file);
            lines.push(subject.foreign_line(rng));
            subject.put_lines(&file, &lines);
            let last = lines.len() as u64;
            ("append to a finished file", at(&file, last, last))
        }
        17 => {
            let backups = subject.backups();
            let file = backups
                .iter()
                .find(|b| b.extension().is_some_and(|e| e == "gz"));
            let file = file.expect("an archive").clone();
            let mut bytes = fs::read(&file).expect("can be read");
            let middle = rng.random_range(20..bytes.len() - 8);
            bytes[middle] ^= 0xff;
            subject.put(&file, &bytes);
            ("damage an archive", anywhere_in(&[&file]))
        }
        18 => {
            let file = subject.log.path();
            subject.remove(&file);
            ("remove the live log", anywhere_in(&[&file]))
        }
        _ => {
            let target = subject.log.path();
            let mut there = subject.lines(&target);
            let file = subject.any_backup(rng);
            let mut lines = subject.lines(&file);
            let moved = lines.remove(index.min(lines.len() - 2));
            there.push(moved);
            subject.put_lines(&file, &lines);
            subject.put_lines(&target, &there);
            let line = index.min(lines.len() - 1) as u64 + 1;
            ("move a line to another file", at(&file, line, line))
        }
    }
}

fn is_right(found: &Problem, place: &Place) -> bool {
    let line_is_right = match (place.lines, found.line) {
        (None, _) => true,
        (Some((first, last)), Some(line)) => (first..=last).contains(&line),
        (Some(_), None) => false,
    };
    place.files.contains(&plain(&found.file)) && line_is_right
}

#[test]
fn thread_17_and_31_every_one_of_200_mutations_is_found_in_its_place() {
    let seed = std::env::var("VERBATIM_TEST_SEED")
        .ok()
        .and_then(|s| s.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut subject = Subject::new();
    for number in 0..MUTATIONS {
        let (name, place) = mutate(&mut subject, number % 20, &mut rng);
        let report = subject.look();
        let first = report.problems.first();
        assert!(
            first.is_some_and(|found| is_right(found, &place)),
            "VERBATIM_TEST_SEED={seed}: {number}: {name} at {place:?}: {:#?}",
            report.problems
        );
        subject.restore();
    }
    let report = subject.look();
    assert!(report.problems.is_empty(), "{report:#?}");
}
