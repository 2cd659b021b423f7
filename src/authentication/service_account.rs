//! Service account tokens: bound ones and the older ones that live in Secrets.
//!
//! A token is good when its signature is, and the objects it is bound to still exist with the same
//! UIDs (contract/authn_authz.md §2).

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq;

use crate::api::field::go_quote;
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::authentication::jwt::Jwt;
use crate::authentication::keys::PublicKey;
use crate::authentication::{
    Authenticated, Refusal, Refused, TokenAuthenticator, common_audiences,
};
use crate::base::tree::Value;
use crate::request::UserInfo;

/// Extra key with the ID of the credential.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_UID: &str = "authentication.kubernetes.io/node-uid";

/// Issuer of tokens in Secrets.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
const LEGACY_LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const LEGACY_INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// How long an object that is being deleted still counts.
const DELETED_GRACE_SECONDS: i64 = 60;

const INVALIDATED: &str = "service account token has been invalidated";

/// Verifies service account tokens.
pub struct ServiceAccountTokens {
    /// Keys that tokens may be signed with.
    pub keys: Vec<PublicKey>,
    /// Accepted issuers; the first one signs.
    pub issuers: Vec<String>,
    /// The server's own audiences.
    pub api_audiences: Vec<String>,
    /// Whether to look up bound objects (`--service-account-lookup`).
    pub lookup: bool,
    /// Where they are.
    pub objects: Arc<dyn Objects>,
}

#[async_trait]
impl TokenAuthenticator for ServiceAccountTokens {
    async fn authenticate_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, Refused> {
        let Some(jwt) = Jwt::parse(token) else {
            return Ok(None);
        };
        let issuer = jwt.text("/iss");
        let is_legacy = issuer == LEGACY_ISSUER;
        if !is_legacy && !self.issuers.iter().any(|own| own == issuer) {
            return Ok(None);
        }
        if !jwt.verify(&self.keys) {
            let class = match jwt.names_unknown_key(&self.keys) {
                true => Refusal::UnknownKey,
                false => Refusal::BadSignature,
            };
            return Err(Refused::of(
                class,
                "go-jose/go-jose: error in cryptographic primitive",
            ));
        }
        let own = match jwt.audiences() {
            none if none.is_empty() => self.api_audiences.clone(),
            some => some,
        };
        let wanted: &[String] = if audiences.is_empty() {
            &self.api_audiences
        } else {
            audiences
        };
        let common = common_audiences(wanted, &own);
        if common.is_empty() && !wanted.is_empty() {
            let class = Refusal::WrongAudience;
            return Err(Refused::of(
                class,
                format!(
                    "token audiences {} is invalid for the target audiences {}",
                    go_list(&own),
                    go_list(wanted),
                ),
            ));
        }
        let mut found = match is_legacy {
            true => self.legacy(token, &jwt).await?,
            false => self.bound(&jwt).await?,
        };
        found.audiences = Arc::from(common);
        Ok(Some(found.in_authenticated_group()))
    }
}

impl ServiceAccountTokens {
    async fn bound(&self, jwt: &Jwt<'_>) -> Result<Authenticated, Refused> {
        let now = Utc::now();
        check_times(jwt, now)?;
        let at = |pointer: &str| jwt.text(&format!("/kubernetes.io{pointer}")).to_string();
        let namespace = at("/namespace");
        let (name, uid) = (at("/serviceaccount/name"), at("/serviceaccount/uid"));
        if namespace.is_empty() || name.is_empty() || uid.is_empty() {
            return Err(Refused::of(
                Refusal::Malformed,
                "Token is invalid: service account claims are missing",
            ));
        }
        if self.lookup {
            self.check_account(&namespace, &name, &uid, now).await?;
            for (claim, resource) in [("secret", "secrets"), ("pod", "pods")] {
                let bound = (at(&format!("/{claim}/name")), at(&format!("/{claim}/uid")));
                self.check_bound(resource, &namespace, &bound, now).await?;
            }
            // A node that a pod's token merely mentions need not exist any more.
            if at("/pod/name").is_empty() {
                let bound = (at("/node/name"), at("/node/uid"));
                self.check_bound("nodes", "", &bound, now).await?;
            }
        }
        let mut user = account_user(&namespace, &name, uid);
        let jti = jwt.text("/jti");
        let id = if jti.is_empty() {
            String::new()
        } else {
            format!("JTI={jti}")
        };
        let extras = [
            (CREDENTIAL_ID, id),
            (POD_NAME, at("/pod/name")),
            (POD_UID, at("/pod/uid")),
            (NODE_NAME, at("/node/name")),
            (NODE_UID, at("/node/uid")),
        ];
        for (key, value) in extras {
            if !value.is_empty() {
                user.extra.insert(key.into(), vec![value]);
            }
        }
        let mut found = Authenticated::new(user, "service-account");
        if let Some(warn_after) = jwt.seconds("/kubernetes.io/warnafter")
            && now.timestamp() > warn_after
        {
            let subject = &found.user.username;
            let late = now.timestamp() - warn_after;
            let text = format!("subject: {subject}, seconds after warning threshold: {late}");
            found.annotations = Arc::from([("authentication.k8s.io/stale-token", text)]);
        }
        Ok(found)
    }

    async fn legacy(&self, token: &str, jwt: &Jwt<'_>) -> Result<Authenticated, Refused> {
        let at = |name: &str| {
            let key = format!("kubernetes.io/serviceaccount/{name}");
            let found = jwt.claims.get(&key).and_then(Value::as_str);
            found.unwrap_or("").to_string()
        };
        let namespace = at("namespace");
        let secret_name = at("secret.name");
        let (name, uid) = (at("service-account.name"), at("service-account.uid"));
        for (value, label) in [
            (&namespace, "namespace"),
            (&secret_name, "secretName"),
            (&name, "serviceAccountName"),
            (&uid, "serviceAccountUID"),
        ] {
            if value.is_empty() {
                return Err(Refused::of(
                    Refusal::Malformed,
                    format!("{label} claim is missing"),
                ));
            }
        }
        let subject = format!("system:serviceaccount:{namespace}:{name}");
        if jwt.text("/sub") != subject {
            return Err(Refused::of(Refusal::Malformed, "sub claim is invalid"));
        }
        let mut annotations = vec![("authentication.k8s.io/legacy-token", subject)];
        let mut warnings = Vec::new();
        if self.lookup {
            let secret = self.get("secrets", &namespace, &secret_name).await?;
            let secret = secret.ok_or_else(|| revoked("Token has been invalidated"))?;
            check_legacy_secret(&secret, token)?;
            let account = self
                .check_account(&namespace, &name, &uid, Utc::now())
                .await?;
            let is_auto = account
                .get("secrets")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .any(|s| s.get("name").and_then(Value::as_str) == Some(secret_name.as_str()));
            if is_auto {
                warnings.push(
                    "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.".to_string(),
                );
            }
            let key = match is_auto {
                true => "authentication.k8s.io/legacy-token-autogenerated-secret",
                false => "authentication.k8s.io/legacy-token-manual-secret",
            };
            annotations.push((key, secret_name));
            self.note_use(&secret).await;
        }
        let mut found = Authenticated::new(account_user(&namespace, &name, uid), "service-account");
        found.annotations = annotations.into();
        found.warnings = warnings.into();
        Ok(found)
    }

    /// Labels a used token's Secret with today's date.
    async fn note_use(&self, secret: &Value) {
        let today = Utc::now().format("%Y-%m-%d").to_string();
        let label = secret
            .pointer("/metadata/labels")
            .and_then(|labels| labels.get(LEGACY_LAST_USED))
            .and_then(Value::as_str);
        if label == Some(today.as_str()) {
            return;
        }
        let mut changed = secret.clone();
        changed["metadata"]["labels"][LEGACY_LAST_USED] = Value::String(today);
        let namespace = text(secret, "/metadata/namespace").to_string();
        let resource = GroupResource::new("", "secrets");
        if let Err(error) = self.objects.update(&resource, &namespace, changed).await {
            tracing::debug!(%error, "noting the use of a legacy service account token");
        }
    }

    async fn check_account(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        now: DateTime<Utc>,
    ) -> Result<Arc<Value>, Refused> {
        let account = self.get("serviceaccounts", namespace, name).await?;
        let Some(account) = account else {
            return Err(revoked(format!("serviceaccounts \"{name}\" not found")));
        };
        if is_deleted(&account, now) {
            return Err(revoked(format!(
                "service account {namespace}/{name} has been deleted"
            )));
        }
        let own = text(&account, "/metadata/uid");
        if own != uid {
            return Err(revoked(format!(
                "service account UID ({own}) does not match claim ({uid})"
            )));
        }
        Ok(account)
    }

    async fn check_bound(
        &self,
        resource: &'static str,
        namespace: &str,
        (name, uid): &(String, String),
        now: DateTime<Utc>,
    ) -> Result<(), Refused> {
        if name.is_empty() && uid.is_empty() {
            return Ok(());
        }
        let object = self.get(resource, namespace, name).await?;
        let is_same = object.is_some_and(|object| {
            text(&object, "/metadata/uid") == uid && !is_deleted(&object, now)
        });
        match is_same {
            true => Ok(()),
            false => Err(revoked(INVALIDATED)),
        }
    }

    /// From the cache, and from the store when the cache does not have it (yet).
    async fn get(
        &self,
        resource: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, Refused> {
        let resource = GroupResource::new("", resource);
        let failed =
            |status: crate::api::status::Status| Refused::of(Refusal::LookupFailed, status.message);
        let cached = self.objects.get_cached(&resource, namespace, name).await;
        match cached.map_err(failed)? {
            Some(object) => Ok(Some(object)),
            None => self
                .objects
                .get(&resource, namespace, name)
                .await
                .map_err(failed),
        }
    }
}

/// A list as Go prints it with `%q`.
fn go_list(items: &[String]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| go_quote(item)).collect();
    format!("[{}]", quoted.join(" "))
}

fn account_user(namespace: &str, name: &str, uid: String) -> UserInfo {
    UserInfo {
        username: format!("system:serviceaccount:{namespace}:{name}"),
        uid,
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
        ],
        ..UserInfo::default()
    }
}

fn check_times(jwt: &Jwt<'_>, now: DateTime<Utc>) -> Result<(), Refused> {
    /// Clocks may differ by this much.
    const LEEWAY_SECONDS: i64 = 60;
    let now = now.timestamp();
    if jwt
        .seconds("/exp")
        .is_some_and(|exp| now > exp + LEEWAY_SECONDS)
    {
        return Err(Refused::of(
            Refusal::Expired,
            "service account token has expired",
        ));
    }
    if jwt
        .seconds("/nbf")
        .is_some_and(|nbf| now + LEEWAY_SECONDS < nbf)
    {
        return Err(Refused::of(
            Refusal::NotYetValid,
            "service account token is not valid yet",
        ));
    }
    Ok(())
}

fn check_legacy_secret(secret: &Value, token: &str) -> Result<(), Refused> {
    if secret.pointer("/metadata/deletionTimestamp").is_some() {
        return Err(revoked("Token has been invalidated"));
    }
    let stored = STANDARD
        .decode(text(secret, "/data/token"))
        .unwrap_or_default();
    if !bool::from(stored.ct_eq(token.as_bytes())) {
        return Err(revoked("Token does not match server's copy"));
    }
    let invalid_since = secret
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(LEGACY_INVALID_SINCE))
        .and_then(Value::as_str);
    let place = || {
        let (name, namespace) = ("/metadata/name", "/metadata/namespace");
        format!("{}/{}", text(secret, name), text(secret, namespace))
    };
    match invalid_since {
        Some(since) if !since.is_empty() => Err(revoked(
            "the token in secret has been marked as invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the 'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token",
        )
        .annotated("authentication.k8s.io/legacy-token-invalidated", place())),
        _ => Ok(()),
    }
}

fn revoked(reason: impl Into<String>) -> Refused {
    Refused::of(Refusal::Revoked, reason)
}

fn is_deleted(object: &Value, now: DateTime<Utc>) -> bool {
    DateTime::parse_from_rfc3339(text(object, "/metadata/deletionTimestamp"))
        .is_ok_and(|at| (now - at.with_timezone(&Utc)).num_seconds() > DELETED_GRACE_SECONDS)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalidated_legacy_token_is_refused_and_noted() {
        let secret = |since: &str| {
            crate::base::tree::json!({
                "metadata": {"name": "s", "namespace": "n", "labels": {LEGACY_INVALID_SINCE: since}},
                "data": {"token": STANDARD.encode("t")},
            })
        };
        assert_eq!(check_legacy_secret(&secret(""), "t"), Ok(()));
        let refused = check_legacy_secret(&secret("2026-01-01"), "t");
        let refused = refused.expect_err("is marked as invalid");
        let key = "authentication.k8s.io/legacy-token-invalidated";
        assert_eq!(refused.class, Refusal::Revoked);
        assert_eq!(refused.annotation, Some((key, "s/n".into())));
        // Of several refusals the annotation stays.
        let all = Refused::all(vec![Refused::new("another"), refused]);
        assert!(all.annotation.is_some());
    }
}
