//! `RequestInfo`: what a URL and method ask for (contract/handler_chain.md §3, audit.md §4).

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

/// The parsed request line. For non-resource requests only `verb` and `path` are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether the path names an API resource.
    pub is_resource: bool,
    /// URL path, percent-decoded.
    pub path: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `proxy`;
    /// for non-resource paths the lower-cased method.
    pub verb: String,
    /// `api` or `apis`.
    pub prefix: String,
    /// API group, empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace or empty. `/api/v1/namespaces/x` has namespace `x`.
    pub namespace: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource or empty.
    pub subresource: String,
    /// Object name; for lists the one that `fieldSelector=metadata.name=x` asks for.
    pub name: String,
    /// How many path parts there are from the resource on (`pods/x/log`: three).
    pub parts: usize,
    /// Raw `fieldSelector` of list, watch and deletecollection.
    pub field_selector: String,
    /// Raw `labelSelector` of list, watch and deletecollection.
    pub label_selector: String,
}

/// A path that looks like an API path but is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RequestInfoError(pub String);

/// Subresources of the namespace itself.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    /// Parses method, raw path and raw query.
    pub fn parse(method: &Method, raw_path: &str, query: &str) -> Result<Self, RequestInfoError> {
        let path = match memchr::memchr(b'%', raw_path.as_bytes()) {
            None => Cow::Borrowed(raw_path),
            Some(_) => percent_decode_str(raw_path).decode_utf8_lossy(),
        };
        let mut info = RequestInfo::default();
        let all = segments(path.trim_matches('/'));
        let is_api = matches!(all.first(), Some(&"api") | Some(&"apis"));
        if all.len() < 3 || !is_api {
            return Ok(plain(method, &path));
        }
        info.prefix = all[0].to_string();
        let mut parts = &all[1..];
        if info.prefix == "apis" {
            if parts.len() < 3 {
                return Ok(plain(method, &path));
            }
            info.group = parts[0].to_string();
            parts = &parts[1..];
        }
        info.is_resource = true;
        info.version = parts[0].to_string();
        parts = &parts[1..];

        info.verb = match *method {
            Method::POST => "create",
            Method::GET | Method::HEAD => "get",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "",
        }
        .to_string();
        let legacy = matches!(parts.first(), Some(&"watch") | Some(&"proxy"));
        if legacy {
            if parts.len() < 2 {
                return Err(RequestInfoError(format!(
                    "unable to determine kind and namespace from url, {path}"
                )));
            }
            info.verb = parts[0].to_string();
            parts = &parts[1..];
        }

        if parts.first() == Some(&"namespaces")
            && let Some(namespace) = parts.get(1)
        {
            info.namespace = namespace.to_string();
            if parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2]) {
                parts = &parts[2..];
            }
        }
        info.parts = parts.len();
        if parts.len() >= 3 && info.verb != "proxy" {
            info.subresource = parts[2].to_string();
        }
        if let Some(name) = parts.get(1) {
            info.name = name.to_string();
        }
        if let Some(resource) = parts.first() {
            info.resource = resource.to_string();
        }
        info.path = path.to_string();
        info.read_list_options(query);
        Ok(info)
    }

    fn read_list_options(&mut self, query: &str) {
        if self.name.is_empty() && self.verb == "get" {
            self.verb = "list".into();
            let mut name = None;
            for (key, value) in form_urlencoded::parse(query.as_bytes()) {
                match &*key {
                    "watch" if !is_false(&value) => self.verb = "watch".into(),
                    "fieldSelector" => name = name_in_selector(&value),
                    _ => {}
                }
            }
            if let Some(name) = name {
                self.name = name;
            }
        }
        if self.name.is_empty() && self.verb == "delete" {
            self.verb = "deletecollection".into();
        }
        if matches!(self.verb.as_str(), "list" | "watch" | "deletecollection") {
            for (key, value) in form_urlencoded::parse(query.as_bytes()) {
                match &*key {
                    "fieldSelector" if self.field_selector.is_empty() => {
                        self.field_selector = value.into_owned()
                    }
                    "labelSelector" if self.label_selector.is_empty() => {
                        self.label_selector = value.into_owned()
                    }
                    _ => {}
                }
            }
        }
    }

    /// Requests without a deadline (contract/audit.md §3).
    pub fn is_long_running(&self) -> bool {
        if !self.is_resource {
            return self.path.starts_with("/debug/pprof/");
        }
        matches!(self.verb.as_str(), "watch" | "proxy")
            || matches!(
                self.subresource.as_str(),
                "attach" | "exec" | "proxy" | "log" | "portforward"
            )
    }
}

/// The parts of a path between slashes; none of an empty one.
fn segments(path: &str) -> SmallVec<[&str; 12]> {
    let mut parts = SmallVec::new();
    if path.is_empty() {
        return parts;
    }
    let mut start = 0;
    for end in memchr::memchr_iter(b'/', path.as_bytes()) {
        parts.push(&path[start..end]);
        start = end + 1;
    }
    parts.push(&path[start..]);
    parts
}

/// A path that is no resource's.
fn plain(method: &Method, path: &str) -> RequestInfo {
    RequestInfo {
        verb: method.as_str().to_ascii_lowercase(),
        path: path.to_string(),
        ..RequestInfo::default()
    }
}

fn is_false(value: &str) -> bool {
    matches!(value, "false" | "0")
}

/// The name that a field selector requires by `metadata.name=x`, if it is a single plain one.
fn name_in_selector(selector: &str) -> Option<String> {
    selector.split(',').find_map(|term| {
        let (key, value) = term.split_once('=')?;
        if key != "metadata.name" {
            return None;
        }
        let name = value.strip_prefix('=').unwrap_or(value);
        (!name.is_empty() && !name.contains(['/', '%', '\\'])).then(|| name.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, uri: &str) -> RequestInfo {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        RequestInfo::parse(&method, path, query).expect("a valid path")
    }

    #[test]
    fn resource_paths() {
        let info = parse(
            Method::GET,
            "/apis/apps/v1/namespaces/ns/deployments/d/scale",
        );
        assert_eq!(
            (
                info.verb.as_str(),
                info.resource.as_str(),
                info.subresource.as_str()
            ),
            ("get", "deployments", "scale")
        );
        assert_eq!((info.namespace.as_str(), info.name.as_str()), ("ns", "d"));
        let info = parse(Method::GET, "/api/v1/namespaces/ns");
        assert_eq!(
            (
                info.resource.as_str(),
                info.namespace.as_str(),
                info.name.as_str()
            ),
            ("namespaces", "ns", "ns")
        );
        let info = parse(Method::PUT, "/api/v1/namespaces/ns/finalize");
        assert_eq!(
            (info.resource.as_str(), info.subresource.as_str()),
            ("namespaces", "finalize")
        );
        let info = parse(Method::DELETE, "/api/v1/namespaces/ns/pods");
        assert_eq!(info.verb, "deletecollection");
    }

    #[test]
    fn watches() {
        assert_eq!(parse(Method::GET, "/api/v1/pods?watch=1").verb, "watch");
        assert_eq!(parse(Method::GET, "/api/v1/pods?watch=false").verb, "list");
        assert_eq!(
            parse(Method::GET, "/api/v1/watch/namespaces/ns/pods/p").verb,
            "watch"
        );
        let info = parse(
            Method::GET,
            "/api/v1/pods?watch=1&fieldSelector=metadata.name%3Dp",
        );
        assert_eq!(info.name, "p");
    }

    #[test]
    fn non_resource_paths() {
        for path in ["/api/v1", "/apis/apps/v1", "/healthz", "/"] {
            assert!(!parse(Method::GET, path).is_resource, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics(path in "(/|api|apis|v1|apps|namespaces|pods|status|proxy|watch|\\.|\\.\\.|%2[fF]|%[0-9a-f]{0,2}|[a-z]|.){0,16}", query in "(watch|fieldSelector|metadata.name|=|%3D|true|&|.){0,8}") {
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                let _ = RequestInfo::parse(&method, &path, &query);
            }
        }
    }
}
