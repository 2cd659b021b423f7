//! The API behind the filters: discovery, version, resources.

use std::sync::Arc;

use async_trait::async_trait;

use crate::endpoints::discovery::Discovery;
use crate::endpoints::version;
use crate::filters::Endpoint;
use crate::filters::metrics::KnownResource;
use crate::registry::table::{ResourceTable, RuntimeConfig, SharedTable};
use crate::request::negotiate::status_response;
use crate::request::{ApiRequest, ApiResponse};
use crate::server::life::StartError;
use crate::server::options::ServerOptions;
use crate::server::root::not_found;
use crate::storage::Storage;
use crate::telemetry::Metrics;

/// The endpoint, and which resources it knows.
pub(super) struct Api {
    pub(super) endpoint: Arc<dyn Endpoint>,
    pub(super) known: KnownResource,
}

/// Makes the API.
pub(super) fn api(
    options: &ServerOptions,
    _storage: &Arc<dyn Storage>,
    _metrics: &Arc<Metrics>,
) -> Result<Api, StartError> {
    let pairs = options.api.runtime_config.iter();
    let text: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    let config =
        RuntimeConfig::parse(&text.join(",")).map_err(|e| StartError::part("the API table", &e))?;
    let table = Arc::new(SharedTable::new(ResourceTable::new(&config)));
    let rows = table.clone();
    Ok(Api {
        known: Arc::new(move |group, version, plural| {
            rows.load().get(group, version, plural).is_some()
        }),
        endpoint: Arc::new(Plain {
            discovery: Discovery::new(options.listen.address.to_string()),
            table,
        }),
    })
}

/// Discovery and version only.
struct Plain {
    discovery: Discovery,
    table: Arc<SharedTable>,
}

#[async_trait]
impl Endpoint for Plain {
    async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
        let ctx = &mut request.ctx;
        let answer =
            version::handle(ctx).or_else(|| self.discovery.handle(ctx, &self.table.load()));
        match answer {
            Some(Ok(response)) => response,
            Some(Err(status)) => status_response(ctx, &status),
            None => not_found(),
        }
    }
}
