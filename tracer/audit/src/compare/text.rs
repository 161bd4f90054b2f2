//! Formats a comparison as text: one column per browser, as many as fit side by side, the others
//! below.
//!
//! ```text
//!                     Tattler 1.2           Quiet 7
//!                     run 5f2a91c07b        run 77aa0b1c9d
//!
//! URLs sent           YES                   no
//!                     23 of 23
//! recipients          collector.example     —
//! ```

use std::fmt::Write as _;

use super::{Comparison, Measure, Run};
use crate::report::Answer;
use tracer_core::alert::printable;

/// Width of the column with the criteria.
const HEADING: usize = 18;
/// Space between columns.
const GAP: usize = 2;
/// Minimum width of a column.
const NARROWEST: usize = 20;
/// Maximum width of a column.
const WIDEST: usize = 48;

pub(super) fn text(comparison: &Comparison, width: usize) -> String {
    let room = width.saturating_sub(HEADING);
    let fit = (room / (GAP + NARROWEST)).clamp(1, comparison.runs.len().max(1));
    let column = (room / fit).saturating_sub(GAP).clamp(NARROWEST, WIDEST);
    let mut text = String::new();
    for runs in comparison.runs.chunks(fit) {
        if !text.is_empty() {
            text.push('\n');
        }
        line(&mut text, "", runs.iter().map(heading), column);
        for measure in Measure::ALL {
            text.push('\n');
            line(&mut text, measure.title(), runs.iter().map(|run| cell(run, measure)), column);
        }
    }
    for note in &comparison.notes {
        text.push('\n');
        for line in wrapped(&printable(note), width.max(NARROWEST)) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

fn heading(run: &Run) -> Vec<String> {
    let mut lines = vec![run.name.clone(), format!("run {}", run.short())];
    lines.extend(run.began.clone());
    lines.extend(run.source.clone());
    if !run.complete {
        lines.push("INCOMPLETE".into());
    }
    lines
}

fn cell(run: &Run, measure: Measure) -> Vec<String> {
    let Some(cell) = run.cells.get(&measure) else { return Vec::new() };
    // Upper case stands out without colours.
    let answer = cell.answer.map(|answer| match answer {
        Answer::Yes => answer.label().to_uppercase(),
        Answer::No | Answer::CannotTell => answer.label().to_owned(),
    });
    let lines: Vec<String> = answer.into_iter().chain(cell.lines.iter().cloned()).collect();
    if lines.is_empty() { vec!["—".into()] } else { lines }
}

/// Writes cells side by side, each in as many lines as it needs.
fn line(text: &mut String, title: &str, cells: impl Iterator<Item = Vec<String>>, column: usize) {
    let wrap = |lines: Vec<String>| -> Vec<String> {
        lines.iter().flat_map(|line| wrapped(&printable(line), column)).collect()
    };
    let cells: Vec<Vec<String>> = cells.map(wrap).collect();
    let title = wrapped(title, HEADING);
    let height = cells.iter().map(Vec::len).chain([title.len()]).max().unwrap_or(0);
    for i in 0..height {
        let part = |lines: &[String]| lines.get(i).cloned().unwrap_or_default();
        let mut line = format!("{:HEADING$}", part(&title));
        for cell in &cells {
            let _ = write!(line, "{:GAP$}{:column$}", "", part(cell));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// Wraps text into lines of at most `width` characters. Words that are longer are broken.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        for c in word.chars() {
            if used == width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += 1;
        }
    }
    if used > 0 {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_fit_are_not_broken() {
        let of = |text, width| wrapped(text, width).join("|");
        assert_eq!(of("one two three", 7), "one two|three");
        assert_eq!(of("one abcdefghij", 4), "one|abcd|efgh|ij");
        assert_eq!(of("abcdefgh x", 4), "abcd|efgh|x");
        assert_eq!(of("ééé ééé", 3), "ééé|ééé");
        assert_eq!(of("", 4), "");
    }

    proptest::proptest! {
        #[test]
        fn lines_are_not_longer_than_the_width(text in "[a-é ]{0,60}", width in 1_usize..30) {
            let lines = wrapped(&text, width);
            let all = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            proptest::prop_assert!(lines.iter().all(|line| line.chars().count() <= width));
            proptest::prop_assert_eq!(all(&lines.concat()), all(&text));
        }
    }
}
