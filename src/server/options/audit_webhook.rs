//! `--audit-webhook-*`, and what upstream asks of batch mode of any sink.

use super::{AUDIT_MODES, FlagError, Values};
use crate::audit::config::{Mode, SinkSettings, SinkTarget, Truncation, WebhookTarget};
use crate::audit::sink::buffered::BatchOptions;

/// The webhook, if its kubeconfig is given.
pub(super) fn parse(v: &Values) -> Result<Option<SinkSettings>, FlagError> {
    let mode = "audit-webhook-mode";
    let mode = Mode::parse(&v.text(mode))
        .ok_or_else(|| v.invalid(mode, format!("must be {}", AUDIT_MODES.join(", "))))?;
    if mode == Mode::Batch {
        check_batch(v, "webhook")?;
    }
    let Some(kubeconfig) = super::path(v, "audit-webhook-config-file") else {
        return Ok(None);
    };
    // The old name counts where only it is given.
    let backoff = match v.is_given("audit-webhook-initial-backoff") {
        true => "audit-webhook-initial-backoff",
        false => "audit-webhook-batch-initial-backoff",
    };
    let burst = v.int("audit-webhook-batch-throttle-burst").max(1);
    let throttle = v.bool("audit-webhook-batch-throttle-enable").then(|| {
        (
            v.float("audit-webhook-batch-throttle-qps") as f32,
            u32::try_from(burst).unwrap_or(u32::MAX),
        )
    });
    let truncation = match v.bool("audit-webhook-truncate-enabled") {
        true => Some(Truncation {
            max_event_bytes: super::unsigned(v, "audit-webhook-truncate-max-event-size")? as usize,
            max_batch_bytes: super::unsigned(v, "audit-webhook-truncate-max-batch-size")? as usize,
        }),
        false => None,
    };
    Ok(Some(SinkSettings {
        target: SinkTarget::Webhook(WebhookTarget {
            kubeconfig,
            initial_backoff: v.duration(backoff),
        }),
        mode,
        batch: BatchOptions {
            buffer_size: super::unsigned(v, "audit-webhook-batch-buffer-size")? as usize,
            max_size: super::unsigned(v, "audit-webhook-batch-max-size")? as usize,
            max_wait: v.duration("audit-webhook-batch-max-wait"),
            throttle,
        },
        truncation,
    }))
}

/// Sizes and rates of batch mode must be positive. `sink` is the word in the flags' names.
pub(super) fn check_batch(v: &Values, sink: &str) -> Result<(), FlagError> {
    let flag = |what: &str| format!("audit-{sink}-batch-{what}");
    let mut positive = vec!["buffer-size", "max-size"];
    if v.bool(&flag("throttle-enable")) {
        positive.extend(["throttle-qps", "throttle-burst"]);
    }
    for what in positive {
        let name = flag(what);
        if v.float(&name) <= 0.0 {
            return Err(v.invalid(&name, "must be a positive number"));
        }
    }
    Ok(())
}
