//! `/debug/api_priority_and_fairness/…`: levels, queues and waiting requests as upstream prints
//! them, in columns that line up.

use std::time::Duration;

use super::level::{About, Level};
use crate::flowcontrol::Dump;

/// Renders one page.
pub(super) fn render<'a>(levels: impl Iterator<Item = &'a Level>, page: Dump) -> String {
    let rows = match page {
        Dump::PriorityLevels => priority_levels(levels),
        Dump::Queues => queues(levels),
        Dump::Requests { details } => requests(levels, details),
    };
    align(&rows)
}

type Row = Vec<String>;

fn head(names: &[&str]) -> Vec<Row> {
    vec![names.iter().map(|name| name.to_string()).collect()]
}

fn priority_levels<'a>(levels: impl Iterator<Item = &'a Level>) -> Vec<Row> {
    let mut rows = head(&[
        "PriorityLevelName",
        "ActiveQueues",
        "IsIdle",
        "IsQuiescing",
        "WaitingRequests",
        "ExecutingRequests",
        "DispatchedRequests",
        "RejectedRequests",
        "TimedoutRequests",
        "CancelledRequests",
    ]);
    for level in levels {
        let view = level.view();
        let is_idle = view.executing == 0 && view.waiting == 0;
        rows.push(vec![
            level.name.clone(),
            view.active_queues.to_string(),
            is_idle.to_string(),
            view.is_quiescing.to_string(),
            view.waiting.to_string(),
            view.executing.to_string(),
            view.counts.dispatched.to_string(),
            view.counts.rejected.to_string(),
            view.counts.timed_out.to_string(),
            view.counts.cancelled.to_string(),
        ]);
    }
    rows
}

fn queues<'a>(levels: impl Iterator<Item = &'a Level>) -> Vec<Row> {
    let mut rows = head(&[
        "PriorityLevelName",
        "Index",
        "PendingRequests",
        "ExecutingRequests",
        "SeatsInUse",
        "NextDispatchR",
        "InitialSeatsSum",
        "MaxSeatsSum",
        "TotalWorkSum",
    ]);
    for level in levels {
        for (index, (queue, waiting)) in level.view().queues.into_iter().enumerate() {
            let sum = |seats: fn(&About) -> u32| waiting.iter().map(seats).sum::<u32>();
            rows.push(vec![
                level.name.clone(),
                index.to_string(),
                queue.waiting.to_string(),
                queue.executing.to_string(),
                queue.seats_in_use.to_string(),
                format!("{:.8}ss", queue.next_start),
                sum(|about| about.seats).to_string(),
                sum(|about| about.seats.max(about.last_seats)).to_string(),
                format!("{:.8}ss", f64::from(queue.seats_waiting) * 0.003),
            ]);
        }
    }
    rows
}

fn requests<'a>(levels: impl Iterator<Item = &'a Level>, details: bool) -> Vec<Row> {
    let mut names = vec![
        "PriorityLevelName",
        "FlowSchemaName",
        "QueueIndex",
        "RequestIndexInQueue",
        "FlowDistingsher",
        "ArriveTime",
        "InitialSeats",
        "FinalSeats",
        "AdditionalLatency",
        "StartTime",
    ];
    if details {
        names.extend([
            "UserName",
            "Verb",
            "APIPath",
            "Namespace",
            "Name",
            "APIVersion",
            "Resource",
            "SubResource",
        ]);
    }
    let mut rows = head(&names);
    for level in levels {
        for (queue, (_, waiting)) in level.view().queues.into_iter().enumerate() {
            for (index, about) in waiting.into_iter().enumerate() {
                rows.push(request(&level.name, queue, index, about, details));
            }
        }
    }
    rows
}

fn request(level: &str, queue: usize, index: usize, about: About, details: bool) -> Row {
    let mut row = vec![
        level.to_string(),
        about.schema,
        queue.to_string(),
        index.to_string(),
        about.flow,
        about.arrived.format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string(),
        about.seats.to_string(),
        about.last_seats.to_string(),
        latency(about.extra),
        // It has not begun.
        "0001-01-01T00:00:00.000000000Z".to_string(),
    ];
    if details {
        row.extend([
            about.user,
            about.verb,
            about.path,
            about.namespace,
            about.name,
            about.version,
            about.resource,
            about.subresource,
        ]);
    }
    row
}

/// As Go prints it: a few milliseconds.
fn latency(extra: Duration) -> String {
    match extra.as_millis() {
        0 => "0s".into(),
        millis => format!("{millis}ms"),
    }
}

/// Cells end in a comma, but for the last, and are padded with blanks.
fn align(rows: &[Row]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0) + ", ".len()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            match column + 1 == row.len() {
                true => out.push_str(cell),
                false => {
                    let cell = format!("{cell},");
                    out.push_str(&format!("{cell:<0$}", widths[column]));
                }
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["Name".into(), "N".into()],
            vec!["a".into(), "1".into()],
        ];
        assert_eq!(align(&rows), "Name, N\na,    1\n");
    }
}
