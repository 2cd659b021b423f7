//! `authorizer…check()`.

use std::sync::Arc;

use super::super::authz::{Decisions, Query};
use super::super::eval::{Budget, EvalError, Outcome};
use super::super::value::Val;
use crate::api::selector::{FieldSelector, LabelSelector};

/// What asking the authorizer costs.
const CHECK_STEPS: u64 = 350_000;

/// Calls a function of the authorizer library; `None` when it is none.
pub(super) fn call<'a>(
    name: &str,
    arguments: &[Val<'a>],
    decisions: &Decisions,
    budget: &mut Budget,
) -> Option<Outcome<'a>> {
    match arguments {
        [Val::Authorizer(subject), rest @ ..] => of_authorizer(name, subject, rest),
        [Val::Check(query), Val::Str(text)] if name == "check" => {
            Some(check(query, text.as_str(), decisions, budget))
        }
        [Val::Check(query), Val::Str(text)] if query.path.is_none() => {
            narrow(name, query, text.as_str())
        }
        [Val::Decision(answer)] => Some(Ok(match name {
            "allowed" => Val::Bool(answer.allowed),
            "reason" => Val::text(answer.reason.as_str()),
            "errored" => Val::Bool(!answer.error.is_empty()),
            "error" => Val::text(answer.error.as_str()),
            _ => return None,
        })),
        _ => None,
    }
}

fn of_authorizer<'a>(name: &str, subject: &Query, rest: &[Val<'a>]) -> Option<Outcome<'a>> {
    let base = subject.clone();
    Some(match (name, rest) {
        ("path", [Val::Str(path)]) if path.as_str().is_empty() => {
            Err(EvalError::failed("path must not be empty"))
        }
        ("path", [Val::Str(path)]) => Ok(Val::Check(Arc::new(Query {
            path: Some(path.as_str().to_string()),
            ..base
        }))),
        ("group", [Val::Str(group)]) => Ok(Val::Check(Arc::new(Query {
            group: group.as_str().to_string(),
            ..base
        }))),
        ("serviceAccount", [Val::Str(namespace), Val::Str(name)]) => {
            service_account(namespace.as_str(), name.as_str())
        }
        _ => return None,
    })
}

fn service_account<'a>(namespace: &str, name: &str) -> Outcome<'a> {
    let is_label = |text: &str| {
        (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if name.is_empty() || name.len() > 253 || !name.split('.').all(is_label) {
        return Err(EvalError::failed("Invalid service account name"));
    }
    if !is_label(namespace) {
        return Err(EvalError::failed("Invalid service account namespace"));
    }
    Ok(Val::Authorizer(Arc::new(Query {
        service_account: Some((namespace.to_string(), name.to_string())),
        ..Query::default()
    })))
}

/// `.resource()`, `.namespace()`, …
fn narrow<'a>(name: &str, query: &Query, text: &str) -> Option<Outcome<'a>> {
    let mut query = query.clone();
    let member = match name {
        "resource" if text.is_empty() => {
            return Some(Err(EvalError::failed("resource must not be empty")));
        }
        "resource" => &mut query.resource,
        "subresource" => &mut query.subresource,
        "namespace" => &mut query.namespace,
        "name" => &mut query.name,
        // A selector that cannot be parsed does not narrow the question.
        "fieldSelector" if FieldSelector::parse(text).is_err() => &mut String::new(),
        "labelSelector" if LabelSelector::parse(text).is_err() => &mut String::new(),
        "fieldSelector" => &mut query.field_selector,
        "labelSelector" => &mut query.label_selector,
        _ => return None,
    };
    *member = text.to_string();
    Some(Ok(Val::Check(Arc::new(query))))
}

fn check<'a>(query: &Query, verb: &str, decisions: &Decisions, budget: &mut Budget) -> Outcome<'a> {
    budget.spend(CHECK_STEPS)?;
    let query = Query {
        verb: verb.to_string(),
        ..query.clone()
    };
    match decisions.get(&query) {
        Some(answer) => Ok(Val::Decision(Arc::new(answer.clone()))),
        None => Err(EvalError::Undecided(Box::new(query))),
    }
}
