//! Tables that line up, and colour where there is a terminal.

use std::io::{IsTerminal, Write};

use clap::{Arg, ArgAction, ArgMatches};

use crate::api::yaml;
use crate::base::tree::Value;

/// `--no-color`.
pub fn colour_arg() -> Arg {
    Arg::new("no-color")
        .long("no-color")
        .action(ArgAction::SetTrue)
        .help("No colours, also on a terminal (as does NO_COLOR)")
}

/// `-o`, with what the tool can print, the default first.
pub fn output_arg(formats: &'static [&'static str]) -> Arg {
    Arg::new("output")
        .short('o')
        .long("output")
        .value_parser(formats.to_vec())
        .default_value(formats[0])
        .help("How to print")
}

/// What `-o` says.
pub fn output(matches: &ArgMatches) -> &str {
    matches
        .get_one::<String>("output")
        .map_or("", String::as_str)
}

/// Prints a tree as JSON or YAML. Answers false for any other format.
pub fn print_tree(format: &str, tree: &Value) -> bool {
    match format {
        "json" => print(&format!("{tree:#}\n")),
        "yaml" => print(&yaml::to_yaml(tree)),
        _ => return false,
    }
    true
}

/// Printed where it belongs: errors of a closed pipe (`| head`) are not errors.
pub fn print(text: &str) {
    std::io::stdout().lock().write_all(text.as_bytes()).ok();
}

/// Whether standard output is a terminal that wants colour.
pub fn has_colour() -> bool {
    let is_wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    is_wanted && std::io::stdout().is_terminal()
}

/// The same, unless `--no-color` says otherwise.
pub fn wants_colour(matches: &ArgMatches) -> bool {
    !matches.get_flag("no-color") && has_colour()
}

/// Microseconds as people read them.
pub fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..1_000_000 => format!("{}.{}ms", micros / 1_000, micros % 1_000 / 100),
        1_000_000..60_000_000 => {
            format!("{}.{:02}s", micros / 1_000_000, micros % 1_000_000 / 10_000)
        }
        _ => format!("{}m{:02}s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

/// A value as one cell of CSV (RFC 4180).
pub fn csv(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

/// How a cell or heading is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Headings.
    Bold,
    /// Successes.
    Green,
    /// Refusals.
    Yellow,
    /// Failures.
    Red,
    /// What matters less.
    Dim,
}

/// Paints a text, if there is colour.
pub fn paint(text: &str, style: Style, has_colour: bool) -> String {
    let code = match style {
        _ if !has_colour => return text.to_string(),
        Style::Plain => return text.to_string(),
        Style::Bold => "1",
        Style::Green => "32",
        Style::Yellow => "33",
        Style::Red => "31",
        Style::Dim => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// A row of cells and how each is shown.
pub type Row = Vec<(String, Style)>;

/// Lines the columns up, three blanks apart. The last column is not padded.
pub fn table(headings: &[&str], rows: &[Row], has_colour: bool) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, (cell, _)) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let first: Row = headings
        .iter()
        .map(|h| (h.to_uppercase(), Style::Bold))
        .collect();
    for row in std::iter::once(&first).chain(rows) {
        let mut line = String::new();
        for (index, (cell, style)) in row.iter().enumerate() {
            line.push_str(&paint(cell, *style, has_colour));
            if index + 1 < row.len() {
                let blanks = widths[index].saturating_sub(cell.chars().count()) + 3;
                line.extend(std::iter::repeat_n(' ', blanks));
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_csv() {
        assert_eq!(duration(999), "999µs");
        assert_eq!(duration(1_250), "1.2ms");
        assert_eq!(duration(2_340_000), "2.34s");
        assert_eq!(duration(75_000_000), "1m15s");
        assert_eq!(csv("a"), "a");
        assert_eq!(csv("a,\"b\""), "\"a,\"\"b\"\"\"");
    }

    #[test]
    fn columns_line_up() {
        let row =
            |a: &str, b: &str| vec![(a.to_string(), Style::Plain), (b.to_string(), Style::Red)];
        let text = table(&["a", "b"], &[row("häßlich", "1"), row("x", "2")], false);
        assert_eq!(text, "A         B\nhäßlich   1\nx         2\n");
    }
}
