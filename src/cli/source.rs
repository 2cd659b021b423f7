//! Where the hand tools ask: a server or a collector, which answer the same way, or audit logs in
//! files (`--file`), which are imported into a temporary index and asked in this process.
//!
//! Paths are those of the API (`/apis/audit.verbatim.dev/v1alpha1/…`), so every tool is written
//! once.

mod files;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::base::tree::Value;
use crate::cli::client::{Client, Lines, encode_segment};
use crate::cli::kubeconfig;
use crate::search::api::{GROUP, VERSION};

use files::Files;

/// The flags of every tool that asks.
pub fn args() -> Vec<Arg> {
    let file = Arg::new("file")
        .short('f')
        .long("file")
        .value_name("PATH")
        .num_args(1..)
        .action(ArgAction::Append)
        .value_parser(value_parser!(PathBuf))
        .help("Read audit logs (plain, gzipped, folders; - is standard input) instead of asking a server")
        .help_heading("Connection");
    [vec![file], kubeconfig::args()].concat()
}

/// Who answers.
pub enum Source {
    /// A server or a collector.
    Server(Box<Server>),
    /// Files, and a server for what is not in the record (roles, discovery), if one is known.
    Files(Box<Files>, Option<Box<Server>>),
}

/// A server.
pub struct Server {
    client: Client,
    namespace: Option<String>,
}

impl Server {
    fn of(matches: &ArgMatches) -> anyhow::Result<Box<Self>> {
        let login = kubeconfig::target(matches)?;
        let namespace = login.target.namespace.clone();
        Ok(Box::new(Server {
            client: Client::new(login)?,
            namespace,
        }))
    }
}

impl Source {
    /// As the flags say.
    pub async fn of(matches: &ArgMatches) -> anyhow::Result<Self> {
        let files: Vec<PathBuf> = match matches.get_many::<PathBuf>("file") {
            Some(files) => files.cloned().collect(),
            None => return Ok(Source::Server(Server::of(matches)?)),
        };
        let files = Files::read(&files).await?;
        // Files need no server; only some questions do.
        Ok(Source::Files(Box::new(files), Server::of(matches).ok()))
    }

    /// Gets JSON.
    pub async fn get(&self, path_and_query: &str) -> anyhow::Result<Value> {
        match self {
            Source::Server(server) => server.client.get(path_and_query).await,
            Source::Files(files, _) if is_record(path_and_query) => files.get(path_and_query).await,
            Source::Files(_, Some(server)) => server.client.get(path_and_query).await,
            Source::Files(_, None) => {
                bail!("{path_and_query} is not in the files; a kubeconfig would say whom to ask")
            }
        }
    }

    /// Posts JSON and answers JSON.
    pub async fn post(&self, path_and_query: &str, body: &Value) -> anyhow::Result<Value> {
        match self {
            Source::Server(server) => server.client.post(path_and_query, body).await,
            Source::Files(files, _) => files.post(path_and_query, body).await,
        }
    }

    /// Opens a stream of JSON lines.
    pub async fn stream(&self, path_and_query: &str) -> anyhow::Result<Lines> {
        match self {
            Source::Server(server) => server.client.stream(path_and_query).await,
            Source::Files(..) => bail!("files do not tell when they grow; search reads them"),
        }
    }

    /// The namespace of the kubeconfig's context, `default` where it names none. Files are looked at
    /// as a whole: there it is unknown.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Source::Server(server) => Some(server.namespace.as_deref().unwrap_or("default")),
            Source::Files(..) => None,
        }
    }
}

fn is_record(path: &str) -> bool {
    path.starts_with(&format!("/apis/{GROUP}/"))
}

/// Path of a resource of the record, in one namespace if there is one.
pub fn path(namespace: Option<&str>, resource: &str) -> String {
    let namespace = match namespace {
        Some(namespace) => format!("/namespaces/{}", encode_segment(namespace)),
        None => String::new(),
    };
    format!("/apis/{GROUP}/{VERSION}{namespace}/{resource}")
}
