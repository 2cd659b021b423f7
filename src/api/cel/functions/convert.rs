//! Conversions between scalar types, and parts of times.

use chrono::{DateTime, Datelike, FixedOffset, TimeZone, Timelike, Utc};

use super::super::eval::{EvalError, Outcome};
use super::super::value::{Val, parse_duration, parse_timestamp};

/// Calls a conversion or accessor; `None` when it is none.
pub(super) fn call<'a>(name: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
    match (name, arguments) {
        ("dyn", [value]) => Some(Ok(value.clone())),
        ("type", [value]) => Some(Ok(Val::Type(value.type_name().into()))),
        ("int", [value]) => to_int(value),
        ("uint", [value]) => to_uint(value),
        ("double", [value]) => to_double(value),
        ("string", [value]) => Some(match print(value) {
            Some(text) => Ok(Val::text(text)),
            None => Err(conversion(value, "string")),
        }),
        ("bool", [value]) => to_bool(value),
        ("bytes", [value]) => match value {
            Val::Str(text) => Some(Ok(Val::Bytes(text.as_str().as_bytes().into()))),
            Val::Bytes(_) => Some(Ok(value.clone())),
            _ => None,
        },
        ("timestamp", [value]) => to_timestamp(value),
        ("duration", [value]) => to_duration(value),
        (name, [Val::Timestamp(time)]) => accessor(name, &time.fixed_offset()),
        (name, [Val::Timestamp(time), Val::Str(zone)]) if name.starts_with("get") => {
            Some(in_zone(name, *time, zone.as_str()))
        }
        (name, [Val::Duration(duration)]) => {
            let part = match name {
                "getHours" => duration.num_hours(),
                "getMinutes" => duration.num_minutes(),
                "getSeconds" => duration.num_seconds(),
                "getMilliseconds" => duration.num_milliseconds() % 1000,
                _ => return None,
            };
            Some(Ok(Val::Int(part)))
        }
        _ => None,
    }
}

fn conversion(value: &Val<'_>, to: &str) -> EvalError {
    EvalError::failed(format!(
        "type conversion error from '{}' to '{to}'",
        value.type_name()
    ))
}

fn to_int<'a>(value: &Val<'a>) -> Option<Outcome<'a>> {
    Some(match value {
        Val::Int(i) => Ok(Val::Int(*i)),
        Val::Uint(u) => i64::try_from(*u).map(Val::Int).map_err(|_| range("int")),
        Val::Double(d) if *d > -9.3e18 && *d < 9.2e18 => {
            #[expect(clippy::cast_possible_truncation, reason = "in range, checked above")]
            let whole = *d as i64;
            Ok(Val::Int(whole))
        }
        Val::Double(_) => Err(range("int")),
        Val::Str(text) => text
            .as_str()
            .parse()
            .map(Val::Int)
            .map_err(|_| conversion(value, "int")),
        Val::Timestamp(time) => Ok(Val::Int(time.timestamp())),
        Val::Duration(duration) => Ok(Val::Int(duration.num_nanoseconds().unwrap_or(i64::MAX))),
        _ => return None,
    })
}

fn range(kind: &str) -> EvalError {
    EvalError::failed(format!("range error converting to {kind}"))
}

fn to_uint<'a>(value: &Val<'a>) -> Option<Outcome<'a>> {
    Some(match value {
        Val::Uint(u) => Ok(Val::Uint(*u)),
        Val::Int(i) => u64::try_from(*i).map(Val::Uint).map_err(|_| range("uint")),
        Val::Double(d) if *d >= 0.0 && *d < 1.8e19 => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in range, checked above"
            )]
            let whole = *d as u64;
            Ok(Val::Uint(whole))
        }
        Val::Double(_) => Err(range("uint")),
        Val::Str(text) => text
            .as_str()
            .parse()
            .map(Val::Uint)
            .map_err(|_| conversion(value, "uint")),
        _ => return None,
    })
}

fn to_double<'a>(value: &Val<'a>) -> Option<Outcome<'a>> {
    Some(match value {
        Val::Double(d) => Ok(Val::Double(*d)),
        #[expect(clippy::cast_precision_loss, reason = "what the conversion does")]
        Val::Int(i) => Ok(Val::Double(*i as f64)),
        #[expect(clippy::cast_precision_loss, reason = "what the conversion does")]
        Val::Uint(u) => Ok(Val::Double(*u as f64)),
        Val::Str(text) => text
            .as_str()
            .parse()
            .map(Val::Double)
            .map_err(|_| conversion(value, "double")),
        _ => return None,
    })
}

fn to_bool<'a>(value: &Val<'a>) -> Option<Outcome<'a>> {
    Some(match value {
        Val::Bool(b) => Ok(Val::Bool(*b)),
        Val::Str(text) => match text.as_str() {
            "true" | "TRUE" | "True" | "t" | "1" => Ok(Val::Bool(true)),
            "false" | "FALSE" | "False" | "f" | "0" => Ok(Val::Bool(false)),
            _ => Err(conversion(value, "bool")),
        },
        _ => return None,
    })
}

fn to_timestamp<'a>(value: &Val<'a>) -> Option<Outcome<'a>> {
    Some(match value {
        Val::Timestamp(_) => Ok(value.clone()),
        Val::Str(text) => parse_timestamp(text.as_str())
            .map(Val::Timestamp)
            .ok_or_else(|| conversion(value, "google.protobuf.Timestamp")),
        Val::Int(seconds) => DateTime::from_timestamp(*seconds, 0)
            .map(Val::Timestamp)
            .ok_or_else(|| range("google.protobuf.Timestamp")),
        _ => return None,
    })
}

fn to_duration<'a>(value: &Val<'a>) -> Option<Outcome<'a>> {
    Some(match value {
        Val::Duration(_) => Ok(value.clone()),
        Val::Str(text) => parse_duration(text.as_str())
            .map(Val::Duration)
            .ok_or_else(|| conversion(value, "google.protobuf.Duration")),
        Val::Int(nanos) => Ok(Val::Duration(chrono::TimeDelta::nanoseconds(*nanos))),
        _ => return None,
    })
}

/// `string(value)`; `None` of what has no text.
pub(in crate::api::cel) fn print(value: &Val<'_>) -> Option<String> {
    Some(match value {
        Val::Str(text) => text.as_str().to_string(),
        Val::Bool(b) => b.to_string(),
        Val::Int(i) => i.to_string(),
        Val::Uint(u) => u.to_string(),
        Val::Double(d) => print_double(*d),
        Val::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok()?,
        Val::Timestamp(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        Val::Duration(duration) => print_duration(*duration),
        Val::Ip(ip) => ip.to_string(),
        Val::Cidr(ip, length) => format!("{ip}/{length}"),
        Val::Type(name) => name.to_string(),
        _ => return None,
    })
}

/// As Go's `%g` with the shortest digits that read back.
pub(super) fn print_double(d: f64) -> String {
    let size = d.abs();
    if d.is_nan() {
        return "NaN".into();
    }
    if d.is_infinite() {
        return if d > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{d:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{d}")
}

/// Seconds with a fraction: `90s`, `1.5s`.
fn print_duration(duration: chrono::TimeDelta) -> String {
    let nanos =
        i128::from(duration.num_seconds()) * 1_000_000_000 + i128::from(duration.subsec_nanos());
    let (whole, fraction) = (nanos / 1_000_000_000, (nanos % 1_000_000_000).abs());
    let sign = if nanos < 0 && whole == 0 { "-" } else { "" };
    if fraction == 0 {
        return format!("{sign}{whole}s");
    }
    let fraction = format!("{fraction:09}");
    format!("{sign}{whole}.{}s", fraction.trim_end_matches('0'))
}

fn accessor<'a>(name: &str, time: &DateTime<FixedOffset>) -> Option<Outcome<'a>> {
    let part = match name {
        "getFullYear" => i64::from(time.year()),
        "getMonth" => i64::from(time.month0()),
        "getDayOfYear" => i64::from(time.ordinal0()),
        "getDayOfMonth" => i64::from(time.day0()),
        "getDate" => i64::from(time.day()),
        "getDayOfWeek" => i64::from(time.weekday().num_days_from_sunday()),
        "getHours" => i64::from(time.hour()),
        "getMinutes" => i64::from(time.minute()),
        "getSeconds" => i64::from(time.second()),
        "getMilliseconds" => i64::from(time.timestamp_subsec_millis()),
        _ => return None,
    };
    Some(Ok(Val::Int(part)))
}

/// With an offset (`+02:00`) or UTC; names of zones need a time zone database, which the server has
/// not.
fn in_zone<'a>(name: &str, time: DateTime<Utc>, zone: &str) -> Outcome<'a> {
    let seconds = match zone {
        "" | "UTC" => Some(0),
        zone => offset_seconds(zone),
    };
    let offset = seconds.and_then(FixedOffset::east_opt);
    let offset = offset.ok_or_else(|| EvalError::failed(format!("unknown time zone {zone}")))?;
    let local = offset.from_utc_datetime(&time.naive_utc());
    accessor(name, &local).unwrap_or_else(|| Err(EvalError::failed("no such overload")))
}

fn offset_seconds(zone: &str) -> Option<i32> {
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, zone.strip_prefix('+').unwrap_or(zone)),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(sign * (hours * 3600 + minutes * 60))
}
