//! Where the hand tools ask: a server, or a collector, which answers the same way.
//!
//! Paths are those of the API (`/apis/audit.verbatim.dev/v1alpha1/…`), so every tool is written
//! once.

use clap::{Arg, ArgMatches};
use serde_json::Value;

use crate::cli::client::{Client, Lines, encode_segment};
use crate::cli::kubeconfig;
use crate::search::api::{GROUP, VERSION};

/// The flags of every tool that asks.
pub fn args() -> Vec<Arg> {
    kubeconfig::args()
}

/// Who answers.
pub struct Source {
    client: Client,
    namespace: Option<String>,
}

impl Source {
    /// As the flags say.
    pub async fn of(matches: &ArgMatches) -> anyhow::Result<Self> {
        let login = kubeconfig::target(matches)?;
        let namespace = login.target.namespace.clone();
        Ok(Source {
            client: Client::new(login)?,
            namespace,
        })
    }

    /// Gets JSON.
    pub async fn get(&self, path_and_query: &str) -> anyhow::Result<Value> {
        self.client.get(path_and_query).await
    }

    /// Posts JSON and answers JSON.
    pub async fn post(&self, path_and_query: &str, body: &Value) -> anyhow::Result<Value> {
        self.client.post(path_and_query, body).await
    }

    /// Opens a stream of JSON lines.
    pub async fn stream(&self, path_and_query: &str) -> anyhow::Result<Lines> {
        self.client.stream(path_and_query).await
    }

    /// The namespace of the kubeconfig's context, `default` where it names none.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

/// Path of a resource of the record, in one namespace if there is one.
pub fn path(namespace: Option<&str>, resource: &str) -> String {
    let namespace = match namespace {
        Some(namespace) => format!("/namespaces/{}", encode_segment(namespace)),
        None => String::new(),
    };
    format!("/apis/{GROUP}/{VERSION}{namespace}/{resource}")
}
