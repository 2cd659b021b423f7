//! Probabilistic GOAWAY: now and then an HTTP/2 client is asked to connect anew, so that clients
//! spread over servers behind a load balancer (`--goaway-chance`).

use http::header::CONNECTION;
use http::{HeaderValue, Version};

use super::Filter;
use crate::request::{ApiRequest, ApiResponse};

/// The filter.
pub struct Goaway {
    chance: f64,
}

impl Goaway {
    /// `None` when the chance is zero.
    pub fn new(chance: f64) -> Option<Self> {
        (chance > 0.0).then_some(Goaway { chance })
    }
}

impl Filter for Goaway {
    fn name(&self) -> &'static str {
        "goaway"
    }

    fn after(&self, request: &mut ApiRequest, response: &mut ApiResponse) {
        let http2 = request.ctx.http_version == Version::HTTP_2;
        if http2 && rand::random::<f64>() < self.chance {
            // The listener turns this into GOAWAY.
            response
                .headers
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}
