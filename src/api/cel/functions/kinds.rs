//! Quantities, semantic versions and named formats.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::eval::{EvalError, Outcome};
use super::super::value::Val;
use crate::api::quantity::Quantity;
use crate::api::selector::{label_value_problems, qualified_name_problems};

/// A semantic version (semver.org, 2.0.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semver {
    numbers: [u64; 3],
    pre_release: Vec<String>,
}

impl Semver {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".into());
        }
        let (text, build) = text.split_once('+').unwrap_or((text, ""));
        let (core, pre_release) = text.split_once('-').unwrap_or((text, ""));
        let parts: Vec<&str> = core.split('.').collect();
        let [major, minor, patch] = parts.as_slice() else {
            return Err("No Major.Minor.Patch elements found".into());
        };
        let mut numbers = [0; 3];
        for (number, (part, name)) in
            numbers
                .iter_mut()
                .zip([(major, "Major"), (minor, "Minor"), (patch, "Patch")])
        {
            if !part.bytes().all(|b| b.is_ascii_digit()) || part.is_empty() {
                return Err(format!(
                    "Invalid character(s) found in {} number \"{part}\"",
                    name.to_lowercase()
                ));
            }
            if part.len() > 1 && part.starts_with('0') {
                return Err(format!(
                    "{name} number must not contain leading zeroes \"{part}\""
                ));
            }
            *number = part
                .parse()
                .map_err(|_| format!("{name} number is too large"))?;
        }
        let identifiers = |text: &str| -> Result<Vec<String>, String> {
            if text.is_empty() {
                return Ok(Vec::new());
            }
            let parts = text.split('.').map(|part| {
                let valid = !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                match valid {
                    true => Ok(part.to_string()),
                    false => Err(format!(
                        "Invalid character(s) found in prerelease \"{part}\""
                    )),
                }
            });
            parts.collect()
        };
        identifiers(build)?;
        Ok(Semver {
            numbers,
            pre_release: identifiers(pre_release)?,
        })
    }

    /// Drops a leading v, pads to three numbers, strips leading zeros.
    fn parse_normalized(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (core, rest) = text.split_at(end);
        let mut parts: Vec<&str> = core
            .splitn(3, '.')
            .map(|part| match part.trim_start_matches('0') {
                "" if !part.is_empty() => "0",
                stripped => stripped,
            })
            .collect();
        if parts.len() < 3 && !rest.is_empty() {
            return Err("Short version cannot contain PreRelease/Build meta data".into());
        }
        parts.resize(3, "0");
        Self::parse(&format!("{}{rest}", parts.join(".")))
    }

    fn compare(&self, other: &Self) -> Ordering {
        let numbers = self.numbers.cmp(&other.numbers);
        if numbers != Ordering::Equal {
            return numbers;
        }
        match (self.pre_release.is_empty(), other.pre_release.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) => {}
        }
        for (a, b) in self.pre_release.iter().zip(&other.pre_release) {
            let order = match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        self.pre_release.len().cmp(&other.pre_release.len())
    }
}

/// Calls a function of these kinds; `None` when it is none.
pub(super) fn call<'a>(name: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
    match arguments {
        [Val::Str(text), rest @ ..] => of_text(name, text.as_str(), rest),
        [Val::Quantity(quantity), rest @ ..] => of_quantity(name, *quantity, rest),
        [Val::Semver(version), rest @ ..] => of_semver(name, version, rest),
        [Val::Format(format), Val::Str(text)] if name == "validate" => {
            Some(Ok(validate(format, text.as_str())))
        }
        [] => {
            let known = format_named(name.strip_prefix("format.")?)?;
            Some(Ok(Val::Format(known)))
        }
        _ => None,
    }
}

fn of_text<'a>(name: &str, text: &str, rest: &[Val<'a>]) -> Option<Outcome<'a>> {
    let normalize = matches!(rest, [Val::Bool(true)]);
    let version = || match normalize {
        true => Semver::parse_normalized(text),
        false => Semver::parse(text),
    };
    Some(match (name, rest) {
        ("quantity", []) => Quantity::parse(text)
            .map(Val::Quantity)
            .map_err(|error| EvalError::failed(error.to_string())),
        ("isQuantity", []) => Ok(Val::Bool(Quantity::parse(text).is_ok())),
        ("semver", [] | [Val::Bool(_)]) => version()
            .map(|v| Val::Semver(Arc::new(v)))
            .map_err(EvalError::failed),
        ("isSemver", [] | [Val::Bool(_)]) => Ok(Val::Bool(version().is_ok())),
        ("format.named", []) => Ok(Val::Optional(
            format_named(text).map(|known| Arc::new(Val::Format(known))),
        )),
        _ => return None,
    })
}

fn sign<'a>(order: Ordering) -> Val<'a> {
    Val::Int(match order {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    })
}

fn of_quantity<'a>(name: &str, quantity: Quantity, rest: &[Val<'a>]) -> Option<Outcome<'a>> {
    Some(Ok(match (name, rest) {
        ("sign", []) => Val::Int(i64::from(quantity.sign())),
        ("isInteger", []) => Val::Bool(quantity.as_int().is_some()),
        ("asInteger", []) => match quantity.as_int() {
            Some(int) => Val::Int(int),
            None => {
                return Some(Err(EvalError::failed("cannot convert value to integer")));
            }
        },
        ("asApproximateFloat", []) => Val::Double(quantity.as_f64()),
        ("isGreaterThan", [Val::Quantity(other)]) => Val::Bool(quantity > *other),
        ("isLessThan", [Val::Quantity(other)]) => Val::Bool(quantity < *other),
        ("compareTo", [Val::Quantity(other)]) => sign(quantity.cmp(other)),
        ("add", [Val::Quantity(other)]) => Val::Quantity(quantity + *other),
        ("add", [Val::Int(other)]) => Val::Quantity(quantity + Quantity::from_int(*other)),
        ("sub", [Val::Quantity(other)]) => Val::Quantity(quantity - *other),
        ("sub", [Val::Int(other)]) => Val::Quantity(quantity - Quantity::from_int(*other)),
        _ => return None,
    }))
}

fn of_semver<'a>(name: &str, version: &Semver, rest: &[Val<'a>]) -> Option<Outcome<'a>> {
    let number = |at: usize| Val::Int(i64::try_from(version.numbers[at]).unwrap_or(i64::MAX));
    Some(Ok(match (name, rest) {
        ("major", []) => number(0),
        ("minor", []) => number(1),
        ("patch", []) => number(2),
        ("isGreaterThan", [Val::Semver(other)]) => {
            Val::Bool(version.compare(other) == Ordering::Greater)
        }
        ("isLessThan", [Val::Semver(other)]) => Val::Bool(version.compare(other) == Ordering::Less),
        ("compareTo", [Val::Semver(other)]) => sign(version.compare(other)),
        _ => return None,
    }))
}

const FORMATS: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

fn format_named(name: &str) -> Option<&'static str> {
    FORMATS.iter().find(|known| **known == name).copied()
}

/// None when the text has the format, else what is wrong.
fn validate<'a>(format: &str, text: &str) -> Val<'a> {
    let problems = problems(format, text);
    if problems.is_empty() {
        return Val::Optional(None);
    }
    let list = problems.into_iter().map(Val::text);
    Val::Optional(Some(Arc::new(Val::List(Arc::new(list.collect())))))
}

fn problems(format: &str, text: &str) -> Vec<String> {
    // A prefix may end in a dash, as generateName does.
    let masked = match text.strip_suffix('-') {
        Some(prefix) if format.ends_with("Prefix") => format!("{prefix}a"),
        _ => text.to_string(),
    };
    let refuse = |is_valid: bool, problem: &str| match is_valid {
        true => Vec::new(),
        false => vec![problem.to_string()],
    };
    let label = |text: &str| {
        (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
    };
    match format {
        "dns1123Label" | "dns1123LabelPrefix" => refuse(
            label(&masked),
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ),
        "dns1123Subdomain" | "dns1123SubdomainPrefix" => refuse(
            masked.len() <= 253
                && masked.split('.').all(|part| {
                    !part.is_empty()
                        && part
                            .bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                        && !part.starts_with('-')
                        && !part.ends_with('-')
                }),
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        "dns1035Label" | "dns1035LabelPrefix" => refuse(
            label(&masked) && masked.starts_with(|c: char| c.is_ascii_lowercase()),
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
        ),
        "qualifiedName" => qualified_name_problems(text),
        "labelValue" => label_value_problems(text),
        "uri" => refuse(
            matches!(
                super::net::call("isURL", &[Val::text(text)]),
                Some(Ok(Val::Bool(true)))
            ),
            "invalid URI",
        ),
        "uuid" => refuse(
            text.len() == 36 && uuid::Uuid::try_parse(text).is_ok(),
            "does not match the UUID format",
        ),
        "byte" => {
            use base64::Engine as _;
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            refuse(decoded.is_ok(), "invalid base64")
        }
        "date" => refuse(
            text.len() == 10 && chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok(),
            "invalid date",
        ),
        _ => refuse(
            super::super::value::parse_timestamp(text).is_some(),
            "invalid datetime",
        ),
    }
}
