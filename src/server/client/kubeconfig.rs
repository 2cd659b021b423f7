//! Reading of kubeconfig files.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::Target;

/// Why a kubeconfig cannot be used. The caller says which file it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not YAML.
    #[error("is not YAML: {0}")]
    Yaml(String),
    /// There is no current context.
    #[error("has no current-context; pass --context NAME")]
    NoContext,
    /// A name leads nowhere.
    #[error("has no {what} called {name:?}")]
    Missing {
        /// `context`, `cluster` or `user`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A certificate, key or `-data` member.
    #[error("{what} cannot be used: {reason}")]
    Material {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
    /// A way to log in that is not supported.
    #[error(
        "its user logs in by {0}, which verbatim does not do: pass --token \"$(kubectl create token …)\""
    )]
    Login(&'static str),
    /// The cluster has no server.
    #[error("names no server")]
    NoServer,
}

/// Reads one file. Without a `context`, the current one counts.
pub fn read(path: &Path, context: Option<&str>) -> Result<Target, Error> {
    let text = read_file(path)?;
    let text = String::from_utf8_lossy(&text);
    let config: Value =
        serde_saphyr::from_str(&text).map_err(|e| Error::Yaml(e.without_snippet().to_string()))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let context_name = match context.or(config["current-context"].as_str()) {
        Some(name) if !name.is_empty() => name,
        _ => return Err(Error::NoContext),
    };
    let context = named(&config, "contexts", "context", context_name)?;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let some_text = |v: &Value| v.as_str().filter(|t| !t.is_empty()).map(str::to_string);
    let cluster = named(&config, "clusters", "cluster", &text(&context["cluster"]))?;
    let user = match context["user"].as_str() {
        Some(name) if !name.is_empty() => named(&config, "users", "user", name)?,
        _ => &Value::Null,
    };
    let server = text(&cluster["server"]);
    if server.is_empty() {
        return Err(Error::NoServer);
    }
    let mut target = Target {
        server: server.trim_end_matches('/').to_string(),
        insecure: cluster["insecure-skip-tls-verify"] == true,
        tls_server_name: some_text(&cluster["tls-server-name"]),
        proxy: some_text(&cluster["proxy-url"]),
        namespace: some_text(&context["namespace"]),
        ..Target::default()
    };
    if let Some(pem) = data_or_file(cluster, "certificate-authority", base)? {
        target.authorities = certificates(&pem)?;
    }
    log_in(&mut target, user, base)?;
    Ok(target)
}

fn log_in(target: &mut Target, user: &Value, base: &Path) -> Result<(), Error> {
    let certificate = data_or_file(user, "client-certificate", base)?;
    let key = data_or_file(user, "client-key", base)?;
    if let (Some(certificate), Some(key)) = (certificate, key) {
        target.identity = Some((certificates(&certificate)?, private_key(&key)?));
    }
    target.token = user["token"].as_str().map(str::to_string);
    // As in client-go, the file goes before the token.
    if let Some(file) = user["tokenFile"].as_str().filter(|f| !f.is_empty()) {
        let file = base.join(file);
        let token = read_file(&file)?;
        target.token = Some(String::from_utf8_lossy(&token).trim().to_string());
        target.token_file = Some(file);
    }
    if let (Some(name), Some(password)) = (user["username"].as_str(), user["password"].as_str()) {
        target.basic = Some((name.to_string(), password.to_string()));
    }
    let has_credentials =
        target.identity.is_some() || target.token.is_some() || target.basic.is_some();
    for unsupported in ["exec", "auth-provider"] {
        if !has_credentials && !user[unsupported].is_null() {
            return Err(Error::Login(unsupported));
        }
    }
    Ok(())
}

fn named<'a>(
    config: &'a Value,
    list: &str,
    member: &'static str,
    name: &str,
) -> Result<&'a Value, Error> {
    let items = config[list].as_array();
    let item = items.into_iter().flatten().find(|i| i["name"] == name);
    match item {
        Some(item) => Ok(&item[member]),
        None => Err(Error::Missing {
            what: member,
            name: name.to_string(),
        }),
    }
}

/// `<name>-data` in base64, or the file that `<name>` names, relative to the kubeconfig.
fn data_or_file(object: &Value, name: &str, base: &Path) -> Result<Option<Vec<u8>>, Error> {
    let data_name = format!("{name}-data");
    if let Some(data) = object[data_name.as_str()]
        .as_str()
        .filter(|d| !d.is_empty())
    {
        return match STANDARD.decode(data.trim()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(Error::Material {
                what: data_name,
                reason: error.to_string(),
            }),
        };
    }
    match object[name].as_str() {
        Some(file) if !file.is_empty() => Ok(Some(read_file(&base.join(file))?)),
        _ => Ok(None),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })
}

/// The certificates in a PEM text; at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |reason: String| Error::Material {
        what: "a certificate".into(),
        reason,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|e| failed(format!("{e:?}")))?;
    match found.is_empty() {
        true => Err(failed("there is none in the PEM text".into())),
        false => Ok(found),
    }
}

/// The private key in a PEM text.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| Error::Material {
        what: "the private key".into(),
        reason: format!("{e:?}"),
    })
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
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- name: a\n  context: {cluster: c, user: u, namespace: ns}\n- name: e\n  context: {cluster: c, user: x}\nclusters:\n- name: c\n  cluster: {server: 'https://example.test:6443/', insecure-skip-tls-verify: true, proxy-url: 'http://proxy.test:3128', tls-server-name: other}\nusers:\n- name: u\n  user: {tokenFile: token}\n- name: x\n  user: {exec: {command: y}}\n",
        )
        .expect("writes");
        let target = read(&path, None).expect("reads");
        assert_eq!(target.server, "https://example.test:6443");
        assert_eq!(target.token.as_deref(), Some("secret"));
        assert!(target.insecure);
        assert_eq!(target.namespace.as_deref(), Some("ns"));
        assert_eq!(target.tls_server_name.as_deref(), Some("other"));
        assert_eq!(target.proxy.as_deref(), Some("http://proxy.test:3128"));
        let error = read(&path, Some("b")).expect_err("no such context");
        assert!(error.to_string().contains("has no context called \"b\""));
        let error = read(&path, Some("e")).expect_err("a program to log in");
        assert!(error.to_string().contains("logs in by exec"));
    }
}
