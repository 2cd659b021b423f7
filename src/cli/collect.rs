//! `verbatim collect`: the recorder, index and search for clusters that keep their own API server.
//!
//! The same server as `serve` with less behind it: no objects but those that say who may read and
//! send (namespaces, service accounts and their tokens, RBAC, reviews), and the record. It does not
//! pretend to be the cluster's API server.

use std::process::ExitCode;

use clap::Command;

use super::fail;
use super::serve::{self, Wording};
use crate::server::options::ServerOptions;
use crate::server::{Running, bootstrap::senders};

/// For help and completion; the flags themselves are parsed in pflag's way.
pub fn command() -> Command {
    Command::new("collect")
        .about(
            "Collect the audit events of clusters that keep their own API server, and serve search",
        )
        .args(serve::args())
}

/// Serves until SIGTERM or SIGINT.
pub fn main(args: &[String]) -> ExitCode {
    if args.iter().any(|a| a == "--help" || a == "-h") {
        print!("{}", serve::help(HELP));
        return ExitCode::SUCCESS;
    }
    let (mut options, values) = match ServerOptions::parse(args) {
        Ok(parsed) => parsed,
        Err(error) => return fail(&error),
    };
    if let Err(problem) = options.become_collector(&values) {
        eprintln!("error: {problem}");
        return ExitCode::FAILURE;
    }
    serve::run(options, &values, &Wording { announce })
}

const HELP: &str = "Collect the audit events of clusters that keep their own API server.\n\n\
    Receives kube-apiserver's audit webhook, follows audit logs, indexes both, and serves search,\n\
    kubectl get auditevents, explanations and metrics. Takes the flags of verbatim serve; these matter most:\n\n\
    \x20 --webhook-clusters prod,stage   writes webhook-prod.kubeconfig and webhook-stage.kubeconfig below\n\
    \x20                                 --data-dir, for --audit-webhook-config-file of those API servers\n\
    \x20 --follow prod=/var/log/kubernetes/audit/audit.log   takes in a log, across rotation and restarts\n\
    \x20 --advertise-address, --secure-port                  where the API servers reach this one\n\n\
    Who may send is RBAC's to say: verb post on the path /audit/CLUSTER. Who may read: list auditevents.\n";

/// What a person does next.
fn announce(running: &Running) {
    eprintln!("verbatim collects audit events at {}", running.url());
    for (cluster, file) in &running.senders {
        eprintln!(
            "cluster {cluster}: give its API server --audit-webhook-config-file={}  (user {})",
            file.display(),
            senders::user_of(cluster),
        );
    }
    for log in running.followed() {
        eprintln!(
            "following {} as cluster {}",
            log.path.display(),
            log.cluster.as_deref().unwrap_or("(none)")
        );
    }
    if let Some(kubeconfig) = &running.kubeconfig {
        eprintln!(
            "try:  verbatim search --kubeconfig {}",
            kubeconfig.display()
        );
    }
}
