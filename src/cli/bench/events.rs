//! Synthetic events with the variety of a busy cluster: controllers, kubelets and people; reads and
//! writes of many kinds, with bodies on writes; refusals; stage traces.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::search::Window;

/// Days that the events are spread over.
const DAYS: i64 = 2;
const DAY_MICROS: i64 = 86_400_000_000;
/// Requests of a cluster by kind: group, resource, weight.
const RESOURCES: [(&str, &str, u32); 14] = [
    ("", "pods", 22),
    ("coordination.k8s.io", "leases", 20),
    ("", "configmaps", 9),
    ("", "secrets", 6),
    ("", "services", 5),
    ("discovery.k8s.io", "endpointslices", 7),
    ("", "nodes", 8),
    ("", "events", 8),
    ("apps", "deployments", 5),
    ("apps", "replicasets", 4),
    ("batch", "jobs", 2),
    ("rbac.authorization.k8s.io", "clusterroles", 1),
    ("", "serviceaccounts", 2),
    ("networking.k8s.io", "ingresses", 1),
];
const VERBS: [(&str, u32); 7] = [
    ("get", 38),
    ("list", 12),
    ("watch", 10),
    ("update", 18),
    ("patch", 12),
    ("create", 7),
    ("delete", 3),
];
const CODES: [(u16, &str, u32); 7] = [
    (200, "", 88),
    (201, "", 3),
    (404, "NotFound", 4),
    (403, "Forbidden", 2),
    (409, "Conflict", 2),
    (422, "Invalid", 1),
    (500, "InternalError", 1),
];
const AGENTS: [&str; 8] = [
    "kubelet/v1.36.1 (linux/amd64) kubernetes/a1b2c3d",
    "kube-controller-manager/v1.36.1 (linux/amd64) kubernetes/a1b2c3d/leader-election",
    "kube-scheduler/v1.36.1 (linux/amd64) kubernetes/a1b2c3d/scheduler",
    "kubectl/v1.35.0 (darwin/arm64) kubernetes/9e1c2d3",
    "argocd-application-controller/v3.1.0 (linux/amd64)",
    "Prometheus/3.6.0",
    "Helm/4.0.1",
    "cert-manager-controller/v1.19.0 (linux/amd64) cert-manager/5f1e2d3",
];
const WORDS: [&str; 16] = [
    "web", "api", "cart", "payment", "search", "auth", "worker", "mail", "cache", "queue",
    "report", "batch", "edge", "stock", "price", "image",
];

/// Makes events.
pub(super) struct Events {
    random: StdRng,
    count: u64,
    made: u64,
    begin: i64,
}

impl Events {
    pub(super) fn new(count: u64) -> Self {
        let today = chrono::Utc::now().timestamp_micros() / DAY_MICROS * DAY_MICROS;
        Events {
            random: StdRng::seed_from_u64(7),
            count,
            made: 0,
            begin: today - DAYS * DAY_MICROS,
        }
    }

    /// Appends events to a file; answers the bytes written.
    pub(super) fn write(&mut self, path: &Path, count: u64) -> std::io::Result<u64> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut bytes = 0;
        for _ in 0..count {
            let line = self.line();
            bytes += line.len() as u64;
            out.write_all(line.as_bytes())?;
        }
        out.flush()?;
        Ok(bytes)
    }

    fn weighted<T: Copy>(&mut self, from: &[T], weight: impl Fn(T) -> u32) -> T {
        let total: u32 = from.iter().map(|t| weight(*t)).sum();
        let mut left = self.random.random_range(0..total);
        for item in from {
            let own = weight(*item);
            if left < own {
                return *item;
            }
            left -= own;
        }
        from[0]
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.random.random_range(0..WORDS.len())]
    }

    fn hex(&mut self, digits: usize) -> String {
        let number: u64 = self.random.random();
        format!("{number:016x}")[..digits].to_string()
    }

    fn uuid(&mut self) -> String {
        let (a, b): (u64, u64) = (self.random.random(), self.random.random());
        uuid::Uuid::from_u64_pair(a, b).to_string()
    }

    fn user(&mut self) -> String {
        match self.random.random_range(0..10) {
            0..3 => format!("system:node:node-{}", self.random.random_range(0..200)),
            3..5 => "system:kube-controller-manager".into(),
            5 => format!("person-{}@example.com", self.random.random_range(0..300)),
            _ => {
                let (namespace, word) = (self.namespace(), self.word());
                format!("system:serviceaccount:{namespace}:{word}")
            }
        }
    }

    fn namespace(&mut self) -> String {
        let (word, n) = (self.word(), self.random.random_range(0..4));
        format!("team-{word}-{n}")
    }

    fn line(&mut self) -> String {
        let span = DAYS * DAY_MICROS;
        let step = span / i64::try_from(self.count.max(1)).unwrap_or(1);
        let at = self.begin + i64::try_from(self.made).unwrap_or(0) * step % span;
        self.made += 1;
        let (group, resource, _) = self.weighted(&RESOURCES, |r| r.2);
        let (verb, _) = self.weighted(&VERBS, |v| v.1);
        let (code, reason, _) = self.weighted(&CODES, |c| c.2);
        let agent = AGENTS[self.random.random_range(0..AGENTS.len())];
        let (namespace, user, id) = (self.namespace(), self.user(), self.uuid());
        let name = format!("{}-{}-{}", self.word(), self.hex(9), self.hex(5));
        let micros = self.random.random_range(200..3_000) * self.random.random_range(1i64..20);
        let base = match group {
            "" => "/api/v1".to_string(),
            group => format!("/apis/{group}/v1"),
        };
        let api_group = match group {
            "" => String::new(),
            group => format!(r#""apiGroup":"{group}","#),
        };
        let received = stamp(at);
        let reached = stamp(at + micros);
        let message = match reason {
            "" => String::new(),
            reason => format!(
                r#""status":"Failure","message":"{resource} \"{name}\" cannot be used: {reason}","reason":"{reason}","#
            ),
        };
        let body = self.body(verb, resource, &namespace, &name);
        let trace = self.trace(verb, micros);
        let ip = self.random.random_range(1..250);
        format!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Request\",\"auditID\":\"{id}\",\"stage\":\"ResponseComplete\",\"requestURI\":\"{base}/namespaces/{namespace}/{resource}/{name}?timeout=10s\",\"verb\":\"{verb}\",\"user\":{{\"username\":\"{user}\",\"groups\":[\"system:authenticated\",\"system:serviceaccounts\"]}},\"sourceIPs\":[\"10.0.{ip}.{ip}\"],\"userAgent\":\"{agent}\",\"objectRef\":{{\"resource\":\"{resource}\",\"namespace\":\"{namespace}\",\"name\":\"{name}\",{api_group}\"apiVersion\":\"v1\"}},\"responseStatus\":{{\"metadata\":{{}},{message}\"code\":{code}}},{body}\"requestReceivedTimestamp\":\"{received}\",\"stageTimestamp\":\"{reached}\",\"annotations\":{{\"audit.verbatim.dev/stages\":\"{trace}\",\"authorization.k8s.io/decision\":\"allow\",\"authorization.k8s.io/reason\":\"RBAC: allowed by ClusterRoleBinding \\\"{user}\\\" of ClusterRole \\\"edit\\\" to User \\\"{user}\\\"\"}}}}\n"
        )
    }

    /// A request body of writes; about one event in five has one.
    fn body(&mut self, verb: &str, resource: &str, namespace: &str, name: &str) -> String {
        match verb {
            "create" | "update" => {
                let (image, tag) = (self.word(), self.random.random_range(0..60));
                let (uid, digest) = (self.uuid(), self.hex(16));
                format!(
                    r#""requestObject":{{"kind":"{resource}","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"{namespace}","uid":"{uid}","labels":{{"app":"{image}","pod-template-hash":"{digest}"}},"resourceVersion":"{}"}},"spec":{{"replicas":{},"containers":[{{"name":"{image}","image":"registry.example.com/{image}:1.{tag}","resources":{{"limits":{{"cpu":"500m","memory":"256Mi"}},"requests":{{"cpu":"100m","memory":"128Mi"}}}},"ports":[{{"containerPort":8080,"protocol":"TCP"}}],"terminationMessagePath":"/dev/termination-log","imagePullPolicy":"IfNotPresent"}}],"restartPolicy":"Always","dnsPolicy":"ClusterFirst","serviceAccountName":"{image}"}}}},"#,
                    self.made + 100_000,
                    tag % 7,
                )
            }
            "patch" => format!(
                r#""requestObject":{{"status":{{"observedGeneration":{},"conditions":[{{"type":"Ready","status":"True"}}]}}}},"#,
                self.made % 100
            ),
            _ => String::new(),
        }
    }

    fn trace(&mut self, verb: &str, micros: i64) -> String {
        let store = micros / self.random.random_range(2..5);
        let mut stages = String::new();
        let mut at = 0;
        for (name, share, outcome) in [
            ("authentication", 40, "ok"),
            ("flow-control", 90, "exempt"),
            ("authorization", 50, "allow"),
        ] {
            let took = micros / share;
            stages.push_str(&format!(r#"[\"{name}\",{at},{took},\"{outcome}\"],"#));
            at += took;
        }
        let write = matches!(verb, "create" | "update" | "patch" | "delete");
        let manager = match write {
            true => r#"\"fieldManager\":\"kubectl\","#,
            false => "",
        };
        stages.push_str(&format!(r#"[\"store/{verb}\",{at},{store},\"ok\"]"#));
        format!(
            r#"{{\"us\":{micros},\"by\":\"service-account\",\"rule\":{},{manager}\"stages\":[{stages}]}}"#,
            self.made % 9
        )
    }

    /// A filter as people type it.
    pub(super) fn query(&self, n: usize) -> String {
        let word = WORDS[n % WORDS.len()];
        match n % 6 {
            0 => format!("ns:team-{word}-{} code:>=400", n % 4),
            1 => format!("user:system:node:node-{} verb:update", n % 200),
            2 => format!("resource:secrets verb:delete latency:>{}ms", n % 9),
            3 => format!("user:person-{}@example.com", n % 300),
            4 => format!("resource:deployments verb:(update OR patch) {word}"),
            _ => format!("code:403 resource:pods -verb:get agent:kubectl* {word}"),
        }
    }

    /// A filter that leaves much.
    pub(super) fn broad_query(&self, n: usize) -> String {
        match n % 4 {
            0 => String::new(),
            1 => "-verb:watch".into(),
            2 => "code:>=200 -resource:leases".into(),
            _ => format!("ns:team-{}-*", WORDS[n % WORDS.len()]),
        }
    }

    /// A window of some hours.
    pub(super) fn window(&self, n: usize) -> Window {
        let hours = i64::try_from(n % 40).unwrap_or(0) + 4;
        let to = self.begin + DAYS * DAY_MICROS - i64::try_from(n % 5).unwrap_or(0) * 3_600_000_000;
        super::window(to - hours * 3_600_000_000, to)
    }
}

fn stamp(micros: i64) -> String {
    super::time(micros)
        .format("%Y-%m-%dT%H:%M:%S%.6fZ")
        .to_string()
}
