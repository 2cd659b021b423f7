//! From source to [`Program`]: parse, then check names and types (`check`, `macros`).

use cel::parser::Parser;

use super::check::{Checker, too_deep};
use super::decls::{BIND, ESCAPE_KEY, INCLUDES};
use super::node::Program;
use super::types::Type;

/// Nesting of parentheses and calls that the parser follows.
const PARSER_DEPTH_MAX: u16 = 96;
/// Characters of an expression, as cel-go has it.
const CHARACTERS_MAX: usize = 100_000;
/// Characters that may each nest an expression one level deeper. The parser's stack is made for so many.
const NESTING_MAX: usize = 5_000;
/// Stack of the thread that parses. The parser recurses on chains of fields and operators.
const PARSER_STACK_BYTES: usize = 128 << 20;

/// Why an expression does not compile, as upstream's `compilation failed: …` says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(pub String);

/// The variables that an expression may use.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: Vec<(String, Type)>,
    /// Expressions may make objects and JSON patches.
    makes_patches: bool,
    /// Expressions may bind names, and ask lists of attributes.
    selects_devices: bool,
}

impl Env {
    /// No variables.
    pub fn new() -> Self {
        Env::default()
    }

    /// One variable more. The order is that of the bindings at evaluation. A name may have dots.
    #[must_use]
    pub fn with(mut self, name: &str, kind: Type) -> Self {
        self.variables.push((name.to_string(), kind));
        self
    }

    /// Expressions may also make `Object{…}` and `JSONPatch{…}`, as those of mutating policies do.
    #[must_use]
    pub fn with_patches(mut self) -> Self {
        self.makes_patches = true;
        self
    }

    /// Whether expressions may make objects and JSON patches.
    pub(super) fn makes_patches(&self) -> bool {
        self.makes_patches
    }

    /// Expressions may also use `cel.bind` and `includes`, as those that select devices do.
    #[must_use]
    pub fn for_devices(mut self) -> Self {
        self.selects_devices = true;
        self
    }

    /// Whether a function that not everybody has is there.
    pub(super) fn knows(&self, function: &str) -> bool {
        match function {
            ESCAPE_KEY => self.makes_patches,
            INCLUDES | BIND => self.selects_devices,
            _ => true,
        }
    }

    /// A place in the bindings that no name leads to.
    #[must_use]
    pub fn with_unnamed(self) -> Self {
        self.with("", Type::Dyn)
    }

    /// The same places, but a name less.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        for (known, _) in &mut self.variables {
            if known == name {
                known.clear();
            }
        }
        self
    }

    pub(super) fn find(&self, name: &str) -> Option<(usize, &Type)> {
        let at = self.variables.iter().position(|(n, _)| n == name)?;
        Some((at, &self.variables[at].1))
    }
}

/// Compiles an expression.
///
/// # Errors
/// All syntax errors, or else all type errors, each with its place in the source.
pub fn compile(source: &str, env: &Env) -> Result<Program, CompileError> {
    let characters = source.chars().count();
    if characters > CHARACTERS_MAX {
        let text = format!(
            "expression code point size exceeds limit: size: {characters}, limit {CHARACTERS_MAX}"
        );
        return Err(CompileError(report(source, [(1, 1, text)].into_iter())));
    }
    if nesting(source) > NESTING_MAX {
        return Err(CompileError(report(
            source,
            [(1, 1, too_deep())].into_iter(),
        )));
    }
    // What a client sends must not be able to overflow the stack of a worker.
    std::thread::scope(|scope| {
        let parsing = std::thread::Builder::new()
            .name("cel".into())
            .stack_size(PARSER_STACK_BYTES)
            .spawn_scoped(scope, || parse_and_check(source, env));
        let compiled = parsing.map(|thread| thread.join());
        match compiled {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(_)) | Err(_) => Err(CompileError("the expression could not be parsed".into())),
        }
    })
}

/// An upper bound of the depth of an expression: what can nest it, wherever it stands.
fn nesting(source: &str) -> usize {
    let operators = source
        .bytes()
        .filter(|b| b".[({+-*/%<>=!?&|".contains(b))
        .count();
    operators + source.matches("in").count()
}

fn parse_and_check(source: &str, env: &Env) -> Result<Program, CompileError> {
    let parsed = Parser::new()
        .max_recursion_depth(PARSER_DEPTH_MAX)
        .enable_optional_syntax(true)
        .parse_with_source_info(source);
    let (expression, places) = parsed.map_err(|errors| {
        let errors = errors.errors.iter();
        let place = |n: isize| usize::try_from(n).unwrap_or(1).max(1);
        CompileError(report(
            source,
            errors.map(|e| (place(e.pos.0), place(e.pos.1), e.msg.clone())),
        ))
    })?;
    let mut checker = Checker::new(env, &places);
    let (root, output) = checker.check(&expression);
    if checker.errors.is_empty() {
        return Ok(Program {
            root,
            output,
            source: source.to_string(),
        });
    }
    let mut errors = checker.errors;
    errors.sort_by_key(|(offset, _)| *offset);
    let places = errors.into_iter().map(|(offset, message)| {
        let (line, column) = line_and_column(source, offset);
        (line, column, message)
    });
    Err(CompileError(report(source, places)))
}

/// One paragraph per error: message, the line, a caret.
fn report(source: &str, errors: impl Iterator<Item = (usize, usize, String)>) -> String {
    let mut out = Vec::new();
    for (line, column, message) in errors {
        let mut text = format!("ERROR: <input>:{line}:{column}: {message}");
        if let Some(snippet) = source.lines().nth(line - 1) {
            let dots = ".".repeat(column - 1);
            text.push_str(&format!("\n | {snippet}\n | {dots}^"));
        }
        out.push(text);
    }
    out.join("\n")
}

/// Both from one; columns count characters.
fn line_and_column(source: &str, offset: usize) -> (usize, usize) {
    let before: Vec<char> = source.chars().take(offset).collect();
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
    (line, column)
}
