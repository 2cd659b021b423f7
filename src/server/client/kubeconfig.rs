//! Reading of kubeconfig files.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Target;
use crate::base::tree::Value;

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

/// Which parts of kubeconfigs to take, instead of those that they say.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Context.
    pub context: Option<String>,
    /// Cluster.
    pub cluster: Option<String>,
    /// User.
    pub user: Option<String>,
}

/// What was chosen of kubeconfigs.
#[derive(Debug)]
pub struct Chosen {
    /// Where the server is; without credentials.
    pub target: Target,
    /// The user as it stands in its file.
    pub user: Value,
    /// The folder of that file.
    pub base: PathBuf,
}

/// Reads one file. Without a `context`, the current one counts.
pub fn read(path: &Path, context: Option<&str>) -> Result<Target, Error> {
    let choice = Choice {
        context: context.map(str::to_string),
        ..Choice::default()
    };
    let chosen = choose(&[path.to_path_buf()], &choice)?;
    let mut target = chosen.target;
    if target.server.is_empty() {
        return Err(Error::NoServer);
    }
    log_in(&mut target, &chosen.user, &chosen.base)?;
    Ok(target)
}

/// Reads several files as one; the first that says something wins.
pub fn choose(paths: &[PathBuf], choice: &Choice) -> Result<Chosen, Error> {
    let mut configs: Vec<(&Path, Value)> = Vec::new();
    for path in paths {
        let text = read_file(path)?;
        let text = String::from_utf8_lossy(&text);
        let config = serde_saphyr::from_str(&text);
        let config = config.map_err(|e| Error::Yaml(e.without_snippet().to_string()))?;
        configs.push((path.parent().unwrap_or(Path::new(".")), config));
    }
    let current = || {
        let mut names = configs
            .iter()
            .filter_map(|(_, c)| c["current-context"].as_str());
        names.find(|name| !name.is_empty())
    };
    let context_name = choice.context.as_deref().or_else(current);
    let context_name = context_name.ok_or(Error::NoContext)?;
    let (_, context) = named(&configs, "contexts", "context", context_name)?;
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let some_text = |v: &Value| v.as_str().filter(|t| !t.is_empty()).map(str::to_string);
    let cluster = choice.cluster.clone();
    let cluster = cluster.unwrap_or_else(|| text(&context["cluster"]));
    let (base, cluster) = named(&configs, "clusters", "cluster", &cluster)?;
    let user = choice.user.clone();
    let (user_base, user) = match user.or_else(|| some_text(&context["user"])) {
        Some(name) => named(&configs, "users", "user", &name)?,
        None => (base, &Value::Null),
    };
    let mut target = Target {
        server: text(&cluster["server"]).trim_end_matches('/').to_string(),
        insecure: cluster["insecure-skip-tls-verify"] == true,
        tls_server_name: some_text(&cluster["tls-server-name"]),
        proxy: some_text(&cluster["proxy-url"]),
        namespace: some_text(&context["namespace"]),
        ..Target::default()
    };
    if let Some(pem) = data_or_file(cluster, "certificate-authority", base)? {
        target.authorities = certificates(&pem)?;
    }
    Ok(Chosen {
        target,
        user: user.clone(),
        base: user_base.to_path_buf(),
    })
}

/// Takes the credentials of a user whose file is in `base`.
pub fn log_in(target: &mut Target, user: &Value, base: &Path) -> Result<(), Error> {
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

/// The item of a list in the first file that has it, with the folder of that file.
fn named<'a>(
    configs: &'a [(&'a Path, Value)],
    list: &str,
    member: &'static str,
    name: &str,
) -> Result<(&'a Path, &'a Value), Error> {
    let found = configs.iter().find_map(|(base, config)| {
        let items = config[list].as_array();
        let item = items.into_iter().flatten().find(|i| i["name"] == name)?;
        Some((*base, &item[member]))
    });
    found.ok_or_else(|| Error::Missing {
        what: member,
        name: name.to_string(),
    })
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
