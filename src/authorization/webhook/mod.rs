//! The webhook authorizer: another server is sent a SubjectAccessReview.
//!
//! `--authorization-webhook-config-file`, or a webhook of an AuthorizationConfiguration. Match
//! conditions decide whether the server is asked at all; its answers are kept for a while. The
//! connection is somebody else's ([`ReviewClient`]). Files: `review` what is sent and answered ·
//! `conditions` match conditions · `cache` answers.
//!
//! # Invariants
//! - What cannot be asked is decided by the failure policy, and is an error beside the decision.
//! - Every question that is not answered by allowing leaves an [`Asked`], for `why`.

mod cache;
mod conditions;
mod review;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;

pub use conditions::{Condition, compile};

use self::cache::Answers;
use self::review::{Answer, Spec};
use super::{Asked, Authorizer, Decision, ResolvedRules, RuleResolver, Verdict};
use crate::base::Backoff;
use crate::request::{Attributes, UserInfo};
use crate::telemetry::Metrics;

/// How often a question is asked, as upstream does.
const TRIES: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Answers to questions with longer attributes are not kept: it may be an attempt to fill memory.
const CONTROLLED_BYTES_MAX: usize = 10_000;

/// Version of the SubjectAccessReview that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewVersion {
    /// authorization.k8s.io/v1.
    V1,
    /// authorization.k8s.io/v1beta1.
    V1Beta1,
}

/// How a webhook is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookSettings {
    /// How long permissions are kept; `None`: not at all.
    pub authorized_ttl: Option<Duration>,
    /// How long refusals are kept; `None`: not at all.
    pub unauthorized_ttl: Option<Duration>,
    /// How long one try may take.
    pub timeout: Duration,
    /// What is sent.
    pub version: ReviewVersion,
    /// What cannot be asked is denied; else left to the next authorizer.
    pub denies_on_error: bool,
}

/// Posts a review.
#[async_trait]
pub trait ReviewClient: Send + Sync {
    /// Posts `body` and answers the body of a 2xx answer.
    ///
    /// # Errors
    /// See [`ReviewError`].
    async fn review(&self, body: Bytes, within: Duration) -> Result<Bytes, ReviewError>;
}

/// Why a review was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ReviewError {
    /// What happened.
    pub text: String,
    /// It took too long.
    pub is_timeout: bool,
    /// Another try may succeed.
    pub is_transient: bool,
}

/// The authorizer.
pub struct WebhookAuthorizer {
    name: String,
    settings: WebhookSettings,
    conditions: Vec<Condition>,
    client: Arc<dyn ReviewClient>,
    answers: Answers,
    metrics: Arc<Metrics>,
}

impl WebhookAuthorizer {
    /// A webhook by its name in the configuration (`default` when flags configure it).
    pub fn new(
        name: String,
        settings: WebhookSettings,
        conditions: Vec<Condition>,
        client: Arc<dyn ReviewClient>,
        metrics: Arc<Metrics>,
    ) -> Self {
        WebhookAuthorizer {
            name,
            settings,
            conditions,
            client,
            answers: Answers::default(),
            metrics,
        }
    }

    async fn decide(&self, attributes: &Attributes<'_>) -> Result<Answer, String> {
        let spec = Spec::of(attributes);
        if !self.conditions_hold(&spec)? {
            return Ok(Answer::default());
        }
        let key = spec.key();
        if let Some(answer) = self.answers.get(&key) {
            return Ok(answer);
        }
        let body = spec.body(self.settings.version);
        let answer = self.ask(body).await?;
        let ttl = match answer.allowed {
            true => self.settings.authorized_ttl,
            false => self.settings.unauthorized_ttl,
        };
        if let Some(ttl) = ttl
            && controlled_bytes(attributes) < CONTROLLED_BYTES_MAX
        {
            self.answers.keep(key, answer.clone(), ttl);
        }
        Ok(answer)
    }

    fn conditions_hold(&self, spec: &Spec) -> Result<bool, String> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let began = Instant::now();
        let outcome = conditions::hold(&self.conditions, spec);
        let (labels, metrics) = ([self.name.as_str(), "Webhook"], &self.metrics);
        metrics
            .apiserver_authorization_match_condition_evaluation_seconds
            .with_label_values(&labels)
            .observe(began.elapsed().as_secs_f64());
        match &outcome {
            Ok(true) => {}
            Ok(false) => metrics
                .apiserver_authorization_match_condition_exclusions_total
                .with_label_values(&labels)
                .inc(),
            Err(_) => metrics
                .apiserver_authorization_match_condition_evaluation_errors_total
                .with_label_values(&labels)
                .inc(),
        }
        outcome
    }

    /// Asks, again where that may help.
    async fn ask(&self, body: Bytes) -> Result<Answer, String> {
        let mut backoff = Backoff::with(BACKOFF, BACKOFF_MAX, 1.5, 0.2);
        let mut tries = 0;
        loop {
            tries += 1;
            let began = Instant::now();
            let posted = self
                .client
                .review(body.clone(), self.settings.timeout)
                .await;
            let result = match &posted {
                Ok(_) => "success",
                Err(error) if error.is_timeout => "timeout",
                Err(_) => "error",
            };
            self.measure(result, began.elapsed());
            let error = match posted {
                Ok(answer) => return review::read(&answer),
                Err(error) => error,
            };
            if !error.is_transient || tries == TRIES {
                tracing::error!(authorizer = self.name, %error, "an authorization webhook failed");
                if !self.settings.denies_on_error {
                    self.metrics
                        .apiserver_authorization_webhook_evaluations_fail_open_total
                        .with_label_values(&[&self.name, result])
                        .inc();
                }
                return Err(error.text);
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    fn measure(&self, result: &str, took: Duration) {
        let labels = [self.name.as_str(), result];
        self.metrics
            .apiserver_authorization_webhook_evaluations_total
            .with_label_values(&labels)
            .inc();
        self.metrics
            .apiserver_authorization_webhook_duration_seconds
            .with_label_values(&labels)
            .observe(took.as_secs_f64());
    }
}

/// Bytes that whoever asks chooses.
fn controlled_bytes(attributes: &Attributes<'_>) -> usize {
    [
        attributes.namespace,
        attributes.verb,
        attributes.group,
        attributes.version,
        attributes.resource,
        attributes.subresource,
        attributes.name,
        attributes.path,
    ]
    .iter()
    .map(|text| text.len())
    .sum()
}

#[async_trait]
impl Authorizer for WebhookAuthorizer {
    async fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let began = Instant::now();
        let asked = |outcome, reason: &str| Asked {
            authorizer: format!("Webhook/{}", self.name),
            outcome,
            reason: reason.to_string(),
            began,
        };
        match self.decide(attributes).await {
            Err(error) => {
                let verdict = match self.settings.denies_on_error {
                    true => Verdict::Deny,
                    false => Verdict::NoOpinion,
                };
                let note = asked("unanswered", &error);
                Decision::new(verdict, "", Some(error)).asked(note)
            }
            Ok(answer) => {
                let reason = answer.reason.as_str();
                match (answer.denied, answer.allowed) {
                    (true, allowed) => {
                        let both =
                            "webhook subject access review returned both allow and deny response";
                        let error = allowed.then(|| both.to_string());
                        Decision::new(Verdict::Deny, reason, error).asked(asked("denied", reason))
                    }
                    (false, true) => Decision::new(Verdict::Allow, reason, None),
                    (false, false) => {
                        Decision::no_opinion(reason).asked(asked("no-opinion", reason))
                    }
                }
            }
        }
    }
}

impl RuleResolver for WebhookAuthorizer {
    fn rules_for(&self, _user: &UserInfo, _namespace: &str) -> ResolvedRules {
        ResolvedRules {
            incomplete: true,
            errors: vec!["webhook authorizer does not support user rule resolution".into()],
            ..ResolvedRules::default()
        }
    }
}
