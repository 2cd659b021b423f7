//! Fuzzing of everything that reads what clients and operators write: decoders, patches, apply,
//! selectors, options, scalars, queries, policy files, and the strategies behind the decoders.
//!
//! `cargo test --test fuzz` gives each target half a second and plays what fuzzing has found before
//! (`corpus/`); `make fuzz FUZZ_SECONDS=600` gives each ten minutes of a processor. Found means: a
//! panic, or an input that takes longer than its length allows. A finding is written below
//! `target/fuzz`; move it into `corpus/<target>/` once it is fixed.

mod campaign;
mod corpus;
mod mutate;
mod targets;

use campaign::run;

#[test]
fn json() {
    run("json", &corpus::objects(), targets::json);
}

#[test]
fn yaml() {
    run("yaml", &corpus::yaml(), targets::yaml);
}

#[test]
fn protobuf() {
    run("protobuf", &corpus::protobuf(), targets::protobuf);
}

#[test]
fn strategies() {
    run("strategies", &corpus::objects(), targets::strategies);
}

#[test]
fn json_patch() {
    run("json_patch", &corpus::json_patches(), targets::json_patch);
}

#[test]
fn merge_patch() {
    run("merge_patch", &corpus::patches(), targets::merge_patch);
}

#[test]
fn strategic_patch() {
    run(
        "strategic_patch",
        &corpus::patches(),
        targets::strategic_patch,
    );
}

#[test]
fn apply() {
    run("apply", &corpus::objects(), targets::apply);
}

#[test]
fn managed_fields() {
    run(
        "managed_fields",
        &corpus::field_sets(),
        targets::managed_fields,
    );
}

#[test]
fn selectors() {
    run("selectors", &corpus::selectors(), targets::selectors);
}

#[test]
fn options() {
    run("options", &corpus::queries(), targets::options);
}

#[test]
fn requests() {
    run("requests", &corpus::paths(), targets::requests);
}

#[test]
fn scalars() {
    run("scalars", &corpus::scalars(), targets::scalars);
}

#[test]
fn audit_query() {
    run(
        "audit_query",
        &corpus::audit_queries(),
        targets::audit_query,
    );
}

#[test]
fn audit_policy() {
    run(
        "audit_policy",
        &corpus::audit_policies(),
        targets::audit_policy,
    );
}

#[test]
fn audit_line() {
    run("audit_line", &corpus::audit_lines(), targets::audit_line);
}
