//! `process_*` and the few `go_*` families that dashboards read, from /proc when asked.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// Clock ticks per second in /proc; 100 on every Linux that runs Kubernetes.
const TICKS_PER_SECOND: f64 = 100.0;
/// Page size assumed for resident memory.
const PAGE_BYTES: f64 = 4096.0;

/// All process families that could be read. Empty where there is no /proc.
pub(super) fn gather() -> Vec<MetricFamily> {
    let mut out = Vec::new();
    if let Some(stat) = Stat::read() {
        out.push(counter(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            stat.cpu_seconds,
        ));
        out.push(gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            stat.resident_bytes,
        ));
        out.push(gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            stat.virtual_bytes,
        ));
        out.push(gauge(
            "go_threads",
            "Number of OS threads created.",
            stat.threads,
        ));
        if let Some(start) = stat.start_seconds() {
            out.push(gauge(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                start,
            ));
        }
    }
    if let Ok(dir) = fs::read_dir("/proc/self/fd") {
        out.push(gauge(
            "process_open_fds",
            "Number of open file descriptors.",
            dir.count() as f64,
        ));
    }
    for (name, help, row) in [
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
            "Max open files",
        ),
        (
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            "Max address space",
        ),
    ] {
        if let Some(limit) = soft_limit(row) {
            out.push(gauge(name, help, limit));
        }
    }
    if let Some((received, sent)) = network_bytes() {
        out.push(counter(
            "process_network_receive_bytes_total",
            "Number of bytes received by the process over the network.",
            received,
        ));
        out.push(counter(
            "process_network_transmit_bytes_total",
            "Number of bytes sent by the process over the network.",
            sent,
        ));
    }
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        out.push(gauge(
            "go_goroutines",
            "Number of tasks that currently exist.",
            runtime.metrics().num_alive_tasks() as f64,
        ));
    }
    out
}

/// What /proc/self/stat says.
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    start_ticks: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The program name is in brackets and may contain anything; count after its end.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |n: usize| fields.get(n - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * PAGE_BYTES,
        })
    }

    fn start_seconds(&self) -> Option<f64> {
        static BOOT: OnceLock<Option<f64>> = OnceLock::new();
        let boot = (*BOOT.get_or_init(boot_seconds))?;
        Some(boot + self.start_ticks / TICKS_PER_SECOND)
    }
}

/// When the machine started, since the epoch.
fn boot_seconds() -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.as_secs_f64() - uptime)
}

fn soft_limit(row: &str) -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let rest = limits.lines().find_map(|l| l.strip_prefix(row))?;
    let soft = rest.split_whitespace().next()?;
    match soft {
        "unlimited" => Some(u64::MAX as f64),
        number => number.parse().ok(),
    }
}

fn network_bytes() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/self/net/netstat").ok()?;
    let mut lines = text.lines().filter(|l| l.starts_with("IpExt:"));
    let names = lines.next()?.split_whitespace();
    let values: Vec<&str> = lines.next()?.split_whitespace().collect();
    let names: Vec<&str> = names.collect();
    let value = |name: &str| {
        let at = names.iter().position(|n| *n == name)?;
        values.get(at)?.parse().ok()
    };
    Some((value("InOctets")?, value("OutOctets")?))
}

fn gauge(name: &str, help: &str, value: f64) -> MetricFamily {
    let mut inner = Gauge::default();
    inner.set_value(value);
    family(name, help, MetricType::GAUGE, Metric::from_gauge(inner))
}

fn counter(name: &str, help: &str, value: f64) -> MetricFamily {
    let mut inner = Counter::default();
    inner.set_value(value);
    let mut metric = Metric::from_label(Vec::new());
    metric.set_counter(inner);
    family(name, help, MetricType::COUNTER, metric)
}

fn family(name: &str, help: &str, kind: MetricType, metric: Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_string());
    family.set_help(help.to_string());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}
