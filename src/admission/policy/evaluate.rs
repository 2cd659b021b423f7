//! One policy on one object.

use std::cell::OnceCell;
use std::sync::Arc;

use super::config::{Compiled, Policy, Validation};
use crate::admission::expressions::{Asks, QUESTIONS_MAX, failed_expression};
use crate::api::cel::{
    Bindings, Budget, Decisions, EvalError, MATCH_CONDITIONS_LIMIT, PER_CALL_LIMIT, Query,
    RUNTIME_LIMIT, Val,
};
use crate::base::tree::Value;

/// Longest text that a message expression may answer.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// What is evaluated.
pub(super) struct Inputs<'a> {
    pub(super) object: &'a Value,
    pub(super) old_object: &'a Value,
    /// The AdmissionRequest, without objects.
    pub(super) request: &'a Value,
    pub(super) namespace: Option<&'a Value>,
    pub(super) params: &'a Value,
    /// What `authorizer.requestResource` asks about.
    pub(super) resource: Query,
}

/// What a policy comes to.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Its match conditions do not hold.
    NotConcerned,
    /// What failed, and what to note.
    Decided(Decided),
}

/// What failed, and what to note.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decided {
    pub(super) failures: Vec<Failure>,
    /// Keys and values.
    pub(super) annotations: Vec<(String, String)>,
}

/// One failed validation, or an error that counts as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Index of the validation.
    pub(super) index: usize,
    pub(super) message: String,
    /// Empty is `Invalid`.
    pub(super) reason: String,
    /// It could not be evaluated.
    pub(super) is_error: bool,
}

/// Evaluates validations; asks the authorizer where expressions do.
pub(super) async fn evaluate(policy: &Policy, inputs: &Inputs<'_>, asks: &Asks<'_>) -> Verdict {
    let verdict = decided(asks, |decisions| run(policy, inputs, decisions)).await;
    verdict.unwrap_or_else(|error| Verdict::Decided(failed(policy, 0, error)))
}

/// Whether the match conditions hold; asks the authorizer where they do.
///
/// # Errors
/// Why that cannot be said.
pub(super) async fn is_concerned(
    policy: &Policy,
    inputs: &Inputs<'_>,
    asks: &Asks<'_>,
) -> Result<bool, String> {
    decided(asks, |decisions| {
        conditions_hold(&Scope::new(policy, inputs, decisions))
    })
    .await?
}

/// Runs, answering the questions at which a run ends, until one comes to its end.
///
/// # Errors
/// There are too many questions.
pub(super) async fn decided<T>(
    asks: &Asks<'_>,
    run: impl Fn(&Decisions) -> Result<T, Box<Query>>,
) -> Result<T, String> {
    let mut decisions = Decisions::default();
    for _ in 0..QUESTIONS_MAX {
        match run(&decisions) {
            Ok(outcome) => return Ok(outcome),
            Err(query) => {
                let answer = asks.ask(&query).await;
                decisions.add(*query, answer);
            }
        }
    }
    Err(EvalError::TooCostly.to_string())
}

/// Whether all match conditions hold. One that is false wins over those that fail.
fn conditions_hold(scope: &Scope<'_>) -> Result<Result<bool, String>, Box<Query>> {
    let mut budget = Budget::new(MATCH_CONDITIONS_LIMIT);
    let mut errors = Vec::new();
    for condition in &scope.policy.conditions {
        match scope.eval(condition, &mut budget)? {
            Ok(Val::Bool(false)) => return Ok(Ok(false)),
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
    }
    Ok(match errors.as_slice() {
        [] => Ok(true),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    })
}

/// What an error means: nothing where the policy fails open.
fn failed(policy: &Policy, index: usize, message: String) -> Decided {
    let failure = Failure {
        index,
        message,
        reason: String::new(),
        is_error: true,
    };
    Decided {
        failures: if policy.fails_open {
            Vec::new()
        } else {
            vec![failure]
        },
        annotations: Vec::new(),
    }
}

/// One run, which ends at a question that has not been answered.
fn run(policy: &Policy, inputs: &Inputs<'_>, decisions: &Decisions) -> Result<Verdict, Box<Query>> {
    let scope = Scope::new(policy, inputs, decisions);
    match conditions_hold(&scope)? {
        Ok(true) => {}
        Ok(false) => return Ok(Verdict::NotConcerned),
        Err(error) => return Ok(Verdict::Decided(failed(policy, 0, error))),
    }
    let mut budget = Budget::new(RUNTIME_LIMIT);
    let mut decided = Decided::default();
    for (index, validation) in policy.validations.iter().enumerate() {
        match scope.eval(&validation.program, &mut budget)? {
            Ok(Val::Bool(true)) => {}
            Ok(_) => {
                let message = message(&scope, validation, &mut budget)?;
                decided.failures.push(Failure {
                    index,
                    message,
                    reason: validation.reason.clone(),
                    is_error: false,
                });
            }
            Err(error) => {
                let more = failed(policy, index, error);
                decided.failures.extend(more.failures);
            }
        }
        if budget.left() == 0 {
            let text = "validation failed due to running out of cost budget, no further validation rules will be run";
            return Ok(Verdict::Decided(failed(policy, index, text.into())));
        }
    }
    for (key, program) in &policy.annotations {
        match scope.eval(program, &mut budget)? {
            Ok(Val::Str(text)) if !text.as_str().trim().is_empty() => {
                let value = text.as_str().trim().to_string();
                decided.annotations.push((key.clone(), value));
            }
            Ok(_) => {}
            Err(error) => {
                let more = failed(policy, 0, error);
                decided.failures.extend(more.failures);
            }
        }
    }
    Ok(Verdict::Decided(decided))
}

/// The message of a failed validation: of its expression where that works, else its own, else the
/// expression itself.
fn message<'a>(
    scope: &Scope<'a>,
    validation: &'a Validation,
    budget: &mut Budget,
) -> Result<String, Box<Query>> {
    if let Some(program) = &validation.message_program {
        match scope.eval(program, budget)? {
            Ok(Val::Str(text)) => {
                let text = text.as_str().trim();
                let is_usable =
                    !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n');
                if is_usable {
                    return Ok(text.to_string());
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(error, "a message expression failed"),
        }
    }
    Ok(match validation.message.trim() {
        "" => format!("failed expression: {}", validation.expression.trim()),
        message => message.to_string(),
    })
}

type Cell<'a> = OnceCell<Result<Val<'a>, EvalError>>;

/// The variables of one run. Those of the policy are evaluated when they are first needed.
pub(super) struct Scope<'a> {
    policy: &'a Policy,
    fixed: Vec<Val<'a>>,
    variables: Vec<Cell<'a>>,
    decisions: &'a Decisions,
}

impl<'a> Scope<'a> {
    pub(super) fn new(policy: &'a Policy, inputs: &Inputs<'a>, decisions: &'a Decisions) -> Self {
        // In the order of `PolicyEnv`.
        let fixed = vec![
            Val::json(inputs.object),
            Val::json(inputs.old_object),
            Val::json(inputs.request),
            inputs.namespace.map_or(Val::Null, namespace_value),
            Val::authorizer(),
            Val::request_resource(inputs.resource.clone()),
            Val::json(inputs.params),
            // `variables` itself has no value; its members are variables of their own.
            Val::Null,
        ];
        Scope {
            policy,
            fixed,
            variables: policy.variables.iter().map(|_| Cell::new()).collect(),
            decisions,
        }
    }

    /// The value of an expression, or its error in upstream's words.
    ///
    /// # Errors
    /// What the authorizer must be asked first.
    pub(super) fn eval(
        &self,
        program: &'a Compiled,
        budget: &mut Budget,
    ) -> Result<Result<Val<'a>, String>, Box<Query>> {
        let program = match program {
            Ok(program) => program,
            Err(error) => return Ok(Err(format!("compilation error: {error}"))),
        };
        let mut own = budget.at_most(PER_CALL_LIMIT);
        let outcome = program.evaluate(self, self.decisions, &mut own);
        budget.settle(own, PER_CALL_LIMIT);
        match outcome {
            Ok(value) => Ok(Ok(value)),
            Err(EvalError::Undecided(query)) => Err(query),
            Err(error) => Ok(Err(failed_expression(program, &error))),
        }
    }
}

impl<'a> Bindings<'a> for Scope<'a> {
    fn value(&self, at: usize, budget: &mut Budget) -> Result<Val<'a>, EvalError> {
        if let Some(value) = self.fixed.get(at) {
            return Ok(value.clone());
        }
        let at = at - self.fixed.len();
        let Some((name, program)) = self.policy.variables.get(at) else {
            return Ok(Val::Null);
        };
        let cell = &self.variables[at];
        if let Some(known) = cell.get() {
            return known.clone();
        }
        let composited = |what: &str, error: &dyn std::fmt::Display| {
            EvalError::Failed(format!(
                "composited variable \"{name}\" fails to {what}: {error}"
            ))
        };
        let outcome = match program {
            Err(error) => Err(composited("compile", error)),
            Ok(program) => match program.evaluate(self, self.decisions, budget) {
                Err(EvalError::Failed(error)) => Err(composited("evaluate", &error)),
                other => other,
            },
        };
        cell.get_or_init(|| outcome).clone()
    }
}

/// The members of a namespace that expressions see.
fn namespace_value(namespace: &Value) -> Val<'_> {
    const METADATA: [&str; 11] = [
        "name",
        "generateName",
        "namespace",
        "labels",
        "annotations",
        "uid",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "resourceVersion",
    ];
    let metadata = &namespace["metadata"];
    let mut entries = Vec::new();
    for key in METADATA.into_iter().chain(["finalizers"]) {
        let Some(value) = metadata.get(key) else {
            continue;
        };
        let shown = if key == "uid" { "UID" } else { key };
        let value = match (key.ends_with("Timestamp"), value.as_str()) {
            (true, Some(text)) => Val::timestamp(text),
            _ => Val::json(value),
        };
        entries.push((Val::text(shown), value));
    }
    let map = |entries| Val::Map(Arc::new(entries));
    let mut members = vec![(Val::text("metadata"), map(entries))];
    for key in ["spec", "status"] {
        if let Some(value) = namespace.get(key) {
            members.push((Val::text(key), Val::json(value)));
        }
    }
    map(members)
}
