//! The metric series of one flow schema and of one level, looked up once.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge};

use crate::telemetry::{Histogram, Metrics};

/// Series with labels `flow_schema` and `priority_level`.
pub(super) struct Series {
    pub(super) schema: String,
    pub(super) level: String,
    pub(super) executing_requests: IntGauge,
    pub(super) executing_seats: IntGauge,
    pub(super) waiting_requests: IntGauge,
    pub(super) waiting_seats: IntGauge,
    pub(super) dispatched: IntCounter,
    pub(super) no_accommodation: IntCounter,
    pub(super) waited_and_ran: Histogram,
    pub(super) waited_in_vain: Histogram,
    pub(super) execution: Histogram,
    pub(super) watch_execution: Histogram,
    pub(super) queue_length: Histogram,
    pub(super) estimated_seats: Histogram,
    rejected: IntCounterVec,
}

impl Series {
    pub(super) fn new(metrics: &Metrics, schema: &str, level: &str) -> Self {
        let labels = [schema, level];
        let wait = &metrics.apiserver_flowcontrol_request_wait_duration_seconds;
        let execution = &metrics.apiserver_flowcontrol_request_execution_seconds;
        Series {
            schema: schema.into(),
            level: level.into(),
            executing_requests: metrics
                .apiserver_flowcontrol_current_executing_requests
                .with_label_values(&labels),
            executing_seats: metrics
                .apiserver_flowcontrol_current_executing_seats
                .with_label_values(&labels),
            waiting_requests: metrics
                .apiserver_flowcontrol_current_inqueue_requests
                .with_label_values(&labels),
            waiting_seats: metrics
                .apiserver_flowcontrol_current_inqueue_seats
                .with_label_values(&labels),
            dispatched: metrics
                .apiserver_flowcontrol_dispatched_requests_total
                .with_label_values(&labels),
            no_accommodation: metrics
                .apiserver_flowcontrol_request_dispatch_no_accommodation_total
                .with_label_values(&labels),
            waited_and_ran: wait.with_label_values(&["true", schema, level]),
            waited_in_vain: wait.with_label_values(&["false", schema, level]),
            execution: execution.with_label_values(&[schema, level, "regular"]),
            watch_execution: execution.with_label_values(&[schema, level, "watch"]),
            queue_length: metrics
                .apiserver_flowcontrol_request_queue_length_after_enqueue
                .with_label_values(&labels),
            estimated_seats: metrics
                .apiserver_flowcontrol_work_estimated_seats
                .with_label_values(&labels),
            rejected: metrics
                .apiserver_flowcontrol_rejected_requests_total
                .clone(),
        }
    }

    /// Counts a refused request.
    pub(super) fn reject(&self, reason: &str) {
        let labels = [self.schema.as_str(), self.level.as_str(), reason];
        self.rejected.with_label_values(&labels).inc();
    }
}

/// Series with label `priority_level`.
pub(super) struct LevelSeries {
    pub(super) nominal: IntGauge,
    pub(super) lower: IntGauge,
    pub(super) upper: IntGauge,
    pub(super) current: IntGauge,
    pub(super) target: IntGauge,
    pub(super) demand_average: Gauge,
    pub(super) demand_deviation: Gauge,
    pub(super) demand_high: Gauge,
    pub(super) demand_smoothed: Gauge,
    pub(super) virtual_time: Gauge,
}

impl LevelSeries {
    pub(super) fn new(metrics: &Metrics, level: &str) -> Self {
        let labels = [level];
        LevelSeries {
            nominal: metrics
                .apiserver_flowcontrol_nominal_limit_seats
                .with_label_values(&labels),
            lower: metrics
                .apiserver_flowcontrol_lower_limit_seats
                .with_label_values(&labels),
            upper: metrics
                .apiserver_flowcontrol_upper_limit_seats
                .with_label_values(&labels),
            current: metrics
                .apiserver_flowcontrol_current_limit_seats
                .with_label_values(&labels),
            target: metrics
                .apiserver_flowcontrol_target_seats
                .with_label_values(&labels),
            demand_average: metrics
                .apiserver_flowcontrol_demand_seats_average
                .with_label_values(&labels),
            demand_deviation: metrics
                .apiserver_flowcontrol_demand_seats_stdev
                .with_label_values(&labels),
            demand_high: metrics
                .apiserver_flowcontrol_demand_seats_high_watermark
                .with_label_values(&labels),
            demand_smoothed: metrics
                .apiserver_flowcontrol_demand_seats_smoothed
                .with_label_values(&labels),
            virtual_time: metrics
                .apiserver_flowcontrol_current_r
                .with_label_values(&labels),
        }
    }
}
