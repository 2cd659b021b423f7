//! Asking every member how it is: status, alarms, and how fast its disk takes the log.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, MaintenanceClient};
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connect::Connections;
use super::errors::{Call, classify};
use crate::storage::{Examination, Member, MemberState};

/// How long each question may take.
const WAIT: Duration = Duration::from_secs(2);
/// The most that is read of a member's metrics.
const METRICS_BYTES_MAX: u64 = 4 * 1024 * 1024;
const LOG_SYNC: &str = "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"";

/// Asks all members at once.
pub(super) async fn examine(connections: &Connections, endpoints: &[String]) -> Examination {
    let asked = connections
        .members()
        .zip(endpoints)
        .map(|(client, endpoint)| member(client, endpoint));
    let members = join_all(asked).await;
    let mut alarms = Vec::new();
    for client in connections.members() {
        if let Some(found) = raised(client).await {
            alarms = found;
            break;
        }
    }
    Examination { members, alarms }
}

async fn member(mut client: MaintenanceClient, endpoint: &str) -> Member {
    let state = match tokio::time::timeout(WAIT, client.status()).await {
        Err(_) => Err("no answer within two seconds".to_string()),
        Ok(Err(error)) => Err(classify(&error, Call::Read).because()),
        Ok(Ok(status)) => Ok(MemberState {
            version: status.version().to_string(),
            has_leader: status.leader() != 0,
            size_bytes: bytes(status.db_size()),
            used_bytes: bytes(status.raft_used_db_size()),
            quota_bytes: bytes(status.db_size_quota()),
            errors: status.errors().to_vec(),
            log_sync_p99_ms: log_sync(endpoint).await,
        }),
    };
    Member {
        endpoint: endpoint.to_string(),
        state,
    }
}

fn bytes(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// The alarms; `None` when this member does not say.
async fn raised(mut client: MaintenanceClient) -> Option<Vec<String>> {
    let asked = client.alarm(AlarmAction::Get, AlarmType::None, None);
    let answer = tokio::time::timeout(WAIT, asked).await.ok()?.ok()?;
    let alarms = answer.alarms().iter().map(|alarm| {
        let kind = match alarm.alarm() {
            AlarmType::Nospace => "NOSPACE",
            AlarmType::Corrupt => "CORRUPT",
            AlarmType::None => "unknown",
        };
        format!("{kind} on member {:x}", alarm.member_id())
    });
    Some(alarms.collect())
}

/// Milliseconds within which 99 of 100 log writes were on disk, from the member's metrics. Only over
/// plain HTTP: etcd's metrics want a client certificate otherwise.
async fn log_sync(endpoint: &str) -> Option<f64> {
    let address = endpoint.strip_prefix("http://")?.trim_end_matches('/');
    let read = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut text = String::new();
        let mut limited = stream.take(METRICS_BYTES_MAX);
        limited.read_to_string(&mut text).await.ok()?;
        quantile(&text)
    };
    tokio::time::timeout(WAIT, read).await.ok()?
}

/// The upper bound of the bucket that holds the 99th percentile.
fn quantile(metrics: &str) -> Option<f64> {
    let buckets: Vec<(f64, f64)> = metrics
        .lines()
        .filter_map(|line| {
            let (bound, count) = line.strip_prefix(LOG_SYNC)?.split_once("\"} ")?;
            Some((bound.parse().ok()?, count.trim().parse().ok()?))
        })
        .collect();
    let total = buckets.last()?.1;
    let (bound, _) = buckets.iter().find(|(_, count)| *count >= total * 0.99)?;
    (total > 0.0 && bound.is_finite()).then_some(bound * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let text = "x 1\n\
            etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 50\n\
            etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.002\"} 99\n\
            etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.004\"} 100\n\
            etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"} 100\n";
        assert_eq!(quantile(text), Some(2.0));
        assert_eq!(quantile(""), None);
    }
}
