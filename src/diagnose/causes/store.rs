//! Failures of the store, by class.

use super::Answer;
use crate::diagnose::cause::{Cause, Class};
use crate::storage::Failure;

pub(super) fn cause(answer: &Answer<'_>, failure: Failure) -> Cause {
    let stage = answer.trace.failed().map_or("store", |s| s.name.as_str());
    let because = answer.trace.because.as_str();
    let details = because
        .strip_prefix("store/")
        .and_then(|b| b.split_once(": "))
        .map_or(String::new(), |(_, details)| format!(" ({details})"));
    let certain = |class, text: &str| {
        Cause::certain(class, stage, format!("{text}{details}")).detail(failure.as_str())
    };
    match failure {
        Failure::Unreachable => certain(Class::StoreUnreachable, "the store cannot be reached")
            .fix("check that etcd runs and that --etcd-servers names it: etcdctl endpoint health")
            .fix("check the network and the certificates between this server and etcd"),
        Failure::NoLeader => certain(Class::StoreNoLeader, "etcd has no leader")
            .fix("more than half of the members must run and see each other: etcdctl endpoint status --cluster -w table")
            .fix("elections that keep happening mean slow disks or a slow network between members"),
        Failure::Timeout => certain(Class::StoreTimeout, "the store did not answer in time")
            .fix("look at etcd's disk: histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket[5m])) should be below 10 ms")
            .fix("look at what else uses that machine, and at large lists: verbatim search 'verb:list latency:>1s' --from -1h"),
        Failure::Overloaded => certain(Class::StoreOverloaded, "the store refuses more requests for now")
            .fix("find who fills it: verbatim search --from -5m --limit 1000"),
        Failure::NoSpace => certain(Class::StoreNoSpace, "etcd is full (NOSPACE): it takes no writes until there is room and the alarm is disarmed")
            .fix("etcdctl compact REVISION, etcdctl defrag --cluster, etcdctl alarm disarm")
            .fix("or raise --quota-backend-bytes (at most 8 GiB is recommended)"),
        Failure::TooLarge => certain(Class::StoreTooLarge, "the object is larger than the store takes")
            .fix("make the object smaller: etcd takes 1.5 MiB unless --max-request-bytes says otherwise"),
        Failure::Compacted => certain(Class::Gone, "the asked revision is compacted")
            .fix("list again from the start"),
        Failure::FutureRevision => Cause::certain(
            Class::FutureVersion,
            "watch cache",
            format!("the client asked for a version that this server has not seen{details}"),
        )
        .fix("it talked to another store or to a newer server before: let it list without a resourceVersion"),
        Failure::PermissionDenied => certain(Class::StorePermissionDenied, "etcd refused this server's credentials")
            .fix("check --etcd-certfile and --etcd-keyfile, and the role of that user: etcdctl role get ROLE")
            .fix("the user needs readwrite on the whole of --etcd-prefix"),
        Failure::Corrupt => certain(Class::StoreCorrupt, "what is stored cannot be read")
            .fix("the server's log names key and cause; restore the object or the store from a backup"),
        Failure::Initializing => Cause::certain(
            Class::Initializing,
            "watch cache",
            "the watch cache is still being filled",
        )
        .fix("wait for Retry-After"),
        Failure::Closed => certain(Class::StoreFailed, "this server has closed the store, or an earlier write broke it")
            .fix("the server is going down, or must be restarted: look at its log"),
        Failure::Conflict => Cause::likely(Class::Conflict, stage, "the write lost against others, again and again")
            .fix("try again"),
        Failure::Other => Cause::likely(Class::StoreFailed, stage, format!("the store failed{details}"))
            .detail(failure.as_str())
            .fix("the server's log has the details under this audit ID"),
    }
}
