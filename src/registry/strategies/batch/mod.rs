//! Strategies of the batch group.

pub mod cron;
pub mod cron_job;
pub mod job;
pub mod job_policies;
pub mod job_spec;
pub mod job_status;
pub mod zones;

use crate::registry::strategy::Strategy;

/// The strategy of a kind of the batch group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "CronJob" => &cron_job::CronJobStrategy,
        "Job" => &job::JobStrategy,
        _ => return None,
    })
}
