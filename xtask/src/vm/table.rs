//! Formats results as tables, for the terminal and for docs/reference/kernels.md.

use super::{
    Row,
    guest::MODULES,
    results::{Module, Outcome},
};
use crate::ui::elapsed;

/// Number of lines shown of a binary that failed; `target/vm` has the rest.
pub(super) const DETAILS: usize = 60;

pub(super) fn table(rows: &[Row]) -> String {
    let mut lines = vec![head()];
    for row in rows {
        let release = row.results.kernel.as_deref().unwrap_or("did not come up");
        let mut line = vec![row.kernel.name.to_owned(), release.to_owned()];
        line.extend(MODULES.iter().map(|name| cell(&row.results.module(name))));
        line.push(format!("{} ({})", elapsed(row.time), row.accel));
        lines.push(line);
    }
    aligned(&lines)
}

/// Formats the numbers of good boots of each kernel, and their times.
pub(super) fn boots(rows: &[Row]) -> String {
    let mut lines = vec![["kernel", "good boots", "boot to end"].map(str::to_owned).to_vec()];
    for boots in rows.chunk_by(|one, next| one.kernel == next.kernel) {
        let good = boots.iter().filter(|row| row.is_good()).count();
        let times = || boots.iter().map(|row| row.time);
        let (least, most) = (times().min().unwrap_or_default(), times().max().unwrap_or_default());
        lines.push(vec![
            boots[0].kernel.name.to_owned(),
            format!("{good} of {}", boots.len()),
            format!("{} to {}", elapsed(least), elapsed(most)),
        ]);
    }
    aligned(&lines)
}

fn head() -> Vec<String> {
    let mut head = vec!["kernel", "release"];
    head.extend(MODULES);
    head.push("boot to end");
    head.into_iter().map(str::to_owned).collect()
}

/// `14 + 1 skipped, 3.2 s`.
fn cell(module: &Module<'_>) -> String {
    if module.tests.is_empty() {
        return "-".to_owned();
    }
    let passed = module.count(|outcome| *outcome == Outcome::Passed);
    let skipped = module.count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let failed = module.count(|outcome| *outcome == Outcome::Failed);
    let mut cell = passed.to_string();
    if skipped > 0 {
        cell += &format!(" + {skipped} skipped");
    }
    if failed > 0 {
        cell += &format!(", {failed} FAILED");
    }
    format!("{cell}, {}", elapsed(module.time()))
}

/// Formats a Markdown table with aligned columns.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0))
        .collect();
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = String::new();
    for (n, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text += &row(cells.collect());
        if n == 0 {
            text += &row(widths.iter().map(|width| "-".repeat(*width)).collect());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::aligned;

    #[test]
    fn columns_are_aligned() {
        let lines = [["kernel", "a"], ["amd64-6.1", "15"]].map(|line| line.map(str::to_owned));
        let text = aligned(&lines.map(Vec::from));
        let expected = "| kernel    | a  |\n| --------- | -- |\n| amd64-6.1 | 15 |\n";
        assert_eq!(text, expected);
    }
}
