//! Tables that line up, and colour where there is a terminal.

use std::io::{IsTerminal, Write};

/// Printed where it belongs: errors of a closed pipe (`| head`) are not errors.
pub fn print(text: &str) {
    std::io::stdout().lock().write_all(text.as_bytes()).ok();
}

/// Whether standard output is a terminal that wants colour.
pub fn has_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
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
    fn columns_line_up() {
        let row =
            |a: &str, b: &str| vec![(a.to_string(), Style::Plain), (b.to_string(), Style::Red)];
        let text = table(&["a", "b"], &[row("häßlich", "1"), row("x", "2")], false);
        assert_eq!(text, "A         B\nhäßlich   1\nx         2\n");
    }
}
