//! The impersonation filter: lets those who may act as somebody else (contract/handler_chain.md §5).
//!
//! Constrained modes are tried first, each of which needs a permission on the identity *and* one on
//! the request; the legacy mode needs only `impersonate`. The mode that last worked for a requester
//! is tried first, and the first refusal is the one that is told.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;

use dashmap::DashMap;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use crate::api::field::go_quote;
use crate::api::status::Status;
use crate::authorization::refusal::forbidden;
use crate::authorization::{Authorizer, Verdict};
use crate::filters::authorization::forbidden_response;
use crate::filters::{Filter, Step};
use crate::request::negotiate::status_response;
use crate::request::{ApiRequest, ApiResponse, Attributes, RequestContext, RequestInfo, UserInfo};

/// What all headers of the kind begin with.
const PREFIX: &str = "impersonate-";
const USER_HEADER: &str = "impersonate-user";
const GROUP_HEADER: &str = "impersonate-group";
const UID_HEADER: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";
const NODE_PREFIX: &str = "system:node:";
/// Group of the resources that stand for identities.
const AUTHENTICATION: &str = "authentication.k8s.io";
/// The extra of a service account token that names the node it runs on.
const NODE_NAME_EXTRA: &str = "authentication.kubernetes.io/node-name";
/// Requesters whose last mode is remembered.
const REMEMBERED_MAX: usize = 4096;

/// Lets requesters act as others.
pub struct Impersonation {
    authorizer: Arc<dyn Authorizer>,
    constrained: bool,
    hasher: RandomState,
    last_mode: DashMap<u64, Mode>,
}

/// Ways to be allowed, in the order to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AssociatedNode,
    ArbitraryNode,
    ServiceAccount,
    UserInfo,
    Legacy,
}

impl Mode {
    const CONSTRAINED: [Mode; 4] = [
        Mode::AssociatedNode,
        Mode::ArbitraryNode,
        Mode::ServiceAccount,
        Mode::UserInfo,
    ];

    /// The verb on the identity, which is also the constraint that audit events name.
    fn verb(self) -> &'static str {
        match self {
            Mode::AssociatedNode => "impersonate:associated-node",
            Mode::ArbitraryNode => "impersonate:arbitrary-node",
            Mode::ServiceAccount => "impersonate:serviceaccount",
            Mode::UserInfo => "impersonate:user-info",
            Mode::Legacy => "impersonate",
        }
    }

    /// The verb on the request.
    fn verb_on(self, verb: &str) -> String {
        let mode = self.verb().trim_start_matches("impersonate");
        format!("impersonate-on{mode}:{verb}")
    }
}

/// One permission on one part of an identity.
struct Identity<'a> {
    group: &'static str,
    resource: &'static str,
    subresource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl Impersonation {
    /// Asks `authorizer`; `constrained` is the gate ConstrainedImpersonation (on by default).
    pub fn new(authorizer: Arc<dyn Authorizer>, constrained: bool) -> Self {
        Impersonation {
            authorizer,
            constrained,
            hasher: RandomState::new(),
            last_mode: DashMap::new(),
        }
    }

    async fn find_mode(
        &self,
        requester: &UserInfo,
        wanted: &UserInfo,
        info: &RequestInfo,
    ) -> Result<Mode, Status> {
        let key = self.key_of(requester);
        let last = self.last_mode.get(&key).map(|mode| *mode);
        let constrained: &[Mode] = match self.constrained {
            true => &Mode::CONSTRAINED,
            false => &[],
        };
        let all = constrained.iter().copied().chain([Mode::Legacy]);
        let ordered = last
            .into_iter()
            .chain(all.filter(|mode| Some(*mode) != last));
        let mut first_refusal = None;
        for mode in ordered {
            match self.check(mode, requester, wanted, info).await {
                Some(Ok(())) => {
                    self.remember(key, mode, last);
                    return Ok(mode);
                }
                Some(Err(status)) => {
                    first_refusal.get_or_insert(status);
                }
                None => {}
            }
        }
        Err(first_refusal.unwrap_or_else(|| Status::internal("all impersonation modes failed")))
    }

    fn key_of(&self, user: &UserInfo) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        user.username.hash(&mut hasher);
        user.uid.hash(&mut hasher);
        user.groups.hash(&mut hasher);
        user.extra.hash(&mut hasher);
        hasher.finish()
    }

    fn remember(&self, key: u64, mode: Mode, last: Option<Mode>) {
        if last == Some(mode) {
            return;
        }
        if self.last_mode.len() >= REMEMBERED_MAX {
            self.last_mode.clear();
        }
        self.last_mode.insert(key, mode);
    }

    /// `None` when the mode is not for this.
    async fn check(
        &self,
        mode: Mode,
        requester: &UserInfo,
        wanted: &UserInfo,
        info: &RequestInfo,
    ) -> Option<Result<(), Status>> {
        if !applies(mode, requester, wanted) {
            return None;
        }
        if mode != Mode::Legacy {
            let verb = mode.verb_on(&info.verb);
            let attributes = Attributes {
                verb: &verb,
                ..Attributes::of(info, requester)
            };
            if let Err(status) = self.ask(&attributes).await {
                return Some(Err(status));
            }
        }
        for identity in identities(mode, wanted) {
            let attributes = Attributes {
                subresource: identity.subresource,
                version: "v1",
                ..Attributes::resource(
                    requester,
                    mode.verb(),
                    identity.group,
                    identity.resource,
                    identity.namespace,
                    identity.name,
                )
            };
            if let Err(status) = self.ask(&attributes).await {
                return Some(Err(status));
            }
        }
        Some(Ok(()))
    }

    async fn ask(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let decision = self.authorizer.authorize(attributes).await;
        match decision.verdict {
            Verdict::Allow => Ok(()),
            Verdict::Deny | Verdict::NoOpinion => Err(forbidden(attributes, &decision.reason)),
        }
    }
}

impl Impersonation {
    /// `None` for a request that goes on as `wanted`, else the refusal.
    async fn apply(&self, ctx: &mut RequestContext, wanted: UserInfo) -> Option<ApiResponse> {
        let began = ctx.stages.begin("impersonation");
        if wanted.username.is_empty() {
            let message = format!(
                "requested {} without impersonating a user name",
                go_user(&wanted)
            );
            let status = Status::bad_request(message.clone());
            ctx.stages.end("impersonation", began, "error", message);
            return Some(status_response(ctx, &status));
        }
        let requester = ctx.user();
        match self.find_mode(&requester, &wanted, &ctx.info).await {
            Err(status) => {
                let why = format!("as {}: {}", wanted.username, status.message);
                ctx.stages.end("impersonation", began, "forbid", why);
                Some(forbidden_response(ctx, &status))
            }
            Ok(mode) => {
                if mode != Mode::Legacy {
                    ctx.audit.impersonation_constraint = Some(mode.verb());
                }
                let user = effective(mode, wanted);
                remove_headers(&mut ctx.headers);
                ctx.stages.end("impersonation", began, "allow", mode.verb());
                ctx.impersonator = Some(requester);
                ctx.user = Some(Arc::new(user));
                None
            }
        }
    }
}

impl Filter for Impersonation {
    fn name(&self) -> &'static str {
        "impersonation"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        match wanted_user(&request.ctx.headers) {
            None => Step::Pass,
            Some(wanted) => Step::Wait(Box::pin(self.apply(&mut request.ctx, wanted))),
        }
    }
}

/// What the headers ask for; `None` when they ask for nothing.
fn wanted_user(headers: &HeaderMap) -> Option<UserInfo> {
    let mut names = headers.keys();
    if !names.any(|name| name.as_str().starts_with(PREFIX)) {
        return None;
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut wanted = UserInfo::default();
    for (name, value) in headers {
        match name.as_str() {
            USER_HEADER if wanted.username.is_empty() => wanted.username = text(value),
            UID_HEADER if wanted.uid.is_empty() => wanted.uid = text(value),
            GROUP_HEADER => wanted.groups.push(text(value)),
            name => {
                if let Some(key) = name.strip_prefix(EXTRA_PREFIX) {
                    let values = wanted.extra.entry(extra_key(key)).or_default();
                    values.push(text(value));
                }
            }
        }
    }
    (wanted != UserInfo::default()).then_some(wanted)
}

fn extra_key(key: &str) -> String {
    percent_decode_str(key)
        .decode_utf8()
        .map_or_else(|_| key.to_string(), |decoded| decoded.into_owned())
}

fn remove_headers(headers: &mut HeaderMap) {
    let unwanted: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            let name = name.as_str();
            matches!(name, USER_HEADER | GROUP_HEADER | UID_HEADER)
                || name.starts_with(EXTRA_PREFIX)
        })
        .cloned()
        .collect();
    for name in unwanted {
        headers.remove(name);
    }
}

fn applies(mode: Mode, requester: &UserInfo, wanted: &UserInfo) -> bool {
    let only_name = wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty();
    let node = wanted
        .username
        .strip_prefix(NODE_PREFIX)
        .filter(|node| !node.is_empty());
    match mode {
        Mode::AssociatedNode => {
            let own = requester.extra.get(NODE_NAME_EXTRA);
            let own = own.and_then(|names| names.first()).map(String::as_str);
            only_name && node.is_some() && own == node && requester.service_account().is_some()
        }
        Mode::ArbitraryNode => only_name && node.is_some(),
        Mode::ServiceAccount => only_name && service_account(wanted).is_some(),
        Mode::UserInfo => {
            node.is_none()
                && service_account(wanted).is_none()
                && !wanted
                    .groups
                    .iter()
                    .any(|g| g.is_empty() || g == "system:masters")
                && wanted.extra.keys().all(|key| is_domain_prefixed(key))
        }
        Mode::Legacy => true,
    }
}

/// Namespace and name of a well-formed service account user name.
fn service_account(user: &UserInfo) -> Option<(&str, &str)> {
    user.service_account().filter(|(namespace, name)| {
        !namespace.is_empty() && !name.is_empty() && !name.contains(':')
    })
}

fn is_domain_prefixed(key: &str) -> bool {
    let is_lower = !key.chars().any(|c| c.is_ascii_uppercase());
    is_lower
        && key
            .split_once('/')
            .is_some_and(|(domain, rest)| domain.contains('.') && !rest.is_empty())
}

fn identities(mode: Mode, wanted: &UserInfo) -> Vec<Identity<'_>> {
    let core = if mode == Mode::Legacy {
        ""
    } else {
        AUTHENTICATION
    };
    let plain = |group, resource, name| Identity {
        group,
        resource,
        subresource: "",
        namespace: "",
        name,
    };
    let mut all = Vec::with_capacity(1 + wanted.groups.len());
    match mode {
        Mode::AssociatedNode => return vec![plain(AUTHENTICATION, "nodes", "*")],
        Mode::ArbitraryNode => {
            let node = &wanted.username[NODE_PREFIX.len()..];
            return vec![plain(AUTHENTICATION, "nodes", node)];
        }
        _ => {}
    }
    match service_account(wanted) {
        Some((namespace, name)) => all.push(Identity {
            namespace,
            ..plain(core, "serviceaccounts", name)
        }),
        None => all.push(plain(core, "users", &wanted.username)),
    }
    all.extend(wanted.groups.iter().map(|g| plain(core, "groups", g)));
    for (key, values) in &wanted.extra {
        all.extend(values.iter().map(|value| Identity {
            subresource: key,
            ..plain(AUTHENTICATION, "userextras", value)
        }));
    }
    if !wanted.uid.is_empty() {
        all.push(plain(AUTHENTICATION, "uids", &wanted.uid));
    }
    all
}

/// The impersonated user with the groups that come with the name.
fn effective(mode: Mode, mut user: UserInfo) -> UserInfo {
    if matches!(mode, Mode::AssociatedNode | Mode::ArbitraryNode) {
        user.groups = vec!["system:nodes".into()];
    }
    if user.groups.is_empty()
        && let Some((namespace, _)) = service_account(&user)
    {
        user.groups = vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
        ];
    }
    let (listed, group) = match user.username.as_str() {
        "system:anonymous" => (false, "system:unauthenticated"),
        _ => (
            user.in_group("system:unauthenticated"),
            "system:authenticated",
        ),
    };
    if !listed && !user.in_group(group) {
        user.groups.push(group.into());
    }
    user
}

/// The user as Go prints it with `%#v`.
fn go_user(user: &UserInfo) -> String {
    let strings = |values: &[String]| {
        let quoted: Vec<String> = values.iter().map(|v| go_quote(v)).collect();
        format!("[]string{{{}}}", quoted.join(", "))
    };
    let groups = match user.groups.as_slice() {
        [] => "[]string(nil)".to_string(),
        groups => strings(groups),
    };
    let extra = extra_text(&user.extra, strings);
    format!(
        "&user.DefaultInfo{{Name:{}, UID:{}, Groups:{groups}, Extra:{extra}}}",
        go_quote(&user.username),
        go_quote(&user.uid),
    )
}

fn extra_text(
    extra: &BTreeMap<String, Vec<String>>,
    strings: impl Fn(&[String]) -> String,
) -> String {
    if extra.is_empty() {
        return "map[string][]string(nil)".into();
    }
    let entries: Vec<String> = extra
        .iter()
        .map(|(key, values)| format!("{}:{}", go_quote(key), strings(values)))
        .collect();
    format!("map[string][]string{{{}}}", entries.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::AuthorizerChain;
    use crate::authorization::rbac::Rbac;
    use crate::base::tree::json;
    use crate::filters::{Endpoint, Next};
    use async_trait::async_trait;
    use http::{HeaderValue, Method, StatusCode, Uri};

    struct Who;

    #[async_trait]
    impl Endpoint for Who {
        async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
            let user = request.ctx.user();
            let text = format!("{} {}", user.username, user.groups.join(","));
            ApiResponse::text(StatusCode::OK, text)
        }
    }

    fn filter() -> Vec<Box<dyn Filter>> {
        let rbac = Rbac::new();
        rbac.put_object(&json!({"kind": "ClusterRole", "metadata": {"name": "imp"}, "rules": [
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["zoe"]}]}));
        rbac.put_object(&json!({"kind": "ClusterRoleBinding", "metadata": {"name": "imp"},
            "roleRef": {"kind": "ClusterRole", "name": "imp"}, "subjects": [{"kind": "User", "name": "alice"}]}));
        let chain = AuthorizerChain::new(vec![rbac]);
        vec![Box::new(Impersonation::new(chain, true))]
    }

    async fn run(
        filters: &[Box<dyn Filter>],
        requester: UserInfo,
        headers: &[(&'static str, &str)],
    ) -> (u16, String) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
            map.append(*name, value);
        }
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let mut ctx = RequestContext::new(Method::POST, Uri::from_static(path), map, None);
        ctx.info = RequestInfo::parse(&Method::POST, path, "").expect("a valid path");
        ctx.user = Some(Arc::new(requester));
        let mut request = ApiRequest::new(ctx, axum::body::Body::empty());
        let response = Next::new(filters, &Who).run(&mut request).await;
        let crate::request::Body::Segments(body) = response.body else {
            return (response.status.as_u16(), String::new());
        };
        let body = String::from_utf8_lossy(&body.concat()).into_owned();
        let message = serde_json::from_str::<crate::base::tree::Value>(&body)
            .ok()
            .and_then(|v| v["message"].as_str().map(str::to_string));
        (response.status.as_u16(), message.unwrap_or(body))
    }

    fn named(name: &str, groups: &[&str]) -> UserInfo {
        UserInfo {
            username: name.into(),
            groups: groups.iter().map(|g| g.to_string()).collect(),
            ..UserInfo::default()
        }
    }

    #[tokio::test]
    async fn administrators() {
        let filters = filter();
        type Headers<'a> = &'a [(&'static str, &'a str)];
        let cases: [(Headers<'_>, u16, &str); 8] = [
            (&[("impersonate-user", "x")], 200, "x system:authenticated"),
            (
                &[("impersonate-user", "x"), ("impersonate-group", "g")],
                200,
                "x g,system:authenticated",
            ),
            (
                &[("impersonate-group", "g")],
                400,
                "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"g\"}, Extra:map[string][]string(nil)} without impersonating a user name",
            ),
            (
                &[("impersonate-extra-a", "b")],
                400,
                "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string(nil), Extra:map[string][]string{\"a\":[]string{\"b\"}}} without impersonating a user name",
            ),
            (
                &[("impersonate-user", "system:anonymous")],
                200,
                "system:anonymous system:unauthenticated",
            ),
            (
                &[("impersonate-user", "system:serviceaccount:imp:default")],
                200,
                "system:serviceaccount:imp:default system:serviceaccounts,system:serviceaccounts:imp,system:authenticated",
            ),
            (&[("impersonate-user", "")], 200, "root system:masters"),
            (
                &[
                    ("impersonate-user", "x"),
                    ("impersonate-group", "system:masters"),
                ],
                200,
                "x system:masters,system:authenticated",
            ),
        ];
        for (headers, code, text) in cases {
            let got = run(&filters, named("root", &["system:masters"]), headers).await;
            assert_eq!(got, (code, text.to_string()), "{headers:?}");
        }
    }

    #[tokio::test]
    async fn the_last_mode_words_the_refusal() {
        let filters = filter();
        let alice = || named("alice", &[]);
        let (code, text) = run(&filters, alice(), &[("impersonate-user", "x")]).await;
        assert_eq!(code, 403);
        assert_eq!(
            text,
            "selfsubjectreviews.authentication.k8s.io is forbidden: User \"alice\" cannot impersonate-on:user-info:create resource \"selfsubjectreviews\" in API group \"authentication.k8s.io\" at the cluster scope"
        );
        let (code, _) = run(&filters, alice(), &[("impersonate-user", "zoe")]).await;
        assert_eq!(code, 200);
        let (_, text) = run(&filters, alice(), &[("impersonate-user", "zac")]).await;
        assert_eq!(
            text,
            "users \"zac\" is forbidden: User \"alice\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
        );
    }
}
