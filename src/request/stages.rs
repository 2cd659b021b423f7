//! `StageTrace`: the record of what each pipeline stage did to one request.
//!
//! Everybody who does work for a request writes here; audit events, metrics, the slow-request log
//! and `why` read. Names are the contract between them: see [`Stage::name`].

use std::borrow::Cow;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

/// Outcomes of stages that went well. Every other one is a failure: the index (`failedStage:`),
/// summaries and explanations tell them apart by this list.
pub const GOOD_OUTCOMES: [&str; 8] = [
    "ok",
    "allow",
    "skipped",
    "exempt",
    "anonymous",
    // Nothing was there to be read.
    "none",
    // A mutating webhook changed the object.
    "mutated",
    CLOSED_BY_CLIENT,
];
/// Outcome of a stream that its client ended.
pub const CLOSED_BY_CLIENT: &str = "closed by the client";

/// One finished stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Name, for example `authentication`, `authorization`, `admission/NamespaceLifecycle`,
    /// `mutating-webhook/<webhook>`, `validating-webhook/<webhook>`, `store/create`. A part after
    /// `/` names the plugin, webhook or operation.
    pub name: Cow<'static, str>,
    /// Start, from the arrival of the request.
    pub offset: Duration,
    /// How long it took.
    pub duration: Duration,
    /// One word: `ok`, `allow`, `forbid`, `error`, `denied`, `conflict`, `timeout`, `skipped`, …
    pub outcome: Cow<'static, str>,
    /// Why; may be empty. For operators, never sent to the client. Where a closed vocabulary
    /// exists (storage failures, refused credentials) it is `class` or `class: details`.
    pub reason: Cow<'static, str>,
}

/// Stages there is room for from the beginning, more than reads have. What is larger than a kilobyte
/// takes the allocator a good deal longer.
const STAGES: usize = 9;

/// All stages of one request, in the order they finished.
#[derive(Clone, Debug)]
pub struct StageTrace {
    start: Instant,
    stages: Vec<Stage>,
    /// What has begun and not ended, in the order it began. More than one when stages are nested
    /// (a plugin calls a webhook) or run at once (validating webhooks).
    open: SmallVec<[(Cow<'static, str>, Instant); 2]>,
}

impl StageTrace {
    /// Starts now.
    pub fn start() -> Self {
        StageTrace {
            start: Instant::now(),
            stages: Vec::with_capacity(STAGES),
            open: SmallVec::new(),
        }
    }

    /// As of a request that has been here for `age`, for tests of slow ones.
    #[cfg(test)]
    pub(crate) fn started_before(age: Duration) -> Self {
        let mut trace = StageTrace::start();
        trace.start -= age;
        trace
    }

    /// When the request arrived.
    pub fn started(&self) -> Instant {
        self.start
    }

    /// Time since the request arrived.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Notes that a stage begins, so that a timeout can name the stage that was running. Pass the
    /// answer to [`StageTrace::end`].
    pub fn begin(&mut self, name: impl Into<Cow<'static, str>>) -> Instant {
        let now = Instant::now();
        self.open.push((name.into(), now));
        now
    }

    /// Records a finished stage that began at `began`.
    pub fn end(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        began: Instant,
        outcome: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) {
        self.end_timed(name, began, outcome, reason);
    }

    /// The same; answers how long it took.
    pub fn end_timed(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        began: Instant,
        outcome: impl Into<Cow<'static, str>>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Duration {
        if let Some(index) = self.open.iter().rposition(|(_, at)| *at == began) {
            self.open.remove(index);
        }
        let duration = began.elapsed();
        self.stages.push(Stage {
            name: name.into(),
            offset: began.saturating_duration_since(self.start),
            duration,
            outcome: outcome.into(),
            reason: reason.into(),
        });
        duration
    }

    /// The stage that began last and has not ended: where a timed-out request is stuck.
    pub fn running(&self) -> Option<(&str, Duration)> {
        let (name, began) = self.open.last()?;
        Some((name, began.elapsed()))
    }

    /// All stages that have begun and not ended, innermost first, and for how long they have run:
    /// where a request that was dropped was stuck.
    pub fn all_running(&self) -> impl Iterator<Item = (&str, Duration)> {
        let open = self.open.iter().rev();
        open.map(|(name, began)| (&**name, began.elapsed()))
    }

    /// When the last finished stage ended; the arrival when there is none.
    pub fn last_end(&self) -> Instant {
        let last = self.stages.last();
        last.map_or(self.start, |s| self.start + s.offset + s.duration)
    }

    /// The request has its answer: what an early return left open is over.
    pub fn settle(&mut self) {
        self.open.clear();
    }

    /// Ends everything that runs, with one outcome: the request is given up. Answers the names,
    /// outermost first.
    pub fn cut(&mut self, outcome: &'static str, reason: &'static str) -> Vec<String> {
        let cut = std::mem::take(&mut self.open);
        let mut names = Vec::with_capacity(cut.len());
        for (name, began) in cut {
            names.push(name.to_string());
            self.end(name, began, outcome, reason);
        }
        names
    }

    /// The finished stages.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Time spent in stages called `name` or `name/…`. What ran at once (validating webhooks) counts
    /// once.
    pub fn total(&self, name: &str) -> Duration {
        let is_named = |stage: &&Stage| {
            let rest = stage.name.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if !self.stages.iter().any(|stage| is_named(&stage)) {
            return Duration::ZERO;
        }
        let named = self.stages.iter().filter(is_named);
        let spans = named.map(|s| (s.offset, s.offset + s.duration));
        let mut spans: SmallVec<[(Duration, Duration); 8]> = spans.collect();
        spans.sort_unstable();
        let (mut covered, mut end) = (Duration::ZERO, Duration::ZERO);
        for (from, to) in spans {
            covered += to.saturating_sub(from.max(end));
            end = end.max(to);
        }
        covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_that_run_at_once_end_in_any_order() {
        let mut trace = StageTrace::start();
        let plugin = trace.begin("admission/ValidatingAdmissionWebhook");
        let first = trace.begin("validating-webhook/a");
        let second = trace.begin(String::from("validating-webhook/b"));
        trace.end("validating-webhook/a", first, "ok", "");
        assert_eq!(trace.running().map(|r| r.0), Some("validating-webhook/b"));
        trace.end("validating-webhook/b", second, "ok", "");
        trace.end("admission/ValidatingAdmissionWebhook", plugin, "ok", "");
        assert!(trace.running().is_none());
        assert_eq!(trace.stages().len(), 3);
    }

    #[test]
    fn thread_37_a_cut_names_all_that_ran() {
        let mut trace = StageTrace::start();
        trace.begin("admission/MutatingAdmissionWebhook");
        trace.begin("mutating-webhook/slow");
        let names = trace.cut("timeout", "late");
        assert_eq!(
            names.last().map(String::as_str),
            Some("mutating-webhook/slow")
        );
        assert!(trace.stages().iter().all(|s| s.outcome == "timeout"));
        assert!(trace.running().is_none());
    }

    #[test]
    fn time_spent_at_once_counts_once() {
        let mut trace = StageTrace::start();
        let stage = |name: &'static str, offset: u64, duration: u64| Stage {
            name: name.into(),
            offset: Duration::from_millis(offset),
            duration: Duration::from_millis(duration),
            outcome: "ok".into(),
            reason: "".into(),
        };
        trace.stages = vec![
            stage("validating-webhook/b", 10, 20),
            stage("validating-webhook/a", 10, 50),
            stage("store/get", 100, 5),
            stage("validating-webhook/c", 200, 10),
        ];
        assert_eq!(trace.total("validating-webhook"), Duration::from_millis(60));
        assert_eq!(trace.total("store"), Duration::from_millis(5));
    }
}
