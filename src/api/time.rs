//! Times as Go's `time.Parse` reads them and `metav1.Time`/`MicroTime` print them.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};

use crate::api::schema::go_json::quote;

const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
const RFC3339_MICRO: &str = "2006-01-02T15:04:05.000000Z07:00";

/// Now, as `metav1.Time` prints it.
pub fn now() -> String {
    format_seconds(Utc::now())
}

/// Now, as `metav1.MicroTime` prints it.
pub fn now_micro() -> String {
    format_micros(Utc::now())
}

/// UTC with whole seconds: `2026-01-02T15:04:05Z`.
pub fn format_seconds(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// UTC with six digits: `2026-01-02T15:04:05.000000Z`.
pub fn format_micros(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Parses RFC 3339 as Go does; a fraction of seconds is allowed. The error is Go's text.
pub fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    Parser::new(text, RFC3339).run(Fraction::Optional)
}

/// Parses RFC 3339 with exactly six digits of fraction. The error is Go's text.
pub fn parse_micro(text: &str) -> Result<DateTime<Utc>, String> {
    Parser::new(text, RFC3339_MICRO).run(Fraction::Six)
}

#[derive(Clone, Copy, PartialEq)]
enum Fraction {
    Optional,
    Six,
}

struct Parser<'a> {
    text: &'a str,
    layout: &'static str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, layout: &'static str) -> Self {
        Parser {
            text,
            layout,
            rest: text,
        }
    }

    fn run(mut self, fraction: Fraction) -> Result<DateTime<Utc>, String> {
        let year = self.digits(4, 4, "2006")? as i32;
        self.literal("-")?;
        let month = self.digits(2, 2, "01")?;
        self.range(month, 1, 12, "month")?;
        self.literal("-")?;
        let day = self.digits(2, 2, "02")?;
        self.literal("T")?;
        let hour = self.digits(2, 1, "15")?;
        self.range(hour, 0, 23, "hour")?;
        self.literal(":")?;
        let minute = self.digits(2, 2, "04")?;
        self.range(minute, 0, 59, "minute")?;
        self.literal(":")?;
        let second = self.digits(2, 2, "05")?;
        self.range(second, 0, 59, "second")?;
        let nanos = self.fraction(fraction)?;
        let offset_s = self.zone()?;
        if !self.rest.is_empty() {
            return Err(format!(
                "parsing time {}: extra text: {}",
                quote(self.text),
                quote(self.rest)
            ));
        }
        let date = NaiveDate::from_ymd_opt(year, month, day);
        let time = date.and_then(|date| date.and_hms_nano_opt(hour, minute, second, nanos));
        let Some(time) = time else {
            return Err(self.out_of_range("day"));
        };
        Ok(time.and_utc() - TimeDelta::seconds(offset_s))
    }

    fn digits(&mut self, max: usize, min: usize, element: &str) -> Result<u32, String> {
        let count = self
            .rest
            .bytes()
            .take(max)
            .take_while(u8::is_ascii_digit)
            .count();
        if count < min {
            return Err(self.cannot_parse(element));
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(digits.bytes().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
    }

    fn literal(&mut self, literal: &str) -> Result<(), String> {
        match self.rest.strip_prefix(literal) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.cannot_parse(literal)),
        }
    }

    fn range(&self, value: u32, min: u32, max: u32, what: &str) -> Result<(), String> {
        match (min..=max).contains(&value) {
            true => Ok(()),
            false => Err(self.out_of_range(what)),
        }
    }

    fn fraction(&mut self, fraction: Fraction) -> Result<u32, String> {
        let digits = match self.rest.strip_prefix(['.', ',']) {
            Some(rest) => {
                let end = rest
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(rest.len());
                &rest[..end]
            }
            None => "",
        };
        let fits = match fraction {
            Fraction::Optional => true,
            Fraction::Six => digits.len() == 6,
        };
        if !fits {
            return Err(self.cannot_parse(".000000"));
        }
        if digits.is_empty() {
            return Ok(0);
        }
        self.rest = &self.rest[digits.len() + 1..];
        let nanos = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
        Ok(nanos.fold(0, |n, d| n * 10 + u32::from(d - b'0')))
    }

    fn zone(&mut self) -> Result<i64, String> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let bytes = self.rest.as_bytes();
        let digit = |i: usize| bytes[i].is_ascii_digit();
        let shaped = bytes.len() >= 6
            && matches!(bytes[0], b'+' | b'-')
            && bytes[3] == b':'
            && digit(1)
            && digit(2)
            && digit(4)
            && digit(5);
        if !shaped {
            return Err(self.cannot_parse("Z07:00"));
        }
        let number = |i: usize| i64::from(bytes[i] - b'0') * 10 + i64::from(bytes[i + 1] - b'0');
        let (hours, minutes) = (number(1), number(4));
        if hours > 24 {
            return Err(self.out_of_range("time zone offset hour"));
        }
        if minutes > 60 {
            return Err(self.out_of_range("time zone offset minute"));
        }
        let seconds = hours * 3600 + minutes * 60;
        let negative = bytes[0] == b'-';
        self.rest = &self.rest[6..];
        Ok(if negative { -seconds } else { seconds })
    }

    fn cannot_parse(&self, element: &str) -> String {
        let mut text = String::from("parsing time ");
        let _ = write!(
            text,
            "{} as {}: cannot parse {} as {}",
            quote(self.text),
            quote(self.layout),
            quote(self.rest),
            quote(element)
        );
        text
    }

    fn out_of_range(&self, what: &str) -> String {
        format!("parsing time {}: {what} out of range", quote(self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        for (text, want) in [
            ("2024-01-02T03:04:05Z", Ok("2024-01-02T03:04:05Z")),
            ("2024-01-02T03:04:05.999Z", Ok("2024-01-02T03:04:05Z")),
            ("2024-01-02T03:04:05+01:30", Ok("2024-01-02T01:34:05Z")),
            (
                "yesterday",
                Err(
                    "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
                ),
            ),
            (
                "2024-13-01T00:00:00Z",
                Err("parsing time \"2024-13-01T00:00:00Z\": month out of range"),
            ),
            (
                "2024-02-30T00:00:00Z",
                Err("parsing time \"2024-02-30T00:00:00Z\": day out of range"),
            ),
            (
                "2024-01-02",
                Err(
                    "parsing time \"2024-01-02\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"T\"",
                ),
            ),
        ] {
            let got = parse(text).map(format_seconds);
            assert_eq!(got, want.map(String::from).map_err(String::from), "{text}");
        }
        let micro = parse_micro("2024-01-02T03:04:05Z").expect_err("no fraction");
        assert!(
            micro.ends_with("cannot parse \"Z\" as \".000000\""),
            "{micro}"
        );
    }
}
