//! `report.html`: the report for people, in one file that needs nothing else.
//!
//! ```text
//! header       what was audited, by whom, whether the run came to its end
//! Verdicts     question, answer, why, how much was read, evidence
//! Phases       what was done, and when the browser told of it
//! Recipients · Identifiers · Bytes read
//! Disclosures  each request, and how its URL came out of the raw bytes
//! Checking     the files beside this one
//! ```
//!
//! There is no script in it, and its policy (CSP) forbids the file to load
//! anything. Nearly every string in a report was chosen by those who are
//! audited: maud escapes all that is put into it, and `text::Shown` makes
//! visible what would hide or reorder.
//!
//! What is said by colour is said by words and symbols, too; what is drawn
//! stands beside it in numbers.

mod checking;
mod disclosures;
mod header;
mod identifiers;
pub(super) mod page;
mod phases;
mod reading;
mod recipients;
#[cfg(test)]
mod tests;
pub(super) mod text;
pub(super) mod verdicts;

use std::io::{self, Write};

use maud::{Markup, html};

use super::report::Report;

/// Writes the report as an HTML file.
///
/// # Errors
/// When it cannot be written to `out`.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    out.write_all(document(report).into_string().as_bytes())
}

fn document(report: &Report) -> Markup {
    let sections = [
        verdicts::section(report),
        phases::section(report),
        recipients::section(report),
        identifiers::section(report),
        reading::section(report),
        disclosures::section(report),
        checking::section(report),
    ];
    let title = format!("Audit of {}", report.subject.full_name());
    page::document(
        &title,
        &header::header(report),
        &sections,
        &html! {
            p {
                "Written by tracer " (text::Shown(&report.tracer)) " · run "
                code { (text::Shown(&report.run)) } " · schema " (report.schema)
            }
        },
    )
}
