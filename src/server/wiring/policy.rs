//! Hot reload of the audit policy.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Recorder, policy_file};
use crate::base::Tasks;
use crate::server::options::ServerOptions;

/// How often the file is read again.
const INTERVAL: Duration = Duration::from_secs(2);

/// Puts a changed policy file in force; one that cannot be used leaves the old policy in force.
/// Either is recorded (rancher/rke2#718).
pub(super) fn watch(options: &ServerOptions, recorder: &Arc<Recorder>, tasks: &Tasks) {
    let Some(path) = options.audit.policy_file.clone() else {
        return;
    };
    let recorder = recorder.clone();
    let mut last = std::fs::read(&path).unwrap_or_default();
    tasks.spawn_until_stopped(async move {
        let mut every = tokio::time::interval(INTERVAL);
        loop {
            every.tick().await;
            // Config maps are mounted by swapping links: contents tell more than times. A file that
            // cannot be read is on its way to be replaced.
            let Ok(text) = tokio::fs::read(&path).await else {
                continue;
            };
            if text != last {
                reload(&recorder, &text);
                last = text;
            }
        }
    });
}

fn reload(recorder: &Recorder, text: &[u8]) {
    match policy_file::parse(&String::from_utf8_lossy(text)) {
        Ok(policy) => {
            for warning in &policy.warnings {
                tracing::warn!(%warning, "the audit policy");
            }
            tracing::info!(rules = policy.rules.len(), "the audit policy was changed");
            recorder.set_policy(policy);
        }
        Err(error) => {
            tracing::error!(%error, "the changed audit policy cannot be used; the old one stays in force");
            let value = serde_json::json!({"policy": "rejected", "error": error.to_string()});
            recorder.note("policy", &value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::metrics::Metrics;
    use crate::audit::recorder::Route;
    use crate::audit::sink::memory::MemorySink;

    #[test]
    fn changes_and_refusals_are_recorded_rke2_718() {
        let sink = Arc::new(MemorySink::default());
        let route = Route {
            sink: sink.clone(),
            strict: false,
        };
        let recorder = Recorder::new(None, vec![route], Metrics::new());
        reload(&recorder, b"rules: [");
        reload(&recorder, policy_file::DEFAULT_POLICY.as_bytes());
        let events = sink.events();
        let texts: Vec<String> = events
            .iter()
            .map(|e| e["annotations"].to_string())
            .collect();
        assert!(
            texts[0].contains("rejected") && texts[1].contains("changed"),
            "{texts:?}"
        );
    }
}
