//! CEL: the expressions in match conditions and admission policies.
//!
//! [`compile`] parses an expression, checks its types and answers a [`Program`]; evaluation is
//! synchronous, pure and bounded. Called by the strategies of admissionregistration (does it compile,
//! and to what type) and by admission (what does it say). What upstream's environment offers is in
//! contract/cel.md; texts of errors are cel-go's.
//!
//! Files: `types` what an expression can be · `decls` which functions exist · `compile` from source to
//! [`Program`], with `check` and `macros` · `node` the checked form · `value` values · `object` objects and patches that
//! expressions make · `eval` the
//! evaluator · `functions` what the functions do · `authz` the authorizer library.
//!
//! # Invariants
//! - A program never panics, is never nested deeper than a few hundred levels, whatever a client sends,
//!   and never does more steps than its [`Budget`].
//! - Evaluation reads nothing but its bindings and [`Decisions`], so it can be repeated.
//!
//! # Decisions
//! - Parsing and the expansion of macros are the `cel` crate's, whose grammar (and so the wording of
//!   syntax errors) is cel-go's. Checking and evaluation are our own: the crate has no type checker, no
//!   budget, none of Kubernetes' libraries, and reads integers of JSON as unsigned.
//! - `authorizer…check()` cannot wait inside an evaluation. What has not been decided ends it with
//!   [`EvalError::Undecided`]; the caller asks its authorizer and evaluates again.
//! - Cost is counted in steps of our evaluator, with upstream's limits and weights of long strings. The
//!   numbers differ a little from cel-go's, the order of magnitude does not.

mod authz;
mod check;
mod compile;
mod decls;
mod eval;
mod functions;
mod macros;
mod node;
mod object;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use authz::{Answer, Decisions, Query};
pub use compile::{CompileError, Env, compile};
pub use eval::{Bindings, Budget, EvalError};
pub use functions::{Semver, Url};
pub use node::Program;
pub use object::{Constructed, json_patch_type, object_type};
pub use types::{ObjectType, Type};
pub use value::Val;

/// Steps that one expression may take.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// Steps that a policy may take for one binding and parameter.
pub const RUNTIME_LIMIT: u64 = 10_000_000;
/// Steps that all match conditions of one webhook or policy may take together.
pub const MATCH_CONDITIONS_LIMIT: u64 = 2_500_000;
