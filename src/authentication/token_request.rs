//! `serviceaccounts/token`: issues tokens (contract/verbs.md §13d).

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};

use crate::api::field::{FieldErrors, Path};
use crate::api::names::{GroupKind, GroupResource};
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::authentication::jwt;
use crate::authentication::keys::SigningKey;
use crate::base::tree::{Map, Value, json};
use crate::request::{AuditLevel, RequestContext};

const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// What the kubelet asks for; such tokens live a year and warn after this time.
const WARN_ONLY_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

/// Issues service account tokens.
pub struct TokenIssuer {
    /// Signs.
    pub key: SigningKey,
    /// `iss`, the first of `--service-account-issuer`.
    pub issuer: String,
    /// Audiences of tokens that ask for none.
    pub api_audiences: Vec<String>,
    /// `--service-account-max-token-expiration` in seconds; zero for none.
    pub max_seconds: i64,
    /// `--service-account-extend-token-expiration`.
    pub extend: bool,
    /// Where bound objects are.
    pub objects: Arc<dyn Objects>,
}

/// What a token is bound to besides its account: claim name, object name and UID.
type Bound = (&'static str, String, String);

impl TokenIssuer {
    /// Answers a TokenRequest for the service account `name`, in place.
    pub async fn issue(
        &self,
        ctx: &mut RequestContext,
        namespace: &str,
        name: &str,
        request: &mut Value,
    ) -> Result<(), Status> {
        apply_defaults(request);
        note_request(ctx, request);
        self.default_audiences(request);
        validate(request)?;
        let account = self.get("serviceaccounts", namespace, name).await?;
        check_metadata(request, namespace, name, &account)?;
        let bound = self.bound_objects(namespace, name, request).await?;
        let mut seconds = request["spec"]["expirationSeconds"]
            .as_i64()
            .unwrap_or(DEFAULT_SECONDS);
        if self.max_seconds > 0 && seconds > self.max_seconds {
            let max = self.max_seconds;
            ctx.warn(format!(
                "requested expiration of {seconds} seconds shortened to {max} seconds"
            ));
            seconds = max;
            request["spec"]["expirationSeconds"] = json!(seconds);
        }
        let now = Utc::now();
        let (claims, id) = self.claims(namespace, &account, request, &bound, seconds, now);
        let token = jwt::sign(&self.key, &claims)
            .ok_or_else(|| Status::internal("failed to generate token"))?;
        ctx.audit.annotate(
            "authentication.kubernetes.io/issued-credential-id",
            format!("JTI={id}"),
        );
        let expires = now + Duration::seconds(seconds);
        request["metadata"] = json!({
            "name": name,
            "namespace": namespace,
            "uid": pointer(&account, "/metadata/uid"),
            "creationTimestamp": rfc3339(now),
        });
        request["status"] = json!({"token": token, "expirationTimestamp": rfc3339(expires)});
        Ok(())
    }

    fn default_audiences(&self, request: &mut Value) {
        let spec = &mut request["spec"];
        if spec["audiences"].as_array().is_none_or(Vec::is_empty) {
            spec["audiences"] = json!(self.api_audiences);
        }
    }

    async fn bound_objects(
        &self,
        namespace: &str,
        account: &str,
        request: &Value,
    ) -> Result<Vec<Bound>, Status> {
        let reference = &request["spec"]["boundObjectRef"];
        if reference.is_null() {
            return Ok(Vec::new());
        }
        let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or("");
        let (kind, name, api_version) = (text("kind"), text("name"), text("apiVersion"));
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let (claim, resource, scope) = match (group, version, kind) {
            ("", "v1", "Pod") => ("pod", "pods", namespace),
            ("", "v1", "Secret") => ("secret", "secrets", namespace),
            ("", "v1", "Node") => ("node", "nodes", ""),
            _ => {
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of type {group}/{version}, Kind={kind}"
                )));
            }
        };
        if name.is_empty() {
            return Err(Status::bad_request("Name parameter required."));
        }
        let object = self.get(resource, scope, name).await?;
        let uid = pointer(&object, "/metadata/uid");
        let mut bound = vec![(claim, name.to_string(), uid.to_string())];
        if claim == "pod" {
            if pointer(&object, "/spec/serviceAccountName") != account {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount \"{account}\" to pod running with different serviceaccount name."
                )));
            }
            bound.extend(self.node_of(&object).await?);
        }
        let wanted = text("uid");
        if !wanted.is_empty() && wanted != uid {
            let resource = GroupResource::new("", kind.to_string());
            let why = format!(
                "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(&resource, name, &why));
        }
        Ok(bound)
    }

    /// The node of a pod; its UID only while it exists.
    async fn node_of(&self, pod: &Value) -> Result<Option<Bound>, Status> {
        let node = pointer(pod, "/spec/nodeName");
        if node.is_empty() {
            return Ok(None);
        }
        let nodes = GroupResource::new("", "nodes");
        let found = self.objects.get_cached(&nodes, "", node).await?;
        let uid = found.map(|n| pointer(&n, "/metadata/uid").to_string());
        Ok(Some(("node", node.to_string(), uid.unwrap_or_default())))
    }

    fn claims(
        &self,
        namespace: &str,
        account: &Value,
        request: &Value,
        bound: &[Bound],
        seconds: i64,
        now: DateTime<Utc>,
    ) -> (Value, String) {
        let name = pointer(account, "/metadata/name");
        let mut private = json!({
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": pointer(account, "/metadata/uid")},
        });
        for (claim, name, uid) in bound {
            private[*claim] = json!({"name": name});
            if !uid.is_empty() {
                private[*claim]["uid"] = json!(uid);
            }
        }
        let mut lifetime = seconds;
        if self.extend && seconds == WARN_ONLY_SECONDS && self.is_kubelets(request, bound) {
            lifetime = EXTENDED_SECONDS;
            private["warnafter"] = json!(now.timestamp() + WARN_ONLY_SECONDS);
        }
        let id = uuid::Uuid::new_v4().to_string();
        let claims = json!({
            "aud": request["spec"]["audiences"],
            "exp": now.timestamp() + lifetime,
            "iat": now.timestamp(),
            "iss": self.issuer,
            "jti": id,
            "kubernetes.io": private,
            "nbf": now.timestamp(),
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
        });
        (claims, id)
    }

    /// Whether this is the token of a pod for this API.
    fn is_kubelets(&self, request: &Value, bound: &[Bound]) -> bool {
        bound.iter().any(|(claim, ..)| *claim == "pod")
            && request["spec"]["audiences"] == json!(self.api_audiences)
    }

    async fn get(
        &self,
        resource: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Value>, Status> {
        let resource = GroupResource::new("", resource);
        let found = self.objects.get(&resource, namespace, name).await?;
        found.ok_or_else(|| Status::not_found(&resource, name))
    }
}

fn group_kind() -> GroupKind {
    GroupKind::new("authentication.k8s.io", "TokenRequest")
}

/// The defaults of the kind.
fn apply_defaults(request: &mut Value) {
    if !request["spec"].is_object() {
        request["spec"] = Value::Object(Map::new());
    }
    let spec = &mut request["spec"];
    if spec["expirationSeconds"].is_null() {
        spec["expirationSeconds"] = json!(DEFAULT_SECONDS);
    }
    for member in ["audiences", "boundObjectRef"] {
        if spec.get(member).is_none() {
            spec[member] = Value::Null;
        }
    }
}

/// Notes what was asked for the audit event.
fn note_request(ctx: &mut RequestContext, request: &Value) {
    if ctx.audit.level < AuditLevel::Request {
        return;
    }
    let mut shown = request.clone();
    // No client sends one, but the kind has it.
    shown["status"] = json!({"token": "", "expirationTimestamp": null});
    if shown["metadata"].is_null() {
        shown["metadata"] = json!({});
    }
    ctx.audit.request_object = serde_json::to_vec(&shown).ok().map(Bytes::from);
}

fn validate(request: &Value) -> Result<(), Status> {
    let value = &request["spec"]["expirationSeconds"];
    let seconds = value.as_i64().unwrap_or(DEFAULT_SECONDS);
    let why = match seconds {
        s if s < MIN_SECONDS => "may not specify a duration less than 10 minutes",
        s if s > MAX_SECONDS => "may not specify a duration larger than 2^32 seconds",
        _ => return Ok(()),
    };
    let mut errors = FieldErrors::default();
    let spec = Path::ROOT.field("spec");
    errors.invalid(&spec.field("expirationSeconds"), value, why);
    let name = pointer(request, "/metadata/name");
    Err(Status::invalid(&group_kind(), name, &errors))
}

fn check_metadata(
    request: &Value,
    namespace: &str,
    name: &str,
    account: &Value,
) -> Result<(), Status> {
    let mut errors = FieldErrors::default();
    let metadata = Path::ROOT.field("metadata");
    let own_name = pointer(request, "/metadata/name");
    if !own_name.is_empty() && own_name != name {
        let at = metadata.field("name");
        errors.invalid_str(
            &at,
            own_name,
            "must match the service account name if specified",
        );
    }
    let own_namespace = pointer(request, "/metadata/namespace");
    if !own_namespace.is_empty() && own_namespace != namespace {
        let at = metadata.field("namespace");
        errors.invalid_str(
            &at,
            own_namespace,
            "must match the service account namespace if specified",
        );
    }
    if !errors.is_empty() {
        return Err(Status::invalid(&group_kind(), name, &errors));
    }
    let (wanted, uid) = (
        pointer(request, "/metadata/uid"),
        pointer(account, "/metadata/uid"),
    );
    if !wanted.is_empty() && wanted != uid {
        let resource = GroupResource::new("authentication.k8s.io", "tokenrequests");
        let why = format!(
            "the UID in the token request ({wanted}) does not match the UID of the service account ({uid})"
        );
        return Err(Status::conflict(&resource, name, &why));
    }
    Ok(())
}

fn pointer<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fake_objects::FakeObjects;
    use crate::authentication::TokenAuthenticator;
    use crate::authentication::service_account::ServiceAccountTokens;
    use http::{HeaderMap, Method, Uri};

    const ISSUER: &str = "https://kubernetes.default.svc";

    fn objects() -> Arc<FakeObjects> {
        let meta = |name: &str| json!({"namespace": "ns", "name": name});
        FakeObjects::with(&[
            ("", "serviceaccounts", json!({"metadata": meta("robot")})),
            ("", "secrets", json!({"metadata": meta("bs")})),
            (
                "",
                "pods",
                json!({"metadata": meta("bp"), "spec": {"serviceAccountName": "robot", "nodeName": "n"}}),
            ),
            (
                "",
                "pods",
                json!({"metadata": meta("bp2"), "spec": {"serviceAccountName": "default"}}),
            ),
        ])
    }

    fn issuer(objects: Arc<FakeObjects>) -> (TokenIssuer, ServiceAccountTokens) {
        let pem = SigningKey::generate_pem().expect("a random key");
        let key = SigningKey::from_pem(&pem).expect("a private key");
        let audiences = vec![ISSUER.to_string()];
        let tokens = ServiceAccountTokens {
            keys: vec![key.public().clone()],
            issuers: audiences.clone(),
            api_audiences: audiences.clone(),
            lookup: true,
            objects: Arc::clone(&objects) as Arc<dyn Objects>,
        };
        let issuer = TokenIssuer {
            key,
            issuer: ISSUER.into(),
            api_audiences: audiences,
            max_seconds: 0,
            extend: true,
            objects,
        };
        (issuer, tokens)
    }

    async fn issue(issuer: &TokenIssuer, spec: Value) -> Result<Value, String> {
        let uri = Uri::from_static("/");
        let mut ctx = RequestContext::new(Method::POST, uri, HeaderMap::new(), None);
        let mut request = json!({"metadata": {}, "spec": spec});
        issuer
            .issue(&mut ctx, "ns", "robot", &mut request)
            .await
            .map_err(|s| s.message)?;
        Ok(request)
    }

    #[tokio::test]
    async fn refusals() {
        let (issuer, _) = issuer(objects());
        let bind = |kind: &str, name: &str| json!({"boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": name}});
        let cases = [
            (
                json!({"expirationSeconds": 599}),
                "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
            ),
            (bind("Pod", "none"), "pods \"none\" not found"),
            (bind("Pod", ""), "Name parameter required."),
            (
                bind("ConfigMap", "none"),
                "cannot bind token to object of type /v1, Kind=ConfigMap",
            ),
            (
                bind("Pod", "bp2"),
                "cannot bind token for serviceaccount \"robot\" to pod running with different serviceaccount name.",
            ),
            (
                json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "bp", "uid": "7"}}),
                "Operation cannot be fulfilled on Pod \"bp\": the UID in the bound object reference (7) does not match the UID in record. The object might have been deleted and then recreated",
            ),
        ];
        for (spec, message) in cases {
            assert_eq!(issue(&issuer, spec).await, Err(message.to_string()));
        }
    }

    #[tokio::test]
    async fn issued_tokens_are_good_while_their_objects_live() {
        let objects = objects();
        let (issuer, tokens) = issuer(Arc::clone(&objects));
        let bound = json!({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "bs"}});
        let of_pod = json!({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "bp"}});
        let mut issued = Vec::new();
        for spec in [json!({}), bound, of_pod, json!({"audiences": ["other"]})] {
            let request = issue(&issuer, spec).await.expect("a token");
            issued.push(
                request["status"]["token"]
                    .as_str()
                    .expect("text")
                    .to_string(),
            );
        }
        let check = async |token: &str, audiences: &[String]| {
            let found = tokens.authenticate_token(token, audiences).await;
            found
                .map(|a| a.expect("a known issuer"))
                .map_err(|r| r.reason)
        };
        let plain = check(&issued[0], &[]).await.expect("good");
        assert_eq!(plain.user.username, "system:serviceaccount:ns:robot");
        assert_eq!(plain.user.uid, "uid-robot");
        let pod = check(&issued[2], &[]).await.expect("good");
        assert_eq!(
            pod.user.extra["authentication.kubernetes.io/node-name"],
            ["n"]
        );
        assert_eq!(
            pod.user.extra["authentication.kubernetes.io/pod-uid"],
            ["uid-bp"]
        );
        let other = check(&issued[3], &[]).await.expect_err("another audience");
        assert_eq!(
            other,
            "token audiences [\"other\"] is invalid for the target audiences [\"https://kubernetes.default.svc\"]"
        );
        assert!(check(&issued[3], &["other".into()]).await.is_ok());
        assert!(check(&issued[1], &[]).await.is_ok());
        let secrets = GroupResource::new("", "secrets");
        objects
            .delete(&secrets, "ns", "bs")
            .await
            .expect("it is there");
        let gone = check(&issued[1], &[])
            .await
            .expect_err("the secret is gone");
        assert_eq!(gone, "service account token has been invalidated");
        let accounts = GroupResource::new("", "serviceaccounts");
        objects
            .delete(&accounts, "ns", "robot")
            .await
            .expect("it is there");
        let gone = check(&issued[0], &[])
            .await
            .expect_err("the account is gone");
        assert_eq!(gone, "serviceaccounts \"robot\" not found");
    }
}
