//! Summaries: quantiles over a sliding window. Dashboards read one family of this type.
//!
//! The prometheus crate has no summary; this one keeps the last [`WINDOW`] observations of each
//! label set and sorts them when asked, which costs an observer two writes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::Opts;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary};

/// Observations kept per label set.
const WINDOW: usize = 1024;
/// Quantiles shown, as upstream's.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// A summary with labels.
#[derive(Clone)]
pub struct SummaryVec {
    desc: Desc,
    labels: Vec<String>,
    children: Arc<Mutex<HashMap<Vec<String>, Window>>>,
}

#[derive(Default)]
struct Window {
    last: Vec<f64>,
    next: usize,
    count: u64,
    sum: f64,
}

impl SummaryVec {
    /// A summary of `labels`.
    pub fn new(opts: Opts, labels: &[&str]) -> prometheus::Result<Self> {
        let labels: Vec<String> = labels.iter().map(|l| l.to_string()).collect();
        Ok(SummaryVec {
            desc: Desc::new(opts.name, opts.help, labels.clone(), opts.const_labels)?,
            labels,
            children: Arc::default(),
        })
    }

    /// Notes one observation.
    pub fn observe(&self, labels: &[&str], value: f64) {
        let mut children = self.children.lock();
        if let Some(window) = children
            .iter_mut()
            .find(|(key, _)| key.iter().eq(labels.iter()))
        {
            window.1.push(value);
            return;
        }
        let mut window = Window::default();
        window.push(value);
        children.insert(labels.iter().map(|l| l.to_string()).collect(), window);
    }
}

impl Window {
    fn push(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if self.last.len() < WINDOW {
            self.last.push(value);
            return;
        }
        self.last[self.next] = value;
        self.next = (self.next + 1) % WINDOW;
    }

    fn summary(&self) -> Summary {
        let mut sorted = self.last.clone();
        sorted.sort_by(f64::total_cmp);
        let quantiles = QUANTILES
            .iter()
            .map(|&q| {
                let rank = (q * (sorted.len() - 1) as f64).round() as usize;
                let mut quantile = Quantile::default();
                quantile.set_quantile(q);
                quantile.set_value(sorted[rank]);
                quantile
            })
            .collect();
        let mut summary = Summary::default();
        summary.set_sample_count(self.count);
        summary.set_sample_sum(self.sum);
        summary.set_quantile(quantiles);
        summary
    }
}

impl Collector for SummaryVec {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = self
            .children
            .lock()
            .iter()
            .map(|(values, window)| {
                let labels = self.labels.iter().zip(values).map(|(name, value)| {
                    let mut pair = LabelPair::default();
                    pair.set_name(name.clone());
                    pair.set_value(value.clone());
                    pair
                });
                let mut metric = Metric::from_label(labels.collect());
                metric.set_summary(window.summary());
                metric
            })
            .collect();
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::SUMMARY);
        family.set_metric(metrics);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_window() {
        let summary = SummaryVec::new(Opts::new("s", "help"), &["a"]).expect("valid options");
        for i in 0..=100 {
            summary.observe(&["x"], f64::from(i));
        }
        let families = summary.collect();
        let got = families[0].get_metric()[0].get_summary();
        assert_eq!(got.sample_count(), 101);
        let values: Vec<f64> = got.get_quantile().iter().map(|q| q.value()).collect();
        assert_eq!(values, [50.0, 90.0, 99.0]);
    }
}
