//! kubectl's everyday verbs, one line each: what is typed and a part of what kubectl prints.

use serde_json::{Value, json};

use crate::kubectl::{ok, run};
use crate::server::{Server, Store};

/// A command line and what its output must contain.
type Line = (&'static str, &'static str);

const GENERATORS: &[Line] = &[
    ("create namespace t", "namespace/t created"),
    (
        "create serviceaccount default -n t",
        "serviceaccount/default created",
    ),
    (
        "create configmap cm --from-literal=a=1 -n t",
        "configmap/cm created",
    ),
    (
        "create secret generic s --from-literal=p=x -n t",
        "secret/s created",
    ),
    (
        "create secret docker-registry reg --docker-username=u --docker-password=p -n t",
        "secret/reg created",
    ),
    (
        "create quota q --hard=pods=50,configmaps=20 -n t",
        "resourcequota/q created",
    ),
    (
        "create priorityclass high --value=1000",
        "priorityclass.scheduling.k8s.io/high created",
    ),
    (
        "create role reader --verb=get,list --resource=pods,pods/log -n t",
        "role.rbac.authorization.k8s.io/reader created",
    ),
    (
        "create rolebinding readers --role=reader --user=eve --serviceaccount=t:default -n t",
        "rolebinding.rbac.authorization.k8s.io/readers created",
    ),
    (
        "create clusterrole nodes --verb=list --resource=nodes",
        "clusterrole.rbac.authorization.k8s.io/nodes created",
    ),
    (
        "create clusterrole agg --aggregation-rule=a=b",
        "clusterrole.rbac.authorization.k8s.io/agg created",
    ),
    (
        "create clusterrolebinding nodes --clusterrole=nodes --group=ops",
        "clusterrolebinding.rbac.authorization.k8s.io/nodes created",
    ),
    (
        "create deployment web --image=example.test/web:1 --replicas=2 --port=80 -n t",
        "deployment.apps/web created",
    ),
    (
        "create job once --image=example.test/job:1 -n t -- sh -c true",
        "job.batch/once created",
    ),
    (
        "create cronjob nightly --image=example.test/job:1 --schedule=0/5_*_*_*_* -n t",
        "cronjob.batch/nightly created",
    ),
    (
        "create job now --from=cronjob/nightly -n t",
        "job.batch/now created",
    ),
    (
        "create service clusterip plain --tcp=80:8080 -n t",
        "service/plain created",
    ),
    (
        "create service nodeport open --tcp=80 -n t",
        "service/open created",
    ),
    (
        "create service externalname out --external-name=example.test -n t",
        "service/out created",
    ),
    (
        "create ingress web --rule=web.test/=plain:80,tls=cert -n t",
        "ingress.networking.k8s.io/web created",
    ),
    (
        "create poddisruptionbudget guard --selector=app=web --min-available=1 -n t",
        "poddisruptionbudget.policy/guard created",
    ),
    (
        "run one --image=example.test/one:1 --labels=app=one --env=A=1 --port=80 -n t",
        "pod/one created",
    ),
    (
        "run gone --image=example.test/one:1 --dry-run=server -n t",
        "pod/gone created (server dry run)",
    ),
    ("create token default -n t --duration=1h", "."),
];

const CHANGES: &[Line] = &[
    (
        "expose deployment web --port=80 --target-port=8080 -n t",
        "service/web exposed",
    ),
    (
        "autoscale deployment web --min=1 --max=5 --cpu-percent=80 -n t",
        "horizontalpodautoscaler.autoscaling/web autoscaled",
    ),
    (
        "set image deployment/web web=example.test/web:2 -n t",
        "deployment.apps/web image updated",
    ),
    (
        "set env deployment/web COLOUR=blue -n t",
        "deployment.apps/web env updated",
    ),
    ("set env deployment/web --list -n t", "COLOUR=blue"),
    (
        "set resources deployment/web --limits=cpu=200m,memory=512Mi -n t",
        "deployment.apps/web resource requirements updated",
    ),
    (
        "set serviceaccount deployment web default -n t",
        "deployment.apps/web serviceaccount updated",
    ),
    (
        "set selector service plain app=web -n t",
        "service/plain selector updated",
    ),
    (
        "set subject rolebinding readers --user=mallory -n t",
        "rolebinding.rbac.authorization.k8s.io/readers subjects updated",
    ),
    ("label pod one tier=front -n t", "pod/one labeled"),
    (
        "label pod one tier=back --overwrite -n t",
        "pod/one labeled",
    ),
    ("label pod one tier- -n t", "pod/one unlabeled"),
    ("annotate pod one note=x -n t", "pod/one annotated"),
    ("annotate pod one note- -n t", "pod/one annotate"),
    (
        "scale deployment web --current-replicas=2 --replicas=3 -n t",
        "deployment.apps/web scaled",
    ),
    (
        "patch deployment web --subresource=scale --type=merge -p {\"spec\":{\"replicas\":4}} -n t",
        "scale.autoscaling/web patched",
    ),
    (
        "patch configmap cm --type=json -p [{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":\"2\"}] -n t",
        "configmap/cm patched",
    ),
    (
        "patch pod one --subresource=status --type=merge -p {\"status\":{\"phase\":\"Running\"}} -n t",
        "pod/one patched",
    ),
    (
        "get deployment web --subresource=scale -o jsonpath={.spec.replicas} -n t",
        "4",
    ),
    (
        "wait --for=jsonpath={.status.phase}=Running pod/one -n t --timeout=20s",
        "condition met",
    ),
    (
        "wait --for=create configmap/cm -n t --timeout=20s",
        "condition met",
    ),
    (
        "rollout restart deployment/web -n t",
        "deployment.apps/web restarted",
    ),
    (
        "rollout pause deployment/web -n t",
        "deployment.apps/web paused",
    ),
    (
        "rollout resume deployment/web -n t",
        "deployment.apps/web resumed",
    ),
    (
        "autoscale deployment web --max=9 --dry-run=server --name=other -n t",
        "(server dry run)",
    ),
];

const READS: &[Line] = &[
    ("get all -n t", "deployment.apps/web"),
    ("get pods,services -n t -o wide", "NOMINATED NODE"),
    ("get pods -A --sort-by=.metadata.name", "one"),
    (
        "get pods -n t -o custom-columns=N:.metadata.name,P:.status.phase",
        "Running",
    ),
    ("get pod one -n t -o go-template={{.metadata.name}}", "one"),
    (
        "get pods -n t --field-selector=status.phase=Running -o name",
        "pod/one",
    ),
    ("get pods -n t -l app=one --show-labels", "app=one"),
    (
        "get cm cm -n t -o yaml --show-managed-fields",
        "manager: kubectl",
    ),
    (
        "get --raw /api/v1/namespaces/t/configmaps/cm",
        "\"a\":\"2\"",
    ),
    ("get --raw /readyz?verbose", "readyz check passed"),
    ("describe pod one -n t", "example.test/one:1"),
    ("describe service web -n t", "TargetPort:"),
    ("describe quota q -n t", "Namespace:  t"),
    ("describe role reader -n t", "pods/log"),
    ("auth can-i --list --as=eve -n t", "Resources"),
    ("auth can-i create deployments.apps -n t", "yes"),
    ("explain ingress.spec.rules.http", "paths"),
    ("explain pods --recursive", "terminationGracePeriodSeconds"),
    ("api-versions", "apps/v1"),
    (
        "api-resources --verbs=list --namespaced -o name",
        "configmaps",
    ),
    ("cluster-info", "is running at"),
    ("version", "Server Version: v1.36"),
    ("events -n t", "No events found"),
];

/// Splits a line at blanks; `_` inside a cron schedule stands for one.
fn words(line: &str) -> Vec<String> {
    line.split(' ')
        .map(|word| match word.strip_prefix("--schedule=") {
            Some(schedule) => format!(
                "--schedule={}",
                schedule.replace("0/5", "*/5").replace('_', " ")
            ),
            None => word.to_string(),
        })
        .collect()
}

fn play(server: &Server, lines: &[Line]) {
    for (line, expected) in lines {
        let (success, out, err) = run(server.kubectl().args(words(line)), "");
        let shown = format!("{out}{err}");
        assert!(
            success && shown.contains(expected),
            "kubectl {line}\n{shown}"
        );
    }
}

fn json_of(server: &Server, args: &[&str]) -> Value {
    let text = ok(server.kubectl().args(args).args(["-o", "json"]), "");
    serde_json::from_str(&text).expect("JSON from kubectl")
}

#[test]
fn generators_changes_and_reads() {
    let server = Server::start(Store::Embedded, &[]);
    play(&server, GENERATORS);
    play(&server, CHANGES);
    play(&server, READS);
    let web = json_of(&server, &["get", "deployment", "web", "-n", "t"]);
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "example.test/web:2");
    assert_eq!(
        container["env"],
        json!([{"name": "COLOUR", "value": "blue"}])
    );
    assert_eq!(container["resources"]["limits"]["cpu"], "200m");
    let template = &web["spec"]["template"]["metadata"]["annotations"];
    assert!(
        template["kubectl.kubernetes.io/restartedAt"].is_string(),
        "{web}"
    );
}

/// A ReplicaSet as the deployment controller would make it.
fn revision(number: u32, image: &str, owner: &Value) -> Value {
    let hash = format!("h{number}");
    let labels = json!({"app": "web", "pod-template-hash": hash});
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("web-{hash}"), "namespace": "t", "labels": labels,
            "annotations": {"deployment.kubernetes.io/revision": number.to_string()},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
                                 "uid": owner["metadata"]["uid"], "controller": true}]},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels},
                              "spec": {"containers": [{"name": "web", "image": image}]}}},
    })
}

#[test]
fn rollouts_go_back() {
    let server = Server::start(Store::Embedded, &[]);
    play(&server, &GENERATORS[..2]);
    let line = "create deployment web --image=example.test/web:2 -n t";
    play(&server, &[(line, "created")]);
    let web = json_of(&server, &["get", "deployment", "web", "-n", "t"]);
    for (number, image) in [(1, "example.test/web:1"), (2, "example.test/web:2")] {
        let set = revision(number, image, &web).to_string();
        ok(server.kubectl().args(["create", "-f", "-"]), &set);
    }
    let annotation = "deployment.kubernetes.io/revision=2";
    ok(
        server
            .kubectl()
            .args(["annotate", "deployment", "web", annotation, "-n", "t"]),
        "",
    );
    play(
        &server,
        &[
            ("rollout history deployment/web -n t", "REVISION"),
            (
                "rollout history deployment/web --revision=1 -n t",
                "example.test/web:1",
            ),
            (
                "rollout undo deployment/web -n t",
                "deployment.apps/web rolled back",
            ),
        ],
    );
    let web = json_of(&server, &["get", "deployment", "web", "-n", "t"]);
    let image = &web["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "example.test/web:1");
}

#[test]
fn nodes_are_cordoned_tainted_and_drained() {
    let server = Server::start(Store::Embedded, &[]);
    play(&server, &GENERATORS[..2]);
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    ok(
        server.kubectl().args(["create", "-f", "-"]),
        &node.to_string(),
    );
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "t"},
        "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 0,
                 "containers": [{"name": "c", "image": "example.test/i:1"}]}});
    ok(
        server.kubectl().args(["create", "-f", "-"]),
        &pod.to_string(),
    );
    play(
        &server,
        &[
            ("cordon n", "node/n cordoned"),
            ("uncordon n", "node/n uncordoned"),
            ("taint node n a=b:NoSchedule", "node/n tainted"),
            ("taint node n a-", "node/n untainted"),
            (
                "drain n --force --grace-period=0 --timeout=60s",
                "node/n drained",
            ),
        ],
    );
    let (success, _, err) = run(server.kubectl().args(["get", "pod", "p", "-n", "t"]), "");
    assert!(!success && err.contains("NotFound"), "{err}");
}

#[test]
fn certificates_are_approved() {
    let server = Server::start(Store::Embedded, &[]);
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "eve");
    let pem = params
        .serialize_request(&key)
        .expect("a request")
        .pem()
        .expect("PEM");
    use base64::Engine as _;
    let request = base64::engine::general_purpose::STANDARD.encode(pem);
    for name in ["yes", "no"] {
        let csr = json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
            "spec": {"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}});
        ok(
            server.kubectl().args(["create", "-f", "-"]),
            &csr.to_string(),
        );
    }
    play(
        &server,
        &[
            ("certificate approve yes", "yes approved"),
            ("certificate deny no", "no denied"),
            ("get csr yes", "Approved"),
            ("get csr no", "Denied"),
        ],
    );
}

#[test]
fn whole_files_are_compared_replaced_pruned_and_reconciled() {
    let server = Server::start(Store::Embedded, &[]);
    play(&server, &GENERATORS[..2]);
    let map = |name: &str, value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
               "metadata": {"name": name, "namespace": "t", "labels": {"set": "one"}}, "data": {"a": value}})
    };
    let both = json!({"apiVersion": "v1", "kind": "List", "items": [map("x", "1"), map("y", "1")]});
    ok(
        server.kubectl().args(["apply", "-f", "-"]),
        &both.to_string(),
    );
    let changed = map("x", "2").to_string();
    let (success, out, _) = run(server.kubectl().args(["diff", "-f", "-"]), &changed);
    assert!(!success && out.contains("+  a: \"2\""), "{out}");
    let (success, out, err) = run(
        server
            .kubectl()
            .args(["diff", "--server-side", "--force-conflicts", "-f", "-"]),
        &changed,
    );
    assert!(!success && out.contains("+  a: \"2\""), "{out}{err}");
    let pruned = ok(
        server
            .kubectl()
            .args(["apply", "--prune", "-l", "set=one", "-n", "t"])
            .args(["--prune-allowlist=core/v1/ConfigMap", "-f", "-"]),
        &changed,
    );
    assert!(
        pruned.contains("configmap/x configured") && pruned.contains("configmap/y pruned"),
        "{pruned}"
    );
    let replaced = ok(
        server.kubectl().args(["replace", "--force", "-f", "-"]),
        &map("x", "3").to_string(),
    );
    assert!(replaced.contains("configmap/x replaced"), "{replaced}");
    let served = ok(
        server
            .kubectl()
            .args(["apply", "--server-side", "--force-conflicts", "-f", "-"]),
        &map("x", "4").to_string(),
    );
    assert!(
        served.contains("configmap/x serverside-applied"),
        "{served}"
    );

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    for expected in [
        "clusterrole.rbac.authorization.k8s.io/r reconciled",
        "clusterrole.rbac.authorization.k8s.io/r",
    ] {
        let out = ok(
            server.kubectl().args(["auth", "reconcile", "-f", "-"]),
            &role.to_string(),
        );
        assert!(out.contains(expected), "{out}");
    }
}

#[test]
fn running_pods_are_debugged() {
    let server = Server::start(Store::Embedded, &[]);
    play(&server, &GENERATORS[..2]);
    play(
        &server,
        &[
            ("run one --image=example.test/one:1 -n t", "pod/one created"),
            (
                "debug one --image=example.test/debug:1 -c dbg --attach=false -n t",
                "",
            ),
            (
                "debug one --image=example.test/debug:1 --copy-to=copy --share-processes --attach=false -n t",
                "",
            ),
        ],
    );
    let pod = json_of(&server, &["get", "pod", "one", "-n", "t"]);
    assert_eq!(
        pod["spec"]["ephemeralContainers"][0]["name"], "dbg",
        "{pod}"
    );
    let copy = json_of(&server, &["get", "pod", "copy", "-n", "t"]);
    assert_eq!(copy["spec"]["shareProcessNamespace"], true);
}
