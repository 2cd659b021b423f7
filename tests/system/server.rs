//! A Verbatim server as a user starts it: the built program, on a free port, in a folder of its own.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::etcd::Etcd;

/// Which store a server runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// The default.
    Embedded,
    /// A real etcd of the test's own.
    Etcd,
}

/// Where standard output goes, beside the data.
const STDOUT: &str = "stdout";

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Port it listens on.
    pub(crate) port: u16,
    /// What it wrote to standard error.
    pub(crate) log: Arc<Mutex<String>>,
    data: PathBuf,
    args: Vec<String>,
    _dir: Option<TempDir>,
    _etcd: Option<Etcd>,
}

/// The folder of this crate.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener
        .local_addr()
        .expect("the listener's address")
        .port()
}

impl Server {
    /// Starts a server with `extra` flags and waits until it serves.
    pub(crate) fn start(store: Store, extra: &[&str]) -> Self {
        Self::start_as("serve", store, extra)
    }

    fn start_as(command: &str, store: Store, extra: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let etcd = (store == Store::Etcd).then(Etcd::start);
        let mut args: Vec<String> = vec![
            command.into(),
            "--data-dir".into(),
            dir.path().join("data").display().to_string(),
            "--bind-address".into(),
            "127.0.0.1".into(),
        ];
        if let Some(etcd) = &etcd {
            args.extend(["--etcd-servers".to_string(), etcd.endpoint().to_string()]);
        }
        args.extend(extra.iter().map(|a| a.to_string()));
        let port = free_port();
        let data = dir.path().join("data");
        let (child, log) = spawn(&args, port, &dir.path().join(STDOUT));
        Server {
            child,
            port,
            log,
            data,
            args,
            _dir: Some(dir),
            _etcd: etcd,
        }
    }

    /// Starts `verbatim collect`.
    pub(crate) fn collect(extra: &[&str]) -> Self {
        Self::start_as("collect", Store::Embedded, extra)
    }

    /// URL of the API.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The administrator's kubeconfig that the server wrote.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data.join("admin.kubeconfig")
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    fn stdout_file(&self) -> PathBuf {
        self.data.with_file_name(STDOUT)
    }

    /// What it wrote to standard output.
    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(self.stdout_file()).expect("the server's standard output")
    }

    /// SIGKILL, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server was running");
        self.child.wait().expect("the server to be reaped");
    }

    /// SIGTERM, and waits for the end. Answers whether it ended well.
    pub(crate) fn terminate(&mut self) -> bool {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill to run");
        assert!(sent.success(), "kill -TERM {pid}");
        self.child
            .wait()
            .expect("the server to be reaped")
            .success()
    }

    /// Starts again on the same data and port.
    pub(crate) fn restart(&mut self) {
        let (child, log) = spawn(&self.args, self.port, &self.stdout_file());
        self.child = child;
        self.log = log;
    }

    /// kubectl with the administrator's kubeconfig.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command.env("HOME", self.data.join("home"));
        command
    }
}

fn spawn(args: &[String], port: u16, stdout: &Path) -> (Child, Arc<Mutex<String>>) {
    let stdout = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(stdout);
    let stdout = stdout.expect("a file for standard output");
    let mut child = Command::new(env!("CARGO_BIN_EXE_verbatim"))
        .args(args)
        .args(["--secure-port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the verbatim program to start");
    let stderr = child.stderr.take().expect("a piped standard error");
    let log = Arc::new(Mutex::new(String::new()));
    let (ready, is_ready) = std::sync::mpsc::channel();
    let copy = log.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains("serves the Kubernetes API at")
                || line.contains("collects audit events at")
            {
                let _ = ready.send(());
            }
            let mut log = copy.lock().expect("no thread panicked with the log");
            log.push_str(&line);
            log.push('\n');
        }
    });
    if is_ready
        .recv_timeout(std::time::Duration::from_secs(60))
        .is_err()
    {
        let _ = child.kill();
        let log = log.lock().expect("no thread panicked with the log");
        panic!("the server did not get ready:\n{log}");
    }
    (child, log)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
