//! Where the server is and who we are: kubeconfig files, with flags on top.
//!
//! Read as kubectl does: `--kubeconfig`, else the files of `$KUBECONFIG` merged (the first that says
//! something wins), else `~/.kube/config`; else `./verbatim-data/admin.kubeconfig`, which `verbatim
//! serve` writes; else the service account of the pod this runs in. Users may log in by certificate,
//! token, password or exec plugin.

mod exec;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches};

use crate::base::tree::Value;
use crate::server::client::Target;
use crate::server::client::kubeconfig::{Choice, certificates, choose, log_in, private_key};

/// Where a pod finds its service account.
const IN_CLUSTER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where to ask, and as whom.
#[derive(Debug, Default)]
pub struct Login {
    /// The server and the credentials.
    pub target: Target,
    /// As whom to act there.
    pub acting_as: ActingAs,
}

/// Impersonation, as `--as` asks for it.
#[derive(Clone, Debug, Default)]
pub struct ActingAs {
    /// User name.
    pub user: Option<String>,
    /// UID.
    pub uid: Option<String>,
    /// Groups.
    pub groups: Vec<String>,
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
        value("cluster", "Cluster of the kubeconfig to use").value_name("NAME"),
        value("user", "User of the kubeconfig to use").value_name("NAME"),
        value("server", "URL of the server")
            .short('s')
            .value_name("URL"),
        value("token", "Bearer token").value_name("TOKEN"),
        value("as", "User to impersonate").value_name("USER"),
        value("as-group", "Group to impersonate; may be repeated")
            .value_name("GROUP")
            .action(ArgAction::Append),
        value("as-uid", "UID to impersonate").value_name("UID"),
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

/// Reads files and flags.
pub fn target(matches: &ArgMatches) -> anyhow::Result<Login> {
    let flag = |name: &str| matches.get_one::<String>(name).cloned();
    let paths = find(flag("kubeconfig"));
    let choice = Choice {
        context: flag("context"),
        cluster: flag("cluster"),
        user: flag("user"),
    };
    let has_credentials = flag("token").is_some() || flag("client-certificate").is_some();
    let mut login = match paths.is_empty() {
        false => read(&paths, &choice, has_credentials).with_context(|| {
            let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
            format!("kubeconfig {}", names.join(", "))
        })?,
        true => Login {
            target: in_cluster().unwrap_or_default(),
            ..Login::default()
        },
    };
    impersonate(&mut login.acting_as, matches)?;
    let target = &mut login.target;
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
    Ok(login)
}

fn impersonate(acting: &mut ActingAs, matches: &ArgMatches) -> anyhow::Result<()> {
    let flag = |name: &str| matches.get_one::<String>(name).cloned();
    if let Some(user) = flag("as") {
        acting.user = Some(user);
    }
    if let Some(uid) = flag("as-uid") {
        acting.uid = Some(uid);
    }
    if let Some(groups) = matches.get_many::<String>("as-group") {
        acting.groups = groups.cloned().collect();
    }
    if acting.user.is_none() && (acting.uid.is_some() || !acting.groups.is_empty()) {
        bail!("--as-group and --as-uid need --as");
    }
    Ok(())
}

/// The files to read, those that exist.
fn find(flag: Option<String>) -> Vec<PathBuf> {
    if let Some(path) = flag {
        return vec![path.into()];
    }
    let from_env = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let from_env: Vec<PathBuf> = std::env::split_paths(&from_env)
        .filter(|p| p.is_file())
        .collect();
    if !from_env.is_empty() {
        return from_env;
    }
    let home = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".kube/config"));
    let local = PathBuf::from("verbatim-data/admin.kubeconfig");
    let first = home.into_iter().chain([local]).find(|p| p.is_file());
    first.into_iter().collect()
}

/// Reads files, the first one counting most. With credentials from elsewhere, the user's are left.
fn read(paths: &[PathBuf], choice: &Choice, has_credentials: bool) -> anyhow::Result<Login> {
    let chosen = choose(paths, choice)?;
    let user = &chosen.user;
    let text = |name: &str| user[name].as_str().filter(|t| !t.is_empty());
    let groups = user["as-groups"].as_array().into_iter().flatten();
    let acting_as = ActingAs {
        user: text("as").map(str::to_string),
        uid: text("as-uid").map(str::to_string),
        groups: groups
            .filter_map(|g| g.as_str().map(str::to_string))
            .collect(),
    };
    let mut target = chosen.target;
    let other_ways = [
        "client-certificate",
        "client-certificate-data",
        "token",
        "tokenFile",
        "username",
    ];
    let has_other_way = other_ways.into_iter().any(|name| text(name).is_some());
    if !has_credentials {
        match &user["exec"] {
            exec @ Value::Object(_) if !has_other_way => {
                exec::log_in(&mut target, exec, &chosen.base)?;
            }
            _ => log_in(&mut target, user, &chosen.base)?,
        }
    }
    Ok(Login { target, acting_as })
}

/// The service account of the pod that this runs in.
fn in_cluster() -> Option<Target> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|_| "443".into());
    let read = |name: &str| std::fs::read(Path::new(IN_CLUSTER).join(name)).ok();
    let text = |name: &str| Some(String::from_utf8(read(name)?).ok()?.trim().to_string());
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host,
    };
    Some(Target {
        server: format!("https://{host}:{port}"),
        authorities: certificates(&read("ca.crt")?).ok()?,
        token: Some(text("token")?),
        namespace: text("namespace"),
        ..Target::default()
    })
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(context: Option<&str>) -> Choice {
        Choice {
            context: context.map(str::to_string),
            ..Choice::default()
        }
    }

    #[test]
    fn reads_what_kubectl_writes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config");
        std::fs::write(dir.path().join("token"), "secret\n").expect("writes");
        std::fs::write(
            &path,
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- name: a\n  context: {cluster: c, user: u, namespace: ns}\nclusters:\n- name: c\n  cluster: {server: 'https://example.test:6443', insecure-skip-tls-verify: true}\nusers:\n- name: u\n  user: {tokenFile: token, as: root}\n- name: x\n  user: {exec: {command: y}}\n",
        )
        .expect("writes");
        let paths = [path];
        let login = read(&paths, &choice(None), false).expect("reads");
        let target = &login.target;
        assert_eq!(target.server, "https://example.test:6443");
        assert_eq!(target.token.as_deref(), Some("secret"));
        assert_eq!(login.acting_as.user.as_deref(), Some("root"));
        assert!(target.insecure);
        assert_eq!(target.namespace.as_deref(), Some("ns"));
        let error = read(&paths, &choice(Some("b")), false).expect_err("no such context");
        assert!(error.to_string().contains("has no context called \"b\""));
    }

    #[test]
    fn the_first_file_that_says_something_wins() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::write(
            &one,
            "contexts:\n- name: a\n  context: {cluster: c, user: u}\nusers:\n- name: u\n  user: {username: me, password: p}\n",
        )
        .expect("writes");
        std::fs::write(
            &two,
            "current-context: a\ncontexts:\n- name: a\n  context: {cluster: other, user: u}\nclusters:\n- name: c\n  cluster: {server: 'https://c.test'}\nusers:\n- name: u\n  user: {token: t}\n",
        )
        .expect("writes");
        let target = read(&[one, two], &choice(None), false)
            .expect("reads")
            .target;
        assert_eq!(target.server, "https://c.test");
        assert_eq!(target.basic, Some(("me".to_string(), "p".to_string())));
    }

    #[test]
    fn an_exec_plugin_logs_in() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config");
        let credential = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"from-plugin"}}"#;
        std::fs::write(
            &path,
            format!(
                "current-context: a\ncontexts:\n- name: a\n  context: {{cluster: c, user: u}}\nclusters:\n- name: c\n  cluster: {{server: 'https://c.test'}}\nusers:\n- name: u\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: sh\n      args: [-c, 'test \"$MODE\" = quiet && test -n \"$KUBERNETES_EXEC_INFO\" && echo \"$0\"', '{credential}']\n      env: [{{name: MODE, value: quiet}}]\n"
            ),
        )
        .expect("writes");
        let target = read(&[path], &choice(None), false).expect("logs in").target;
        assert_eq!(target.token.as_deref(), Some("from-plugin"));
    }
}
