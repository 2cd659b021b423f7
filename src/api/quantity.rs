//! `Quantity`: amounts such as `100m`, `1.5Gi` and `2e3` (apimachinery's `resource.Quantity`).
//!
//! A fixed-point number of nano units with the suffix family it was written in. Parsing rounds
//! away from zero to nano units and caps at 2⁶³-1; formatting is canonical.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Mul, Sub};

const NANO: i128 = 1_000_000_000;
const MAX: i128 = i64::MAX as i128 * NANO;

/// The suffix family of a quantity, kept from parsing to printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantityFormat {
    /// `Ki`, `Mi` …
    BinarySi,
    /// `m`, `k`, `M` …
    DecimalSi,
    /// `e3`, `E6` …
    DecimalExponent,
}

/// An amount. Compared by value, whatever the format.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: QuantityFormat,
}

/// Why a quantity could not be parsed; displays upstream's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text as a whole is not a quantity.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// There are no digits.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is none of the known ones.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Zero, printed without suffix.
    pub const ZERO: Quantity = Quantity {
        nanos: 0,
        format: QuantityFormat::DecimalSi,
    };

    /// A whole number.
    pub fn from_int(value: i64) -> Self {
        Quantity {
            nanos: i128::from(value) * NANO,
            format: QuantityFormat::DecimalSi,
        }
    }

    /// Parses text as upstream's `ParseQuantity`.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let parts = split(text)?;
        let (base, exponent, format) = suffix(parts.suffix)?;
        if parts.integer.is_empty() && parts.fraction.is_empty() {
            return Err(QuantityError::Numeric);
        }
        let nanos = scale(&parts, base, exponent);
        // A fraction of one has no binary suffix.
        let format = match format {
            QuantityFormat::BinarySi if nanos > 0 && nanos < NANO => QuantityFormat::DecimalSi,
            format => format,
        };
        let nanos = if parts.negative {
            -nanos
        } else {
            nanos.min(MAX)
        };
        Ok(Quantity { nanos, format })
    }

    /// The suffix family.
    pub fn format(&self) -> QuantityFormat {
        self.format
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i32 {
        self.nanos.signum() as i32
    }

    /// Whole units, rounded up (away from zero); saturates.
    pub fn value(&self) -> i64 {
        saturate(ceil(self.nanos, NANO))
    }

    /// Thousandths, rounded up (away from zero); saturates.
    pub fn milli_value(&self) -> i64 {
        saturate(ceil(self.nanos, NANO / 1000))
    }

    /// The whole units if there is no fraction.
    pub fn as_int(&self) -> Option<i64> {
        (self.nanos % NANO == 0)
            .then(|| i64::try_from(self.nanos / NANO).ok())
            .flatten()
    }

    /// The nearest number of floating point.
    pub fn as_f64(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "what the conversion does")]
        let (nanos, nano) = (self.nanos as f64, NANO as f64);
        nanos / nano
    }

    /// The same amount rounded up to thousandths, as resource lists keep it.
    #[must_use]
    pub fn rounded_up_to_milli(self) -> Self {
        let milli = NANO / 1000;
        Quantity {
            nanos: ceil(self.nanos, milli) * milli,
            ..self
        }
    }
}

/// The sum, in the format of `self` (or of `other` where `self` is zero).
impl Add for Quantity {
    type Output = Quantity;

    fn add(self, other: Self) -> Self {
        Quantity {
            nanos: self.nanos.saturating_add(other.nanos),
            format: if self.is_zero() {
                other.format
            } else {
                self.format
            },
        }
    }
}

/// The difference, in the format of `self` (or of `other` where `self` is zero).
impl Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Self) -> Self {
        self + Quantity {
            nanos: -other.nanos,
            ..other
        }
    }
}

/// The product; saturates far beyond what can be printed.
impl Mul<i64> for Quantity {
    type Output = Quantity;

    fn mul(self, factor: i64) -> Self {
        Quantity {
            nanos: self.nanos.saturating_mul(i128::from(factor)),
            ..self
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        if self.format == QuantityFormat::BinarySi && !small {
            return binary(ceil(self.nanos, NANO), f);
        }
        decimal(self.nanos, self.format, f)
    }
}

fn binary(mut mantissa: i128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut power = 0;
    while mantissa % 1024 == 0 && power + 1 < SUFFIXES.len() {
        mantissa /= 1024;
        power += 1;
    }
    write!(f, "{mantissa}{}", SUFFIXES[power])
}

fn decimal(mut mantissa: i128, format: QuantityFormat, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let mut power = 0;
    while mantissa % 1000 == 0 && power + 1 < SUFFIXES.len() {
        mantissa /= 1000;
        power += 1;
    }
    match format {
        QuantityFormat::DecimalExponent if power != 3 => {
            write!(f, "{mantissa}e{}", power as i32 * 3 - 9)
        }
        _ => write!(f, "{mantissa}{}", SUFFIXES[power]),
    }
}

struct Parts<'a> {
    negative: bool,
    integer: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Format);
    }
    let (negative, rest) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (integer, rest) = take(rest, |c| c.is_ascii_digit());
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => take(rest, |c| c.is_ascii_digit()),
        None => ("", rest),
    };
    let (_, tail) = take(rest, |c| "eEinumkKMGTP".contains(c));
    let signed = tail.strip_prefix(['-', '+']).unwrap_or(tail);
    let (_, garbage) = take(signed, |c| c.is_ascii_digit());
    if !garbage.is_empty() {
        return Err(QuantityError::Format);
    }
    Ok(Parts {
        negative,
        integer,
        fraction,
        suffix: rest,
    })
}

fn take(text: &str, accept: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !accept(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// Base and exponent of a suffix, and its family.
fn suffix(text: &str) -> Result<(i128, i32, QuantityFormat), QuantityError> {
    use QuantityFormat::{BinarySi, DecimalExponent, DecimalSi};
    Ok(match text {
        "n" => (10, -9, DecimalSi),
        "u" => (10, -6, DecimalSi),
        "m" => (10, -3, DecimalSi),
        "" => (10, 0, DecimalSi),
        "k" => (10, 3, DecimalSi),
        "M" => (10, 6, DecimalSi),
        "G" => (10, 9, DecimalSi),
        "T" => (10, 12, DecimalSi),
        "P" => (10, 15, DecimalSi),
        "E" => (10, 18, DecimalSi),
        "Ki" => (2, 10, BinarySi),
        "Mi" => (2, 20, BinarySi),
        "Gi" => (2, 30, BinarySi),
        "Ti" => (2, 40, BinarySi),
        "Pi" => (2, 50, BinarySi),
        "Ei" => (2, 60, BinarySi),
        _ => {
            let digits = text.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
            let exponent: i32 = digits.parse().map_err(|_| QuantityError::Suffix)?;
            (10, exponent, DecimalExponent)
        }
    })
}

/// The magnitude in nano units, rounded up, at most twice [`MAX`].
fn scale(parts: &Parts<'_>, base: i128, exponent: i32) -> i128 {
    let integer = parts.integer.trim_start_matches('0');
    let fraction = parts.fraction.trim_end_matches('0');
    if integer.is_empty() && fraction.is_empty() {
        return 0;
    }
    let (binary, shift) = match base {
        2 => (1_i128 << exponent, 0),
        _ => (1, exponent.clamp(-1000, 1000)),
    };
    // The value is `digits` × 10^(point - number of digits) × binary, in nano units.
    let point = i64::from(shift) + 9;
    let digits = integer.bytes().chain(fraction.bytes());
    let whole_digits = integer.len() as i64 + point;
    let mut whole: i128 = 0;
    let mut rest = Remainder::default();
    let mut count = 0_i64;
    for digit in digits {
        let digit = i128::from(digit - b'0');
        if count < whole_digits {
            whole = whole.saturating_mul(10).saturating_add(digit);
            if whole > MAX.saturating_mul(2) {
                return MAX + 1;
            }
        } else {
            rest.push(digit, (count - whole_digits) as u64);
        }
        count += 1;
    }
    while count < whole_digits {
        whole = whole.saturating_mul(10);
        if whole > MAX.saturating_mul(2) {
            return MAX + 1;
        }
        count += 1;
    }
    let magnitude = match binary {
        1 => whole + i128::from(rest.nonzero),
        binary => whole
            .saturating_mul(binary)
            .saturating_add(rest.times(binary)),
    };
    match magnitude > MAX.saturating_mul(2) {
        true => MAX + 1,
        false => magnitude,
    }
}

/// Digits below one nano unit: exact to 18 places, then only whether anything is left.
#[derive(Default)]
struct Remainder {
    digits: i128,
    places: u32,
    nonzero: bool,
    beyond: bool,
}

impl Remainder {
    fn push(&mut self, digit: i128, position: u64) {
        self.nonzero |= digit != 0;
        if position >= 18 {
            self.beyond |= digit != 0;
            return;
        }
        while u64::from(self.places) < position {
            self.digits *= 10;
            self.places += 1;
        }
        self.digits = self.digits * 10 + digit;
        self.places += 1;
    }

    /// The remainder times `binary`, rounded up.
    fn times(&self, binary: i128) -> i128 {
        let unit = 10_i128.pow(self.places);
        let product = self.digits * binary;
        let up = product % unit != 0 || self.beyond;
        product / unit + i128::from(up)
    }
}

fn ceil(value: i128, unit: i128) -> i128 {
    let quotient = value / unit;
    match value % unit {
        0 => quotient,
        rest => quotient + rest.signum(),
    }
}

fn saturate(value: i128) -> i64 {
    value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        for (text, canonical) in [
            ("0", "0"),
            ("0Gi", "0"),
            ("-0", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1000k", "1M"),
            ("100m", "100m"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1000e0", "1e3"),
            ("12e1", "120"),
            ("1E", "1E"),
            ("0.0001", "100u"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("512", "512"),
            ("0.5Ki", "512"),
            ("1.2Ki", "1229"),
            ("+5", "5"),
            ("-5m", "-5m"),
            ("010", "10"),
            (".5", "500m"),
            ("5.", "5"),
            ("9223372036854775808", "9223372036854775807"),
            ("0.0001Ki", "102400u"),
            ("1e-3", "1e-3"),
            ("2000000Ki", "2000000Ki"),
            ("8Ei", "9223372036854775807"),
            ("1e100", "9223372036854775807e0"),
        ] {
            let got = Quantity::parse(text).map(|q| q.to_string());
            let want = canonical.strip_suffix("e0").unwrap_or(canonical);
            assert_eq!(got.as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn refusals() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("abc", QuantityError::Format),
            ("1x", QuantityError::Format),
            ("m", QuantityError::Numeric),
            (".", QuantityError::Numeric),
            ("1mm", QuantityError::Suffix),
            ("1ki", QuantityError::Suffix),
            ("1 Gi", QuantityError::Format),
            ("1..2", QuantityError::Format),
            ("1K", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
            ("--1", QuantityError::Suffix),
        ] {
            assert_eq!(Quantity::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn arithmetic_keeps_the_format() {
        let parse = |text| Quantity::parse(text).expect("valid");
        assert_eq!((parse("1Gi") + parse("512Mi")).to_string(), "1536Mi");
        assert_eq!((Quantity::ZERO + parse("512Mi")).to_string(), "512Mi");
        assert_eq!((parse("1") - parse("100m")).to_string(), "900m");
        assert_eq!((parse("100m") * 3).to_string(), "300m");
        assert_eq!(parse("100u").rounded_up_to_milli().to_string(), "1m");
        assert!(parse("1Gi") > parse("1G") && parse("1") == parse("1000m"));
        assert_eq!(
            (parse("1500m").value(), parse("1").milli_value()),
            (2, 1000)
        );
    }

    #[test]
    fn what_is_far_too_small_prints_as_it_reads() {
        let quantity = Quantity::parse("-148000000000Ei").expect("reads");
        assert_eq!(quantity.to_string(), "-8Ei");
        assert_eq!(Quantity::parse("-8Ei").expect("reads").to_string(), "-8Ei");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[+-]?([0-9]{0,40}|\\.|e|E|[+-]|n|u|m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|Ei|.){0,6}") {
            if let Ok(quantity) = Quantity::parse(&text) {
                let printed = quantity.to_string();
                let again = Quantity::parse(&printed);
                let again = again.map(|q| q.to_string());
                proptest::prop_assert_eq!(again.as_deref(), Ok(printed.as_str()), "{}", text);
                let _ = (quantity.value(), quantity.milli_value(), quantity.as_int());
                let _ = quantity.rounded_up_to_milli();
            }
        }
    }
}
