//! Service account issuer discovery: `/.well-known/openid-configuration` and `/openid/v1/jwks`.

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};

use crate::authentication::keys::{PublicKey, jwks, openid_configuration};
use crate::endpoints::Mount;
use crate::request::negotiate::{router_accepts, router_not_acceptable, status_response};
use crate::request::{ApiRequest, ApiResponse, RequestInfo};

const CONFIGURATION: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/openid/v1/jwks";

/// The two documents, made once.
pub struct OpenId {
    configuration: Bytes,
    keys: Bytes,
}

impl OpenId {
    /// For tokens of `issuer` that `keys` verify; `jwks_uri` is where others read them.
    pub fn new(issuer: &str, jwks_uri: &str, keys: &[PublicKey]) -> Self {
        OpenId {
            configuration: openid_configuration(issuer, jwks_uri, keys)
                .to_string()
                .into(),
            keys: jwks(keys).to_string().into(),
        }
    }
}

#[async_trait]
impl Mount for OpenId {
    fn serves(&self, info: &RequestInfo) -> bool {
        matches!(info.path.as_str(), CONFIGURATION | KEYS)
    }

    async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
        let ctx = &mut request.ctx;
        let (media_type, document) = match ctx.info.path.as_str() {
            KEYS => ("application/jwk-set+json", &self.keys),
            _ => ("application/json", &self.configuration),
        };
        if !router_accepts(ctx.header("accept").unwrap_or(""), &[media_type]) {
            return status_response(ctx, &router_not_acceptable(&[media_type]));
        }
        let mut response = ApiResponse::new(StatusCode::OK, media_type, document.clone());
        response.headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=3600"),
        );
        response
    }
}
