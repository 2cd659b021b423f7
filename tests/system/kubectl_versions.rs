//! Less common kubectl commands, with every kubectl that is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kubectl::{ok, run};
use crate::server::{Server, Store};

const MANIFEST: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: default}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: v1
kind: Node
metadata: {name: worker}
---
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec:
  nodeName: worker
  containers: [{name: a, image: "example.test/a:1"}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "example.test/web:1"}]
"#;

/// Versions that are looked for beside plain kubectl.
const VERSIONS: [&str; 5] = ["1.29", "1.30", "1.31", "1.32", "1.33"];

#[test]
fn every_kubectl_works() {
    let server = Server::start(Store::Embedded, &[]);
    for program in programs() {
        Tour::new(&server, program).all();
    }
}

/// `kubectl.1.33` and so on in the PATH or beside the file that kubectl is a link to; else kubectl.
fn programs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let plain = folders
        .iter()
        .map(|f| f.join("kubectl"))
        .find(|f| f.exists());
    let plain = plain.expect("kubectl; install it with: apt-get install kubernetes-client");
    if let Some(folder) = plain.canonicalize().ok().as_deref().and_then(Path::parent) {
        folders.push(folder.into());
    }
    let find = |version: &&str| {
        let name = format!("kubectl.{version}");
        folders.iter().map(|f| f.join(&name)).find(|f| f.exists())
    };
    let found: Vec<PathBuf> = VERSIONS.iter().filter_map(find).collect();
    match found.is_empty() {
        true => vec![plain],
        false => found,
    }
}

/// One kubectl in a namespace of its own.
struct Tour<'a> {
    server: &'a Server,
    program: PathBuf,
}

impl<'a> Tour<'a> {
    fn new(server: &'a Server, program: PathBuf) -> Self {
        Tour { server, program }
    }

    fn all(&self) {
        self.kubectl(&["create", "namespace", "tour"], "");
        self.create();
        self.get();
        self.explain();
        self.change();
        self.apply();
        self.rollouts();
        self.nodes();
        self.delete();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(self.server.kubeconfig())
            .args(["--namespace", "tour"])
            .args(args)
            .env("HOME", self.server.data().join("home"));
        command
    }

    fn kubectl(&self, args: &[&str], input: &str) -> String {
        ok(&mut self.command(args), input)
    }

    fn expect(&self, args: &[&str], input: &str, expected: &[&str]) {
        let output = self.kubectl(args, input);
        for text in expected {
            let program = self.program.display();
            assert!(
                output.contains(text),
                "{program} {args:?}: no {text:?} in\n{output}"
            );
        }
    }

    fn create(&self) {
        let expected = [
            "serviceaccount/default created",
            "configmap/settings created",
            "node/worker created",
            "pod/alone created",
            "deployment.apps/web created",
        ];
        self.expect(&["create", "-f", "-"], MANIFEST, &expected);
        let (success, _, stderr) = run(&mut self.command(&["create", "-f", "-"]), MANIFEST);
        let refusal = "Error from server (AlreadyExists)";
        assert!(!success && stderr.contains(refusal), "{stderr}");
    }

    fn get(&self) {
        let get = |args: &[&str], expected: &[&str]| {
            self.expect(&[&["get"], args].concat(), "", expected);
        };
        get(
            &["cm", "settings", "-o", "json"],
            &["\"colour\": \"blue\"", "\"kind\": \"ConfigMap\""],
        );
        get(
            &["cm", "settings", "-o", "yaml"],
            &["apiVersion: v1\ndata:\n  colour: blue\nkind: ConfigMap\n"],
        );
        get(
            &["cm,sa", "-o", "name"],
            &["configmap/settings\n", "serviceaccount/default\n"],
        );
        get(
            &["deploy", "-o", "wide"],
            &["CONTAINERS", "SELECTOR", "example.test/web:1", "app=web"],
        );
        get(
            &["deploy", "web", "-o", "jsonpath={.spec.replicas}"],
            &["2"],
        );
        let columns = "custom-columns=NAME:.metadata.name,REPLICAS:.spec.replicas";
        get(&["deploy", "-o", columns], &["NAME   REPLICAS\nweb    2\n"]);
        get(
            &["pods", "--field-selector=spec.nodeName=worker"],
            &["alone   0/1     Pending"],
        );
        get(
            &["--raw", "/api/v1/namespaces/tour"],
            &["\"kind\":\"Namespace\""],
        );
        let watch = ["get", "cm", "--watch", "--request-timeout=1s"];
        let (_, stdout, stderr) = run(&mut self.command(&watch), "");
        assert!(stdout.contains("settings   1 "), "{stdout}{stderr}");
        self.expect(
            &["api-versions"],
            "",
            &["apps/v1\n", "rbac.authorization.k8s.io/v1\n", "\nv1\n"],
        );
        self.expect(
            &["describe", "node", "worker"],
            "",
            &["Name:               worker"],
        );
    }

    fn explain(&self) {
        let recursive = ["explain", "--recursive", "pods.spec.volumes"];
        self.expect(
            &recursive,
            "",
            &[
                "configMap\t<ConfigMapVolumeSource>",
                "defaultMode\t<integer>",
            ],
        );
        self.expect(
            &["explain", "cronjob"],
            "",
            &["GROUP:      batch", "KIND:       CronJob"],
        );
    }

    fn change(&self) {
        let changed = MANIFEST.replace("blue", "green");
        let (_, stdout, stderr) = run(&mut self.command(&["diff", "-f", "-"]), &changed);
        assert!(
            stdout.contains("-  colour: blue\n+  colour: green"),
            "{stdout}{stderr}"
        );
        let mut edit = self.command(&["edit", "configmap", "settings"]);
        let edited = ok(edit.env("KUBE_EDITOR", "sed -i s/blue/red/"), "");
        assert!(edited.contains("configmap/settings edited"), "{edited}");
        self.expect(
            &["get", "cm", "settings", "-o", "jsonpath={.data.colour}"],
            "",
            &["red"],
        );
    }

    fn apply(&self) {
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned}\ndata: {a: b}\n";
        let apply = ["apply", "--server-side", "-f", "-"];
        self.expect(&apply, map, &["configmap/owned serverside-applied"]);
        let other = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
        let conflicting = map.replace("a: b", "a: c");
        let (success, _, stderr) = run(&mut self.command(&other), &conflicting);
        let conflict = "conflict with \"kubectl\": .data.a";
        assert!(!success && stderr.contains(conflict), "{stderr}");
        let forced = [&other[..], &["--force-conflicts"]].concat();
        self.expect(
            &forced,
            &conflicting,
            &["configmap/owned serverside-applied"],
        );
        let show = ["get", "cm", "owned", "-o", "yaml", "--show-managed-fields"];
        self.expect(
            &show,
            "",
            &["manager: other", "f:a: {}", "operation: Apply"],
        );
    }

    fn rollouts(&self) {
        self.expect(
            &["rollout", "history", "deployment/web"],
            "",
            &["No rollout history found."],
        );
        let status = ["rollout", "status", "deployment/web", "--watch=false"];
        self.expect(
            &status,
            "",
            &["Waiting for deployment spec update to be observed..."],
        );
        self.expect(
            &["rollout", "restart", "deployment/web"],
            "",
            &["deployment.apps/web restarted"],
        );
        self.expect(
            &["rollout", "pause", "deployment/web"],
            "",
            &["deployment.apps/web paused"],
        );
        self.expect(
            &["autoscale", "deployment/web", "--max=3"],
            "",
            &["/web autoscaled"],
        );
    }

    fn nodes(&self) {
        self.expect(
            &["taint", "nodes", "worker", "a=b:NoSchedule"],
            "",
            &["node/worker tainted"],
        );
        self.expect(
            &["taint", "nodes", "worker", "a-"],
            "",
            &["node/worker untainted"],
        );
        self.expect(&["cordon", "worker"], "", &["node/worker cordoned"]);
        self.expect(&["get", "node", "worker"], "", &["SchedulingDisabled"]);
        self.expect(&["uncordon", "worker"], "", &["node/worker uncordoned"]);
        let drain = ["drain", "worker", "--force", "--dry-run=client"];
        self.expect(&drain, "", &["node/worker drained (dry run)"]);
        let drain = [
            "drain",
            "worker",
            "--force",
            "--grace-period=0",
            "--timeout=60s",
        ];
        self.expect(&drain, "", &["pod/alone evicted", "node/worker drained"]);
    }

    fn delete(&self) {
        let delete = [
            "delete",
            "--wait",
            "--timeout=60s",
            "-f",
            "-",
            "--ignore-not-found",
        ];
        let expected = [
            "configmap \"settings\"",
            "deployment.apps \"web\"",
            "node \"worker\"",
        ];
        self.expect(&delete, MANIFEST, &expected);
        let (success, _, stderr) = run(&mut self.command(&["get", "cm", "settings"]), "");
        let refusal = "Error from server (NotFound): configmaps \"settings\" not found";
        assert!(!success && stderr.contains(refusal), "{stderr}");
        self.kubectl(&["delete", "namespace", "tour", "--wait=false"], "");
        // No namespace controller runs: what it would do when all content is gone.
        let everything = ["delete", "sa,cm,hpa,deploy,pods", "--all", "--wait=false"];
        self.kubectl(&everything, "");
        let emptied = self.kubectl(&["get", "namespace", "tour", "-o", "json"], "");
        let emptied = emptied.replace("\"kubernetes\"\n", "");
        let path = "/api/v1/namespaces/tour/finalize";
        self.kubectl(&["replace", "--raw", path, "-f", "-"], &emptied);
    }
}
