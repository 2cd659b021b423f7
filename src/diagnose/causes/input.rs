//! What is wrong with the request itself: 400, 405, 406, 413, 415, 422.

use super::Answer;
use crate::diagnose::cause::{Cause, Class};

pub(super) fn cause(answer: &Answer<'_>) -> Cause {
    let message = answer.message;
    // What the record adds to the message: the media type that was sent, the size of the body.
    let details = answer
        .trace
        .because
        .split_once(": ")
        .map_or("", |(_, details)| details);
    let with_details = |text: &str| match details {
        "" => format!("{text}: {message}"),
        details => format!("{text} ({details}): {message}"),
    };
    match answer.code {
        405 => Cause::certain(
            Class::MethodNotAllowed,
            "router",
            format!("this resource does not serve that method: {message}"),
        )
        .fix("kubectl api-resources -o wide lists the verbs of each resource"),
        406 => Cause::certain(
            Class::MediaType,
            "negotiation",
            "the client accepts none of the media types that are served",
        )
        .detail("accept")
        .fix("ask for application/json, application/yaml or application/vnd.kubernetes.protobuf in Accept"),
        413 => Cause::certain(Class::TooLarge, "read-body", with_details("the body is too large"))
            .fix("a request may have 3 MiB and the store takes less: keep large data elsewhere")
            .fix("if it is a patch or apply: managedFields and the last-applied annotation count, too"),
        415 => Cause::certain(
            Class::MediaType,
            "negotiation",
            with_details("the body's Content-Type is not served here"),
        )
        .detail("content-type")
        .fix("send application/json, application/yaml or, for patches, one of the patch types in Content-Type"),
        422 => Cause::certain(
            Class::Invalid,
            "validation",
            format!("the object is invalid: {message}"),
        )
        .detail(fields(answer))
        .fix("correct the fields named above")
        .fix(format!(
            "kubectl explain {} --recursive shows what they may hold",
            answer.event["objectRef"]["resource"].as_str().unwrap_or("RESOURCE")
        )),
        400 => Cause::certain(
            Class::BadRequest,
            match answer.trace.failed() {
                Some(failed) => failed.name.as_str(),
                None if answer.trace.is_ours => "decode",
                None => "",
            },
            format!("the request is malformed: {message}"),
        )
        .fix("kubectl --validate=strict and -v=8 show what was sent and what is wrong with it"),
        code => Cause::unknown(format!("no rule explains status code {code}: {message}")),
    }
}

/// The fields that are invalid.
fn fields(answer: &Answer<'_>) -> String {
    let causes = answer.details()["causes"].as_array();
    let fields = causes.into_iter().flatten();
    let mut fields: Vec<&str> = fields.filter_map(|c| c["field"].as_str()).collect();
    fields.dedup();
    fields.join(", ")
}
