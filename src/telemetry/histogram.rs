//! [`Histogram`]: observations counted by bucket, as prometheus' own counts them, for threads that do not
//! wait for each other.
//!
//! A request is observed about ten times. A counter that two processors increase in turns travels
//! between them, and prometheus' histogram has four such counters for each observation: together they
//! took a twentieth of a GET. Here a thread has a part of its own, and a scrape adds the parts up. What
//! is observed during a scrape may show in the sum and not yet in a bucket, or the reverse.
//!
//! The one thing that is shared by all histograms of a process is the numbering of its threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use prometheus::core::{Collector, Desc, Describer, Metric, MetricVec, MetricVecBuilder};
use prometheus::proto::{Bucket, LabelPair, MetricFamily, MetricType};
use prometheus::{HistogramOpts, Result, proto};

/// Parts of one histogram. Threads beyond share them.
const PARTS: usize = 8;

/// Observations of one set of labels. A clone is a handle.
#[derive(Clone)]
pub struct Histogram(Arc<Inner>);

/// Histograms by their labels.
pub type HistogramVec = MetricVec<Builder>;

struct Inner {
    desc: Desc,
    labels: Vec<LabelPair>,
    /// Upper bounds of the buckets, without that of the last, which has none.
    bounds: Box<[f64]>,
    parts: [OnceLock<Box<Part>>; PARTS],
}

/// What threads of one number have observed. Aligned so that no two parts share a cache line.
#[repr(align(128))]
struct Part {
    /// A number's bits.
    sum: AtomicU64,
    buckets: Box<[AtomicU64]>,
}

/// Makes the histograms of a [`HistogramVec`].
#[derive(Clone)]
pub struct Builder;

thread_local! {
    static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Which part is this thread's.
fn place() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    PLACE.with(|place| {
        place.get().unwrap_or_else(|| {
            let number = THREADS.fetch_add(1, Relaxed) % PARTS;
            place.set(Some(number));
            number
        })
    })
}

/// A family with these labels.
pub(super) fn family(options: HistogramOpts, labels: &[&str]) -> Result<HistogramVec> {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    let options = options.variable_labels(labels);
    MetricVec::create(MetricType::HISTOGRAM, Builder, options)
}

impl MetricVecBuilder for Builder {
    type M = Histogram;
    type P = HistogramOpts;

    fn build<V: AsRef<str>>(&self, options: &HistogramOpts, values: &[V]) -> Result<Histogram> {
        Histogram::new(options, values)
    }
}

impl Histogram {
    /// One without labels.
    pub(super) fn with_opts(options: HistogramOpts) -> Result<Self> {
        Self::new::<&str>(&options, &[])
    }

    fn new<V: AsRef<str>>(options: &HistogramOpts, values: &[V]) -> Result<Self> {
        let desc = options.describe()?;
        let pairs = desc.variable_labels.iter().zip(values);
        let mut labels: Vec<LabelPair> = pairs
            .map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.clone());
                pair.set_value(value.as_ref().to_owned());
                pair
            })
            .collect();
        labels.sort();
        Ok(Histogram(Arc::new(Inner {
            desc,
            labels,
            bounds: options.buckets.clone().into(),
            parts: Default::default(),
        })))
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        let inner = &*self.0;
        let part = inner.parts[place()].get_or_init(|| Box::new(Part::new(inner.bounds.len() + 1)));
        let bucket = inner.bounds.iter().position(|bound| value <= *bound);
        let bucket = bucket.unwrap_or(inner.bounds.len());
        part.buckets[bucket].fetch_add(1, Relaxed);
        let more = |sum| Some((f64::from_bits(sum) + value).to_bits());
        // Never refused: there is always a sum.
        let _ = part.sum.fetch_update(Relaxed, Relaxed, more);
    }
}

impl Part {
    fn new(buckets: usize) -> Self {
        Part {
            sum: AtomicU64::new(0.0_f64.to_bits()),
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl Metric for Histogram {
    fn metric(&self) -> proto::Metric {
        let inner = &*self.0;
        let mut counts = vec![0; inner.bounds.len() + 1];
        let mut sum = 0.0;
        for part in inner.parts.iter().filter_map(OnceLock::get) {
            sum += f64::from_bits(part.sum.load(Relaxed));
            for (count, bucket) in counts.iter_mut().zip(&part.buckets) {
                *count += bucket.load(Relaxed);
            }
        }
        let mut so_far = 0;
        let buckets = inner.bounds.iter().zip(&counts).map(|(bound, count)| {
            so_far += count;
            let mut bucket = Bucket::default();
            bucket.set_cumulative_count(so_far);
            bucket.set_upper_bound(*bound);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_sum(sum);
        histogram.set_sample_count(counts.iter().sum());
        let mut metric = proto::Metric::from_label(inner.labels.clone());
        metric.set_histogram(histogram);
        metric
    }
}

impl Collector for Histogram {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut family = MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![self.metric()]);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    fn text(collector: &dyn Collector) -> String {
        let families = collector.collect();
        TextEncoder::new()
            .encode_to_string(&families)
            .expect("text")
    }

    /// What is shown is what prometheus' own histogram shows, whichever threads observe.
    #[test]
    fn as_prometheus_counts() {
        let options = || HistogramOpts::new("h", "help").buckets(vec![0.5, 1.0, 4.0]);
        let ours = family(options(), &["b", "a"]).expect("a family");
        let theirs = prometheus::HistogramVec::new(options(), &["b", "a"]).expect("a family");
        let values = [0.25, 0.5, 0.75, 1.0, 2.0, 4.0, 8.0];
        for value in values {
            theirs.with_label_values(&["x", "y"]).observe(value);
        }
        std::thread::scope(|scope| {
            for value in values {
                let ours = ours.with_label_values(&["x", "y"]);
                scope.spawn(move || ours.observe(value));
            }
        });
        assert_eq!(text(&ours), text(&theirs));
        let alone = Histogram::with_opts(options()).expect("a histogram");
        let other = prometheus::Histogram::with_opts(options()).expect("a histogram");
        alone.observe(3.0);
        other.observe(3.0);
        assert_eq!(text(&alone), text(&other));
    }
}
