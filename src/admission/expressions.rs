//! Expressions of match conditions and policies: their variables, and asking the authorizer for them.
//!
//! Called by webhooks to evaluate, and by the strategies of admissionregistration to refuse what does
//! not compile. The language itself is [`api::cel`](crate::api::cel).

use std::sync::LazyLock;

use crate::admission::Admission;
use crate::api::cel::{
    Answer, Budget, CompileError, Decisions, Env, EvalError, Program, Query, Type, Val, compile,
};
use crate::authorization::{Authorizer, Verdict};
use crate::base::tree::Value;
use crate::request::{Attributes, UserInfo};

/// Questions to the authorizer in one evaluation; the cost of asking stops earlier.
pub(super) const QUESTIONS_MAX: usize = 16;

/// The variables of a webhook's match conditions, in the order of [`Variables::bindings`].
pub static CONDITION_ENV: LazyLock<Env> = LazyLock::new(|| {
    Env::new()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", request_type())
        .with("namespaceObject", namespace_type())
        .with(
            "authorizer",
            Type::Opaque("kubernetes.authorization.Authorizer"),
        )
        .with(
            "authorizer.requestResource",
            Type::Opaque("kubernetes.authorization.ResourceCheck"),
        )
});

fn request_type() -> Type {
    let strings = |names: &[&'static str]| -> Vec<(&'static str, Type)> {
        names.iter().map(|name| (*name, Type::String)).collect()
    };
    let kind = || {
        let fields = strings(&["group", "version", "kind"]);
        Type::object("kubernetes.GroupVersionKind", fields)
    };
    let resource = || {
        let fields = strings(&["group", "version", "resource"]);
        Type::object("kubernetes.GroupVersionResource", fields)
    };
    let user = Type::object(
        "kubernetes.UserInfo",
        vec![
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ],
    );
    Type::object(
        "kubernetes.AdmissionRequest",
        vec![
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", Type::String),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

fn namespace_type() -> Type {
    let labels = || Type::map(Type::String, Type::String);
    let metadata = Type::object(
        "kubernetes.NamespaceMetadata",
        vec![
            ("name", Type::String),
            ("generateName", Type::String),
            ("namespace", Type::String),
            ("labels", labels()),
            ("annotations", labels()),
            ("UID", Type::String),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::String),
            ("finalizers", Type::list(Type::String)),
        ],
    );
    let spec = Type::object(
        "kubernetes.NamespaceSpec",
        vec![("finalizers", Type::list(Type::String))],
    );
    let condition = Type::object(
        "kubernetes.NamespaceCondition",
        vec![
            ("status", Type::String),
            ("type", Type::String),
            ("lastTransitionTime", Type::Timestamp),
            ("message", Type::String),
            ("reason", Type::String),
        ],
    );
    let status = Type::object(
        "kubernetes.NamespaceStatus",
        vec![
            ("conditions", Type::list(condition)),
            ("phase", Type::String),
        ],
    );
    Type::object(
        "kubernetes.Namespace",
        vec![("metadata", metadata), ("spec", spec), ("status", status)],
    )
}

/// The variables of a policy: those of match conditions, `params`, and `variables` with the members
/// declared so far. Bindings have them in this order.
pub struct PolicyEnv {
    base: Env,
    members: Vec<(String, Type)>,
}

impl PolicyEnv {
    /// Of a policy that takes parameters or not.
    pub fn new(has_params: bool) -> Self {
        let base = CONDITION_ENV.clone();
        PolicyEnv {
            base: match has_params {
                true => base.with("params", Type::Dyn),
                false => base.with_unnamed(),
            },
            members: Vec::new(),
        }
    }

    /// Declares a member of `variables`; later expressions see it.
    pub fn add_variable(&mut self, name: &str, kind: Type) {
        self.members.push((name.to_string(), kind));
    }

    /// What match conditions see.
    pub fn plain(&self) -> &Env {
        &self.base
    }

    /// What variables and validations see.
    pub fn full(&self) -> Env {
        let members = self.members.iter();
        let fields = members.clone().map(|(n, t)| (n.as_str(), t.clone()));
        let object = Type::object("kubernetes.variables", fields.collect());
        let env = self.base.clone().with("variables", object);
        members.fold(env, |env, (name, kind)| {
            env.with(&format!("variables.{name}"), kind.clone())
        })
    }

    /// What mutations see: they may also make objects and patches.
    pub fn mutating(&self) -> Env {
        self.full().with_patches()
    }

    /// What message expressions see.
    pub fn without_authorizer(&self) -> Env {
        self.full()
            .without("authorizer")
            .without("authorizer.requestResource")
    }
}

/// Compiles what must answer yes or no.
///
/// # Errors
/// As [`compile_as`].
pub fn compile_bool(expression: &str, env: &Env) -> Result<Program, CompileError> {
    compile_as(expression, env, &[Type::Bool])
}

/// Compiles what must answer one of some types; without any, whatever it likes.
///
/// # Errors
/// Upstream's text: `compilation failed: …` or `must evaluate to bool but got T`.
pub fn compile_as(expression: &str, env: &Env, wanted: &[Type]) -> Result<Program, CompileError> {
    let program = compile(expression, env)
        .map_err(|error| CompileError(format!("compilation failed: {error}")))?;
    if wanted.is_empty() || wanted.contains(&program.output) {
        return Ok(program);
    }
    let wanted = match wanted {
        [one] => one.to_string(),
        several => {
            let names: Vec<String> = several.iter().map(Type::to_string).collect();
            format!("one of [{}]", names.join(" "))
        }
    };
    Err(CompileError(format!(
        "must evaluate to {wanted} but got {}",
        program.output
    )))
}

/// An evaluation's error as upstream words it.
pub(super) fn failed_expression(program: &Program, error: &EvalError) -> String {
    format!("expression '{}' resulted in error: {error}", program.source)
}

/// The values of the variables.
pub struct Variables<'a> {
    /// The new object, or null.
    pub object: &'a Value,
    /// The stored object, or null.
    pub old_object: &'a Value,
    /// The AdmissionRequest, without objects.
    pub request: &'a Value,
    /// What `authorizer.requestResource` asks about.
    pub resource: Query,
}

impl<'a> Variables<'a> {
    fn bindings(&self) -> [Val<'a>; 6] {
        [
            Val::json(self.object),
            Val::json(self.old_object),
            Val::json(self.request),
            // Webhooks' match conditions know the name, but no namespace.
            Val::Null,
            Val::authorizer(),
            Val::request_resource(self.resource.clone()),
        ]
    }
}

/// What `authorizer.requestResource` asks about.
pub fn request_resource(admission: &Admission<'_>) -> Query {
    Query {
        group: admission.resource.group.to_string(),
        resource: admission.resource.plural.to_string(),
        subresource: admission.subresource.to_string(),
        namespace: admission.namespace.to_string(),
        name: admission.name.to_string(),
        ..Query::default()
    }
}

/// Evaluates what compiled to bool; asks the authorizer where the expression does.
///
/// # Errors
/// `expression '…' resulted in error: …`, in upstream's words.
pub async fn evaluate_bool(
    program: &Program,
    variables: &Variables<'_>,
    asks: &Asks<'_>,
    budget: &mut Budget,
) -> Result<bool, String> {
    let failed = |error: &EvalError| failed_expression(program, error);
    let mut decisions = Decisions::default();
    for _ in 0..QUESTIONS_MAX {
        let mut round = *budget;
        let outcome = program.evaluate(&variables.bindings(), &decisions, &mut round);
        let query = match outcome {
            Err(EvalError::Undecided(query)) => query,
            Ok(Val::Bool(answer)) => {
                *budget = round;
                return Ok(answer);
            }
            Ok(_) => return Err(failed(&EvalError::Failed("no such overload".into()))),
            Err(error) => {
                *budget = round;
                return Err(failed(&error));
            }
        };
        let answer = asks.ask(&query).await;
        decisions.add(*query, answer);
    }
    Err(failed(&EvalError::TooCostly))
}

/// Who is asked, for whom.
pub struct Asks<'a> {
    /// The authorizer.
    pub authorizer: &'a dyn Authorizer,
    /// The user of the request.
    pub user: &'a UserInfo,
}

impl Asks<'_> {
    /// Asks.
    pub(super) async fn ask(&self, query: &Query) -> Answer {
        let account = query.service_account.as_ref().map(|(ns, name)| UserInfo {
            username: format!("system:serviceaccount:{ns}:{name}"),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{ns}"),
                "system:authenticated".into(),
            ],
            ..UserInfo::default()
        });
        let path = query.path.as_deref();
        let attributes = Attributes {
            user: account.as_ref().unwrap_or(self.user),
            verb: &query.verb,
            is_resource: path.is_none(),
            group: &query.group,
            version: if path.is_none() { "*" } else { "" },
            resource: &query.resource,
            subresource: &query.subresource,
            namespace: &query.namespace,
            name: &query.name,
            path: path.unwrap_or_default(),
            field_selector: &query.field_selector,
            label_selector: &query.label_selector,
        };
        let decision = self.authorizer.authorize(&attributes).await;
        Answer {
            allowed: decision.verdict == Verdict::Allow,
            reason: decision.reason,
            error: decision.errors.join("\n"),
        }
    }
}
