//! An expression asked of one document, without an index: what watches filter by.
//!
//! Says of every event what the compiled query says of it; a test asks both.

use std::ops::Bound;

use tantivy::schema::Field;

use crate::search::document::{EventDocument, list, unique};
use crate::search::fields::{FIELDS, FieldKind, Fields, Kept};
use crate::search::micros;
use crate::search::query::body::{BodyCheck, PhraseCheck};
use crate::search::query::column::Wanted;
use crate::search::query::compile::{
    Pattern, key_span, micros_span, number_of, whole_text, wildcard, wildcard_hundred,
};
use crate::search::query::glob::Glob;
use crate::search::query::pipeline::is_stage;
use crate::search::query::{Condition, Expression, Limit, QueryError, Target};
use crate::search::words;

/// A query that can be asked of documents.
#[derive(Debug)]
pub struct Matcher(Node);

#[derive(Debug)]
enum Node {
    All,
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Keyword(Field, Wanted),
    /// One of the values of a list.
    Listed(Field, Wanted),
    Number(Field, Bound<u64>, Bound<u64>),
    /// All of these words.
    Words(Field, Vec<String>),
    /// A pattern for one word.
    WordPattern(Field, Glob),
    /// Any value.
    Exists(Field),
    Stage(StageSpan),
    Body(BodyCheck),
    Phrase(PhraseCheck),
}

/// Stages of a name that take a time together.
#[derive(Debug)]
struct StageSpan {
    names: Field,
    micros: Field,
    stage: String,
    least: u64,
    most: u64,
}

impl Matcher {
    pub(super) fn new(expression: &Expression, fields: &Fields) -> Result<Self, QueryError> {
        node(expression, fields).map(Matcher)
    }

    /// Whether the document is one that the query finds.
    pub fn matches(&self, document: &EventDocument) -> bool {
        self.0.matches(document)
    }
}

fn node(expression: &Expression, fields: &Fields) -> Result<Node, QueryError> {
    let all = |parts: &[Expression]| -> Result<Vec<Node>, QueryError> {
        parts.iter().map(|p| node(p, fields)).collect()
    };
    Ok(match expression {
        Expression::All => Node::All,
        Expression::And(parts) => Node::And(all(parts)?),
        Expression::Or(parts) => Node::Or(all(parts)?),
        Expression::Not(inner) => Node::Not(Box::new(node(inner, fields)?)),
        Expression::Match(target, condition, at) => match target {
            Target::Words => free_text(condition, *at, fields)?,
            Target::Row(row) => match FIELDS[*row].kind {
                FieldKind::Text => free_text(condition, *at, fields)?,
                FieldKind::Number | FieldKind::Duration => number(*row, condition, *at, fields)?,
                FieldKind::Unique => {
                    let hash = unique(&whole_text(condition, *at)?);
                    let (least, most) = (Bound::Included(hash), Bound::Included(hash));
                    Node::Number(fields.at(*row), least, most)
                }
                FieldKind::Phrase => {
                    let name = FIELDS[*row].name;
                    Node::Phrase(PhraseCheck::new(fields.event, name, condition)?)
                }
                FieldKind::Time => {
                    let (from, to) = key_span(condition, *at)?;
                    let (from, to) = (Bound::Included(from), Bound::Excluded(to));
                    Node::Number(fields.key, from, to)
                }
                FieldKind::Keyword | FieldKind::Name => keyword(*row, condition, fields),
            },
            Target::Stage(stage) => {
                let (least, most) = micros_span(condition, *at)?;
                Node::Stage(StageSpan {
                    names: fields.pipeline,
                    micros: fields.pipeline_micros,
                    stage: stage.clone(),
                    least,
                    most,
                })
            }
            Target::Body(member, path) => {
                Node::Body(BodyCheck::new(fields.event, member, path, condition)?)
            }
        },
    })
}

fn keyword(row: usize, condition: &Condition, fields: &Fields) -> Node {
    let (field, has_column) = (fields.at(row), FIELDS[row].has_column());
    match condition {
        Condition::Text(text) if text.is_empty() && has_column => {
            Node::Not(Box::new(Node::Exists(field)))
        }
        Condition::Word(word) if word == "*" && has_column => Node::Exists(field),
        _ => match FIELDS[row].kept {
            Kept::List => Node::Listed(field, Wanted::of(row, condition)),
            _ => Node::Keyword(field, Wanted::of(row, condition)),
        },
    }
}

fn number(
    row: usize,
    condition: &Condition,
    at: usize,
    fields: &Fields,
) -> Result<Node, QueryError> {
    let field = fields.at(row);
    let (lower, upper) = match condition {
        Condition::Word(word) if word == "*" => (Bound::Unbounded, Bound::Unbounded),
        Condition::Word(text) | Condition::Text(text) => match wildcard_hundred(row, text) {
            Some((low, high)) => (Bound::Included(low), Bound::Excluded(high)),
            None => {
                let exact = number_of(row, text, at)?;
                (Bound::Included(exact), Bound::Included(exact))
            }
        },
        Condition::Range(lower, upper) => {
            let bound = |limit: &Option<Limit>| {
                Ok(match limit {
                    None => Bound::Unbounded,
                    Some(limit) => {
                        let number = number_of(row, &limit.text, limit.at)?;
                        match limit.is_inclusive {
                            true => Bound::Included(number),
                            false => Bound::Excluded(number),
                        }
                    }
                })
            };
            (bound(lower)?, bound(upper)?)
        }
    };
    Ok(Node::Number(field, lower, upper))
}

fn free_text(condition: &Condition, at: usize, fields: &Fields) -> Result<Node, QueryError> {
    let field = fields.text;
    let text = match condition {
        Condition::Text(text) => text,
        Condition::Word(word) => match wildcard(&word.to_lowercase()) {
            Pattern::Glob(_) if word == "*" => return Ok(Node::All),
            Pattern::Glob(glob) => return Ok(Node::WordPattern(field, glob)),
            Pattern::Plain(_) => word,
        },
        Condition::Range(..) => {
            return Err(QueryError::new(
                at,
                "a range needs a field, as in code:[400 TO 499]",
            ));
        }
    };
    match words::of(text) {
        words if words.is_empty() => Err(QueryError::new(at, "there is no word to look for")),
        words => Ok(Node::Words(field, words)),
    }
}

impl Node {
    fn matches(&self, document: &EventDocument) -> bool {
        match self {
            Node::All => true,
            Node::And(parts) => parts.iter().all(|p| p.matches(document)),
            Node::Or(parts) => parts.iter().any(|p| p.matches(document)),
            Node::Not(inner) => !inner.matches(document),
            Node::Keyword(field, wanted) => document.texts(*field).any(|t| wanted.is(t)),
            Node::Listed(field, wanted) => {
                document.texts(*field).flat_map(list).any(|t| wanted.is(t))
            }
            Node::Number(field, lower, upper) => document
                .numbers(*field)
                .any(|n| std::ops::RangeBounds::contains(&(*lower, *upper), &n)),
            Node::Exists(field) => document.has(*field),
            Node::Stage(span) => span.matches(document),
            Node::Body(check) => check.matches(document.line().as_bytes()),
            Node::Phrase(check) => check.matches(document.line().as_bytes()),
            Node::Words(field, words) => {
                let mut missing: Vec<&str> = words.iter().map(String::as_str).collect();
                for text in document.texts(*field) {
                    let there = words::of_json(text);
                    missing.retain(|word| !there.iter().any(|w| w == word));
                }
                missing.is_empty()
            }
            Node::WordPattern(field, glob) => document
                .texts(*field)
                .any(|text| words::of_json(text).iter().any(|word| glob.fits(word))),
        }
    }
}

impl StageSpan {
    fn matches(&self, document: &EventDocument) -> bool {
        let names = document.texts(self.names).flat_map(list);
        let stages = names.zip(micros::of(document.numbers(self.micros)));
        let of_name = stages.filter(|(name, _)| is_stage(name, &self.stage));
        let took = of_name.fold(None, |sum: Option<u64>, (_, micros)| {
            Some(sum.unwrap_or_default().saturating_add(micros))
        });
        took.is_some_and(|t| (self.least..=self.most).contains(&t))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::document;
    use crate::search::query::parse;
    use crate::search::{Index, IndexOptions, Search, Window};

    /// Two events that differ in most of what can be asked.
    const EVENTS: [&str; 2] = [
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a-1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/x/pods/web-1","verb":"delete","user":{"username":"alice","groups":["dev","ops"]},"sourceIPs":["10.0.0.1"],"userAgent":"kubectl/v1.36","objectRef":{"resource":"pods","namespace":"x","name":"web-1","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":403,"reason":"Forbidden","message":"pods is Forbidden"},"requestReceivedTimestamp":"2026-01-01T00:00:01.000000Z","stageTimestamp":"2026-01-01T00:00:01.700000Z"}"#,
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"a-2","stage":"ResponseComplete","requestURI":"/apis/apps/v1/deployments","verb":"list","user":{"username":"system:admin"},"objectRef":{"resource":"deployments","apiGroup":"apps","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-01-01T00:00:02.000000Z","requestObject":{"spec":{"replicas":3,"template":{"spec":{"containers":[{"image":"nginx:1.25"}]}}}},"stageTimestamp":"2026-01-01T00:00:02.000100Z","annotations":{"authorization.k8s.io/reason":"RBAC: allowed","audit.verbatim.dev/stages":"{\"stages\":[[\"authentication\",0,10,\"ok\"],[\"store/get\",10,200000,\"ok\"]]}"}}"#,
    ];

    #[tokio::test]
    async fn says_what_the_index_says() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("audit.log");
        std::fs::write(&log, EVENTS.join("\n") + "\n").expect("writes");
        let index = Index::open(&dir.path().join("index"), &log, IndexOptions::default());
        let index = index.expect("opens");
        let fields = Fields::new();
        let mut found_some = 0;
        for query in [
            "",
            "*",
            "user:alice",
            "user:al*",
            "user:?lice",
            "user:system\\:admin",
            "user:\"system:admin\"",
            "NOT user:alice",
            "user:alice verb:DELETE",
            "verb:delete OR verb:list",
            "verb:(get OR list)",
            "code:403",
            "code:4xx",
            "code:>=400",
            "code:[200 TO 403}",
            "code:*",
            "latency:>500ms",
            "latency:[0ms TO 1ms]",
            "userGroup:ops",
            "ns:x -name:other",
            "namespace:*",
            "name:[a TO n]",
            "ip:10.*",
            "uri:*pods*",
            "uri:/apis/apps/*",
            "uri:/apis/apps/v1/deployments",
            "uri:*eploy*",
            "auditID:a-2",
            "-auditID:\"a-2\"",
            "stage:responsecomplete",
            "stage:Panic",
            "-stage:[A TO Q]",
            "stage:*complete userGroup:o?s",
            "reason:\"RBAC: allowed\"",
            "reason:rbac*",
            "reason:RBAC*",
            "-reason:*",
            "level:request",
            "forbidden",
            "\"pods is\"",
            "forb*",
            "nothing",
            "text:kubectl",
            "group:apps",
            "-group:*",
            "type:request",
            "failure:Forbidden",
            "group:\"\"",
            "time:>=2026-01-01T00:00:02",
            "time:[2026-01-01 TO 2026-01-01T00:00:02]",
            "latency.store:>100ms",
            "latency.store/get:*",
            "pipeline:authentication",
            "slowest:store/get",
            "requestObject.spec.replicas:3",
            "requestObject.spec.replicas:>3",
            "requestObject.spec.template.spec.containers.image:nginx*",
            "nginx",
            "bytes:>100",
        ] {
            let parsed = parse(query).expect(query);
            let matcher = parsed.matcher(&fields).expect(query);
            let mut expected: Vec<&str> = EVENTS
                .into_iter()
                .filter(|event| {
                    let prepared = document::prepare(&fields, str::as_bytes(event));
                    matcher.matches(&prepared.expect("an event").document)
                })
                .collect();
            expected.reverse();
            let search = Search {
                query: query.into(),
                window: Window::all(),
                limit: 10,
                after: None,
                namespace: None,
            };
            let page = index.search(search).await.expect(query);
            let found: Vec<&[u8]> = page.hits.iter().map(|h| &*h.event).collect();
            let expected: Vec<&[u8]> = expected.iter().map(|e| str::as_bytes(e)).collect();
            assert_eq!(found, expected, "{query}");
            found_some += usize::from(!found.is_empty());
        }
        assert!(found_some > 25, "the queries tell something: {found_some}");
    }
}
