//! Bootstrap tokens: `abcdef.0123456789abcdef`, kept in Secrets of kube-system.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq;

use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::authentication::{
    Authenticated, Refusal, Refused, TokenAuthenticator, common_audiences,
};
use crate::base::tree::Value;
use crate::request::UserInfo;

/// Every bootstrap token's group, and the prefix of the groups one may add.
const GROUP: &str = "system:bootstrappers";

/// Authenticates by bootstrap token.
pub struct BootstrapTokens {
    /// Where the Secrets are.
    pub objects: Arc<dyn Objects>,
    /// The server's own audiences.
    pub api_audiences: Vec<String>,
}

#[async_trait]
impl TokenAuthenticator for BootstrapTokens {
    async fn authenticate_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Authenticated>, Refused> {
        let Some((id, secret)) = split(token) else {
            return Ok(None);
        };
        let common = common_audiences(audiences, &self.api_audiences);
        if common.is_empty() && !self.api_audiences.is_empty() {
            return Ok(None);
        }
        let name = format!("bootstrap-token-{id}");
        let resource = GroupResource::new("", "secrets");
        let stored = self
            .objects
            .get_cached(&resource, "kube-system", &name)
            .await;
        let stored = stored.map_err(|status| Refused::of(Refusal::LookupFailed, status.message))?;
        let Some(stored) = stored else {
            return Err(Refused::silently(
                Refusal::Revoked,
                format!("there is no bootstrap token {id}"),
            ));
        };
        let now = Utc::now();
        let Some(groups) = check(&stored, id, secret, now) else {
            return Err(match has_expired(&stored, now) {
                true => Refused::silently(
                    Refusal::Expired,
                    format!("bootstrap token {id} has expired"),
                ),
                false => Refused::silently(
                    Refusal::UnknownToken,
                    format!(
                        "bootstrap token {id} is not good for authentication, or its secret is another"
                    ),
                ),
            });
        };
        let user = UserInfo {
            username: format!("system:bootstrap:{id}"),
            groups,
            ..UserInfo::default()
        };
        let mut found = Authenticated::new(user, "bootstrap-token");
        found.audiences = Arc::from(common);
        Ok(Some(found))
    }
}

/// ID and secret of a token in the right form.
fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let is_good = |text: &str, length: usize| {
        text.len() == length
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    (is_good(id, 6) && is_good(secret, 16)).then_some((id, secret))
}

/// The groups of a good token; `None` for one that is not.
fn check(stored: &Value, id: &str, secret: &str, now: DateTime<Utc>) -> Option<Vec<String>> {
    let data = |key: &str| {
        let text = stored.get("data")?.get(key)?.as_str()?;
        STANDARD.decode(text).ok()
    };
    let text = |key: &str| data(key).and_then(|bytes| String::from_utf8(bytes).ok());
    let is_token =
        stored.get("type").and_then(Value::as_str) == Some("bootstrap.kubernetes.io/token");
    let is_deleted = stored.pointer("/metadata/deletionTimestamp").is_some();
    if !is_token || is_deleted {
        return None;
    }
    if !bool::from(data("token-secret")?.ct_eq(secret.as_bytes())) || text("token-id")? != id {
        return None;
    }
    if has_expired(stored, now) {
        return None;
    }
    if text("usage-bootstrap-authentication")? != "true" {
        return None;
    }
    let mut groups = vec![GROUP.to_string()];
    for group in text("auth-extra-groups").unwrap_or_default().split(',') {
        let group = group.trim();
        if group.is_empty() {
            continue;
        }
        let rest = group.strip_prefix(GROUP)?.strip_prefix(':')?;
        (!rest.is_empty()).then_some(())?;
        if !groups.iter().any(|g| g == group) {
            groups.push(group.to_string());
        }
    }
    Some(groups)
}

/// Whether its time is over, or cannot be read.
fn has_expired(stored: &Value, now: DateTime<Utc>) -> bool {
    let text = stored.pointer("/data/expiration").and_then(Value::as_str);
    let Some(bytes) = text.and_then(|text| STANDARD.decode(text).ok()) else {
        return false;
    };
    match std::str::from_utf8(&bytes) {
        Ok("") | Err(_) => false,
        Ok(text) => DateTime::parse_from_rfc3339(text).map_or(true, |until| now > until),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn secrets() {
        let encode = |text: &str| json!(STANDARD.encode(text));
        let secret = |changes: &[(&str, &str)]| {
            let mut data = json!({
                "token-id": encode("abc123"),
                "token-secret": encode("0123456789abcdef"),
                "usage-bootstrap-authentication": encode("true"),
                "auth-extra-groups": encode("system:bootstrappers:x"),
            });
            for (key, value) in changes {
                data[*key] = encode(value);
            }
            json!({"type": "bootstrap.kubernetes.io/token", "metadata": {}, "data": data})
        };
        let cases = [
            (
                secret(&[]),
                Some(vec![GROUP.to_string(), format!("{GROUP}:x")]),
            ),
            (secret(&[("token-secret", "other")]), None),
            (secret(&[("expiration", "2001-01-01T00:00:00Z")]), None),
            (secret(&[("usage-bootstrap-authentication", "false")]), None),
            (secret(&[("auth-extra-groups", "system:masters")]), None),
        ];
        for (stored, groups) in cases {
            assert_eq!(
                check(&stored, "abc123", "0123456789abcdef", Utc::now()),
                groups
            );
        }
        assert_eq!(
            split("abc123.0123456789abcdef"),
            Some(("abc123", "0123456789abcdef"))
        );
        assert_eq!(split("ABC123.0123456789abcdef"), None);
    }
}
