//! Time windows as people write them: `now`, `-2h`, `now-30m`, RFC 3339, dates.

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, Utc};

/// A half-open span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First instant.
    pub from: DateTime<Utc>,
    /// First instant that is not in it any more.
    pub to: DateTime<Utc>,
}

impl Default for Window {
    fn default() -> Self {
        Window::all()
    }
}

impl Window {
    /// Everything there is.
    pub fn all() -> Self {
        Window {
            from: DateTime::UNIX_EPOCH,
            // A little into the future, for clocks that differ.
            to: Utc::now() + Duration::days(1),
        }
    }

    /// From two texts, either of which may be missing.
    pub fn parse(from: Option<&str>, to: Option<&str>, now: DateTime<Utc>) -> Result<Self, String> {
        let all = Window::all();
        let text = |t: Option<&str>, otherwise| match t.map(str::trim) {
            None | Some("") => Ok(otherwise),
            Some(t) => parse_time(t, now),
        };
        let window = Window {
            from: text(from, all.from)?,
            to: text(to, all.to)?,
        };
        if window.from >= window.to {
            return Err("the window is empty: from is not before to".into());
        }
        Ok(window)
    }
}

/// Parses one point in time.
pub fn parse_time(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let relative = text.strip_prefix("now").unwrap_or(text);
    if relative.is_empty() {
        return Ok(now);
    }
    if let Some(ago) = relative.strip_prefix('-')
        && let Some(duration) = parse_duration(ago)
    {
        return now
            .checked_sub_signed(duration)
            .ok_or_else(|| format!("{text:?} is before all time"));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    for format in [
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d %H:%M",
    ] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(time.and_utc());
        }
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    Err(format!(
        "{text:?} is not a time: write now, -2h, -30m, -7d, 2026-01-31, 2026-01-31T12:00 or RFC 3339"
    ))
}

/// Parses `2h`, `1h30m`, `500ms`, `7d`, `2w`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut micros = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "us" | "µs" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            "m" => 60e6,
            "h" => 3600e6,
            "d" => 86_400e6,
            "w" => 604_800e6,
            _ => return None,
        };
        micros += number * unit;
        rest = &rest[letters..];
    }
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    let whole = micros as i64;
    (!text.is_empty()).then(|| Duration::microseconds(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let now: DateTime<Utc> = "2026-01-31T12:00:00Z".parse().expect("a time");
        for (text, expected) in [
            ("now", "2026-01-31T12:00:00Z"),
            ("-2h", "2026-01-31T10:00:00Z"),
            ("now-1h30m", "2026-01-31T10:30:00Z"),
            ("-1d", "2026-01-30T12:00:00Z"),
            ("2026-01-01", "2026-01-01T00:00:00Z"),
            ("2026-01-01T10:00", "2026-01-01T10:00:00Z"),
            ("2026-01-01T10:00:00+02:00", "2026-01-01T08:00:00Z"),
        ] {
            let expected: DateTime<Utc> = expected.parse().expect("a time");
            assert_eq!(parse_time(text, now), Ok(expected), "{text}");
        }
        assert!(parse_time("yesterday", now).is_err());
        assert!(Window::parse(Some("now"), Some("-2h"), now).is_err());
    }

    #[test]
    fn spans_longer_than_time_are_refused() {
        // Found by the property below.
        assert!(parse_time("-999999999999w", Utc::now()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_input_panics(text in "(now)?-?([0-9.]{1,12}(us|ms|s|m|h|d|w)|[0-9]{1,6}-[0-9]{2}-[0-9]{2}|T|.){0,6}") {
            let _ = parse_time(&text, Utc::now());
            let _ = Window::parse(Some(&text), None, Utc::now());
        }
    }
}
