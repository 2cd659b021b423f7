//! The whole program, as users run it: started on a free port, spoken to by kubectl, client
//! libraries and the golden replay, killed and started again.

#[path = "../common/etcd.rs"]
mod etcd;

mod admission_policies;
mod audit_faults;
mod audit_tools;
mod authorizers;
mod collect;
mod connect;
mod crash;
mod diagnose;
mod golden;
mod hand_tool;
mod hook_server;
mod index;
mod kubectl;
mod kubectl_tour;
mod kubectl_versions;
mod ledger;
mod libraries;
mod mutating_policies;
mod policies;
mod protobuf;
mod quotas;
mod record;
mod record_proof;
mod record_resources;
mod server;
mod webhooks;
