//! Flags in pflag's syntax: `--flag=value`, `--flag value`, `--bool`, `-v=2`; lists by comma or
//! repetition; underscores are dashes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::duration;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; the bare flag is `true`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A Go duration.
    DurationFlag,
    /// Any text; repeated, the last counts.
    Str,
    /// Comma-separated, and may be repeated.
    List,
    /// May be repeated.
    Array,
    /// `key=value` pairs, comma-separated, and may be repeated.
    Map,
    /// An IP address.
    Ip,
}

/// Where a flag stands in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Verbatim's own flags.
    Verbatim,
    /// Generic.
    Generic,
    /// etcd.
    Etcd,
    /// Secure serving.
    Serving,
    /// Audit.
    Audit,
    /// Authentication.
    Authentication,
    /// Authorization.
    Authorization,
    /// Admission and API enablement.
    Admission,
    /// Metrics and traces.
    Metrics,
    /// Logs.
    Logs,
    /// Everything else.
    Misc,
}

impl Section {
    /// Heading in the help.
    pub fn title(self) -> &'static str {
        match self {
            Section::Verbatim => "Verbatim",
            Section::Generic => "Generic",
            Section::Etcd => "Storage",
            Section::Serving => "Secure serving",
            Section::Audit => "Audit",
            Section::Authentication => "Authentication",
            Section::Authorization => "Authorization",
            Section::Admission => "Admission and API enablement",
            Section::Metrics => "Metrics and traces",
            Section::Logs => "Logs",
            Section::Misc => "Misc",
        }
    }
}

/// Whether a flag does its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Works,
    /// It is accepted and changes nothing, because of this.
    Ignored(&'static str),
    /// It is accepted; this version brings it.
    Later(&'static str),
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Section in the help.
    pub section: Section,
    /// Name, without dashes.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Default, as text.
    pub default: &'static str,
    /// Whether it does its job.
    pub status: Status,
    /// One or two sentences.
    pub help: &'static str,
}

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// No such flag.
    #[error("unknown flag: --{name}{}", did_you_mean(nearest))]
    Unknown {
        /// As typed.
        name: String,
        /// The flag with the most similar name, if one is similar.
        nearest: Option<&'static str>,
    },
    /// The flag needs a value and none follows.
    #[error("flag needs an argument: --{0}")]
    NoValue(&'static str),
    /// The value is not of the flag's kind, or is not allowed.
    #[error("invalid argument {value:?} for \"--{name}\" flag: {reason}")]
    Invalid {
        /// The flag.
        name: &'static str,
        /// As typed.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that is no flag.
    #[error("unexpected argument {0:?}; flags begin with --")]
    NotAFlag(String),
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |n| format!(" (did you mean --{n}?)"))
}

/// The flags as given, checked for their kinds.
#[derive(Clone, Debug)]
pub struct Values {
    flags: &'static [Flag],
    given: HashMap<&'static str, Vec<String>>,
}

impl Values {
    /// Parses a command line.
    pub fn parse(flags: &'static [Flag], args: &[String]) -> Result<Self, FlagError> {
        let mut values = Values {
            flags,
            given: HashMap::new(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let (name, inline) = split(arg)?;
            let flag = values.find(&name)?;
            let value = match (inline, flag.kind) {
                (Some(value), _) => value,
                (None, Kind::Bool) => "true".to_string(),
                (None, _) => args.next().ok_or(FlagError::NoValue(flag.name))?.clone(),
            };
            check(flag, &value)?;
            values.given.entry(flag.name).or_default().push(value);
        }
        Ok(values)
    }

    fn find(&self, name: &str) -> Result<&'static Flag, FlagError> {
        let unknown = || FlagError::Unknown {
            name: name.to_string(),
            nearest: nearest(self.flags, name),
        };
        let found = self.flags.iter().find(|f| f.name == name);
        found.ok_or_else(unknown)
    }

    /// Whether the flag was given.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Given flags that do not do their job.
    pub fn without_effect(&self) -> impl Iterator<Item = &'static Flag> {
        let given = |f: &&Flag| self.given.contains_key(f.name);
        let flags = self.flags.iter().filter(given);
        flags.filter(|f| f.status != Status::Works)
    }

    fn flag(&self, name: &str) -> &'static Flag {
        let found = self.flags.iter().find(|f| f.name == name);
        found.expect("options read only flags of the table")
    }

    /// The flag's text: the last one given, or its default.
    pub fn text(&self, name: &str) -> String {
        let flag = self.flag(name);
        let given = self.given.get(name).and_then(|v| v.last());
        given.map_or(flag.default, String::as_str).to_string()
    }

    /// The text, or `None` when it is empty.
    pub fn non_empty(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A yes or no.
    pub fn bool(&self, name: &str) -> bool {
        parse_bool(&self.text(name)) == Some(true)
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// A number.
    pub fn float(&self, name: &str) -> f64 {
        self.text(name).parse().unwrap_or(0.0)
    }

    /// A duration; negative ones count as zero.
    pub fn duration(&self, name: &str) -> Duration {
        let parsed = duration::parse(&self.text(name)).ok().flatten();
        parsed.unwrap_or_default()
    }

    /// An address, if one is set.
    pub fn ip(&self, name: &str) -> Option<IpAddr> {
        self.text(name).parse().ok()
    }

    /// All items of a list, array or map flag.
    pub fn list(&self, name: &str) -> Vec<String> {
        let flag = self.flag(name);
        let default = vec![flag.default.to_string()];
        let texts = self.given.get(name).unwrap_or(&default);
        let split = |text: &String| -> Vec<String> {
            match flag.kind {
                Kind::Array => vec![text.clone()],
                _ => text
                    .split(',')
                    .map(|item| item.trim().to_string())
                    .collect(),
            }
        };
        let items = texts.iter().flat_map(split);
        items.filter(|item| !item.is_empty()).collect()
    }

    /// The pairs of a map flag.
    pub fn pairs(&self, name: &str) -> Vec<(String, String)> {
        let items = self.list(name).into_iter();
        items
            .map(|item| match item.split_once('=') {
                Some((key, value)) => (key.to_string(), value.to_string()),
                None => (item, "true".to_string()),
            })
            .collect()
    }

    /// An error about the flag's value.
    pub fn invalid(&self, name: &str, reason: impl Into<String>) -> FlagError {
        FlagError::Invalid {
            name: self.flag(name).name,
            value: self.text(name),
            reason: reason.into(),
        }
    }
}

/// Name and inline value of one argument.
fn split(arg: &str) -> Result<(String, Option<String>), FlagError> {
    let rest = match arg.strip_prefix("--") {
        Some(rest) if !rest.is_empty() => rest,
        _ => match arg.strip_prefix("-v") {
            Some("") => "v",
            Some(value) if value.starts_with('=') => &arg[1..],
            Some(level) if level.parse::<i64>().is_ok() => {
                return Ok(("v".to_string(), Some(level.to_string())));
            }
            _ => return Err(FlagError::NotAFlag(arg.to_string())),
        },
    };
    let (name, value) = match rest.split_once('=') {
        Some((name, value)) => (name, Some(value.to_string())),
        None => (rest, None),
    };
    Ok((name.replace('_', "-"), value))
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn check(flag: &'static Flag, value: &str) -> Result<(), FlagError> {
    let wrong = match flag.kind {
        Kind::Bool => parse_bool(value)
            .is_none()
            .then(|| "must be true or false".to_string()),
        Kind::Int => value
            .parse::<i64>()
            .err()
            .map(|_| "must be a whole number".to_string()),
        Kind::Float => value
            .parse::<f64>()
            .err()
            .map(|_| "must be a number".to_string()),
        Kind::DurationFlag => duration::parse(value).err().map(|e| e.to_string()),
        Kind::Ip => (!value.is_empty() && value.parse::<IpAddr>().is_err())
            .then(|| "must be an IP address".to_string()),
        Kind::Str | Kind::List | Kind::Array | Kind::Map => None,
    };
    wrong.map_or(Ok(()), |reason| {
        Err(FlagError::Invalid {
            name: flag.name,
            value: value.to_string(),
            reason,
        })
    })
}

/// The flag whose name differs least from `name`, if it differs by less than half.
fn nearest(flags: &[Flag], name: &str) -> Option<&'static str> {
    let distances = flags.iter().map(|f| (distance(f.name, name), f.name));
    let (best, found) = distances.min()?;
    (best * 2 <= name.len().max(2)).then_some(found)
}

/// Edit distance.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::flags::FLAGS;
    use super::*;

    fn parse(args: &[&str]) -> Result<Values, FlagError> {
        let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
        Values::parse(FLAGS, &args)
    }

    #[test]
    fn forms() {
        let values = parse(&[
            "--secure-port=1",
            "--bind-address",
            "::1",
            "--profiling",
            "--anonymous-auth=false",
            "-v=3",
            "--etcd_servers=a,b",
            "--etcd-servers",
            "c",
            "--service-account-issuer=x,y",
            "--runtime-config=api/all=true",
        ])
        .expect("valid flags");
        assert_eq!(values.int("secure-port"), 1);
        assert_eq!(values.ip("bind-address"), "::1".parse().ok());
        assert!(values.bool("profiling"));
        assert!(!values.bool("anonymous-auth"));
        assert_eq!(values.int("v"), 3);
        assert_eq!(values.list("etcd-servers"), ["a", "b", "c"]);
        assert_eq!(values.list("service-account-issuer"), ["x,y"]);
        let pairs = values.pairs("runtime-config");
        assert_eq!(pairs, [("api/all".to_string(), "true".to_string())]);
        assert_eq!(values.duration("request-timeout").as_secs(), 60);
    }

    #[test]
    fn mistakes() {
        for (args, message) in [
            (
                &["--secureport=1"][..],
                "unknown flag: --secureport (did you mean --secure-port?)",
            ),
            (&["--zzzzqqqq=1"], "unknown flag: --zzzzqqqq"),
            (&["--secure-port"], "flag needs an argument: --secure-port"),
            (
                &["--secure-port=x"],
                "invalid argument \"x\" for \"--secure-port\" flag: must be a whole number",
            ),
            (
                &["--request-timeout=5"],
                "invalid argument \"5\" for \"--request-timeout\" flag: time: missing unit in \
                 duration \"5\"",
            ),
            (&["x"], "unexpected argument \"x\"; flags begin with --"),
        ] {
            let error = parse(args).expect_err("a mistake");
            assert_eq!(error.to_string(), message);
        }
    }
}
