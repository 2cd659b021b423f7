//! Which policies and bindings a request is subject to, with their parameters.

use std::sync::Arc;

use super::config::{Binding, Policy};
use super::params;
use crate::admission::Admission;
use crate::admission::followed::All;
use crate::admission::matching::{Matched, Sources};
use crate::base::tree::Value;

/// A policy and a binding of it.
pub(super) enum Selected {
    /// To be evaluated, once per parameter.
    Applies {
        policy: Arc<Policy>,
        binding: Arc<Binding>,
        matched: Matched,
        params: Vec<Value>,
    },
    /// It cannot be said whether they apply, or with what; without a binding the policy itself is at
    /// fault.
    Misconfigured {
        policy: Arc<Policy>,
        binding: Option<Arc<Binding>>,
        why: String,
    },
}

/// Selects, policies by name, of each its bindings by name.
pub(super) async fn select(
    sources: Sources<'_>,
    admission: &Admission<'_>,
    policies: &All<Policy>,
    bindings: &All<Binding>,
) -> Vec<Selected> {
    let mut selected = Vec::new();
    for policy in policies.iter() {
        if !bindings.iter().any(|binding| binding.policy == policy.name) {
            continue;
        }
        let matched = match policy.criteria.find(sources, admission).await {
            Ok(None) => continue,
            Ok(Some(matched)) => matched,
            Err(error) => {
                selected.push(Selected::Misconfigured {
                    policy: policy.clone(),
                    binding: None,
                    why: error.message,
                });
                continue;
            }
        };
        for binding in bindings.iter().filter(|b| b.policy == policy.name) {
            selected.extend(select_one(sources, admission, policy, binding, &matched).await);
        }
    }
    selected
}

async fn select_one(
    sources: Sources<'_>,
    admission: &Admission<'_>,
    policy: &Arc<Policy>,
    binding: &Arc<Binding>,
    matched: &Matched,
) -> Option<Selected> {
    let params = match binding.criteria.find(sources, admission).await {
        Ok(None) => return None,
        Ok(Some(_)) => params::collect(sources, admission, policy, binding).await,
        Err(error) => Err(error.message),
    };
    let (policy, binding) = (policy.clone(), binding.clone());
    Some(match params {
        Ok(params) => Selected::Applies {
            policy,
            binding,
            matched: matched.clone(),
            params,
        },
        Err(why) => Selected::Misconfigured {
            policy,
            binding: Some(binding),
            why,
        },
    })
}
