//! The router: from a parsed request line to the row and verb that answer it.
//!
//! Unknown paths differ in their answers: outside every served group plain text, inside one a
//! `Status` (contract/verbs.md §1, golden 11-errors).

use std::sync::Arc;

use http::{Method, StatusCode};

use crate::api::resource::{Connect, Resource, Special};
use crate::api::status::Status;
use crate::registry::{ResourceTable, Target};
use crate::request::{ApiResponse, RequestInfo};

/// A request that found its row.
pub struct Route {
    /// What it is about.
    pub target: Target,
    /// What is to be done.
    pub verb: Verb,
}

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET of one object.
    Get,
    /// GET of a collection.
    List,
    /// GET with `watch`.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    /// PATCH.
    Patch,
    /// DELETE of one object.
    Delete,
    /// DELETE of a collection.
    DeleteCollection,
    /// exec, attach, portforward, proxy and log.
    Connect,
}

/// Why there is no route.
pub enum NoRoute {
    /// 404 in plain text: nothing of ours begins like this.
    Unknown,
    /// A `Status`: inside a served group, or a method that is not served.
    Status(Status),
}

/// Methods that no handler but a proxy takes.
const PROXIED_ONLY: [Method; 2] = [Method::HEAD, Method::OPTIONS];

/// Plain text 404 as Go's mux answers it.
pub fn page_not_found() -> ApiResponse {
    ApiResponse::text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Finds the row and verb of a resource request.
pub fn route(table: &ResourceTable, method: &Method, info: &RequestInfo) -> Result<Route, NoRoute> {
    let group_known = if info.prefix == "api" {
        true
    } else {
        table.group(&info.group).is_some()
    };
    if !group_known || (info.prefix == "apis" && info.group.is_empty()) {
        return Err(NoRoute::Unknown);
    }
    let missing = || NoRoute::Status(Status::no_such_resource());
    let row = table
        .get(&info.group, &info.version, &info.resource)
        .ok_or_else(missing)?;
    let legacy_proxy = info.verb == "proxy";
    if legacy_proxy || !scope_fits(row, info) {
        return Err(missing());
    }
    let target = target_of(row, info);
    check_name(&target).map_err(NoRoute::Status)?;
    let not_allowed = || NoRoute::Status(Status::method_not_allowed());
    if !info.subresource.is_empty() {
        let subresource = row.subresource(&info.subresource).ok_or_else(missing)?;
        let connect = match subresource.special {
            Some(Special::Connect(to)) => Some(to),
            _ => None,
        };
        let takes_path = connect.is_some_and(Connect::takes_path);
        if info.parts > 3 && !takes_path {
            return Err(missing());
        }
        if takes_path && PROXIED_ONLY.contains(method) {
            return Ok(Route {
                target,
                verb: Verb::Connect,
            });
        }
        let verb = subresource_verb(method).ok_or_else(not_allowed)?;
        if !subresource.verbs.iter().any(|v| v == verb.word()) {
            return Err(not_allowed());
        }
        let verb = connect.map_or(verb, |_| Verb::Connect);
        return Ok(Route { target, verb });
    }
    let named = info.parts > 1;
    let verb = match (
        method_verb(method, named).ok_or_else(not_allowed)?,
        info.verb.as_str(),
    ) {
        (Verb::List | Verb::Get, "watch") if watches(info, named) => Verb::Watch,
        (verb, _) => verb,
    };
    if !row.has_verb(verb.word()) {
        return Err(not_allowed());
    }
    // Creates and deletes of collections need their namespace in the path.
    let whole_cluster = row.namespaced && info.namespace.is_empty();
    if whole_cluster && !matches!(verb, Verb::List | Verb::Watch) {
        return Err(not_allowed());
    }
    Ok(Route { target, verb })
}

/// Names that cannot be a path segment.
fn check_name(target: &Target) -> Result<(), Status> {
    let name = target.name.as_str();
    let problem = match name {
        "." | ".." => format!("may not be '{name}'"),
        _ if name.contains('%') => "may not contain '%'".to_string(),
        _ => return Ok(()),
    };
    let quoted = crate::api::field::go_quote(name);
    Err(Status::bad_request(format!(
        "Name parameter invalid: {quoted}: {problem}"
    )))
}

/// `watch=1` counts on collections, and on objects only under the legacy `/watch/` prefix.
fn watches(info: &RequestInfo, named: bool) -> bool {
    let legacy = info.path.split('/').any(|part| part == "watch");
    !named || legacy
}

fn scope_fits(row: &Resource, info: &RequestInfo) -> bool {
    let named = info.parts > 1;
    if row.namespaced {
        return !info.namespace.is_empty() || !named;
    }
    // `/api/v1/namespaces/x` carries its own name as namespace.
    info.namespace.is_empty() || (info.resource == "namespaces" && info.namespace == info.name)
}

fn target_of(row: &Arc<Resource>, info: &RequestInfo) -> Target {
    let name = if info.parts > 1 {
        info.name.as_str()
    } else {
        ""
    };
    let namespace = if row.namespaced {
        info.namespace.as_str()
    } else {
        ""
    };
    let mut target = Target::new(row.clone(), namespace, name);
    target.subresource = info.subresource.clone();
    target
}

fn subresource_verb(method: &Method) -> Option<Verb> {
    match *method {
        Method::POST => Some(Verb::Create),
        _ => method_verb(method, true),
    }
}

fn method_verb(method: &Method, named: bool) -> Option<Verb> {
    Some(match (method.as_str(), named) {
        ("GET", true) => Verb::Get,
        ("GET", false) => Verb::List,
        ("POST", false) => Verb::Create,
        ("PUT", true) => Verb::Update,
        ("PATCH", true) => Verb::Patch,
        ("DELETE", true) => Verb::Delete,
        ("DELETE", false) => Verb::DeleteCollection,
        _ => return None,
    })
}

impl Verb {
    /// The verb as the resource table lists it.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Connect => "connect",
        }
    }
}
