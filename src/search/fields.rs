//! The fields of the index: one table that the tantivy schema, the query language and its help are
//! made from.

use tantivy::schema::{
    Field, IndexRecordOption, NumericOptions, STORED, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer};

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
    /// Kept in a column too, for facets.
    pub fast: bool,
    /// What it holds.
    pub help: &'static str,
}

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    kind: FieldKind,
    fast: bool,
    help: &'static str,
) -> FieldRow {
    FieldRow {
        name,
        aliases,
        kind,
        fast,
        help,
    }
}

use FieldKind::{Duration, Keyword, Name, Number};

/// All fields.
pub const FIELDS: [FieldRow; 31] = [
    row("auditID", &["id", "auditid"], Keyword, false, "audit ID"),
    row("user", &["username"], Keyword, true, "who authenticated"),
    row(
        "as",
        &["impersonated", "impersonatedUser"],
        Keyword,
        true,
        "whom they impersonated",
    ),
    row(
        "userGroup",
        &["usergroup", "groups", "userGroups"],
        Keyword,
        true,
        "groups of the user",
    ),
    row(
        "verb",
        &[],
        Name,
        true,
        "get, list, watch, create, update, patch, delete, deletecollection",
    ),
    row(
        "group",
        &["apiGroup"],
        Keyword,
        true,
        "API group, empty for core",
    ),
    row("version", &["apiVersion"], Keyword, false, "API version"),
    row("resource", &["res"], Keyword, true, "plural resource"),
    row(
        "subresource",
        &["sub"],
        Keyword,
        true,
        "status, log, exec, …",
    ),
    row(
        "namespace",
        &["ns"],
        Keyword,
        true,
        "namespace of the object",
    ),
    row("name", &[], Keyword, true, "name of the object"),
    row("uid", &[], Keyword, false, "UID of the object"),
    row(
        "uri",
        &["requestURI", "path"],
        Keyword,
        false,
        "request URI",
    ),
    row(
        "code",
        &["status", "responseCode"],
        Number,
        true,
        "HTTP status code",
    ),
    row(
        "failure",
        &["statusReason"],
        Keyword,
        true,
        "reason of the Status: Forbidden, NotFound, …",
    ),
    row(
        "stage",
        &[],
        Name,
        true,
        "RequestReceived, ResponseStarted, ResponseComplete, Panic",
    ),
    row(
        "level",
        &[],
        Name,
        true,
        "Metadata, Request, RequestResponse",
    ),
    row(
        "ip",
        &["sourceIP", "sourceIPs"],
        Keyword,
        true,
        "client addresses",
    ),
    row(
        "agent",
        &["userAgent", "client"],
        Keyword,
        true,
        "user agent",
    ),
    row(
        "latency",
        &["duration", "took"],
        Duration,
        true,
        "time from arrival to this stage",
    ),
    row("decision", &[], Name, true, "allow or forbid"),
    row(
        "reason",
        &["authorizationReason"],
        Keyword,
        false,
        "why it was allowed or forbidden",
    ),
    row(
        "annotation",
        &["annotations"],
        Keyword,
        false,
        "key=value of any annotation",
    ),
    row(
        "by",
        &["authenticatedBy", "auth"],
        Name,
        true,
        "how the user was authenticated",
    ),
    row(
        "rule",
        &["policyRule"],
        Number,
        true,
        "index of the policy rule that decided",
    ),
    row("dryRun", &["dryrun"], Name, false, "true for dry runs"),
    row(
        "noOp",
        &["noop"],
        Name,
        false,
        "true for writes that changed nothing",
    ),
    row(
        "manager",
        &["fieldManager"],
        Keyword,
        true,
        "field manager of a write",
    ),
    row(
        "failedStage",
        &["failedstage"],
        Keyword,
        true,
        "pipeline stage that did not end well",
    ),
    row(
        "type",
        &["kind"],
        Name,
        false,
        "request, or gap, policy for what concerns the record itself",
    ),
    row(
        "text",
        &[],
        Keyword,
        false,
        "words anywhere in the event, bodies included",
    ),
];

/// The row called `name`, in any case, or by an alias.
pub fn find(name: &str) -> Option<(usize, &'static FieldRow)> {
    FIELDS.iter().enumerate().find(|(_, r)| {
        r.name.eq_ignore_ascii_case(name) || r.aliases.iter().any(|a| a.eq_ignore_ascii_case(name))
    })
}

/// Name of the tokenizer for free text.
const WORDS: &str = "words";
/// Words longer than this (base64, hashes of bodies) are not indexed.
const WORD_MAX_BYTES: usize = 80;

/// The tantivy schema with the handles of its fields.
#[derive(Clone, Debug)]
pub struct Fields {
    /// The schema.
    pub schema: Schema,
    /// Sort key, see `search`.
    pub key: Field,
    /// The event as it stands in the log.
    pub event: Field,
    /// Handles in the order of [`FIELDS`].
    handles: Vec<Field>,
}

/// Name of the sort key column.
pub const KEY: &str = "key";

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
        let handles = FIELDS
            .iter()
            .map(|row| match row.kind {
                _ if row.name == "text" => builder.add_text_field(
                    "text",
                    TextOptions::default().set_indexing_options(words.clone()),
                ),
                Number => builder
                    .add_u64_field(row.name, NumericOptions::default().set_indexed().set_fast()),
                Duration => builder.add_u64_field(row.name, NumericOptions::default().set_fast()),
                Keyword | Name => {
                    let options = TextOptions::default().set_indexing_options(raw.clone());
                    let options = if row.fast {
                        options.set_fast("raw")
                    } else {
                        options
                    };
                    builder.add_text_field(row.name, options)
                }
            })
            .collect();
        let key = builder.add_u64_field(KEY, NumericOptions::default().set_fast());
        let event = builder.add_bytes_field("event", STORED);
        Fields {
            schema: builder.build(),
            key,
            event,
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

/// The analyzer of free text: runs of letters and digits, lower-cased.
pub fn words() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_MAX_BYTES))
        .filter(LowerCaser)
        .build()
}

/// Makes the tokenizers known to an index.
pub fn register(index: &tantivy::Index) {
    index.tokenizers().register(WORDS, words());
}
