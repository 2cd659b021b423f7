//! Logging: tracing to stderr, as text or JSON lines, without blocking the request path.
//!
//! `-v` and `--vmodule` follow klog: 0–1 info, 2–4 debug of our own modules, 5 and more trace.

use std::io;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// Lines waiting for the writer; beyond this they are dropped and counted by the writer.
const BUFFERED_LINES: usize = 64 * 1024;

/// Installs the process-wide subscriber. Keep the guard until the process ends: dropping it flushes
/// what is buffered. Answers `None` when a subscriber is installed already (tests).
pub fn install(format: LogFormat, verbosity: u8, vmodule: &str) -> Option<WorkerGuard> {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(BUFFERED_LINES)
        .thread_name("log-writer")
        .finish(io::stderr());
    let filter = EnvFilter::try_new(directives(verbosity, vmodule))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    subscribe(format, filter, writer).then_some(guard)
}

fn subscribe(format: LogFormat, filter: EnvFilter, writer: NonBlocking) -> bool {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Writer(writer));
    match format {
        LogFormat::Text => builder.try_init().is_ok(),
        LogFormat::Json => builder.json().flatten_event(true).try_init().is_ok(),
    }
}

/// `NonBlocking` behind the trait the subscriber wants.
struct Writer(NonBlocking);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = NonBlocking;

    fn make_writer(&'a self) -> Self::Writer {
        self.0.clone()
    }
}

/// The filter for a klog verbosity: other crates' chatter only from 6 on.
fn directives(verbosity: u8, vmodule: &str) -> String {
    let mut out = match verbosity {
        0 | 1 => "warn,verbatim=info".to_string(),
        2..=4 => "warn,verbatim=debug".to_string(),
        5 => "info,verbatim=trace".to_string(),
        6..=7 => "debug,verbatim=trace".to_string(),
        _ => "trace".to_string(),
    };
    for pair in vmodule.split(',') {
        if let Some((module, level)) = pair.split_once('=')
            && let Ok(level) = level.trim().parse::<u8>()
        {
            let level = match level {
                0 | 1 => "info",
                2..=4 => "debug",
                _ => "trace",
            };
            out.push_str(&format!(",verbatim::{}={level}", module.trim()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbosity_becomes_a_filter() {
        assert_eq!(directives(0, ""), "warn,verbatim=info");
        assert_eq!(
            directives(2, "audit=5"),
            "warn,verbatim=debug,verbatim::audit=trace"
        );
        assert!(EnvFilter::try_new(directives(9, "a=1,b=9")).is_ok());
    }
}
