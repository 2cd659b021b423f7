//! The chain: runs the plugins in order, and records each of them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::status::Status;
use crate::telemetry::{Histogram, Metrics};

/// The plugins in order.
#[derive(Default)]
pub struct AdmissionChain {
    plugins: Vec<Link>,
    steps: Series,
    metrics: Option<Arc<Metrics>>,
}

/// One plugin with its series.
struct Link {
    plugin: Arc<dyn AdmissionPlugin>,
    series: Series,
}

/// The histograms of one plugin, or of the passes, by operation, pass and outcome; each is made
/// when first used, because what was never used is not shown.
#[derive(Default)]
struct Series([[[OnceLock<Histogram>; 2]; 2]; 4]);

impl Series {
    fn of(&self, operation: Operation, pass: Pass, is_rejected: bool) -> &OnceLock<Histogram> {
        let by_outcome = &self.0[operation as usize][pass as usize];
        &by_outcome[usize::from(is_rejected)]
    }
}

/// The two passes.
#[derive(Clone, Copy)]
enum Pass {
    Mutating,
    Validating,
}

impl Pass {
    fn label(self) -> &'static str {
        match self {
            Pass::Mutating => "admit",
            Pass::Validating => "validate",
        }
    }
}

impl AdmissionChain {
    /// A chain of plugins in upstream's order.
    pub fn new(plugins: Vec<Arc<dyn AdmissionPlugin>>) -> Self {
        let link = |plugin| Link {
            plugin,
            series: Series::default(),
        };
        AdmissionChain {
            plugins: plugins.into_iter().map(link).collect(),
            ..AdmissionChain::default()
        }
    }

    /// Measures plugins and passes.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Names of the plugins, in order.
    pub fn names(&self) -> Vec<&'static str> {
        self.plugins.iter().map(|l| l.plugin.name()).collect()
    }

    /// The mutating pass; a second time where a webhook changed the object.
    pub async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        self.run(Pass::Mutating, admission).await?;
        if admission.reinvocation.is_wanted {
            admission.reinvocation.is_second = true;
            self.run(Pass::Mutating, admission).await?;
        }
        Ok(())
    }

    /// The validating pass.
    pub async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        self.run(Pass::Validating, admission).await
    }

    async fn run(&self, pass: Pass, admission: &mut Admission<'_>) -> Result<(), Status> {
        let step = Instant::now();
        let operation = admission.operation;
        let mut outcome = Ok(());
        for link in &self.plugins {
            let plugin = &link.plugin;
            let takes_part = match pass {
                Pass::Mutating => plugin.mutates(),
                Pass::Validating => plugin.validates(),
            };
            if !takes_part || !plugin.handles(operation) {
                continue;
            }
            let name = plugin.stage();
            let began = admission.ctx.stages.begin(name);
            outcome = match pass {
                Pass::Mutating => plugin.admit(admission).await,
                Pass::Validating => plugin.validate(admission).await,
            };
            let stages = &mut admission.ctx.stages;
            let took = match &outcome {
                Ok(()) => stages.end_timed(name, began, "ok", ""),
                Err(status) if status.code >= 500 => {
                    let because = status.because.as_deref().unwrap_or(&status.message);
                    stages.end_timed(name, began, "error", because.to_string())
                }
                Err(status) => stages.end_timed(name, began, "denied", status.message.clone()),
            };
            self.measure_plugin(link, operation, pass, &outcome, took);
            if outcome.is_err() {
                break;
            }
        }
        self.measure_step(operation, pass, &outcome, step.elapsed());
        outcome
    }

    fn measure_plugin(
        &self,
        link: &Link,
        operation: Operation,
        pass: Pass,
        outcome: &Result<(), Status>,
        took: Duration,
    ) {
        let Some(metrics) = &self.metrics else {
            return;
        };
        let series = link.series.of(operation, pass, outcome.is_err());
        let histogram = series.get_or_init(|| {
            let name = link.plugin.name();
            let labels = [name, operation.name(), rejected(outcome), pass.label()];
            metrics
                .apiserver_admission_controller_admission_duration_seconds
                .with_label_values(&labels)
        });
        histogram.observe(took.as_secs_f64());
    }

    fn measure_step(
        &self,
        operation: Operation,
        pass: Pass,
        outcome: &Result<(), Status>,
        took: Duration,
    ) {
        let Some(metrics) = &self.metrics else {
            return;
        };
        let series = self.steps.of(operation, pass, outcome.is_err());
        let histogram = series.get_or_init(|| {
            let labels = [operation.name(), rejected(outcome), pass.label()];
            metrics
                .apiserver_admission_step_admission_duration_seconds
                .with_label_values(&labels)
        });
        histogram.observe(took.as_secs_f64());
    }
}

fn rejected(outcome: &Result<(), Status>) -> &'static str {
    match outcome {
        Ok(()) => "false",
        Err(_) => "true",
    }
}

impl Operation {
    /// As admission reviews and metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}
