//! Front-proxy headers: a proxy with its own client certificate says who the user is.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use crate::authentication::x509::{ClientCa, common_name};
use crate::authentication::{Authenticated, Authenticator, Refusal, Refused};
use crate::request::{RequestContext, UserInfo};

/// Which headers say what (`--requestheader-*`), all lower case.
#[derive(Clone, Debug, Default)]
pub struct HeaderNames {
    /// User name, the first that is set.
    pub username: Vec<String>,
    /// UID.
    pub uid: Vec<String>,
    /// Groups, all of them.
    pub group: Vec<String>,
    /// Prefixes of extras.
    pub extra_prefix: Vec<String>,
}

/// Authenticates by front proxy.
pub struct RequestHeaders {
    /// The proxies' CA.
    pub ca: Arc<ClientCa>,
    /// Common names of proxies; empty for any.
    pub allowed_names: Vec<String>,
    /// Headers.
    pub headers: HeaderNames,
}

#[async_trait]
impl Authenticator for RequestHeaders {
    async fn authenticate(
        &self,
        ctx: &mut RequestContext,
    ) -> Result<Option<Authenticated>, Refused> {
        let Some(leaf) = ctx.client_certificates.first() else {
            return Ok(None);
        };
        self.ca.verify(&ctx.client_certificates).map_err(|error| {
            Refused::of(
                Refusal::FrontProxy,
                format!(
                    "verifying the front proxy's certificate failed: {}",
                    error.reason
                ),
            )
        })?;
        if !self.allowed_names.is_empty() {
            let name = common_name(leaf).unwrap_or_default();
            if !self.allowed_names.contains(&name) {
                return Err(Refused::of(
                    Refusal::FrontProxy,
                    format!("x509: subject with cn={name} is not in the allowed list"),
                ));
            }
        }
        let user = self.headers.user(&ctx.headers);
        Ok(user.map(|user| Authenticated::new(user, "request-header").in_authenticated_group()))
    }
}

impl HeaderNames {
    /// The user that `headers` name.
    fn user(&self, headers: &HeaderMap) -> Option<UserInfo> {
        let first = |names: &[String]| {
            let mut values = names.iter().flat_map(|name| values_of(headers, name));
            values.find(|value| !value.is_empty())
        };
        let mut user = UserInfo {
            username: first(&self.username)?,
            uid: first(&self.uid).unwrap_or_default(),
            groups: self
                .group
                .iter()
                .flat_map(|name| values_of(headers, name))
                .collect(),
            ..UserInfo::default()
        };
        for (name, value) in headers {
            let key = self
                .extra_prefix
                .iter()
                .find_map(|prefix| name.as_str().strip_prefix(prefix.as_str()));
            if let Some(key) = key {
                let decoded = percent_decode_str(key).decode_utf8();
                let key = decoded.map_or_else(|_| key.to_string(), |k| k.into_owned());
                let values = user.extra.entry(key).or_default();
                values.push(String::from_utf8_lossy(value.as_bytes()).into_owned());
            }
        }
        Some(user)
    }
}

fn values_of<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = String> + use<'a> {
    let name = HeaderName::try_from(name).ok();
    name.into_iter().flat_map(|name| {
        let values = headers.get_all(name).into_iter();
        values
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn headers_name_a_user() {
        let list = |name: &str| vec![name.to_string()];
        let names = HeaderNames {
            username: list("x-remote-user"),
            uid: list("x-remote-uid"),
            group: list("x-remote-group"),
            extra_prefix: list("x-remote-extra-"),
        };
        let mut headers = HeaderMap::new();
        assert!(names.user(&headers).is_none());
        for (name, value) in [
            ("x-remote-user", "jane"),
            ("x-remote-group", "a"),
            ("x-remote-group", "b"),
            ("x-remote-extra-example.com%2fk", "v"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let user = names.user(&headers).expect("a user");
        assert_eq!((user.username.as_str(), user.groups.len()), ("jane", 2));
        assert_eq!(user.extra["example.com/k"], ["v"]);
    }
}
