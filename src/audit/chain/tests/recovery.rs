//! What a crash leaves is repaired without a false alarm; what it cannot leave is found.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Log, end, event, write};
use crate::audit::chain::format::{ENTRY_BYTES, Entry, chain_path, checkpoints_path};
use crate::audit::chain::verify::{ProblemKind, Progress, Question, verify};
use crate::audit::chain::writer::ChainFile;
use crate::audit::chain::{CheckpointKind, Hash, notary};
use crate::audit::metrics::Metrics;
use crate::audit::sink::Sink;
use crate::audit::sink::log::LogSink;
use crate::audit::sink::upkeep::{backup_chains, backups};

fn append(path: &std::path::Path, text: &[u8]) {
    let mut file = OpenOptions::new().append(true).open(path).expect("opens");
    file.write_all(text).expect("writes");
}

/// Ends a sink as kill -9 does: nothing is flushed or signed.
fn crash(sink: Arc<LogSink>) {
    drop(sink);
}

#[test]
fn thread_31_the_chain_goes_on_across_rotation_and_restart() {
    let log = Log::new("a");
    let mut options = log.options();
    options.rotation.max_bytes = 20_000;
    options.rotation.compress = true;
    for start in [0, 300, 600] {
        let sink = log.open_with(&options);
        write(&sink, "a", start..start + 300);
        end(sink);
    }
    let report = log.assert_whole();
    let found = &report.logs[0];
    assert_eq!((found.first, found.last), (1, 900));
    assert!(found.files > 5, "{found:?}");
    assert!(found.checkpoints > 0, "{found:?}");
    assert!(found.gaps.is_empty());
}

#[test]
fn every_instant_of_a_crash_is_repaired() {
    // Beyond the last entry: whole lines, half a line, half an entry, in every combination.
    for (lines, half_line, entries, half_entry) in [
        (0, false, 0, false),
        (3, false, 0, false),
        (3, false, 0, true),
        (3, false, 2, true),
        (0, true, 0, false),
        (2, true, 1, true),
        (2, true, 2, false),
    ] {
        let log = Log::new("a");
        let sink = log.open();
        write(&sink, "a", 0..10);
        let chain = chain_path(&log.path());
        let before = fs::metadata(&chain).expect("a chain").len();
        write(&sink, "a", 10..10 + lines);
        crash(sink);
        if half_line {
            append(&log.path(), &event("a", 99).line()[..40]);
        }
        let mut text = fs::read(&chain).expect("a chain");
        let mut keep = before as usize + entries as usize * ENTRY_BYTES;
        if half_entry {
            keep += 17;
        }
        text.truncate(keep.min(text.len()));
        fs::write(&chain, text).expect("writes");
        // As it lies there it is no alarm, and neither after the start that repairs it.
        log.assert_whole();
        let sink = log.open();
        write(&sink, "a", 20..25);
        end(sink);
        let report = log.assert_whole();
        let told = report.logs[0].notes.iter();
        let recovered = u64::from(half_line) + lines - entries;
        let told = told.filter(|n| n.contains("after a crash")).count();
        assert_eq!(told > 0, recovered > 0, "{:?}", report.logs[0].notes);
        let text = fs::read_to_string(log.path()).expect("a log");
        for number in (0..10 + lines).chain(20..25) {
            assert!(text.contains(&format!("a-{number:07}")), "{number}");
        }
    }
}

#[test]
fn a_rotation_that_a_crash_interrupted_is_finished() {
    for step in 0..4 {
        let log = Log::new("a");
        let sink = log.open();
        write(&sink, "a", 0..10);
        crash(sink);
        let (path, chain) = (log.path(), chain_path(&log.path()));
        let backup = path.with_file_name("audit-2026-01-01T00-00-00.000.log");
        let next = path.with_file_name("audit.log.next");
        fs::write(&next, "").expect("writes");
        fs::write(path.with_file_name("audit.log.chain.next"), "x").expect("writes");
        if step >= 1 {
            fs::rename(&path, &backup).expect("renames");
        }
        if step >= 2 {
            fs::rename(&next, &path).expect("renames");
        }
        if step >= 3 {
            fs::rename(&chain, chain_path(&backup)).expect("renames");
        }
        let sink = log.open();
        write(&sink, "a", 10..20);
        end(sink);
        let report = log.assert_whole();
        let events = 20 + u64::from(step == 1 || step == 2);
        assert_eq!(report.logs[0].last, events, "step {step}: {report:?}");
        assert!(!next.exists());
    }
}

#[test]
fn a_power_cut_behind_the_last_checkpoint_is_a_gap_and_before_it_a_break() {
    for (cut, is_whole) in [(3, true), (8, false)] {
        let log = Log::new("a");
        let sink = log.open();
        write(&sink, "a", 0..20);
        end(sink);
        let sink = log.open();
        write(&sink, "a", 20..25);
        crash(sink);
        let text = fs::read_to_string(log.path()).expect("a log");
        let keep: Vec<&str> = text.split_inclusive('\n').collect();
        fs::write(log.path(), keep[..25 - cut].concat()).expect("writes");
        // Somebody who looks before the start sees a break: entries without lines.
        assert!(!log.verify().whole);
        let sink = log.open();
        write(&sink, "a", 30..35);
        end(sink);
        let report = log.verify();
        assert_eq!(report.whole, is_whole, "cut {cut}: {report:#?}");
        let lost: u64 = report.logs[0].gaps.iter().map(|g| g.lost).sum();
        assert_eq!(lost, cut as u64);
        if !is_whole {
            let found = &report.logs[0].problems[0];
            assert_eq!(found.kind, ProblemKind::CutOff);
            assert_eq!(found.event, Some(18));
            assert_eq!(found.audit_id.as_deref(), Some("a-0000016"));
        }
    }
}

#[test]
fn what_was_added_after_a_clean_end_is_no_crash() {
    let log = Log::new("a");
    let sink = log.open();
    write(&sink, "a", 0..10);
    end(sink);
    append(&log.path(), event("x", 1).line());
    let found = log.verify().logs[0].problems[0].clone();
    assert_eq!((found.kind, found.line), (ProblemKind::Inserted, Some(11)));
    // The next start does not take it over.
    let sink = log.open();
    write(&sink, "a", 10..20);
    end(sink);
    let found = log.verify().logs[0].problems[0].clone();
    assert_eq!((found.kind, found.line), (ProblemKind::Inserted, Some(11)));
    assert_eq!(found.audit_id.as_deref(), Some("x-0000001"));
}

#[test]
fn thread_31_a_cut_tail_needs_the_copy_kept_elsewhere() {
    let log = Log::new("a");
    let copy = log.dir.path().join("copy");
    fs::create_dir(&copy).expect("a folder");
    let mut options = log.options();
    if let Some(chain) = &mut options.chain {
        chain.copy = Some(copy.clone());
    }
    let sink = log.open_with(&options);
    write(&sink, "a", 0..10);
    end(sink);
    let kept = fs::read(checkpoints_path(&log.path())).expect("checkpoints");
    let log_kept = fs::read(log.path()).expect("a log");
    let chain_kept = fs::read(chain_path(&log.path())).expect("a chain");
    let sink = log.open_with(&options);
    write(&sink, "a", 10..20);
    end(sink);
    log.assert_whole();
    // Everything beside the log is put back to what it was.
    fs::write(checkpoints_path(&log.path()), kept).expect("writes");
    fs::write(log.path(), log_kept).expect("writes");
    fs::write(chain_path(&log.path()), chain_kept).expect("writes");
    log.assert_whole();
    let question = Question {
        checkpoints: vec![copy.join("a.audit.log.checkpoints")],
        ..log.question()
    };
    let report = verify(&question, &Progress::default()).expect("can be read");
    let found = &report.logs[0].problems[0];
    assert_eq!(found.kind, ProblemKind::CutOff);
    assert_eq!((found.event, found.count), (Some(11), Some(10)));
    assert!(found.last_good_checkpoint.is_some());
}

#[test]
fn another_key_signs_nothing() {
    let log = Log::new("a");
    let sink = log.open();
    write(&sink, "a", 0..10);
    end(sink);
    let other = Log::new("b");
    let sink = other.open();
    end(sink);
    let key = other.checkpoints()[0].key;
    let question = Question {
        keys: vec![key],
        ..log.question()
    };
    let report = verify(&question, &Progress::default()).expect("can be read");
    assert_eq!(report.logs[0].problems[0].kind, ProblemKind::Checkpoint);
    let question = Question {
        keys: vec![log.checkpoints()[0].key],
        ..log.question()
    };
    assert!(
        verify(&question, &Progress::default())
            .expect("can be read")
            .whole
    );
}

#[test]
fn what_retention_deletes_is_not_missing_and_what_others_delete_is() {
    let log = Log::new("a");
    let mut options = log.options();
    options.rotation.max_bytes = 5_000;
    options.rotation.max_backups = 3;
    let sink = log.open_with(&options);
    write(&sink, "a", 0..300);
    // The deletion is a thread's work.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while backups(&log.path()).expect("lists").len() > 3 {
        assert!(std::time::Instant::now() < deadline, "backups are deleted");
        std::thread::yield_now();
    }
    end(sink);
    let report = log.assert_whole();
    assert!(report.logs[0].first > 1);
    let told = log.checkpoints();
    assert!(told.iter().any(|c| c.kind == CheckpointKind::Retention));
    let oldest = backups(&log.path()).expect("lists").remove(0).1;
    fs::remove_file(chain_path(&oldest)).expect("deletes");
    fs::remove_file(&oldest).expect("deletes");
    let report = log.verify();
    let found = &report.logs[0].problems[0];
    assert_eq!(found.kind, ProblemKind::Missing, "{report:#?}");
    assert!(found.message.contains("retention"), "{}", found.message);
}

#[test]
fn a_log_that_was_there_before_the_chain_is_set_aside() {
    let log = Log::new("a");
    fs::write(log.path(), event("old", 1).line()).expect("writes");
    let sink = log.open();
    write(&sink, "a", 0..5);
    end(sink);
    let report = log.assert_whole();
    assert_eq!(report.logs[0].first, 1);
    assert!(
        report.logs[0]
            .notes
            .iter()
            .any(|n| n.contains("before the chain began"))
    );
    assert_eq!(backups(&log.path()).expect("lists").len(), 1);
}

#[test]
fn a_second_writer_is_refused() {
    let log = Log::new("a");
    let _sink = log.open();
    let second = LogSink::open(&log.options(), Metrics::new());
    assert!(second.is_err());
}

#[test]
fn thread_18_what_is_done_to_the_log_while_it_is_written_is_told_and_located() {
    let log = Log::new("a");
    let sink = log.open();
    write(&sink, "a", 0..10);
    // Cut to the first four lines.
    let text = fs::read_to_string(log.path()).expect("a log");
    let four: usize = text.split_inclusive('\n').take(4).map(str::len).sum();
    let file = OpenOptions::new()
        .write(true)
        .open(log.path())
        .expect("opens");
    file.set_len(four as u64).expect("cuts");
    let told = sink.check().expect_err("is told");
    assert!(told.contains("cut by 6 events"), "{told}");
    write(&sink, "a", 10..20);
    // Deleted.
    fs::remove_file(log.path()).expect("deletes");
    write(&sink, "a", 20..30);
    // Something else in its place.
    append(&log.path(), b"{\"forged\":true}\n");
    let told = sink.check().expect_err("is told");
    assert!(told.contains("16 bytes"), "{told}");
    write(&sink, "a", 30..40);
    // The chain file goes.
    fs::remove_file(chain_path(&log.path())).expect("deletes");
    assert!(sink.check().is_err());
    write(&sink, "a", 40..50);
    end(sink);
    let report = log.verify();
    let problems = &report.logs[0].problems;
    let kinds: Vec<ProblemKind> = problems.iter().map(|p| p.kind).collect();
    let expected = [
        ProblemKind::CutOff,
        ProblemKind::Missing,
        ProblemKind::ChainMissing,
    ];
    for kind in expected {
        assert!(kinds.contains(&kind), "{kind:?} in {report:#?}");
    }
    assert_eq!(problems[0].event, Some(5), "{report:#?}");
    let lost: u64 = report.logs[0].gaps.iter().map(|g| g.lost).sum();
    // The two records about the cut, and ten events; the record about the six went with them.
    assert_eq!(lost, 12);
    assert!(backup_chains(&log.path()).expect("lists").len() >= 2);
    let checkpoints = notary::read(&checkpoints_path(&log.path())).expect("can be read");
    assert!(!checkpoints.is_empty());
}

/// Numbers of the last events of all finished files, and of the checkpoints made of such.
fn ends_and_signed(log: &Log) -> (Vec<u64>, Vec<u64>) {
    let chains = backup_chains(&log.path()).expect("lists");
    let ends = chains.iter().map(|(_, path)| {
        let chain = ChainFile::open(path).expect("can be read");
        chain.and_then(|c| c.head().ok()).expect("a head").count
    });
    let signed = log.checkpoints().into_iter();
    let signed = signed.filter(|c| c.kind == CheckpointKind::Rotation);
    let mut signed: Vec<u64> = signed.map(|c| c.count).collect();
    signed.sort_unstable();
    (ends.collect(), signed)
}

#[test]
fn the_end_of_every_file_is_signed_however_fast_they_rotate() {
    let log = Log::new("a");
    let mut options = log.options();
    options.rotation.max_bytes = 600;
    let sink = log.open_with(&options);
    write(&sink, "a", 0..1000);
    end(sink);
    let (ends, signed) = ends_and_signed(&log);
    assert!(ends.len() > 300, "{}", ends.len());
    assert_eq!(ends, signed);
    log.assert_whole();
}

#[test]
fn the_end_of_a_file_waits_until_it_can_be_signed() {
    let log = Log::new("a");
    let mut options = log.options();
    options.rotation.max_bytes = 600;
    let sink = log.open_with(&options);
    let checkpoints = checkpoints_path(&log.path());
    let folder = checkpoints.with_extension("folder");
    fs::create_dir(&folder).expect("something that cannot be written");
    // At once: the notary tries again all the time.
    let exchange = || renameat_with(CWD, &folder, CWD, &checkpoints, RenameFlags::EXCHANGE);
    exchange().expect("exchanges");
    write(&sink, "a", 0..40);
    exchange().expect("exchanges");
    end(sink);
    let (ends, signed) = ends_and_signed(&log);
    assert_eq!(ends, signed);
    log.assert_whole();
}

#[test]
fn a_file_is_found_rewritten_also_when_a_crash_left_its_end_unsigned() {
    let log = Log::new("a");
    let mut options = log.options();
    (options.rotation.max_bytes, options.rotation.max_backups) = (20_000, 0);
    let sink = log.open_with(&options);
    write(&sink, "a", 0..200);
    end(sink);
    let checkpoints = checkpoints_path(&log.path());
    let text = fs::read_to_string(&checkpoints).expect("checkpoints");
    let kept = text.split_inclusive('\n');
    let kept: String = kept.filter(|l| !l.contains("\"rotation\"")).collect();
    fs::write(&checkpoints, kept).expect("writes");
    log.assert_whole();

    let (_, edited) = backups(&log.path()).expect("lists").remove(0);
    let text = fs::read_to_string(&edited).expect("a log");
    fs::write(&edited, text.replacen("alice", "carol", 1)).expect("writes");
    let path = chain_path(&edited);
    let chain = fs::read_to_string(&path).expect("a chain");
    let header = chain.lines().next().expect("a header");
    let mut head = Hash::of(header.as_bytes());
    let mut forged = format!("{header}\n").into_bytes();
    let mut offset = 0;
    for line in fs::read_to_string(&edited).expect("a log").lines() {
        head = head.link(line.as_bytes());
        offset += line.len() as u64 + 1;
        Entry { hash: head, offset }.push(&mut forged);
    }
    fs::write(&path, forged).expect("writes");
    let problems = &log.verify().logs[0].problems;
    let places: Vec<_> = problems.iter().map(|p| (p.kind, &p.file, p.line)).collect();
    assert_eq!(places, [(ProblemKind::Rewritten, &edited, Some(1))]);
}
