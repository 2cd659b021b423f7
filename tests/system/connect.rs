//! Connect subresources against a kubelet that is not ours (`kubelet.py`: TLS, SPDY, plain HTTP),
//! driven by kubectl and by plain requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kubectl::{ok, run};
use crate::server::{Server, Store, project};

/// A kubelet and the server of a pod; killed when dropped.
struct Kubelet {
    child: Child,
    /// HTTP of a pod.
    pod_port: u16,
    /// HTTPS of the kubelet.
    port: u16,
    requests: PathBuf,
}

impl Kubelet {
    fn start(dir: &Path, address: &str) -> Self {
        let requests = dir.join("requests.jsonl");
        let mut child = Command::new("python3")
            .arg(project().join("tests/system/kubelet.py"))
            .arg(address)
            .args([dir.join("kubelet.crt"), dir.join("kubelet.key")])
            .args([dir.join("ca.crt"), requests.clone()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 to run");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut port = || -> u16 {
            let line = lines.next().expect("a line").expect("text");
            line.parse().expect("a port")
        };
        Kubelet {
            pod_port: port(),
            port: port(),
            child,
            requests,
        }
    }

    fn requests(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.requests).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// Waits for a request of this kind.
    fn wait_for(&self, what: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = self.requests().into_iter().find(|r| what(r)) {
                return found;
            }
            assert!(Instant::now() < deadline, "{:#?}", self.requests());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A CA, the kubelet's certificate and the API server's client certificate.
fn certificates(dir: &Path, address: &str) {
    let write = |name: &str, text: &str| {
        std::fs::write(dir.join(name), text).expect("a file in a temporary folder");
    };
    let named = |names: Vec<String>, common_name: &str| {
        let mut params = CertificateParams::new(names).expect("valid names");
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, common_name);
        params
    };
    let key = KeyPair::generate().expect("a key");
    let mut params = named(Vec::new(), "kubelet-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.crt", &params.self_signed(&key).expect("a CA").pem());
    let issuer = Issuer::new(params, key);
    let leaves = [
        ("kubelet", ExtendedKeyUsagePurpose::ServerAuth),
        ("client", ExtendedKeyUsagePurpose::ClientAuth),
    ];
    for (name, usage) in leaves {
        let key = KeyPair::generate().expect("a key");
        let mut params = named(vec![address.to_string()], &format!("test-{name}"));
        params.extended_key_usages.push(usage);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        write(&format!("{name}.crt"), &certificate.pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    }
}

/// An address of this machine beside loopback, which proxies refuse.
fn own_address() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket
        .connect("198.51.100.1:9")
        .expect("a route, so that this machine has an address beside loopback");
    let address = socket.local_addr().expect("an address");
    address.ip().to_string()
}

/// A server whose node `n` is the kubelet, with pods on it.
struct Cluster {
    server: Server,
    kubelet: Kubelet,
    address: String,
    _dir: TempDir,
}

impl Cluster {
    fn start(store: Store) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let address = own_address();
        certificates(dir.path(), &address);
        let kubelet = Kubelet::start(dir.path(), &address);
        let file = |name: &str| dir.path().join(name).display().to_string();
        let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";
        std::fs::write(dir.path().join("policy.yaml"), policy).expect("a file");
        let server = Server::start(
            store,
            &[
                "--kubelet-client-certificate",
                &file("client.crt"),
                "--kubelet-client-key",
                &file("client.key"),
                "--kubelet-certificate-authority",
                &file("ca.crt"),
                "--kubelet-preferred-address-types",
                "InternalIP,Hostname",
                "--audit-policy-file",
                &file("policy.yaml"),
            ],
        );
        let cluster = Cluster {
            server,
            kubelet,
            address,
            _dir: dir,
        };
        cluster.fill();
        cluster
    }

    fn kubectl(&self, args: &[&str]) -> String {
        ok(self.server.kubectl().args(args), "")
    }

    /// Creates an object and sets its status.
    fn create(&self, object: &Value) {
        ok(
            self.server.kubectl().args(["create", "-f", "-"]),
            &object.to_string(),
        );
        if object["status"].is_null() {
            return;
        }
        let kind = object["kind"].as_str().expect("a kind");
        let name = object["metadata"]["name"].as_str().expect("a name");
        let status = json!({"status": object["status"]}).to_string();
        let patch = [
            "patch",
            kind,
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ];
        self.kubectl(&patch);
    }

    fn fill(&self) {
        let (kubelet, pod) = (self.kubelet.port, self.kubelet.pod_port);
        self.create(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}));
        self.create(&json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
            "status": {
                "addresses": [{"type": "Hostname", "address": "nowhere.invalid"},
                              {"type": "InternalIP", "address": self.address}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet}}}}));
        self.create(&json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "dead"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 1}}}}));
        for (name, node, containers) in [
            ("p", "n", &["main"][..]),
            ("several", "n", &["main", "waiting", "lost", "moved"]),
            ("refused", "n", &["main"]),
            ("far", "dead", &["main"]),
        ] {
            let containers = containers.iter().map(|c| {
                json!({"name": c, "image": "example.test/i:1",
                       "ports": [{"containerPort": pod, "name": format!("p{c}")}],
                       "stdin": true})
            });
            self.create(&json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                "spec": {"nodeName": node, "containers": containers.collect::<Vec<_>>()},
                "status": {"phase": "Running", "podIP": self.address,
                           "podIPs": [{"ip": self.address}],
                           "containerStatuses": [{"name": "main", "ready": true, "image": "i",
                               "imageID": "i", "restartCount": 0, "state": {"running": {}}}]}}));
        }
        self.create(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"ports": [{"name": "web", "port": 80}]}}));
        self.create(&json!({
            "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "s"},
            "subsets": [{
                "ports": [{"name": "web", "port": pod}],
                "addresses": [{"ip": self.address, "targetRef":
                    {"kind": "Pod", "namespace": "default", "name": "p"}}]}]}));
    }

    /// A request as the administrator, by `kubectl get --raw`.
    fn raw(&self, path: &str) -> (bool, String, String) {
        run(self.server.kubectl().args(["get", "--raw", path]), "")
    }

    fn json(&self, path: &str) -> Value {
        let (success, text, error) = self.raw(path);
        assert!(success, "{path}: {error}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// curl with the administrator's certificate: status line, headers and body.
    fn curl(&self, args: &[&str], path: &str) -> String {
        let pki = self.server.data().join("pki");
        let output = Command::new("curl")
            .args(["-sS", "-i", "--http1.1", "--max-time", "20", "--cacert"])
            .arg(pki.join("ca.crt"))
            .arg("--cert")
            .arg(pki.join("admin.crt"))
            .arg("--key")
            .arg(pki.join("admin.key"))
            .args(args)
            .arg(format!("{}{path}", self.server.url()))
            .output()
            .expect("curl to run; install it with: apt-get install curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

const PODS: &str = "/api/v1/namespaces/default/pods";

/// The stream is not reset under an answer that is given before the body was read.
#[test]
fn refusals_over_http2_reach_clients_that_are_still_sending() {
    let server = Server::start(Store::Embedded, &[]);
    for _ in 0..30 {
        let output = Command::new("curl")
            .args(["-sk", "--http2", "--max-time", "20", "-o", "/dev/null"])
            .args(["-w", "%{http_code} %{http_version} %{errormsg}"])
            .args(["-X", "PUT", "--data-binary", "{}"])
            .arg(format!("{}{PODS}", server.url()))
            .output()
            .expect("curl to run; install it with: apt-get install curl");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "403 2");
    }
}

#[test]
fn logs() {
    let cluster = Cluster::start(Store::Embedded);
    let text = cluster.kubectl(&["logs", "p", "--tail=2"]);
    assert_eq!(text, "line 2 of main\nline 3 of main\n");
    let seen = cluster.kubelet.wait_for(|r| r["method"] == "GET");
    assert_eq!(seen["client"], "test-client", "{seen}");
    assert_eq!(seen["target"], "/containerLogs/default/p/main?tailLines=2");
    assert!(seen["headers"].get("authorization").is_none(), "{seen}");

    for (container, message) in [
        ("waiting", "container \"waiting\" is waiting to start"),
        (
            "lost",
            "the server could not find the requested resource ( pods/log several)",
        ),
        ("moved", "redirects forbidden"),
        ("none", "container none is not valid for pod several"),
    ] {
        let (success, _, error) = cluster.raw(&format!("{PODS}/several/log?container={container}"));
        assert!(!success && error.contains(message), "{container}: {error}");
    }
    let (_, _, error) = cluster.raw(&format!("{PODS}/several/log"));
    assert!(
        error.contains("choose one of: [main waiting lost moved]"),
        "{error}"
    );
    let (_, _, error) = cluster.raw(&format!("{PODS}/far/log"));
    let dialed = "Get \"https://127.0.0.1:1/containerLogs/default/far/main\": dial tcp 127.0.0.1:1: connect: connection refused";
    assert!(error.contains(dialed), "{error}");
}

#[test]
fn a_followed_log_streams_until_the_client_goes() {
    let cluster = Cluster::start(Store::Embedded);
    let mut follow = cluster.server.kubectl();
    follow.args(["logs", "-f", "p"]).stdout(Stdio::piped());
    let mut child = follow.spawn().expect("kubectl to start");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for n in 1..=5 {
        let line = lines.next().expect("a line").expect("text");
        assert_eq!(line, format!("line {n} of main"));
    }
    child.kill().expect("kubectl was running");
    child.wait().expect("kubectl to end");
    cluster.kubelet.wait_for(|r| r["ended"] == "log of main");
}

#[test]
fn a_followed_log_ends_with_the_server() {
    let mut cluster = Cluster::start(Store::Embedded);
    let mut follow = cluster.server.kubectl();
    follow.args(["logs", "-f", "p"]).stdout(Stdio::piped());
    let mut child = follow.spawn().expect("kubectl to start");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    lines.next().expect("a line").expect("text");
    assert!(cluster.server.terminate(), "a clean end");
    cluster.kubelet.wait_for(|r| r["ended"] == "log of main");
    drop(lines);
    child.wait().expect("kubectl to end");
}

#[test]
fn exec_and_attach_and_cp() {
    let cluster = Cluster::start(Store::Embedded);
    let script = "echo out; echo err >&2; cat; exit 3";
    let mut exec = cluster.server.kubectl();
    exec.args(["exec", "-i", "p", "--", "sh", "-c", script]);
    let (success, out, err) = run(&mut exec, "typed");
    assert!(!success);
    assert_eq!(out, "out\ntyped");
    assert!(
        err.contains("err\n") && err.contains("exit code 3"),
        "{err}"
    );
    let seen = cluster.kubelet.wait_for(|r| {
        r["target"]
            .as_str()
            .is_some_and(|t| t.starts_with("/exec/"))
            && r["headers"]["upgrade"] == "SPDY/3.1"
    });
    assert_eq!(seen["client"], "test-client");
    assert!(
        seen["headers"]["x-forwarded-for"].is_string() || seen["method"] == "POST",
        "{seen}"
    );

    let mut attach = cluster.server.kubectl();
    attach.args(["attach", "-i", "p", "-c", "main"]);
    let (success, out, err) = run(&mut attach, "hello");
    assert!(success, "{err}");
    assert_eq!(out, "attached to main\nhello");

    let file = cluster.server.data().join("copied");
    let from = cluster.server.data().join("original");
    std::fs::write(&from, "content").expect("a file");
    let folder = TempDir::new().expect("a temporary folder");
    let inside = format!("p:{}", folder.path().join("there").display());
    cluster.kubectl(&["cp", &from.display().to_string(), &inside]);
    cluster.kubectl(&["cp", &inside, &file.display().to_string()]);
    assert_eq!(std::fs::read_to_string(&file).expect("the copy"), "content");

    // 101 is recorded when the connection opens, and again when it has ended.
    let log = cluster.server.data().join("audit/audit.log");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = std::fs::read_to_string(&log).expect("an audit log");
        let of_exec = |stage: &str| {
            let mut lines = text.lines();
            lines.any(|l| {
                l.contains("\"subresource\":\"exec\"")
                    && l.contains(&format!("\"stage\":\"{stage}\""))
                    && l.contains("\"code\":101")
            })
        };
        if of_exec("ResponseStarted") && of_exec("ResponseComplete") {
            break;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn upgrades_that_come_to_nothing() {
    let cluster = Cluster::start(Store::Embedded);
    let exec = |pod: &str| format!("{PODS}/{pod}/exec?command=ls&stdout=1");
    let answer = cluster.curl(&["-X", "POST"], &exec("p"));
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("Upgrade request required"), "{answer}");

    let spdy = [
        "-X",
        "POST",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: SPDY/3.1",
    ];
    let answer = cluster.curl(&spdy, &exec("refused"));
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.ends_with("not this pod"), "{answer}");
    let answer = cluster.curl(&spdy, &exec("far"));
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    let dialed = "error dialing backend: dial tcp 127.0.0.1:1: connect: connection refused";
    assert!(answer.contains(dialed), "{answer}");
    let answer = cluster.curl(&spdy, &format!("{}&dryRun=All", exec("p")));
    assert!(answer.contains("dryRun is not supported"), "{answer}");
}

#[test]
fn port_forwards() {
    let cluster = Cluster::start(Store::Embedded);
    let mut forward = cluster.server.kubectl();
    forward
        .args(["port-forward", "p", ":8080"])
        .stdout(Stdio::piped());
    let mut child = forward.spawn().expect("kubectl to start");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = lines.next().expect("a line").expect("text");
    let port = line.split(" -> ").next().and_then(|l| l.rsplit(':').next());
    let port: u16 = port
        .and_then(|p| p.parse().ok())
        .expect("Forwarding from 127.0.0.1:PORT -> 8080");
    for _ in 0..2 {
        let mut stream =
            std::net::TcpStream::connect(("127.0.0.1", port)).expect("kubectl listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a socket");
        stream.write_all(b"ping").expect("kubectl takes it");
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"8080:ping");
    }
    child.kill().expect("kubectl was running");
    child.wait().expect("kubectl to end");
    let seen = cluster.kubelet.wait_for(|r| {
        r["target"]
            .as_str()
            .is_some_and(|t| t.starts_with("/portForward/default/p"))
    });
    assert_eq!(seen["headers"]["upgrade"], "SPDY/3.1");
}

#[test]
fn proxies_of_pods_services_and_nodes() {
    let cluster = Cluster::start(Store::Embedded);
    let pod = cluster.kubelet.pod_port;
    for (path, server) in [
        (format!("{PODS}/p/proxy/a%20b/?q=1"), "pod"),
        (format!("{PODS}/http:p:{pod}/proxy/a%20b/?q=1"), "pod"),
        (
            "/api/v1/namespaces/default/services/s:80/proxy/a%20b/?q=1".to_string(),
            "pod",
        ),
        (
            "/api/v1/namespaces/default/services/http:s:web/proxy/a%20b/?q=1".to_string(),
            "pod",
        ),
        ("/api/v1/nodes/n/proxy/a%20b/?q=1".to_string(), "kubelet"),
        (
            format!("/api/v1/nodes/http:n:{pod}/proxy/a%20b/?q=1"),
            "pod",
        ),
    ] {
        let seen = cluster.json(&path);
        assert_eq!(seen["server"], server, "{path}");
        assert_eq!(
            (&seen["path"], &seen["query"]),
            (&json!("/a%20b/"), &json!("q=1")),
            "{path}"
        );
        let uri = path.split('?').next();
        assert_eq!(seen["headers"]["x-forwarded-uri"].as_str(), uri);
        assert!(seen["headers"]["x-forwarded-for"].is_string(), "{seen}");
        assert!(seen["headers"].get("authorization").is_none(), "{seen}");
    }
    let answer = cluster.curl(&["-X", "PUT", "-d", "body"], &format!("{PODS}/p/proxy/x"));
    assert!(
        answer.contains("\"method\": \"PUT\"") && answer.contains("\"body\": \"body\""),
        "{answer}"
    );

    let base = format!("{PODS}/p/proxy");
    let answer = cluster.curl(&[], &format!("{base}?a=b")).to_lowercase();
    assert!(answer.starts_with("http/1.1 301"), "{answer}");
    assert!(
        answer.contains(&format!("location: {base}/?a=b")),
        "{answer}"
    );
    let answer = cluster.curl(&[], &format!("{base}/html"));
    assert!(
        answer.contains(&format!("<a href=\"{base}/next\">")),
        "{answer}"
    );
    assert!(
        answer.contains("<a href=\"http://elsewhere.test/\">"),
        "{answer}"
    );
    let answer = cluster.curl(&[], &format!("{base}/away")).to_lowercase();
    assert!(
        answer.contains(&format!("location: {base}/html?x=1")),
        "{answer}"
    );
    let answer = cluster.curl(&[], &format!("{base}/cors")).to_lowercase();
    assert!(
        answer.contains("x-own: 1") && !answer.contains("access-control"),
        "{answer}"
    );
    let answer = cluster.curl(&["-I"], &format!("{base}/html"));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    for (path, message) in [
        (
            format!("{PODS}/p:1/proxy/x"),
            format!(
                "error trying to reach service: dial tcp {}:1: connect: connection refused",
                cluster.address
            ),
        ),
        (
            "/api/v1/namespaces/default/services/s:81/proxy/x".into(),
            "no service port 81 found for service \"s\"".into(),
        ),
        (
            "/api/v1/namespaces/default/services/s:other/proxy/x".into(),
            "no endpoints available for service \"s:other\"".into(),
        ),
        (
            format!("{PODS}/ftp:p:1/proxy/x"),
            "invalid pod request \"ftp:p:1\"".into(),
        ),
        (
            "/api/v1/nodes/dead/proxy/x".into(),
            "address not allowed".into(),
        ),
    ] {
        let (success, _, error) = cluster.raw(&path);
        assert!(!success && error.contains(&message), "{path}: {error}");
    }
}

#[test]
fn a_get_that_executes_needs_create() {
    let cluster = Cluster::start(Store::Embedded);
    cluster.kubectl(&[
        "create",
        "role",
        "looks",
        "--verb=get",
        "--resource=pods,pods/exec",
    ]);
    cluster.kubectl(&[
        "create",
        "rolebinding",
        "looks",
        "--role=looks",
        "--user=eve",
    ]);
    let headers = ["-H", "Impersonate-User: eve"];
    let path = format!("{PODS}/p/exec?command=ls&stdout=1");
    let answer = cluster.curl(&headers, &path);
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let text = "cannot create resource \\\"pods/exec\\\" in API group";
    assert!(answer.contains(text), "{answer}");
}

/// A WebSocket to the server: status line, subprotocol, and messages with their opcodes.
fn websocket(server: &Server, path: &str, protocol: &str, messages: u32) -> Vec<String> {
    let pki = server.data().join("pki");
    let output = Command::new("python3")
        .arg(project().join("tests/system/websocket_client.py"))
        .arg(server.port.to_string())
        .args([
            pki.join("ca.crt"),
            pki.join("admin.crt"),
            pki.join("admin.key"),
        ])
        .args([path, protocol, &messages.to_string()])
        .output()
        .expect("python3 to run");
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{errors}");
    text.lines().map(str::to_string).collect()
}

#[test]
fn watches_and_logs_over_websocket() {
    let cluster = Cluster::start(Store::Embedded);
    let maps = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0";
    for name in ["one", "two"] {
        cluster.kubectl(&["create", "configmap", name]);
    }
    let seen = websocket(&cluster.server, maps, "", 2);
    assert_eq!(&seen[..2], ["HTTP/1.1 101 Switching Protocols", ""]);
    for (line, name) in seen[2..].iter().zip(["one", "two"]) {
        let (opcode, text): (u8, String) = serde_json::from_str(line).expect("a message");
        let event: Value = serde_json::from_str(&text).expect("an event");
        assert_eq!((opcode, &event["type"]), (1, &json!("ADDED")));
        assert_eq!(event["object"]["metadata"]["name"], name);
    }
    let log = format!("{PODS}/p/log?tailLines=1");
    let seen = websocket(&cluster.server, &log, "base64.binary.k8s.io", 1);
    assert_eq!(seen[1], "base64.binary.k8s.io");
    assert_eq!(seen[2], r#"[1, "bGluZSAzIG9mIG1haW4K"]"#);
    let seen = websocket(&cluster.server, &log, "unheard.of", 1);
    assert!(seen[0].contains("400"), "{seen:?}");
}
