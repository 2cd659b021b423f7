//! Where the server is and who we are: a kubeconfig file, with flags on top.
//!
//! Read as kubectl does: `--kubeconfig`, else `$KUBECONFIG` (its first file that exists), else
//! `~/.kube/config`; else `./verbatim-data/admin.kubeconfig`, which `verbatim serve` writes.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgAction, ArgMatches};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

/// Everything that is needed to make a request.
#[derive(Debug, Default)]
pub struct Target {
    /// Base URL without a slash at its end.
    pub server: String,
    /// Authorities that may sign the server's certificate; empty for none given.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Do not check the server's certificate.
    pub insecure: bool,
    /// Name to expect in the certificate instead of the URL's.
    pub tls_server_name: Option<String>,
    /// Client certificate chain and key.
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// Bearer token.
    pub token: Option<String>,
    /// Namespace of the context.
    pub namespace: Option<String>,
}

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

/// Reads one file.
pub fn read(path: &Path, context: Option<&str>) -> anyhow::Result<Target> {
    let text = String::from_utf8(read_file(path)?).context("is not text")?;
    let config: Value = serde_saphyr::from_str(&text).context("is not YAML")?;
    let base = path.parent().unwrap_or(Path::new("."));
    let context_name = match context.or(config["current-context"].as_str()) {
        Some(name) if !name.is_empty() => name,
        _ => bail!("has no current-context; pass --context NAME"),
    };
    let context = named(&config, "contexts", "context", context_name)?;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let cluster = named(&config, "clusters", "cluster", &text(&context["cluster"]))?;
    let user = match context["user"].as_str() {
        Some(name) => named(&config, "users", "user", name)?,
        None => &Value::Null,
    };
    let mut target = Target {
        server: text(&cluster["server"]),
        insecure: cluster["insecure-skip-tls-verify"] == true,
        tls_server_name: cluster["tls-server-name"].as_str().map(str::to_string),
        namespace: context["namespace"].as_str().map(str::to_string),
        ..Target::default()
    };
    if let Some(pem) = data_or_file(cluster, "certificate-authority", base)? {
        target.authorities = certificates(&pem)?;
    }
    let certificate = data_or_file(user, "client-certificate", base)?;
    let key = data_or_file(user, "client-key", base)?;
    if let (Some(certificate), Some(key)) = (certificate, key) {
        target.identity = Some((certificates(&certificate)?, private_key(&key)?));
    }
    target.token = user["token"].as_str().map(str::to_string);
    if target.token.is_none()
        && let Some(file) = user["tokenFile"].as_str()
    {
        let token = String::from_utf8(read_file(&base.join(file))?).context("tokenFile")?;
        target.token = Some(token.trim().to_string());
    }
    if target.identity.is_none() && target.token.is_none() {
        for unsupported in ["exec", "auth-provider", "username"] {
            if !user[unsupported].is_null() {
                bail!(
                    "its user logs in by {unsupported}, which verbatim does not do: pass --token \"$(kubectl create token …)\""
                );
            }
        }
    }
    Ok(target)
}

fn named<'a>(config: &'a Value, list: &str, member: &str, name: &str) -> anyhow::Result<&'a Value> {
    let items = config[list].as_array();
    let item = items.into_iter().flatten().find(|i| i["name"] == name);
    match item {
        Some(item) => Ok(&item[member]),
        None => bail!("has no {member} called {name:?}"),
    }
}

/// `<name>-data` in base64, or the file that `<name>` names, relative to the kubeconfig.
fn data_or_file(object: &Value, name: &str, base: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    if let Some(data) = object[format!("{name}-data")].as_str() {
        let decoded = STANDARD.decode(data.trim());
        return Ok(Some(decoded.with_context(|| format!("{name}-data"))?));
    }
    match object[name].as_str() {
        Some(file) if !file.is_empty() => Ok(Some(read_file(&base.join(file))?)),
        _ => Ok(None),
    }
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|e| anyhow::anyhow!("certificate: {e:?}"))?;
    if found.is_empty() {
        bail!("there is no certificate in the PEM text");
    }
    Ok(found)
}

fn private_key(pem: &[u8]) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| anyhow::anyhow!("private key: {e:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubectl_writes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config");
        std::fs::write(dir.path().join("token"), "secret\n").expect("writes");
        std::fs::write(
            &path,
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- name: a\n  context: {cluster: c, user: u, namespace: ns}\nclusters:\n- name: c\n  cluster: {server: 'https://example.test:6443', insecure-skip-tls-verify: true}\nusers:\n- name: u\n  user: {tokenFile: token}\n- name: x\n  user: {exec: {command: y}}\n",
        )
        .expect("writes");
        let target = read(&path, None).expect("reads");
        assert_eq!(target.server, "https://example.test:6443");
        assert_eq!(target.token.as_deref(), Some("secret"));
        assert!(target.insecure);
        assert_eq!(target.namespace.as_deref(), Some("ns"));
        let error = read(&path, Some("b")).expect_err("no such context");
        assert!(error.to_string().contains("has no context called \"b\""));
    }
}
