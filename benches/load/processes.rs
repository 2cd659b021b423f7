//! What the kernel says about a process: CPU time, by thread too, and resident memory.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

/// The kernel's clock ticks per second, in which it counts CPU time; fixed on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// A process is idle when it used at most this much in [`IDLE_WINDOW`].
const IDLE_CPU: Duration = Duration::from_millis(20);
const IDLE_WINDOW: Duration = Duration::from_millis(600);
/// Longest wait for a process to become idle.
const IDLE_WAIT: Duration = Duration::from_secs(20);
/// Open files wanted for thousands of watchers.
const OPEN_FILES: &str = "--nofile=16384:";

/// CPU time of a process and of its threads by name, in seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) total: f64,
    pub(crate) by_thread: BTreeMap<String, f64>,
}

impl Cpu {
    /// Up to now, user and system together.
    pub(crate) fn of(pid: u32) -> Self {
        let mut by_thread = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Some((name, seconds)) = read_stat(&task.path().join("stat")) {
                *by_thread.entry(name).or_default() += seconds;
            }
        }
        Cpu {
            total: read_stat(format!("/proc/{pid}/stat").as_ref()).map_or(0.0, |(_, s)| s),
            by_thread,
        }
    }

    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Cpu) -> Cpu {
        let by_thread = self.by_thread.iter().map(|(name, seconds)| {
            let before = earlier.by_thread.get(name).copied().unwrap_or_default();
            (name.clone(), (seconds - before).max(0.0))
        });
        Cpu {
            total: self.total - earlier.total,
            by_thread: by_thread.collect(),
        }
    }

    /// Time of the threads that build the search index: what no other thread took, since many of them
    /// have ended by now.
    pub(crate) fn of_index(&self) -> f64 {
        let is_index = |name: &str| {
            ["index", "tantivy", "merge", "docstore"]
                .iter()
                .any(|part| name.contains(part))
        };
        let others = self.by_thread.iter().filter(|(name, _)| !is_index(name));
        let others: f64 = others.map(|(_, seconds)| seconds).sum();
        (self.total - others).max(0.0)
    }
}

fn read_stat(path: &std::path::Path) -> Option<(String, f64)> {
    let text = std::fs::read_to_string(path).ok()?;
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_string();
    let mut fields = tail.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((name, (user + system) / TICKS_PER_SECOND))
}

/// Waits until the process has done what it still had to do, such as indexing what was logged.
pub(crate) async fn idle(pid: u32) {
    let give_up = Instant::now() + IDLE_WAIT;
    let mut before = Cpu::of(pid).total;
    while Instant::now() < give_up {
        tokio::time::sleep(IDLE_WINDOW).await;
        let now = Cpu::of(pid).total;
        if now - before <= IDLE_CPU.as_secs_f64() {
            return;
        }
        before = now;
    }
}

/// Resident memory in megabytes.
pub(crate) fn resident_mb(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|l| l.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.unwrap_or_default() / 1024.0
}

/// Lets this process and its children open as many files as watchers need, where that is allowed.
pub(crate) fn raise_open_files() {
    let pid = std::process::id().to_string();
    let mut raise = Command::new("prlimit");
    raise.args(["--pid", &pid, OPEN_FILES]);
    if !raise.status().is_ok_and(|status| status.success()) {
        eprintln!("note: cannot raise the limit of open files; watch-3000 may fail");
    }
}

/// What machine this is.
pub(crate) fn machine() -> String {
    let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?").to_string();
    format!("{model}, {cores} cores, load before the run {load}")
}
