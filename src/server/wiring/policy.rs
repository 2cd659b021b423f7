//! Hot reload of the audit policy: of everything that `--audit-policy-file` says, sinks included.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::sinks::Sinks;
use crate::audit::{Recorder, config_file};
use crate::base::Tasks;
use crate::base::tree::json;
use crate::server::options::ServerOptions;

/// How often the files are read again.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often a file may be away before somebody is told: one that is being replaced is back by then.
const MISSING_MAX: u32 = 10;

/// Puts a changed policy file in force; one that cannot be used leaves the old policy in force.
/// Either is recorded (rancher/rke2#718).
pub(super) fn watch(
    options: &ServerOptions,
    recorder: &Arc<Recorder>,
    sinks: &Arc<Sinks>,
    files: Vec<PathBuf>,
    tasks: &Tasks,
) {
    let Some(path) = options.audit.policy_file.clone() else {
        return;
    };
    let mut watched = Watched {
        last: contents(&files),
        path,
        files,
        missing: 0,
        recorder: recorder.clone(),
        sinks: sinks.clone(),
    };
    tasks.spawn_until_stopped(async move {
        let mut every = tokio::time::interval(INTERVAL);
        loop {
            every.tick().await;
            watched.look();
        }
    });
}

struct Watched {
    path: PathBuf,
    /// The file, and those that it names.
    files: Vec<PathBuf>,
    last: Vec<Option<Vec<u8>>>,
    missing: u32,
    recorder: Arc<Recorder>,
    sinks: Arc<Sinks>,
}

/// Config maps are mounted by swapping links, editors replace files: contents tell more than times.
fn contents(files: &[PathBuf]) -> Vec<Option<Vec<u8>>> {
    files.iter().map(|path| std::fs::read(path).ok()).collect()
}

impl Watched {
    fn look(&mut self) {
        let now = contents(&self.files);
        if now.iter().any(Option::is_none) {
            self.missing += 1;
            if self.missing == MISSING_MAX {
                self.refuse("cannot be read any more");
            }
            return;
        }
        let is_back = std::mem::take(&mut self.missing) >= MISSING_MAX;
        if now == self.last && !is_back {
            return;
        }
        self.last = now;
        match reload(&self.path, &self.recorder, &self.sinks) {
            Ok(files) => {
                // Another set of files is looked at from now on.
                if files != self.files {
                    self.last = contents(&files);
                    self.files = files;
                }
            }
            Err(error) => self.refuse(&error),
        }
    }

    fn refuse(&self, error: &str) {
        tracing::error!(%error, "the changed audit policy cannot be used; the old one stays in force");
        let value = json!({"policy": "rejected", "error": error, "sha256": digest(&self.path)});
        self.recorder.note("policy", &value.to_string());
    }
}

/// Answers the files that were read.
fn reload(path: &Path, recorder: &Recorder, sinks: &Sinks) -> Result<Vec<PathBuf>, String> {
    let loaded = config_file::load(path).map_err(|e| e.to_string())?;
    let change = sinks.prepare(&loaded).map_err(|e| e.to_string())?;
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "the audit policy");
    }
    let rules = loaded.view.policy.rules.len();
    sinks.apply(change, recorder);
    tracing::info!(
        rules,
        sinks = loaded.sinks.len(),
        "the audit policy was changed"
    );
    let value = json!({
        "policy": "changed",
        "rules": rules,
        "sinks": loaded.sinks.iter().map(|s| &s.name).collect::<Vec<_>>(),
        "sha256": digest(path),
    });
    recorder.note("policy", &value.to_string());
    Ok(loaded.files)
}

/// Which text it was, for whoever has the file's history.
fn digest(path: &Path) -> Option<String> {
    let text = std::fs::read(path).ok()?;
    let digest = Sha256::digest(&text);
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use crate::base::tree::Value;

    use super::*;
    use crate::audit::metrics::Metrics;
    use crate::audit::recorder::Route;
    use crate::audit::sink::memory::MemorySink;
    use crate::server::wiring::sinks::OwnSink;

    const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None}]\n";

    /// A folder as a mounted config map: `policy.yaml` is a link through the link `..data`.
    fn mount(dir: &Path, version: &str, text: &str) {
        let data = dir.join(version);
        std::fs::create_dir(&data).expect("a folder");
        std::fs::write(data.join("policy.yaml"), text).expect("writes");
        let link = dir.join("..data_tmp");
        std::os::unix::fs::symlink(version, &link).expect("links");
        std::fs::rename(&link, dir.join("..data")).expect("swaps");
    }

    #[tokio::test]
    async fn thread_01_02_changes_and_refusals_are_recorded() {
        let dir = tempfile::tempdir().expect("a folder");
        mount(dir.path(), "1", POLICY);
        let path = dir.path().join("policy.yaml");
        std::os::unix::fs::symlink("..data/policy.yaml", &path).expect("links");

        let sink = Arc::new(MemorySink::default());
        let own = OwnSink {
            name: "log",
            route: Route {
                sink: sink.clone(),
                strict: false,
            },
            path: None,
        };
        let sinks = Sinks::new(vec![own], None, dir.path(), Metrics::new());
        let loaded = config_file::load(&path).expect("loads");
        let recorder = sinks.recorder(sinks.prepare(&loaded).expect("opens"));
        let mut watched = Watched {
            last: contents(&loaded.files),
            path,
            files: loaded.files,
            missing: 0,
            recorder,
            sinks: Arc::new(sinks),
        };
        watched.look();
        assert!(sink.events().is_empty(), "nothing has changed");

        mount(dir.path(), "2", "rules: [");
        watched.look();
        let log = dir.path().join("audit.log");
        mount(
            dir.path(),
            "3",
            &format!(
                "apiVersion: audit.verbatim.dev/v1alpha1\nkind: AuditConfiguration\nsinks:\n- name: other\n  log: {{path: {}}}\n",
                log.display()
            ),
        );
        watched.look();
        watched.look();
        let notes: Vec<Value> = sink
            .events()
            .iter()
            .filter_map(|e| e["annotations"]["audit.verbatim.dev/stages"].as_str())
            .filter_map(|text| serde_json::from_str(text).ok())
            .collect();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert_eq!(notes[0]["policy"], "rejected");
        assert_eq!(notes[1]["policy"], "changed");
        assert_eq!(notes[1]["sinks"], json!(["other"]));
        let text = std::fs::read_to_string(&log).expect("the new sink is open");
        assert!(
            text.contains("changed"),
            "it begins with the change: {text}"
        );

        std::fs::remove_file(dir.path().join("..data")).expect("removes");
        for _ in 0..MISSING_MAX {
            watched.look();
        }
        let last = sink.events().pop().expect("a note").to_string();
        assert!(last.contains("cannot be read any more"), "{last}");
    }
}
