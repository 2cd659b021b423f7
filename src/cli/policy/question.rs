//! A request, as it is asked about on the command line or in a file of cases, or as an event tells it.

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches};
use http::Method;

use crate::api::resource::Resource;
use crate::base::tree::{Value, from_value};
use crate::registry::table;
use crate::request::{RequestInfo, UserInfo};

/// Who asks what.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    pub(super) user: UserInfo,
    pub(super) info: RequestInfo,
    /// The request URI, where it is known.
    pub(super) uri: Option<String>,
}

/// The arguments.
pub(super) fn args() -> Vec<Arg> {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).action(ArgAction::Set)
    };
    vec![
        Arg::new("verb")
            .value_name("VERB")
            .required_unless_present("event")
            .help("get, list, watch, create, update, patch, delete, deletecollection; a lower-case HTTP method for paths"),
        Arg::new("what")
            .value_name("RESOURCE[.GROUP][/NAME] or /PATH")
            .required_unless_present("event")
            .help("What is asked for; pods/exec and other known subresources are understood too"),
        flag("event", "File with audit events (JSON or JSON lines) to explain instead; - is standard input")
            .value_name("EVENT")
            .conflicts_with_all(["verb", "what", "as", "as-group", "namespace", "subresource", "name"]),
        flag("as", "User").value_name("USER").default_value("system:anonymous"),
        flag("as-group", "Group of the user; may be repeated")
            .value_name("GROUP")
            .action(ArgAction::Append),
        flag("namespace", "Namespace").short('n').value_name("NAMESPACE"),
        flag("subresource", "Subresource").value_name("NAME"),
        flag("name", "Name of the object").value_name("NAME"),
    ]
}

/// The questions that the arguments ask: one, or one per event.
pub(super) fn read(matches: &ArgMatches) -> anyhow::Result<Vec<Question>> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    if let Some(file) = text("event") {
        return from_events(&file);
    }
    let groups = matches.get_many::<String>("as-group");
    let asked = Asked {
        user: text("as").unwrap_or_default(),
        groups: groups.into_iter().flatten().cloned().collect(),
        verb: text("verb").unwrap_or_default(),
        what: text("what").unwrap_or_default(),
        namespace: text("namespace"),
        name: text("name"),
        subresource: text("subresource"),
    };
    Ok(vec![asked.question()?])
}

/// The parts of a question as people write them.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) user: String,
    pub(super) groups: Vec<String>,
    pub(super) verb: String,
    /// `RESOURCE[.GROUP][/NAME]` or `/PATH`.
    pub(super) what: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Asked {
    pub(super) fn question(self) -> anyhow::Result<Question> {
        let user = UserInfo {
            username: self.user.clone(),
            groups: groups_of(&self.user, &self.groups),
            ..UserInfo::default()
        };
        if let Some((path, query)) = self.what.starts_with('/').then(|| split(&self.what)) {
            let method = method_of(&self.verb);
            let mut info = RequestInfo::parse(&method, path, query)?;
            if !self.verb.is_empty() {
                info.verb = self.verb;
            }
            let uri = Some(self.what.clone());
            return Ok(Question { user, info, uri });
        }
        let (resource, rest) = match self.what.split_once('/') {
            Some((resource, rest)) => (resource, Some(rest.to_string())),
            None => (self.what.as_str(), None),
        };
        let row = find(resource)?;
        let (plural, group) = match row {
            Some(row) => (row.plural.to_string(), row.group.to_string()),
            None => split_group(resource)?,
        };
        let is_known =
            |name: &str| row.is_some_and(|row| row.subresources.iter().any(|s| *s.name == *name));
        let (subresource, name) = match (rest, self.subresource, self.name) {
            (None, subresource, name) => (subresource, name),
            (Some(rest), None, Some(name)) => (Some(rest), Some(name)),
            (Some(rest), None, None) if is_known(&rest) => (Some(rest), None),
            (Some(rest), subresource, None) => (subresource, Some(rest)),
            (Some(rest), Some(subresource), Some(name)) => {
                bail!("which is it: {rest:?}, {subresource:?} or {name:?}?")
            }
        };
        let name = name.unwrap_or_default();
        let is_namespaced = row.is_none_or(|row| row.namespaced);
        let namespace = match self.namespace {
            Some(namespace) => namespace,
            None if is_namespaced && !name.is_empty() => "default".to_string(),
            // A namespace's own requests are in it.
            None if group.is_empty() && plural == "namespaces" => name.clone(),
            None => String::new(),
        };
        let info = RequestInfo {
            is_resource: true,
            verb: self.verb,
            version: row.map_or_else(String::new, |row| row.version.to_string()),
            group,
            resource: plural,
            subresource: subresource.unwrap_or_default(),
            namespace,
            name,
            ..RequestInfo::default()
        };
        Ok(Question {
            user,
            info,
            uri: None,
        })
    }
}

fn split(uri: &str) -> (&str, &str) {
    uri.split_once('?').unwrap_or((uri, ""))
}

/// Everybody is in one of two groups, and service accounts are in theirs.
fn groups_of(user: &str, given: &[String]) -> Vec<String> {
    let mut groups = given.to_vec();
    let mut add = |group: String| {
        if !groups.contains(&group) {
            groups.push(group);
        }
    };
    if let Some(rest) = user.strip_prefix("system:serviceaccount:") {
        add("system:serviceaccounts".into());
        if let Some((namespace, _)) = rest.split_once(':') {
            add(format!("system:serviceaccounts:{namespace}"));
        }
    }
    add(match user {
        "system:anonymous" => "system:unauthenticated".into(),
        _ => "system:authenticated".into(),
    });
    groups
}

/// The built-in resource that people mean by a plural, singular or short name, with or without group.
fn find(resource: &str) -> anyhow::Result<Option<&'static Resource>> {
    let (name, group) = match resource.split_once('.') {
        Some((name, group)) => (name, Some(group)),
        None => (resource, None),
    };
    let is_meant = |row: &&Resource| {
        let names = [&row.plural, &row.singular];
        (names.iter().any(|n| ***n == *name) || row.short_names.iter().any(|n| **n == *name))
            && group.is_none_or(|group| *row.group == *group)
    };
    let rows = || table::builtin().iter().map(|row| &**row).filter(is_meant);
    // The core group goes before others of the same name (events).
    let found = rows().find(|row| row.group.is_empty()).or(rows().next());
    if found.is_none() && group.is_none() {
        bail!("{resource:?} is no built-in resource; write RESOURCE.GROUP for others");
    }
    Ok(found)
}

fn split_group(resource: &str) -> anyhow::Result<(String, String)> {
    match resource.split_once('.') {
        Some((name, group)) => Ok((name.to_string(), group.to_string())),
        None => bail!("{resource:?} has no group"),
    }
}

fn method_of(verb: &str) -> Method {
    match verb {
        "create" | "post" => Method::POST,
        "update" | "put" => Method::PUT,
        "patch" => Method::PATCH,
        "delete" | "deletecollection" => Method::DELETE,
        "head" => Method::HEAD,
        "options" => Method::OPTIONS,
        _ => Method::GET,
    }
}

fn from_events(file: &str) -> anyhow::Result<Vec<Question>> {
    let text = match file {
        "-" => std::io::read_to_string(std::io::stdin()).context("reading standard input")?,
        file => std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?,
    };
    let mut questions = Vec::new();
    for event in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        let event = event.with_context(|| format!("{file} holds no audit events"))?;
        match event["items"].as_array() {
            Some(items) => {
                for item in items {
                    questions.push(from_event(item)?);
                }
            }
            None => questions.push(from_event(&event)?),
        }
    }
    if questions.is_empty() {
        bail!("{file} holds no audit events");
    }
    Ok(questions)
}

/// What policies saw of the request behind an event. The URL says it; `objectRef` also has what was
/// in the body, which policies do not see.
pub(super) fn from_event(event: &Value) -> anyhow::Result<Question> {
    let (Some(uri), Some(verb)) = (event["requestURI"].as_str(), event["verb"].as_str()) else {
        bail!("this is no audit event: it has no requestURI and verb");
    };
    let (path, query) = split(uri);
    let mut info = RequestInfo::parse(&method_of(verb), path, query)?;
    info.verb = verb.to_string();
    let user = from_value(event["user"].clone()).unwrap_or_default();
    Ok(Question {
        user,
        info,
        uri: Some(uri.to_string()),
    })
}
