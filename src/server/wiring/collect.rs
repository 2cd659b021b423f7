//! Audit events of other API servers: what receives them, and what follows their logs.

use std::sync::Arc;

use async_trait::async_trait;

use crate::base::Tasks;
use crate::endpoints::Mount;
use crate::request::{ApiRequest, ApiResponse, RequestInfo};
use crate::search::{Ingest, tail};
use crate::server::options::ServerOptions;

/// Follows the logs of `--follow`.
pub(super) fn follow(options: &ServerOptions, ingest: &Arc<Ingest>, tasks: &Tasks) {
    let state = options.data_dir.join("followed");
    for log in &options.collect.follow {
        let work = tail::follow(log.clone(), state.clone(), ingest.clone());
        tasks.spawn_until_stopped(work);
    }
}

/// `POST /audit/CLUSTER`, beside the API.
pub(super) struct IngestMount(pub(super) Arc<Ingest>);

#[async_trait]
impl Mount for IngestMount {
    fn serves(&self, info: &RequestInfo) -> bool {
        self.0.serves(info)
    }

    async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
        self.0.handle(request).await
    }
}
