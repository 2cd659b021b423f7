//! The syntax of cron schedules, with the error texts of the library the reference uses.

/// Bounds and names of one field.
struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Bounds; 5] = [
    Bounds {
        min: 0,
        max: 59,
        names: &[],
    },
    Bounds {
        min: 0,
        max: 23,
        names: &[],
    },
    Bounds {
        min: 1,
        max: 31,
        names: &[],
    },
    Bounds {
        min: 1,
        max: 12,
        names: &[
            "", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    Bounds {
        min: 0,
        max: 6,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

const DESCRIPTORS: [&str; 7] = [
    "@yearly",
    "@annually",
    "@monthly",
    "@weekly",
    "@daily",
    "@midnight",
    "@hourly",
];

/// Checks a standard schedule of five fields, or a descriptor.
///
/// # Errors
/// Says what is wrong with it.
pub fn validate(schedule: &str) -> Result<(), String> {
    if schedule.is_empty() {
        return Err("empty spec string".into());
    }
    let mut rest = schedule;
    if let Some(zone) = rest
        .strip_prefix("TZ=")
        .or_else(|| rest.strip_prefix("CRON_TZ="))
    {
        let (name, fields) = zone.split_once(' ').unwrap_or((zone, ""));
        if !is_zone(name) {
            return Err(format!(
                "provided bad location {name}: unknown time zone {name}"
            ));
        }
        rest = fields.trim();
    }
    if rest.starts_with('@') {
        return validate_descriptor(rest);
    }
    let fields: Vec<&str> = rest.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    for (field, bounds) in fields.iter().zip(&FIELDS) {
        for expression in field.split(',').filter(|e| !e.is_empty()) {
            validate_range(expression, bounds)?;
        }
    }
    Ok(())
}

/// Whether Go's `time.LoadLocation` knows the name.
pub fn is_zone(name: &str) -> bool {
    matches!(name, "" | "UTC" | "Local") || super::zones::ZONES.binary_search(&name).is_ok()
}

fn validate_descriptor(text: &str) -> Result<(), String> {
    if DESCRIPTORS.contains(&text) {
        return Ok(());
    }
    let Some(duration) = text.strip_prefix("@every ") else {
        return Err(format!("unrecognized descriptor: {text}"));
    };
    if is_duration(duration) {
        return Ok(());
    }
    Err(format!(
        "failed to parse duration {text}: time: invalid duration {duration:?}"
    ))
}

/// Go's duration syntax: numbers with units.
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut any = false;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        if number.is_empty() || number == "." || number.matches('.').count() > 1 {
            return false;
        }
        let units = ["ns", "us", "µs", "ms", "s", "m", "h"];
        let Some(unit) = units
            .iter()
            .filter(|u| tail.starts_with(**u))
            .max_by_key(|u| u.len())
        else {
            return false;
        };
        rest = &tail[unit.len()..];
        any = true;
    }
    any
}

fn validate_range(expression: &str, bounds: &Bounds) -> Result<(), String> {
    let (range, step) = match expression.split_once('/') {
        Some((range, step)) => (range, Some(step)),
        None => (expression, None),
    };
    let ends: Vec<&str> = range.split('-').collect();
    let (start, mut end);
    if ends[0] == "*" || ends[0] == "?" {
        (start, end) = (bounds.min, bounds.max);
    } else {
        start = parse_number(ends[0], bounds)?;
        end = match ends.len() {
            1 => start,
            2 => parse_number(ends[1], bounds)?,
            _ => return Err(format!("too many hyphens: {expression}")),
        };
    }
    let mut by = 1;
    match step {
        None => {}
        Some(step) if step.contains('/') => {
            return Err(format!("too many slashes: {expression}"));
        }
        Some(step) => {
            by = parse_plain(step)?;
            if ends.len() == 1 {
                end = bounds.max;
            }
        }
    }
    if start < bounds.min {
        return Err(format!(
            "beginning of range ({start}) below minimum ({}): {expression}",
            bounds.min
        ));
    }
    if end > bounds.max {
        return Err(format!(
            "end of range ({end}) above maximum ({}): {expression}",
            bounds.max
        ));
    }
    if start > end {
        return Err(format!(
            "beginning of range ({start}) beyond end of range ({end}): {expression}"
        ));
    }
    if by == 0 {
        return Err(format!(
            "step of range should be a positive number: {expression}"
        ));
    }
    Ok(())
}

fn parse_number(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let lower = text.to_lowercase();
    if let Some(position) = bounds
        .names
        .iter()
        .position(|name| !name.is_empty() && *name == lower)
    {
        return Ok(u32::try_from(position).unwrap_or_default());
    }
    parse_plain(text)
}

fn parse_plain(text: &str) -> Result<u32, String> {
    let number: i64 = text.parse().map_err(|_| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
    })?;
    u32::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
}

#[cfg(test)]
mod tests {
    use super::validate;

    #[test]
    fn schedules() {
        let cases = [
            ("* * * * *", ""),
            ("*/5 0-23/2 1,15 jan-mar sun", ""),
            ("@daily", ""),
            ("@every 1h30m", ""),
            ("TZ=UTC * * * * *", ""),
            ("bad", "expected exactly 5 fields, found 1: [bad]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "5-1 * * * *",
                "beginning of range (5) beyond end of range (1): 5-1",
            ),
            (
                "*/0 * * * *",
                "step of range should be a positive number: */0",
            ),
            (
                "x * * * *",
                "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            ("@often", "unrecognized descriptor: @often"),
        ];
        for (schedule, want) in cases {
            let got = validate(schedule).err().unwrap_or_default();
            assert_eq!(got, want, "{schedule}");
        }
    }
}
