//! Policies and bindings of both kinds, compiled once per change.

use std::sync::Arc;

use crate::admission::expressions::{PolicyEnv, compile_as};
use crate::admission::followed::{All, Followed};
use crate::admission::matching::{Criteria, texts};
use crate::api::cel::{Program, Type, json_patch_type, object_type};
use crate::api::objects::Objects;
use crate::api::selector::LabelSelector;
use crate::base::tree::Value;

/// An expression that compiled, or why not: stored ones need not.
pub(super) type Compiled = Result<Program, String>;

/// One policy.
pub(super) struct Policy {
    pub(super) name: String,
    /// What cannot be evaluated is as if it had agreed.
    pub(super) fails_open: bool,
    pub(super) criteria: Criteria,
    pub(super) conditions: Vec<Compiled>,
    /// Names and expressions, in order.
    pub(super) variables: Vec<(String, Compiled)>,
    pub(super) validations: Vec<Validation>,
    /// Of a mutating policy.
    pub(super) mutations: Vec<Mutation>,
    /// A mutating policy that wants to see later changes.
    pub(super) reinvoked: bool,
    /// Keys and expressions of audit annotations.
    pub(super) annotations: Vec<(String, Compiled)>,
    /// apiVersion and kind of the parameters.
    pub(super) param_kind: Option<(String, String)>,
}

/// One validation.
pub(super) struct Validation {
    pub(super) program: Compiled,
    pub(super) expression: String,
    pub(super) message: String,
    pub(super) message_program: Option<Compiled>,
    pub(super) reason: String,
}

/// One mutation.
pub(super) struct Mutation {
    pub(super) patches: PatchType,
    pub(super) program: Compiled,
}

/// What the expression of a mutation makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatchType {
    /// An object that is merged.
    ApplyConfiguration,
    /// A list of operations.
    JsonPatch,
}

/// One binding.
pub(super) struct Binding {
    pub(super) name: String,
    /// Name of the policy.
    pub(super) policy: String,
    pub(super) criteria: Criteria,
    pub(super) actions: Actions,
    /// The actions as they are listed.
    pub(super) listed: Vec<String>,
    pub(super) params: Option<ParamRef>,
}

/// What a failed validation leads to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Actions {
    pub(super) deny: bool,
    pub(super) warn: bool,
    pub(super) audit: bool,
}

/// Which parameters.
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Option<LabelSelector>,
    pub(super) denies_missing: bool,
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_string()
}

impl Policy {
    fn parse(object: &Value) -> Self {
        let spec = &object["spec"];
        let list = |key: &str| spec[key].as_array().into_iter().flatten();
        let param_kind = spec["paramKind"].is_object().then(|| {
            let kind = &spec["paramKind"];
            (text(kind, "apiVersion"), text(kind, "kind"))
        });
        let mut env = PolicyEnv::new(param_kind.is_some());
        let compiled = |program: Result<Program, crate::api::cel::CompileError>| {
            program.map_err(|error| error.to_string())
        };
        let conditions = list("matchConditions")
            .map(|c| {
                compiled(compile_as(
                    &text(c, "expression"),
                    env.plain(),
                    &[Type::Bool],
                ))
            })
            .collect();
        let mut variables = Vec::new();
        for variable in list("variables") {
            let (name, expression) = (text(variable, "name"), text(variable, "expression"));
            let program = compiled(compile_as(&expression, &env.full(), &[]));
            let kind = program.as_ref().map_or(Type::Dyn, |p| p.output.clone());
            env.add_variable(&name, kind);
            variables.push((name, program));
        }
        let validations = list("validations").map(|validation| {
            let expression = text(validation, "expression");
            let message = validation["messageExpression"].as_str();
            let message = message.filter(|m| !m.trim().is_empty());
            Validation {
                program: compiled(compile_as(&expression, &env.full(), &[Type::Bool])),
                expression,
                message: text(validation, "message"),
                message_program: message
                    .map(|m| compiled(compile_as(m, &env.without_authorizer(), &[Type::String]))),
                reason: text(validation, "reason"),
            }
        });
        let validations = validations.collect();
        let mutations = list("mutations").map(|mutation| Mutation::parse(mutation, &env));
        let mutations = mutations.collect();
        let annotations = list("auditAnnotations")
            .map(|annotation| {
                let expression = text(annotation, "valueExpression");
                let kinds = [Type::String, Type::Null];
                let program = compile_as(&expression, &env.full(), &kinds);
                (text(annotation, "key"), compiled(program))
            })
            .collect();
        Policy {
            name: text(&object["metadata"], "name"),
            fails_open: spec["failurePolicy"] == "Ignore",
            criteria: Criteria::of_policy(&spec["matchConstraints"]),
            conditions,
            variables,
            validations,
            mutations,
            reinvoked: spec["reinvocationPolicy"] == "IfNeeded",
            annotations,
            param_kind,
        }
    }
}

impl Mutation {
    fn parse(mutation: &Value, env: &PolicyEnv) -> Self {
        let (patches, member) = match mutation["patchType"].as_str() {
            Some("JSONPatch") => (PatchType::JsonPatch, "jsonPatch"),
            _ => (PatchType::ApplyConfiguration, "applyConfiguration"),
        };
        let expression = text(&mutation[member], "expression");
        let program = compile_as(&expression, &env.mutating(), &[patches.type_of_patch()]);
        Mutation {
            patches,
            program: program.map_err(|error| error.to_string()),
        }
    }
}

impl PatchType {
    /// What an expression of this type answers.
    pub(super) fn type_of_patch(self) -> Type {
        match self {
            PatchType::ApplyConfiguration => object_type(),
            PatchType::JsonPatch => Type::list(json_patch_type()),
        }
    }
}

impl Binding {
    fn parse(object: &Value) -> Self {
        let spec = &object["spec"];
        let listed = texts(&spec["validationActions"]);
        let has = |action: &str| listed.iter().any(|a| a == action);
        let reference = &spec["paramRef"];
        let params = reference.is_object().then(|| ParamRef {
            name: text(reference, "name"),
            namespace: text(reference, "namespace"),
            selector: reference["selector"]
                .is_object()
                .then(|| LabelSelector::from_object(&reference["selector"]).unwrap_or_default()),
            denies_missing: reference["parameterNotFoundAction"] == "Deny",
        });
        Binding {
            name: text(&object["metadata"], "name"),
            policy: text(spec, "policyName"),
            criteria: Criteria::of_policy(&spec["matchResources"]),
            actions: Actions {
                deny: has("Deny"),
                warn: has("Warn"),
                audit: has("Audit"),
            },
            listed,
            params,
        }
    }
}

/// All policies and bindings.
#[derive(Default)]
pub struct Policies {
    pub(super) validating: PolicySet,
    pub(super) mutating: PolicySet,
}

impl Policies {
    /// Starts to follow them.
    pub fn follow(&self, objects: &Arc<dyn Objects>) {
        self.validating.follow(
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            objects,
        );
        self.mutating.follow(
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            objects,
        );
    }
}

/// The policies of one kind, and their bindings.
#[derive(Default)]
pub(super) struct PolicySet {
    policies: Arc<Followed<Policy>>,
    bindings: Arc<Followed<Binding>>,
}

impl PolicySet {
    fn follow(&self, policies: &'static str, bindings: &'static str, objects: &Arc<dyn Objects>) {
        self.policies.follow(policies, objects, Policy::parse);
        self.bindings.follow(bindings, objects, Binding::parse);
    }

    /// Both, by name. `None` when they are not known yet.
    pub(super) async fn current(&self) -> Option<(All<Policy>, All<Binding>)> {
        let policies = self.policies.current().await?;
        Some((policies, self.bindings.current().await?))
    }
}
