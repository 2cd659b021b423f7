//! Where the server is and who we are: a kubeconfig file, with flags on top.
//!
//! Read as kubectl does: `--kubeconfig`, else `$KUBECONFIG` (its first file that exists), else
//! `~/.kube/config`; else `./verbatim-data/admin.kubeconfig`, which `verbatim serve` writes.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches};

pub use crate::server::client::Target;
use crate::server::client::kubeconfig::{certificates, private_key, read};

/// The flags, kubectl's names.
pub fn args() -> Vec<Arg> {
    let value = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .help(help)
            .help_heading("Connection")
    };
    vec![
        value("kubeconfig", "Kubeconfig file").value_name("FILE"),
        value("context", "Context of the kubeconfig to use").value_name("NAME"),
        value("server", "URL of the server")
            .short('s')
            .value_name("URL"),
        value("token", "Bearer token").value_name("TOKEN"),
        value(
            "certificate-authority",
            "PEM file with the server's authority",
        )
        .value_name("FILE"),
        value("client-certificate", "PEM file with the client certificate").value_name("FILE"),
        value("client-key", "PEM file with the client key").value_name("FILE"),
        value(
            "insecure-skip-tls-verify",
            "Do not check the server's certificate",
        )
        .action(ArgAction::SetTrue),
    ]
}

/// Reads file and flags.
pub fn target(matches: &ArgMatches) -> anyhow::Result<Target> {
    let flag = |name: &str| matches.get_one::<String>(name).cloned();
    let mut target = match find(flag("kubeconfig")) {
        Some(path) => read(&path, flag("context").as_deref())
            .with_context(|| format!("kubeconfig {}", path.display()))?,
        None => Target::default(),
    };
    if let Some(server) = flag("server") {
        target.server = server;
    }
    if let Some(token) = flag("token") {
        target.token = Some(token);
        target.identity = None;
    }
    if let Some(file) = flag("certificate-authority") {
        target.authorities = certificates(&read_file(Path::new(&file))?)?;
    }
    if let (Some(certificate), Some(key)) = (flag("client-certificate"), flag("client-key")) {
        let chain = certificates(&read_file(Path::new(&certificate))?)?;
        target.identity = Some((chain, private_key(&read_file(Path::new(&key))?)?));
    }
    target.insecure |= matches.get_flag("insecure-skip-tls-verify");
    target.server = target.server.trim_end_matches('/').to_string();
    if target.server.is_empty() {
        bail!(
            "no server is known: pass --kubeconfig FILE or --server URL, set KUBECONFIG, or start one here with verbatim serve"
        );
    }
    Ok(target)
}

fn find(flag: Option<String>) -> Option<PathBuf> {
    if let Some(path) = flag {
        return Some(path.into());
    }
    let from_env = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".kube/config"));
    let local = PathBuf::from("verbatim-data/admin.kubeconfig");
    std::env::split_paths(&from_env)
        .chain(home)
        .chain([local])
        .find(|p| p.is_file())
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}
