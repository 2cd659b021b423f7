//! The fields of the index: one table that the tantivy schema, the query language and its help are
//! made from.

use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, STORED, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::TextAnalyzer;

use crate::search::words::Words;

/// How values of a field are written and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// An identifier, compared whole.
    Keyword,
    /// A keyword of a closed set, written in any case (`responsecomplete`).
    Name,
    /// A number.
    Number,
    /// A duration, kept in microseconds.
    Duration,
    /// A point in time; the sort key is the column behind it.
    Time,
    /// Words.
    Text,
    /// An identifier that every request has of its own: found whole, by its hash. A dictionary of them
    /// would be a tenth of the index.
    Unique,
    /// A long text of the event, such as the request URI: found by its words and then looked at, for
    /// the same reason.
    Phrase,
}

/// What the index has of the values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A dictionary with the events of each value: finds rare values at once.
    Terms,
    /// A column with the values of each event: sums, and finds values by looking through it. Cheaper
    /// to make than terms, and as good where there are few values, which most events have.
    Column,
    /// Both.
    Both,
    /// A column of lists: all values of an event are one text, as [`document::list`] takes it apart.
    /// For values that come in few combinations: one text is much cheaper than a dozen.
    ///
    /// [`document::list`]: crate::search::document::list
    List,
    /// Nothing of its own: its words are among those of `text`.
    Words,
}

/// One searchable field.
#[derive(Clone, Copy, Debug)]
pub struct FieldRow {
    /// Name in queries and in tantivy.
    pub name: &'static str,
    /// Other names in queries.
    pub aliases: &'static [&'static str],
    /// How it compares.
    pub kind: FieldKind,
    /// What the index has of its values.
    pub kept: Kept,
    /// What it holds.
    pub help: &'static str,
}

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: FieldKind,
    kept: Kept,
    help: &'static str,
) -> FieldRow {
    FieldRow {
        name,
        aliases,
        kind,
        kept,
        help,
    }
}

impl FieldRow {
    /// Whether its values are in a column.
    pub fn has_column(&self) -> bool {
        matches!(self.kept, Kept::Column | Kept::Both | Kept::List)
    }

    /// Whether its values are in a dictionary.
    pub fn has_terms(&self) -> bool {
        matches!(self.kept, Kept::Terms | Kept::Both)
    }
}

use FieldKind::{Duration, Keyword, Name, Number, Phrase, Text, Time, Unique};
use Kept::{Both, Column, List, Terms};

/// All fields.
#[rustfmt::skip]
pub const FIELDS: [FieldRow; 45] = [
    row("auditID", &["id"], Unique, Terms, "audit ID, whole"),
    row("user", &["username"], Keyword, Both, "who authenticated"),
    row("userUID", &[], Keyword, Terms, "UID of the user"),
    row("userGroup", &["groups", "userGroups"], Keyword, List, "groups of the user"),
    row("as", &["impersonated", "impersonatedUser"], Keyword, Both, "whom they impersonated"),
    row("verb", &[], Name, Both, "get, list, watch, create, update, patch, delete, deletecollection"),
    row("group", &["apiGroup"], Keyword, Column, "API group, empty for core"),
    row("version", &["apiVersion"], Keyword, Column, "API version"),
    row("resource", &["res"], Keyword, Both, "plural resource"),
    row("subresource", &["sub"], Keyword, Both, "status, log, exec, …"),
    row("namespace", &["ns"], Keyword, Both, "namespace of the object"),
    row("name", &[], Keyword, Both, "name of the object"),
    row("uid", &[], Keyword, Terms, "UID of the object"),
    row("uri", &["requestURI", "path"], Phrase, Kept::Words, "request URI"),
    row("nonResourceURL", &[], Keyword, Column, "path of a request that is about no resource, without its query"),
    row("code", &["status", "responseCode"], Number, Both, "HTTP status code; 4xx works"),
    row("failure", &["statusReason"], Keyword, Both, "reason of the Status: Forbidden, NotFound, …"),
    row("stage", &[], Name, Column, "RequestReceived, ResponseStarted, ResponseComplete, Panic"),
    row("level", &[], Name, Column, "Metadata, Request, RequestResponse"),
    row("ip", &["sourceIP", "sourceIPs"], Keyword, Both, "client addresses"),
    row("agent", &["userAgent", "client"], Keyword, Both, "user agent"),
    row("time", &["stageTimestamp"], Time, Column, "when: time:>2026-01-31T12:00, time:>=-2h"),
    row("latency", &["duration", "took"], Duration, Column, "time from arrival to this stage; latency.STAGE for one stage of the pipeline, as in latency.store:>100ms"),
    row("bytes", &["size"], Number, Column, "size of the event in the log"),
    row("decision", &[], Name, Column, "allow or forbid"),
    row("reason", &["authorizationReason"], Phrase, Kept::Words, "why it was allowed or forbidden"),
    row("annotation", &["annotations"], Keyword, Terms, "key=value of any annotation"),
    row("by", &["authenticatedBy", "auth"], Name, Column, "how the user was authenticated"),
    row("rule", &["policyRule"], Number, Column, "index of the policy rule that decided"),
    row("ruleName", &[], Keyword, Both, "name of the policy rule that decided"),
    row("sampledPercent", &["sampled"], Number, Column, "how many of its requests the rule keeps, where not all"),
    row("requestID", &[], Keyword, Terms, "ID of the request that its client cannot choose, where it chose the audit ID"),
    row("clientAuditID", &[], Name, Terms, "true where the client chose the audit ID"),
    row("dryRun", &[], Name, Column, "true for dry runs"),
    row("noOp", &[], Name, Terms, "true for writes that changed nothing"),
    row("manager", &["fieldManager"], Keyword, Both, "field manager of a write"),
    row("pipeline", &["ran"], Keyword, List, "stages of the pipeline that ran: authentication, store/create, …"),
    row("slowest", &["slowestStage"], Keyword, Column, "stage of the pipeline that took longest"),
    row("failedStage", &[], Keyword, Both, "stage of the pipeline that did not end well"),
    row("cause", &["because"], Keyword, Both, "class of what went wrong behind the answer"),
    row("cluster", &["source"], Keyword, Both, "cluster the event was collected from"),
    row("type", &["kind"], Name, Column, "request; or gap, policy for what concerns the record itself"),
    row("lost", &[], Number, Column, "of a gap: how many events are missing"),
    row("sink", &[], Keyword, Both, "of a gap: the sink that lost them"),
    row("text", &[], Text, Kept::Words, "words anywhere in the event, bodies included"),
];

/// The row called `name`, in any case, or by an alias.
pub fn find(name: &str) -> Option<(usize, &'static FieldRow)> {
    FIELDS.iter().enumerate().find(|(_, r)| {
        r.name.eq_ignore_ascii_case(name) || r.aliases.iter().any(|a| a.eq_ignore_ascii_case(name))
    })
}

/// The table as people read it: a line per field.
pub fn help() -> String {
    let mut out = String::new();
    for row in &FIELDS {
        let also = match row.aliases {
            [] => String::new(),
            names => format!(" (also {})", names.join(", ")),
        };
        out.push_str(&format!("  {:<12} {}{also}\n", row.name, row.help));
    }
    out.push_str(&format!(
        "  {:<12} a value anywhere in a body, as in requestObject.spec.replicas:3\n",
        "requestObject.PATH, responseObject.PATH"
    ));
    out
}

/// Name of the tokenizer for free text.
const WORDS: &str = "words";
/// Name of the sort key column.
pub const KEY: &str = "key";
/// Durations of the stages that `pipeline` names, in the same order, see `micros`.
pub const PIPELINE_MICROS: &str = "pipelineMicros";

/// The tantivy schema with the handles of its fields. Those named here are what a document is made
/// of; the rows of [`FIELDS`] are found by [`Fields::at`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the row of its name")]
pub struct Fields {
    /// The schema.
    pub schema: Schema,
    /// Sort key, see `search`.
    pub key: Field,
    /// The event as it stands in the log.
    pub event: Field,
    pub pipeline_micros: Field,
    pub audit_id: Field,
    pub user: Field,
    pub user_uid: Field,
    pub user_group: Field,
    pub impersonated: Field,
    pub verb: Field,
    pub group: Field,
    pub version: Field,
    pub resource: Field,
    pub subresource: Field,
    pub namespace: Field,
    pub name: Field,
    pub uid: Field,
    pub non_resource_url: Field,
    pub code: Field,
    pub failure: Field,
    pub stage: Field,
    pub level: Field,
    pub ip: Field,
    pub agent: Field,
    pub latency: Field,
    pub bytes: Field,
    pub decision: Field,
    pub annotation: Field,
    pub by: Field,
    pub rule: Field,
    pub rule_name: Field,
    pub sampled_percent: Field,
    pub request_id: Field,
    pub client_audit_id: Field,
    pub dry_run: Field,
    pub no_op: Field,
    pub manager: Field,
    pub pipeline: Field,
    pub slowest: Field,
    pub failed_stage: Field,
    pub cause: Field,
    pub cluster: Field,
    pub kind: Field,
    pub lost: Field,
    pub sink: Field,
    pub text: Field,
    /// Handles in the order of [`FIELDS`].
    handles: Vec<Field>,
}

impl Default for Fields {
    fn default() -> Self {
        Self::new()
    }
}

impl Fields {
    /// Builds the schema.
    pub fn new() -> Self {
        let mut builder = Schema::builder();
        let raw = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        let words = raw.clone().set_tokenizer(WORDS);
        let column = NumericOptions::default().set_fast();
        let key = builder.add_u64_field(KEY, column.clone());
        let handles: Vec<Field> = FIELDS
            .iter()
            .map(|row| match row.kind {
                Text => builder.add_text_field(
                    row.name,
                    TextOptions::default().set_indexing_options(words.clone()),
                ),
                Time => key,
                // Never filled: its values are looked at in the event itself.
                Phrase => builder.add_text_field(row.name, TextOptions::default()),
                Number | Duration | Unique => {
                    let mut options = NumericOptions::default();
                    if row.has_terms() {
                        options = options.set_indexed();
                    }
                    if row.has_column() {
                        options = options.set_fast();
                    }
                    builder.add_u64_field(row.name, options)
                }
                Keyword | Name => {
                    let mut options = TextOptions::default();
                    if row.has_terms() {
                        options = options.set_indexing_options(raw.clone());
                    }
                    if row.has_column() {
                        options = options.set_fast("raw");
                    }
                    builder.add_text_field(row.name, options)
                }
            })
            .collect();
        let pipeline_micros = builder.add_u64_field(PIPELINE_MICROS, column);
        let event = builder.add_text_field("event", STORED);
        let get = |name: &str| {
            let index = FIELDS.iter().position(|r| r.name == name);
            handles[index.expect("the name is in the table")]
        };
        Fields {
            schema: builder.build(),
            key,
            event,
            pipeline_micros,
            audit_id: get("auditID"),
            user: get("user"),
            user_uid: get("userUID"),
            user_group: get("userGroup"),
            impersonated: get("as"),
            verb: get("verb"),
            group: get("group"),
            version: get("version"),
            resource: get("resource"),
            subresource: get("subresource"),
            namespace: get("namespace"),
            name: get("name"),
            uid: get("uid"),
            non_resource_url: get("nonResourceURL"),
            code: get("code"),
            failure: get("failure"),
            stage: get("stage"),
            level: get("level"),
            ip: get("ip"),
            agent: get("agent"),
            latency: get("latency"),
            bytes: get("bytes"),
            decision: get("decision"),
            annotation: get("annotation"),
            by: get("by"),
            rule: get("rule"),
            rule_name: get("ruleName"),
            sampled_percent: get("sampledPercent"),
            request_id: get("requestID"),
            client_audit_id: get("clientAuditID"),
            dry_run: get("dryRun"),
            no_op: get("noOp"),
            manager: get("manager"),
            pipeline: get("pipeline"),
            slowest: get("slowest"),
            failed_stage: get("failedStage"),
            cause: get("cause"),
            cluster: get("cluster"),
            kind: get("type"),
            lost: get("lost"),
            sink: get("sink"),
            text: get("text"),
            handles,
        }
    }

    /// The handle of the field called `name`, which must be in [`FIELDS`].
    pub fn get(&self, name: &str) -> Field {
        let index = FIELDS.iter().position(|r| r.name == name);
        self.handles[index.expect("the name is in the table")]
    }

    /// The handle of a row.
    pub fn at(&self, row: usize) -> Field {
        self.handles[row]
    }
}

/// Makes the tokenizers known to an index.
pub fn register(index: &tantivy::Index) {
    let words = TextAnalyzer::builder(Words::default()).build();
    index.tokenizers().register(WORDS, words);
}
