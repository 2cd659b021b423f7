//! Storage errors as the client sees them. The cause chain is logged here, once, because here the
//! error stops being an error of ours and becomes an answer.

use crate::api::resource::Resource;
use crate::api::status::{Details, Status};
use crate::storage::{Error, Failure};

/// The operation in error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageOperation {
    /// Reading one object.
    Get,
    /// Listing.
    List,
    /// Creating.
    Create,
    /// Updating.
    Update,
    /// Deleting.
    Delete,
}

impl StorageOperation {
    /// `get`, `list`, …: the word in texts, metrics and stage names.
    pub fn word(self) -> &'static str {
        match self {
            StorageOperation::Get => "get",
            StorageOperation::List => "list",
            StorageOperation::Create => "create",
            StorageOperation::Update => "update",
            StorageOperation::Delete => "delete",
        }
    }
}

/// Words a storage error that no caller handled as part of the protocol (conflicts are).
pub fn storage_status(
    error: &Error,
    resource: &Resource,
    name: &str,
    operation: StorageOperation,
) -> Status {
    let status = answer(error, resource, name, operation);
    match error.failure() {
        Failure::Conflict => status,
        _ => status.because(format!("store/{}", error.because())),
    }
}

fn answer(error: &Error, resource: &Resource, name: &str, operation: StorageOperation) -> Status {
    match error {
        Error::KeyExists { .. } => Status::already_exists(&resource.group_resource(), name),
        Error::Conflict { .. } => Status::modified(&resource.group_resource(), name),
        Error::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        Error::FutureRevision { wanted, current } => {
            Status::too_large_resource_version(*wanted, *current)
        }
        Error::TooLarge => Status::failure(500, "", "etcdserver: request is too large"),
        Error::NoSpace => {
            log(error, resource, name, operation);
            Status::failure(500, "", "etcdserver: mvcc: database space exceeded")
        }
        Error::Uncertain(_) => {
            log(error, resource, name, operation);
            server_timeout(resource, operation)
        }
        Error::Unavailable { .. } | Error::PermissionDenied => {
            log(error, resource, name, operation);
            Status::service_unavailable("storage is unavailable")
        }
        Error::Initializing { since } => initializing(*since),
        Error::Corrupt { .. } | Error::Other { .. } => {
            log(error, resource, name, operation);
            Status::internal("storage error")
        }
    }
}

/// 429 while the watch cache is filled; the wait grows with how long that has taken.
fn initializing(since: std::time::Duration) -> Status {
    let seconds = u32::try_from(since.as_secs())
        .unwrap_or(u32::MAX)
        .clamp(1, 30);
    Status::too_many_requests("storage is (re)initializing", seconds)
}

fn log(error: &Error, resource: &Resource, name: &str, operation: StorageOperation) {
    tracing::error!(
        error = %error,
        resource = %resource.group_resource(),
        name,
        operation = operation.word(),
        "storage operation failed"
    );
}

/// 500 `ServerTimeout`: whether the write happened is not known.
fn server_timeout(resource: &Resource, operation: StorageOperation) -> Status {
    let resource = resource.group_resource();
    let word = operation.word();
    let mut status = Status::failure(
        500,
        "ServerTimeout",
        format!(
            "The {word} operation against {resource} could not be completed at this time, please try again."
        ),
    );
    status.details = Some(Box::new(Details {
        name: word.to_string(),
        group: resource.group.to_string(),
        kind: resource.resource.to_string(),
        retry_after_seconds: 2,
        ..Details::default()
    }));
    status
}
