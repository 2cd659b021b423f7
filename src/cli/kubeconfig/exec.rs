//! Exec credential plugins: a program of the kubeconfig that prints a token or a certificate
//! (client.authentication.k8s.io ExecCredential, v1 and v1beta1).

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::base::tree::{Value, json};
use crate::server::client::Target;
use crate::server::client::kubeconfig::{certificates, private_key};

/// Runs the plugin and takes what it prints.
pub(super) fn log_in(target: &mut Target, exec: &Value, base: &Path) -> anyhow::Result<()> {
    let command = exec["command"].as_str().unwrap_or_default();
    let strings = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items
            .filter_map(|v| v.as_str().map(str::to_string))
            .collect()
    };
    let is_interactive = exec["interactiveMode"] != "Never" && std::io::stdin().is_terminal();
    let info = json!({
        "kind": "ExecCredential",
        "apiVersion": exec["apiVersion"],
        "spec": {"interactive": is_interactive},
    });
    // A command with a slash is relative to the kubeconfig, any other is looked for in PATH.
    let program = match command.contains('/') {
        true => base.join(command),
        false => PathBuf::from(command),
    };
    let mut run = Command::new(program);
    run.args(strings(&exec["args"]))
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .stderr(Stdio::inherit())
        .stdin(match is_interactive {
            true => Stdio::inherit(),
            false => Stdio::null(),
        });
    for variable in exec["env"].as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) {
            run.env(name, value);
        }
    }
    let output = run.output().with_context(|| {
        let hint = exec["installHint"].as_str().unwrap_or_default();
        format!("running the credential plugin {command:?} {hint}")
    })?;
    if !output.status.success() {
        bail!(
            "the credential plugin {command:?} failed: {}",
            output.status
        );
    }
    let credential: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the credential plugin {command:?} printed no JSON"))?;
    let status = &credential["status"];
    if let Some(token) = status["token"].as_str() {
        target.token = Some(token.to_string());
    }
    if let (Some(certificate), Some(key)) = (
        status["clientCertificateData"].as_str(),
        status["clientKeyData"].as_str(),
    ) {
        let chain = certificates(certificate.as_bytes())?;
        target.identity = Some((chain, private_key(key.as_bytes())?));
    }
    if target.token.is_none() && target.identity.is_none() {
        bail!("the credential plugin {command:?} gave neither a token nor a certificate");
    }
    Ok(())
}
