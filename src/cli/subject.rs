//! Who is meant: a user, a group or a service account, and what the record says they used.

use anyhow::bail;
use clap::Arg;

use crate::base::tree::{Value, from_value, json};
use crate::cli::events::{EventQuery, fetch, summarize};
use crate::cli::source::Source;
use crate::request::UserInfo;
use crate::search::query::quote;

/// A subject of RBAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user.
    User(String),
    /// A group.
    Group(String),
    /// A service account: namespace and name.
    ServiceAccount(String, String),
}

/// The positional argument.
pub fn arg() -> Arg {
    Arg::new("subject")
        .required(true)
        .value_name("SUBJECT")
        .help("alice, group:dev, serviceaccount:NAMESPACE:NAME (or sa:NAMESPACE:NAME)")
}

impl Subject {
    /// Reads what people type.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let account = |rest: &str| match rest.split_once([':', '/']) {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Subject::ServiceAccount(namespace.into(), name.into()))
            }
            _ => bail!("{text:?}: write serviceaccount:NAMESPACE:NAME"),
        };
        if let Some(rest) = text.strip_prefix("system:serviceaccount:") {
            return account(rest);
        }
        match text.split_once(':') {
            Some(("serviceaccount" | "sa" | "ServiceAccount", rest)) => account(rest),
            Some(("user" | "User", name)) if !name.is_empty() => Ok(Subject::User(name.into())),
            Some(("group" | "Group", name)) if !name.is_empty() => Ok(Subject::Group(name.into())),
            _ if text.is_empty() => bail!("the subject is empty"),
            _ => Ok(Subject::User(text.into())),
        }
    }

    /// The user name of events; none for groups.
    pub fn username(&self) -> Option<String> {
        match self {
            Subject::User(name) => Some(name.clone()),
            Subject::ServiceAccount(namespace, name) => {
                Some(format!("system:serviceaccount:{namespace}:{name}"))
            }
            Subject::Group(_) => None,
        }
    }

    /// As `subjects` of a binding have it.
    pub fn to_rbac(&self) -> Value {
        let group = "rbac.authorization.k8s.io";
        match self {
            Subject::User(name) => json!({"apiGroup": group, "kind": "User", "name": name}),
            Subject::Group(name) => json!({"apiGroup": group, "kind": "Group", "name": name}),
            Subject::ServiceAccount(namespace, name) => {
                json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
            }
        }
    }

    /// Part of an object's name.
    pub fn slug(&self) -> String {
        let text = match self {
            Subject::User(name) | Subject::Group(name) => name.clone(),
            Subject::ServiceAccount(namespace, name) => format!("{namespace}-{name}"),
        };
        let mut slug: String = text
            .to_ascii_lowercase()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        while slug.contains("--") {
            slug = slug.replace("--", "-");
        }
        slug.truncate(50);
        slug.trim_matches('-').to_string()
    }

    /// Requests in which the subject acted, itself or impersonated by somebody.
    pub fn query(&self) -> String {
        match self {
            Subject::Group(name) => format!("userGroup:{} -as:*", quote(name)),
            other => {
                let name = quote(&other.username().unwrap_or_default());
                format!("(as:{name} OR (user:{name} -as:*))")
            }
        }
    }

    /// Its groups: those of the newest event, and those that every such user is in.
    pub async fn groups(&self, source: &Source, query: &EventQuery) -> anyhow::Result<Vec<String>> {
        let mut groups = vec!["system:authenticated".to_string()];
        match self {
            Subject::Group(name) => groups.push(name.clone()),
            Subject::ServiceAccount(namespace, _) => {
                groups.push("system:serviceaccounts".into());
                groups.push(format!("system:serviceaccounts:{namespace}"));
            }
            Subject::User(_) => {}
        }
        if self.username().is_some() {
            let newest = fetch(source, &query.and(&self.query()), 1).await?;
            for event in newest {
                let user = match &event["impersonatedUser"] {
                    Value::Null => &event["user"],
                    acting => acting,
                };
                let user: UserInfo = from_value(user.clone()).unwrap_or_default();
                groups.extend(user.groups);
            }
        }
        groups.sort();
        groups.dedup();
        Ok(groups)
    }
}

/// Something that was done, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Verb.
    pub verb: String,
    /// API group, empty for core.
    pub group: String,
    /// Plural; empty for paths.
    pub resource: String,
    /// Subresource or empty.
    pub subresource: String,
    /// Namespace; empty for the whole cluster.
    pub namespace: String,
    /// Object name; empty for collections and creations.
    pub name: String,
    /// Path of a request that is not about a resource.
    pub path: String,
    /// How often.
    pub requests: u64,
    /// When last.
    pub last: String,
}

impl Use {
    fn of(group: &Value) -> Self {
        let key = |name: &str| group["key"][name].as_str().unwrap_or_default().to_string();
        let mut used = Use {
            verb: key("verb"),
            group: key("group"),
            resource: key("plural"),
            subresource: key("subresource"),
            namespace: key("namespace"),
            name: key("name"),
            path: key("path"),
            requests: group["requests"].as_u64().unwrap_or_default(),
            last: group["last"].as_str().unwrap_or_default().to_string(),
        };
        // RBAC sees no name when a collection is asked for or an object is made; the event has it
        // from the body (liggitt/audit2rbac#24).
        let is_creation = used.verb == "create" && used.subresource.is_empty();
        if is_creation || matches!(&*used.verb, "list" | "watch" | "deletecollection") {
            used.name.clear();
        }
        used
    }

    /// `pods/log`.
    pub fn full_resource(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }

    /// `deployments.apps/scale`, or the path.
    pub fn what(&self) -> String {
        let mut out = match self.resource.as_str() {
            "" => self.path.clone(),
            resource => resource.to_string(),
        };
        for (separator, part) in [(".", &self.group), ("/", &self.subresource)] {
            if !part.is_empty() {
                out.push_str(separator);
                out.push_str(part);
            }
        }
        out
    }
}

/// What the subject did and was allowed to do.
pub async fn uses(
    source: &Source,
    query: &EventQuery,
    subject: &Subject,
) -> anyhow::Result<Vec<Use>> {
    let query_before = query.clone();
    // Refused is not used; 401 has no user.
    let query = query.and(&format!("{} -decision:forbid -code:401", subject.query()));
    let mut by = vec![
        "verb",
        "group",
        "plural",
        "subresource",
        "namespace",
        "path",
        "name",
    ];
    let mut status = summarize(source, &query, json!({"by": by, "limit": 0})).await?;
    let count = |status: &Value| status["groups"].as_array().map_or(0, Vec::len) as u64;
    if status["groupsTotal"].as_u64() > Some(count(&status)) {
        // Too many names to tell apart: without them.
        by.pop();
        status = summarize(source, &query, json!({"by": by, "limit": 0})).await?;
        if status["groupsTotal"].as_u64() > Some(count(&status)) {
            eprintln!("there are too many different uses to list all; narrow the query");
        }
    }
    let mut uses: Vec<Use> = Vec::new();
    for group in status["groups"].as_array().into_iter().flatten() {
        let used = Use::of(group);
        let same = |u: &&mut Use| {
            let blank = |u: &Use| Use {
                requests: 0,
                last: String::new(),
                ..u.clone()
            };
            blank(u) == blank(&used)
        };
        match uses.iter_mut().find(same) {
            Some(known) => {
                known.requests += used.requests;
                known.last = std::cmp::max(std::mem::take(&mut known.last), used.last);
            }
            None => uses.push(used),
        }
    }
    uses.extend(impersonations(source, &query_before, subject).await?);
    let key = |u: &Use| {
        (
            u.namespace.clone(),
            u.what(),
            u.name.clone(),
            u.verb.clone(),
        )
    };
    uses.sort_by_cached_key(key);
    Ok(uses)
}

/// Whom the subject acted as: that needs the verb impersonate on them.
async fn impersonations(
    source: &Source,
    query: &EventQuery,
    subject: &Subject,
) -> anyhow::Result<Vec<Use>> {
    let Some(name) = subject.username() else {
        return Ok(Vec::new());
    };
    let query = query.and(&format!("user:{} as:*", quote(&name)));
    let spec = json!({"by": ["user"], "limit": 0});
    let status = summarize(source, &query, spec).await?;
    let groups = status["groups"].as_array().into_iter().flatten();
    let uses = groups.map(|group| {
        let user = group["key"]["user"].as_str().unwrap_or_default();
        let mut used = Use {
            verb: "impersonate".into(),
            resource: "users".into(),
            name: user.to_string(),
            ..Use::of(group)
        };
        if let Ok(Subject::ServiceAccount(namespace, name)) = Subject::parse(user) {
            used.resource = "serviceaccounts".into();
            (used.namespace, used.name) = (namespace, name);
        }
        used
    });
    Ok(uses.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_as_typed() {
        let account = Subject::ServiceAccount("n".into(), "a".into());
        for (text, expected) in [
            ("alice", Subject::User("alice".into())),
            ("user:system:admin", Subject::User("system:admin".into())),
            ("group:dev", Subject::Group("dev".into())),
            ("sa:n:a", account.clone()),
            ("serviceaccount:n/a", account.clone()),
            ("system:serviceaccount:n:a", account.clone()),
            (
                "system:kube-scheduler",
                Subject::User("system:kube-scheduler".into()),
            ),
        ] {
            assert_eq!(Subject::parse(text).expect(text), expected);
        }
        assert!(Subject::parse("sa:x").is_err());
        assert_eq!(account.slug(), "n-a");
        assert_eq!(Subject::User("Älice@x.org".into()).slug(), "lice-x-org");
    }

    #[test]
    fn creations_have_no_name() {
        let group =
            json!({"key": {"verb": "create", "plural": "pods", "name": "web-1"}, "requests": 1});
        assert_eq!(Use::of(&group).name, "");
        let group = json!({"key": {"verb": "create", "plural": "pods", "subresource": "exec", "name": "web-1"}, "requests": 1});
        assert_eq!(Use::of(&group).name, "web-1");
    }
}
