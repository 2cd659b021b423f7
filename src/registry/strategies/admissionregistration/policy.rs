//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy.

use super::super::common::access::{arr_at, at, at_mut, default_nil, ensure_object, get, str_at};
use super::super::common::checks;
use super::super::common::names::{self, invalid_each};
use super::super::storage::volume_attachment::keep_metadata;
use super::rules;
use crate::admission::expressions::{PolicyEnv, compile_as};
use crate::api::cel::{Env, Type, json_patch_type, object_type};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const ANNOTATIONS_MAX: usize = 20;
const VALUE_EXPRESSION_MAX: usize = 5 * 1024;
const EMPTY_POLICY: &str = "validations or auditAnnotations must contain at least one item";

/// Words of the expression language that cannot be names.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "return",
    "true",
];

/// Rules of the admission policies.
pub struct PolicyStrategy {
    /// The mutating kind.
    pub mutating: bool,
}

impl Strategy for PolicyStrategy {
    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        default_nil(spec, "failurePolicy", "Fail");
        if let Some(constraints) = at_mut(spec, "matchConstraints") {
            rules::default_match_resources(constraints);
        }
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource == "status" {
            keep_metadata(object, old);
        }
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            return;
        }
        let name = str_at(get(object, "metadata"), "name");
        let spec = get(object, "spec");
        let path = Path::ROOT.field("spec");
        checks::required_enum(spec, &path, "failurePolicy", &["Fail", "Ignore"], errors);
        if let Some(kind) = at(spec, "paramKind") {
            validate_param_kind(kind, &path.field("paramKind"), errors);
        }
        self.validate_constraints(spec, &path, errors);
        let mut env = PolicyEnv::new(at(spec, "paramKind").is_some());
        rules::validate_match_conditions(spec, env.plain(), &path, errors);
        validate_variables(spec, &path, errors);
        compile_variables(spec, &mut env, &path, errors);
        if self.mutating {
            validate_mutations(spec, &env, &path, errors);
        } else {
            validate_validations(name, spec, &env, &path, errors);
        }
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        super::static_name_warning(object)
    }
}

impl PolicyStrategy {
    fn validate_constraints(&self, spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
        let path = path.field("matchConstraints");
        let Some(constraints) = at(spec, "matchConstraints") else {
            errors.required(&path, "");
            return;
        };
        let operations = if self.mutating {
            rules::MUTATING_OPERATIONS
        } else {
            rules::OPERATIONS
        };
        rules::validate_match_resources(constraints, operations, &path, errors);
        if arr_at(constraints, "resourceRules").is_empty() {
            errors.required(&path.field("resourceRules"), "");
        }
    }
}

fn validate_param_kind(kind: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let version = str_at(kind, "apiVersion");
    let version_path = path.field("apiVersion");
    if version.is_empty() {
        errors.required(&version_path, "");
    } else {
        match version.split('/').collect::<Vec<_>>()[..] {
            [version] => validate_version(version, &version_path, errors),
            [group, version] => {
                if !group.is_empty() {
                    let messages = names::dns1123_subdomain(group);
                    invalid_each(errors, &version_path, group, messages);
                }
                validate_version(version, &version_path, errors);
            }
            _ => errors.invalid_str(
                &version_path,
                version,
                format!("unexpected GroupVersion string: {version}"),
            ),
        }
    }
    let name = str_at(kind, "kind");
    let kind_path = path.field("kind");
    if name.is_empty() {
        errors.required(&kind_path, "");
        return;
    }
    let messages = names::dns1035_label(&name.to_lowercase());
    if !messages.is_empty() {
        errors.invalid_str(
            &kind_path,
            name,
            format!(
                "may have mixed case, but should otherwise match: {}",
                messages.join(",")
            ),
        );
    }
}

fn validate_version(version: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if version.is_empty() {
        errors.invalid_str(path, version, "version must be specified");
    } else {
        invalid_each(errors, path, version, names::dns1035_label(version));
    }
}

fn validate_variables(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("variables");
    let variables = arr_at(spec, "variables");
    for (i, variable) in variables.iter().enumerate() {
        let path = list.index(i);
        let name = str_at(variable, "name");
        let name_path = path.field("name");
        if name.is_empty() {
            errors.required(&name_path, "name is not specified");
        } else if !is_identifier(name) {
            errors.invalid_str(&name_path, name, "must be a valid CEL identifier");
        }
        if !name.is_empty() && variables[..i].iter().any(|v| str_at(v, "name") == name) {
            errors.duplicate(&name_path, &name.into());
        }
        if str_at(variable, "expression").trim().is_empty() {
            errors.required(&path.field("expression"), "expression is not specified");
        }
    }
}

/// Refuses what does not compile, and declares what does.
fn compile_variables(spec: &Value, env: &mut PolicyEnv, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("variables");
    for (i, variable) in arr_at(spec, "variables").iter().enumerate() {
        let (name, expression) = (str_at(variable, "name"), str_at(variable, "expression"));
        if expression.trim().is_empty() {
            continue;
        }
        let kind = match compile_as(expression, &env.full(), &[]) {
            Ok(program) => program.output,
            Err(error) => {
                let path = list.index(i);
                errors.invalid_str(&path.field("expression"), expression, error.to_string());
                Type::Dyn
            }
        };
        env.add_variable(name, kind);
    }
}

/// Refuses an expression that does not compile to one of some types.
fn check_expression(
    expression: &str,
    env: &Env,
    wanted: &[Type],
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    if let Err(error) = compile_as(expression, env, wanted) {
        errors.invalid_str(path, expression, error.to_string());
    }
}

fn is_identifier(name: &str) -> bool {
    names::c_identifier(name).is_empty() && !RESERVED.contains(&name)
}

fn validate_validations(
    policy: &str,
    spec: &Value,
    env: &PolicyEnv,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let (validations, annotations) = (
        arr_at(spec, "validations"),
        arr_at(spec, "auditAnnotations"),
    );
    let (list, annotation_list) = (path.field("validations"), path.field("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        errors.required(&list, EMPTY_POLICY);
        errors.required(&annotation_list, EMPTY_POLICY);
        return;
    }
    for (i, validation) in validations.iter().enumerate() {
        validate_validation(validation, env, &list.index(i), errors);
    }
    if annotations.len() > ANNOTATIONS_MAX {
        errors.invalid(
            &annotation_list,
            get(spec, "auditAnnotations"),
            format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations"),
        );
    }
    for (i, annotation) in annotations.iter().enumerate() {
        let path = annotation_list.index(i);
        validate_annotation(policy, annotation, env, &path, errors);
        let key = str_at(annotation, "key");
        if annotations[..i].iter().any(|a| str_at(a, "key") == key) {
            errors.duplicate(&path.field("key"), &key.into());
        }
    }
}

fn validate_validation(
    validation: &Value,
    env: &PolicyEnv,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let expression = str_at(validation, "expression");
    let expression_path = path.field("expression");
    if expression.trim().is_empty() {
        errors.required(&expression_path, "expression is not specified");
    } else {
        check_expression(
            expression,
            &env.full(),
            &[Type::Bool],
            &expression_path,
            errors,
        );
    }
    let message = str_at(validation, "messageExpression");
    if !message.trim().is_empty() {
        let path = path.field("messageExpression");
        let env = env.without_authorizer();
        check_expression(message, &env, &[Type::String], &path, errors);
    }
    if let Some(message) = at(validation, "messageExpression")
        && message.as_str().unwrap_or_default().trim().is_empty()
        && message != ""
    {
        errors.invalid(
            &path.field("messageExpression"),
            message,
            "must be non-empty if specified",
        );
    }
    let message = str_at(validation, "message");
    if !message.is_empty() && message.trim().is_empty() {
        errors.invalid_str(
            &path.field("message"),
            message,
            "message must be non-empty if specified",
        );
    } else if message.contains('\n') {
        errors.invalid_str(
            &path.field("message"),
            message,
            "must not contain line breaks",
        );
    }
    checks::optional_enum(
        validation,
        path,
        "reason",
        &["Forbidden", "Invalid", "RequestEntityTooLarge"],
        errors,
    );
}

fn validate_annotation(
    policy: &str,
    annotation: &Value,
    env: &PolicyEnv,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let key = str_at(annotation, "key");
    let full = format!("{policy}/{key}");
    let messages = names::qualified_name(&full);
    invalid_each(errors, &path.field("key"), &full, messages);
    let expression = str_at(annotation, "valueExpression");
    let path = path.field("valueExpression");
    let trimmed = expression.trim();
    if trimmed.is_empty() {
        errors.required(&path, "valueExpression is not specified");
    } else if trimmed.len() > VALUE_EXPRESSION_MAX {
        errors.required(
            &path,
            format!("must not exceed {VALUE_EXPRESSION_MAX} bytes in length"),
        );
    } else {
        let wanted = [Type::String, Type::Null];
        check_expression(expression, &env.full(), &wanted, &path, errors);
    }
}

fn validate_mutations(spec: &Value, env: &PolicyEnv, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("mutations");
    let mutations = arr_at(spec, "mutations");
    if mutations.is_empty() {
        errors.required(&list, "mutations must contain at least one item");
    }
    for (i, mutation) in mutations.iter().enumerate() {
        validate_mutation(mutation, env, &list.index(i), errors);
    }
    checks::required_enum(
        spec,
        path,
        "reinvocationPolicy",
        &["IfNeeded", "Never"],
        errors,
    );
}

fn validate_mutation(mutation: &Value, env: &PolicyEnv, path: &Path<'_>, errors: &mut FieldErrors) {
    let kinds = [
        ("ApplyConfiguration", "applyConfiguration"),
        ("JSONPatch", "jsonPatch"),
    ];
    let kind = str_at(mutation, "patchType");
    let Some((_, own)) = kinds.iter().find(|(known, _)| *known == kind) else {
        let type_path = path.field("patchType");
        if kind.is_empty() {
            errors.required(&type_path, "");
        } else {
            let known = ["ApplyConfiguration", "JSONPatch"];
            errors.not_supported(&type_path, &kind.into(), &known);
        }
        return;
    };
    for (_, other) in kinds.iter().filter(|(_, field)| field != own) {
        if at(mutation, other).is_some() {
            errors.forbidden(
                &path.field(other),
                format!("must not be specified when patchType is {kind}"),
            );
        }
    }
    let own_path = path.field(own);
    match at(mutation, own) {
        None => errors.required(
            &own_path,
            format!("must be specified when patchType is {kind}"),
        ),
        Some(patch) => {
            let (expression, path) = (str_at(patch, "expression"), own_path.field("expression"));
            if expression.trim().is_empty() {
                errors.required(&path, "expression is not specified");
            } else {
                let wanted = match *own {
                    "jsonPatch" => Type::list(json_patch_type()),
                    _ => object_type(),
                };
                check_expression(expression, &env.mutating(), &[wanted], &path, errors);
            }
        }
    }
}
