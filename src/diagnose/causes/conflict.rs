//! 409 and 410: what is stored is not what the client thinks.

use super::Answer;
use crate::diagnose::cause::{Cause, Class};

pub(super) fn cause(answer: &Answer<'_>) -> Cause {
    let message = answer.message;
    let writers = format!(
        "verbatim search '{} verb:(create OR update OR patch OR delete)' shows who wrote it",
        answer.object_query()
    );
    if answer.reason == "AlreadyExists" {
        return Cause::certain(
            Class::AlreadyExists,
            "store",
            format!("an object of that name exists: {message}"),
        )
        .fix("use apply or update instead of create, or another name (generateName)")
        .fix(writers);
    }
    if answer.has_cause("FieldManagerConflict") {
        return Cause::certain(
            Class::ApplyConflict,
            "apply",
            format!("another field manager owns some of the fields: {message}"),
        )
        .fix("leave the fields out of what is applied, or take them over: kubectl apply --server-side --force-conflicts")
        .fix(writers);
    }
    // Versions that do not fit say so in upstream's fixed words.
    if message.contains("the object has been modified") {
        return Cause::certain(
            Class::Conflict,
            "store",
            format!("somebody else wrote the object in between: {message}"),
        )
        .fix("get the object again, make the change on that, and write it with its resourceVersion (retry on conflict)")
        .fix(writers);
    }
    let text = format!("the object is not in the state that the request needs: {message}");
    let cause = match answer.trace.is_ours || message.contains("Precondition failed") {
        true => Cause::certain(Class::PreconditionFailed, "store", text),
        false => Cause::likely(Class::PreconditionFailed, "", text),
    };
    cause
        .fix(format!(
            "look at it: kubectl get {} -o yaml",
            answer.object_of_kubectl()
        ))
        .fix(writers)
}

pub(super) fn gone(answer: &Answer<'_>) -> Cause {
    let text = format!(
        "the resourceVersion or continue token is older than what is kept: {}",
        answer.message
    );
    Cause::certain(Class::Gone, "watch cache", text)
        .detail(answer.trace.because.as_str())
        .fix("list again from the start, then watch from the list's resourceVersion (client-go's reflector does)")
        .fix("lists in pages must be finished within the compaction interval (--etcd-compaction-interval)")
}
