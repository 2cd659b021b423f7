//! Stage names of the registry, and the one helper that times a store operation.

use std::future::Future;

use crate::registry::errors::StorageOperation;
use crate::request::RequestContext;
use crate::storage::Error;

/// Runs a store operation as a stage of the request.
pub(super) async fn store_stage<T>(
    ctx: &mut RequestContext,
    operation: StorageOperation,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let name = match operation {
        StorageOperation::Get => "store/get",
        StorageOperation::List => "store/list",
        StorageOperation::Create => "store/create",
        StorageOperation::Update => "store/update",
        StorageOperation::Delete => "store/delete",
    };
    let began = ctx.stages.begin(name);
    let result = future.await;
    match &result {
        Ok(_) => ctx.stages.end(name, began, "ok", ""),
        Err(Error::KeyExists { .. } | Error::Conflict { .. }) => {
            ctx.stages.end(name, began, "conflict", "")
        }
        Err(error) => ctx.stages.end(name, began, "error", error.because()),
    }
    result
}
