//! `StageTrace`: the record of what each pipeline stage did to one request.

use std::borrow::Cow;
use std::time::{Duration, Instant};

/// One finished stage.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Name, for example `authentication`, `authorization`, `admission/NamespaceLifecycle`,
    /// `store/create`. A part after `/` names the plugin, webhook or operation.
    pub name: Cow<'static, str>,
    /// Start, from the arrival of the request.
    pub offset: Duration,
    /// How long it took.
    pub duration: Duration,
    /// One word: `ok`, `allow`, `forbid`, `error`, `denied`, `conflict`, `timeout`, `skipped`, …
    pub outcome: Cow<'static, str>,
    /// Why; may be empty. For operators, never sent to the client.
    pub reason: Cow<'static, str>,
}

/// All stages of one request, in the order they finished.
#[derive(Clone, Debug)]
pub struct StageTrace {
    start: Instant,
    stages: Vec<Stage>,
    open: Option<(&'static str, Instant)>,
}

impl StageTrace {
    /// Starts now.
    pub fn start() -> Self {
        StageTrace {
            start: Instant::now(),
            stages: Vec::with_capacity(12),
            open: None,
        }
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
    pub fn begin(&mut self, name: &'static str) -> Instant {
        let now = Instant::now();
        self.open = Some((name, now));
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
        self.open = None;
        self.stages.push(Stage {
            name: name.into(),
            offset: began.saturating_duration_since(self.start),
            duration: began.elapsed(),
            outcome: outcome.into(),
            reason: reason.into(),
        });
    }

    /// The stage that began last and has not ended: where a timed-out request was stuck.
    pub fn running(&self) -> Option<(&'static str, Duration)> {
        self.open.map(|(name, began)| (name, began.elapsed()))
    }

    /// The finished stages.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Sum of the durations of stages called `name` or `name/…`.
    pub fn total(&self, name: &str) -> Duration {
        self.stages
            .iter()
            .filter(|s| {
                s.name
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
            .map(|s| s.duration)
            .sum()
    }
}
