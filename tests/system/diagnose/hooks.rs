//! Admission webhooks that refuse, hang and are not there, and a quota that is used up.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::credentials::serving_certificate;
use super::lab::{Answer, Lab, Tally, write};
use crate::server::{free_port, project};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A webhook server; killed when dropped.
struct Webhooks {
    child: Child,
    port: u16,
}

impl Webhooks {
    fn start(pem: &str) -> Self {
        let mut child = Command::new("python3")
            .arg(project().join("tests/system/diagnose/webhook.py"))
            .arg(pem)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 to run; install it with: apt-get install python3");
        let mut line = String::new();
        let output = child.stdout.take().expect("a piped standard output");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the webhook's port");
        let port = line.trim().parse().expect("a port");
        Webhooks { child, port }
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn all() -> Tally {
    let mut lab = Lab::start(&[]);
    let (pem, authority) = serving_certificate();
    let pem = write(lab.dir.path(), "webhook.pem", &pem);
    let webhooks = Webhooks::start(&pem.display().to_string());
    let bundle = STANDARD.encode(authority);
    for (name, port, path, seconds) in [
        ("deny", webhooks.port, "deny", 10),
        ("slow", webhooks.port, "slow", 1),
        ("slower", webhooks.port, "slow", 30),
        ("gone", free_port(), "gone", 10),
    ] {
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": format!("{name}.webhook.test"),
                "clientConfig": {"url": format!("https://127.0.0.1:{port}/{path}"), "caBundle": bundle},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
                "objectSelector": {"matchLabels": {"hook": name}},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": seconds,
            }],
        });
        let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
        lab.must("POST", path, &configuration.to_string());
    }
    let answer = refused(&mut lab, "deny", "");
    lab.check(&answer, 403, "webhook-denied", "deny.webhook.test");
    let answer = refused(&mut lab, "gone", "");
    lab.check(&answer, 500, "webhook-failed", "gone.webhook.test");
    let answer = refused(&mut lab, "slow", "");
    lab.check(&answer, 500, "webhook-timeout", "slow.webhook.test");
    let answer = refused(&mut lab, "slower", "?timeout=1s");
    lab.check(&answer, 0, "webhook-timeout", "slower.webhook.test");
    quota(&mut lab);
    lab.tally
}

/// Repeats a create until it is refused: the server hears of webhooks and quotas a moment after they
/// are stored.
fn until_refused(lab: &mut Lab, path: &str, object: &serde_json::Value) -> Answer {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = lab.admin("POST", path, &object.to_string());
        if answer.code != 201 || Instant::now() > give_up {
            return answer;
        }
    }
}

/// Creates an object that one webhook looks at.
fn refused(lab: &mut Lab, hook: &str, query: &str) -> Answer {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"generateName": "m-", "labels": {"hook": hook}},
    });
    until_refused(lab, &format!("{MAPS}{query}"), &map)
}

fn quota(lab: &mut Lab) {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": {"count/secrets": "0"}},
    });
    lab.must(
        "POST",
        "/api/v1/namespaces/default/resourcequotas",
        &quota.to_string(),
    );
    // What a quota controller would do.
    let status =
        json!({"status": {"hard": {"count/secrets": "0"}, "used": {"count/secrets": "0"}}});
    let (admin, merge) = (
        "Authorization: Bearer admin-token",
        "Content-Type: application/merge-patch+json",
    );
    let path = "/api/v1/namespaces/default/resourcequotas/q/status";
    lab.send(
        path,
        &[
            "-X",
            "PATCH",
            "-H",
            admin,
            "-H",
            merge,
            "-d",
            &status.to_string(),
        ],
    );
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "s-"}});
    let path = "/api/v1/namespaces/default/secrets";
    let answer = until_refused(lab, path, &secret);
    lab.check(&answer, 403, "quota-exceeded", "count/secrets");
}
