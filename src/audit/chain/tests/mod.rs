//! The chain as the log sink writes it: crashes are repaired, everything else is found.

mod mutations;
mod recovery;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::verify::{Progress, Question, Report, verify};
use super::{Checkpoint, NotaryOptions};
use crate::audit::metrics::Metrics;
use crate::audit::sink::Sink;
use crate::audit::sink::file::Rotation;
use crate::audit::sink::log::{LogOptions, LogSink};
use crate::audit::{EventBytes, Stage};

/// A log of a server.
struct Log {
    dir: tempfile::TempDir,
    server: &'static str,
}

impl Log {
    fn new(server: &'static str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("log")).expect("a folder for the log");
        Log { dir, server }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn path(&self) -> PathBuf {
        self.folder().join("audit.log")
    }

    fn options(&self) -> LogOptions {
        LogOptions {
            path: self.path(),
            rotation: Rotation {
                max_backups: 0,
                max_age_days: 0,
                ..Rotation::default()
            },
            chain: Some(NotaryOptions {
                server: self.server.into(),
                key_file: self.dir.path().join("pki/checkpoint.key"),
                interval: Duration::ZERO,
                events: 1000,
                ..NotaryOptions::default()
            }),
            ..LogOptions::default()
        }
    }

    fn open(&self) -> Arc<LogSink> {
        self.open_with(&self.options())
    }

    fn open_with(&self, options: &LogOptions) -> Arc<LogSink> {
        LogSink::open(options, Metrics::new()).expect("the log opens")
    }

    fn question(&self) -> Question {
        Question {
            paths: vec![self.folder()],
            ..Question::default()
        }
    }

    fn verify(&self) -> Report {
        verify(&self.question(), &Progress::default()).expect("can be read")
    }

    /// Fails unless everything is whole.
    fn assert_whole(&self) -> Report {
        let report = self.verify();
        assert!(report.whole, "{report:#?}");
        report
    }

    fn checkpoints(&self) -> Vec<Checkpoint> {
        super::notary::read(&super::format::checkpoints_path(&self.path())).expect("can be read")
    }
}

/// An event as a server writes it, with this number.
fn event(server: &str, number: u64) -> Arc<EventBytes> {
    let line = format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{server}-{number:07}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/n{}/pods/p{number}","verb":"get","user":{{"username":"alice"}},"responseStatus":{{"metadata":{{}},"code":200}}}}
"#,
        number % 7
    );
    Arc::new(EventBytes::from_line(
        line.into_bytes(),
        Stage::ResponseComplete,
    ))
}

fn write(sink: &LogSink, server: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let receipt = sink.accept(&event(server, number));
        futures::executor::block_on(receipt.settle()).expect("is written");
    }
}

/// Ends a sink as a shutdown does.
fn end(sink: Arc<LogSink>) {
    futures::executor::block_on(sink.flush());
}

/// The name that a file has before it is compressed, or that its chain file belongs to.
fn plain(path: &Path) -> PathBuf {
    match path.extension() {
        Some(extension) if extension == "gz" || extension == "chain" => path.with_extension(""),
        _ => path.into(),
    }
}
