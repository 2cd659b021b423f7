//! Where a bearer token is in a request: the `Authorization` header or a WebSocket subprotocol.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::{AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};

use crate::request::RequestContext;

/// Prefix of the subprotocol that carries a token for browsers.
const WEBSOCKET_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// The token of the `Authorization` header. Warns about a doubled space, which hides the token.
pub fn from_header(ctx: &mut RequestContext) -> Option<String> {
    let header = ctx.headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let mut parts = header.split(' ');
    if !parts.next()?.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let token = parts.next()?;
    if !token.is_empty() {
        return Some(token.to_string());
    }
    if parts.next().is_some() {
        ctx.warn(
            "the provided Authorization header contains extra space before the bearer token, and is ignored",
        );
    }
    None
}

/// The token among the subprotocols of a WebSocket upgrade. `Err` when there is one that is not a
/// token or is alone.
pub fn from_websocket(ctx: &RequestContext) -> Result<Option<String>, String> {
    if !is_websocket_upgrade(ctx) {
        return Ok(None);
    }
    let mut token = None;
    let mut others = 0;
    for protocol in protocols(ctx) {
        let Some(encoded) = protocol.strip_prefix(WEBSOCKET_PREFIX) else {
            others += 1;
            continue;
        };
        if token.is_some() {
            return Err("multiple base64.bearer.authorization tokens specified".into());
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| "invalid base64.bearer.authorization token encoding".to_string())?;
        let text = String::from_utf8(bytes)
            .map_err(|_| "invalid base64.bearer.authorization token".to_string())?;
        token = Some(text);
    }
    match (token, others) {
        (None, _) => Ok(None),
        (Some(_), 0) => {
            Err("missing additional subprotocol, authorization must not be the only one".into())
        }
        (Some(token), _) => Ok(Some(token)),
    }
}

/// Takes the token out of the request, so that nothing behind authentication sees it.
pub fn remove(ctx: &mut RequestContext) {
    ctx.headers.remove(AUTHORIZATION);
    let carries_token = protocols(ctx).any(|p| p.starts_with(WEBSOCKET_PREFIX));
    if carries_token {
        let kept: Vec<&str> = protocols(ctx)
            .filter(|p| !p.starts_with(WEBSOCKET_PREFIX))
            .collect();
        if let Ok(value) = HeaderValue::from_str(&kept.join(",")) {
            ctx.headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
    }
}

fn protocols(ctx: &RequestContext) -> impl Iterator<Item = &str> {
    ctx.headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty())
}

fn is_websocket_upgrade(ctx: &RequestContext) -> bool {
    let has = |name, wanted: &str| {
        ctx.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| v.to_ascii_lowercase().contains(wanted))
    };
    has(UPGRADE, "websocket") && has(CONNECTION, "upgrade")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method, Uri};

    fn context(headers: &[(&'static str, &str)]) -> RequestContext {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).expect("a header value"));
        }
        RequestContext::new(Method::GET, Uri::from_static("/"), map, None)
    }

    #[test]
    fn authorization_header() {
        let cases = [
            ("Bearer t", Some("t"), 0),
            ("bearer t", Some("t"), 0),
            ("Bearer t x", Some("t"), 0),
            ("Bearer  t", None, 1),
            ("Bearer", None, 0),
            ("Bearer ", None, 0),
            ("Token t", None, 0),
            ("t", None, 0),
        ];
        for (header, token, warnings) in cases {
            let mut ctx = context(&[("authorization", header)]);
            assert_eq!(from_header(&mut ctx).as_deref(), token, "{header:?}");
            assert_eq!(ctx.warnings.len(), warnings, "{header:?}");
        }
    }

    #[test]
    fn websocket_protocol() {
        let upgrade = [("connection", "Upgrade"), ("upgrade", "websocket")];
        let with = |protocols: &'static str| {
            context(&[
                upgrade[0],
                upgrade[1],
                ("sec-websocket-protocol", protocols),
            ])
        };
        let token = "base64url.bearer.authorization.k8s.io.dA";
        let both: &'static str = "base64url.bearer.authorization.k8s.io.dA, v5.channel.k8s.io";
        let mut ctx = with(both);
        assert_eq!(from_websocket(&ctx), Ok(Some("t".into())));
        remove(&mut ctx);
        assert_eq!(
            ctx.header("sec-websocket-protocol"),
            Some("v5.channel.k8s.io")
        );
        assert!(from_websocket(&with(token)).is_err());
        assert_eq!(from_websocket(&with("v5.channel.k8s.io")), Ok(None));
    }
}
