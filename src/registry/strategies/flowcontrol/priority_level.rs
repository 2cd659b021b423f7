//! PriorityLevelConfiguration.

use super::super::common::access::{
    at, at_mut, default_nil, default_zero, ensure_object, get, i64_at, int_at, remove,
    semantic_equal, str_at,
};
use super::super::common::golang::{self, Field, Ty};
use super::super::storage::volume_attachment::keep_metadata;
use super::validate_conditions;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::flowcontrol::mandatory;
use crate::registry::strategy::{Strategy, WriteContext};

/// Most queues of a level.
const QUEUES_MAX: i64 = 10_000_000;
/// Bits that shuffle sharding has for dealing hands.
const HASH_BITS_MAX: i64 = 60;

const QUEUING: &[Field] = &[
    ("Queues", "queues", Ty::Int),
    ("HandSize", "handSize", Ty::Int),
    ("QueueLengthLimit", "queueLengthLimit", Ty::Int),
];

const SPEC: &[Field] = &[
    ("Type", "type", Ty::Str),
    (
        "Limited",
        "limited",
        Ty::Ptr(&[
            (
                "NominalConcurrencyShares",
                "nominalConcurrencyShares",
                Ty::Int,
            ),
            (
                "LimitResponse",
                "limitResponse",
                Ty::Struct(&[
                    ("Type", "type", Ty::Str),
                    ("Queuing", "queuing", Ty::Ptr(QUEUING)),
                ]),
            ),
            ("LendablePercent", "lendablePercent", Ty::Nil),
            ("BorrowingLimitPercent", "borrowingLimitPercent", Ty::Nil),
        ]),
    ),
    (
        "Exempt",
        "exempt",
        Ty::Ptr(&[
            (
                "NominalConcurrencyShares",
                "nominalConcurrencyShares",
                Ty::Nil,
            ),
            ("LendablePercent", "lendablePercent", Ty::Nil),
        ]),
    ),
];

/// Rules of PriorityLevelConfiguration.
pub struct PriorityLevelStrategy;

impl Strategy for PriorityLevelStrategy {
    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        if let Some(limited) = at_mut(spec, "limited") {
            default_nil(limited, "nominalConcurrencyShares", 30);
            default_nil(limited, "lendablePercent", 0);
            if let Some(queuing) =
                at_mut(limited, "limitResponse").and_then(|r| at_mut(r, "queuing"))
            {
                default_zero(queuing, "queues", 64);
                default_zero(queuing, "handSize", 8);
                default_zero(queuing, "queueLengthLimit", 50);
            }
        }
        if let Some(exempt) = at_mut(spec, "exempt") {
            default_nil(exempt, "nominalConcurrencyShares", 0);
            default_nil(exempt, "lendablePercent", 0);
        }
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource == "status" {
            keep_metadata(object, old);
        }
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource != "status" {
            let name = str_at(get(object, "metadata"), "name");
            validate_spec(name, get(object, "spec"), errors);
        }
        validate_conditions(object, errors);
    }
}

fn validate_spec(name: &str, spec: &Value, errors: &mut FieldErrors) {
    let path = Path::ROOT.field("spec");
    let kind = str_at(spec, "type");
    if (name == "exempt") != (kind == "Exempt") && matches!(kind, "Exempt" | "Limited") {
        errors.invalid_str(
            &path.field("type"),
            kind,
            "must be 'Exempt' if and only if `name` is 'exempt'",
        );
    }
    let (limited, exempt) = (at(spec, "limited"), at(spec, "exempt"));
    match kind {
        "Exempt" => {
            if limited.is_some() {
                errors.forbidden(
                    &path.field("limited"),
                    "must be nil if the type is not Limited",
                );
            }
            if let Some(exempt) = exempt {
                validate_exempt(exempt, &path.field("exempt"), errors);
            }
        }
        "Limited" => {
            if exempt.is_some() {
                errors.forbidden(&path.field("exempt"), "must be nil if the type is Limited");
            }
            match limited {
                None => errors.required(
                    &path.field("limited"),
                    "must not be empty when type is Limited",
                ),
                Some(limited) => validate_limited(limited, &path.field("limited"), errors),
            }
        }
        _ => errors.not_supported(&path.field("type"), &kind.into(), &["Exempt", "Limited"]),
    }
    validate_mandatory(name, spec, &path, errors);
}

fn validate_mandatory(name: &str, spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let detail = match name {
        "exempt" => {
            let mut rest = spec.clone();
            remove(&mut rest, "exempt");
            let fixed = json!({"type": "Exempt"});
            if semantic_equal(Some(&rest), Some(&fixed)) {
                return;
            }
            "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"
        }
        "catch-all" if !semantic_equal(Some(spec), mandatory::level("catch-all")) => {
            "spec of 'catch-all' must equal the fixed value"
        }
        _ => return,
    };
    errors.push(
        ErrorType::Invalid,
        path,
        golang::compact_zero(Some(spec), SPEC),
        detail,
    );
}

fn validate_shares(level: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let shares = int_at(level, "nominalConcurrencyShares");
    if shares < 0 {
        errors.invalid(
            &path.field("nominalConcurrencyShares"),
            &shares.into(),
            "must be a non-negative integer",
        );
    }
    let lendable = int_at(level, "lendablePercent");
    if !(0..=100).contains(&lendable) {
        errors.invalid(
            &path.field("lendablePercent"),
            &lendable.into(),
            "must be between 0 and 100, inclusive",
        );
    }
}

fn validate_exempt(exempt: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_shares(exempt, path, errors);
}

fn validate_limited(limited: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    validate_shares(limited, path, errors);
    if let Some(n) = i64_at(limited, "borrowingLimitPercent")
        && n < 0
    {
        errors.invalid(
            &path.field("borrowingLimitPercent"),
            &n.into(),
            "if specified, must be a non-negative integer",
        );
    }
    let response = get(limited, "limitResponse");
    let path = path.field("limitResponse");
    let queuing_path = path.field("queuing");
    match (str_at(response, "type"), at(response, "queuing")) {
        ("Reject", None) => {}
        ("Reject", Some(_)) => errors.forbidden(
            &queuing_path,
            "must be nil if limited.limitResponse.type is not Limited",
        ),
        ("Queue", None) => errors.required(
            &queuing_path,
            "must not be empty if limited.limitResponse.type is Limited",
        ),
        ("Queue", Some(queuing)) => validate_queuing(queuing, &queuing_path, errors),
        (kind, _) => {
            errors.not_supported(&path.field("type"), &kind.into(), &["Queue", "Reject"]);
        }
    }
}

fn validate_queuing(queuing: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let positive = |field: &str, errors: &mut FieldErrors| {
        let n = int_at(queuing, field);
        if n <= 0 {
            errors.invalid(&path.field(field), &n.into(), "must be positive");
        }
        n
    };
    positive("queueLengthLimit", errors);
    let queues = positive("queues", errors);
    if queues > QUEUES_MAX {
        errors.invalid(
            &path.field("queues"),
            &queues.into(),
            format!("must not be greater than {QUEUES_MAX}"),
        );
    }
    let hand = positive("handSize", errors);
    let hand_path = path.field("handSize");
    if hand > queues {
        errors.invalid(
            &hand_path,
            &hand.into(),
            format!("should not be greater than queues ({queues})"),
        );
    } else if queues > 0 && entropy_bits(queues, hand) > HASH_BITS_MAX {
        errors.invalid(
            &hand_path,
            &hand.into(),
            format!("required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS_MAX}"),
        );
    }
}

/// Bits it takes to deal a hand from the deck.
fn entropy_bits(deck: i64, hand: i64) -> i64 {
    ((deck as f64).log2() * hand as f64).ceil() as i64
}
