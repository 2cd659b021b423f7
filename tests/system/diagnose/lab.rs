//! Servers to break, requests to be refused, and the question why.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::{Server, Store};

/// Tokens of the servers' users.
pub(super) const TOKENS: &str = "admin-token,admin,1,\"system:masters\"\nalice-token,alice,2\nbob-token,bob,3\nnode-token,system:node:n1,4,\"system:nodes\"\n";
/// How long an explanation may take to appear.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of the cases.
#[derive(Default)]
pub(super) struct Tally {
    /// Cause and detail as they should be.
    pub(super) right: Vec<String>,
    /// Not as they should be, and said so.
    pub(super) unsure: Vec<String>,
    /// Not as they should be.
    pub(super) wrong: Vec<String>,
}

impl Tally {
    pub(super) fn add(&mut self, other: Tally) {
        self.right.extend(other.right);
        self.unsure.extend(other.unsure);
        self.wrong.extend(other.wrong);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} right: {}", self.right.len(), self.right.join(", "))?;
        writeln!(
            f,
            "{} unsure:\n{}",
            self.unsure.len(),
            self.unsure.join("\n")
        )?;
        write!(f, "{} wrong:\n{}", self.wrong.len(), self.wrong.join("\n"))
    }
}

/// A server, its files, and what was found out about it.
pub(super) struct Lab {
    pub(super) server: Server,
    pub(super) dir: TempDir,
    pub(super) tally: Tally,
    number: u32,
}

/// An answer to a request.
pub(super) struct Answer {
    /// The audit ID that the request chose.
    pub(super) id: String,
    pub(super) code: u16,
    pub(super) body: Value,
}

impl Lab {
    /// A server with token users, every event recorded, and further flags.
    pub(super) fn start(flags: &[&str]) -> Self {
        Self::start_in(TempDir::new().expect("a temporary folder"), flags)
    }

    /// As [`Lab::start`], beside files that the flags name.
    pub(super) fn start_in(dir: TempDir, flags: &[&str]) -> Self {
        let tokens = write(dir.path(), "tokens.csv", TOKENS);
        let tokens = tokens.display().to_string();
        let mut all = vec!["--token-auth-file", &tokens];
        all.extend(flags);
        let server = Server::start(Store::Embedded, &all);
        Lab {
            server,
            dir,
            tally: Tally::default(),
            number: 0,
        }
    }

    /// Sends a request with an audit ID of its own. `arguments` are curl's.
    pub(super) fn send(&mut self, path: &str, arguments: &[&str]) -> Answer {
        self.number += 1;
        let id = format!("case-{}", self.number);
        let (code, body) = self.curl(&id, path, arguments);
        Answer { id, code, body }
    }

    /// As the administrator.
    pub(super) fn admin(&mut self, method: &str, path: &str, body: &str) -> Answer {
        self.as_user("admin", method, path, body)
    }

    /// As a user of [`TOKENS`].
    pub(super) fn as_user(&mut self, user: &str, method: &str, path: &str, body: &str) -> Answer {
        let token = format!("Authorization: Bearer {user}-token");
        let mut arguments = vec!["-X", method, "-H", &token];
        if !body.is_empty() {
            arguments.extend([
                "-H",
                "Content-Type: application/json",
                "--data-binary",
                body,
            ]);
        }
        self.send(path, &arguments)
    }

    /// As the administrator; must succeed.
    pub(super) fn must(&mut self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.admin(method, path, body);
        assert!(
            answer.code < 300,
            "{method} {path}: {} {}",
            answer.code,
            answer.body
        );
        answer.body
    }

    fn curl(&self, id: &str, path: &str, arguments: &[&str]) -> (u16, Value) {
        let output = Command::new("curl")
            .args(["-sk", "--max-time", "60", "-w", "\n%{http_code}"])
            .args(["-H", &format!("Audit-ID: {id}")])
            .args(arguments)
            .arg(format!("{}{path}", self.server.url()))
            .output()
            .expect("curl to run; install it with: apt-get install curl");
        let text = String::from_utf8_lossy(&output.stdout);
        let (body, code) = text.rsplit_once('\n').unwrap_or(("", "0"));
        let body = serde_json::from_str(body).unwrap_or(Value::String(body.to_string()));
        (code.parse().unwrap_or_default(), body)
    }

    /// The explanation of a request. It may take a moment until a broken request is in the record.
    pub(super) fn why(&self, id: &str) -> Value {
        let path = format!("/apis/audit.verbatim.dev/v1alpha1/explanations/{id}");
        let give_up = Instant::now() + PATIENCE;
        loop {
            let token = ["-H", "Authorization: Bearer admin-token"];
            let (code, body) = self.curl("why", &path, &token);
            if code == 200 && body["code"] != 0 {
                return body;
            }
            assert!(
                Instant::now() < give_up,
                "{id} is not explained: {code} {body}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks why, and notes whether the cause is the true one: of this class, with `detail` in detail,
    /// cause or evidence. `code` is what the client must have got; 0 where that is not the question.
    pub(super) fn check(&mut self, answer: &Answer, code: u16, class: &str, detail: &str) -> Value {
        let explanation = self.why(&answer.id);
        let text = |key: &str| explanation[key].as_str().unwrap_or_default();
        let evidence = explanation["evidence"].to_string();
        let told = [text("detail"), text("cause"), &evidence];
        let is_right = explanation["class"] == class
            && (code == 0 || answer.code == code)
            && (detail.is_empty() || told.iter().any(|t| t.contains(detail)));
        let name = format!("{code} {class} {detail}");
        if is_right && explanation["certainty"] != "unknown" {
            self.tally.right.push(name);
            return explanation;
        }
        let got = format!(
            "{name}: got {} {}, {} {} {}: {}; {}",
            answer.code,
            answer.body,
            text("class"),
            text("detail"),
            text("certainty"),
            text("cause"),
            explanation["event"]["annotations"]["audit.verbatim.dev/stages"],
        );
        match text("certainty") {
            "certain" => self.tally.wrong.push(got),
            _ => self.tally.unsure.push(got),
        }
        explanation
    }
}

/// Writes a file, answers its path.
pub(super) fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).expect("a file to be written");
    path
}
