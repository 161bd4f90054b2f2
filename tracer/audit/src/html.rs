//! `report.html`: the report for people, in a single file.
//!
//! ```text
//! header       the audited browser, the run, and whether it was completed
//! Verdicts     question, answer, reason, share read, evidence
//! Who sent what  parts of the browser; names looked up
//! Experiments  what depends on the visited pages
//! Phases       visits and disclosures over time
//! Recipients · Identifiers · Bytes read
//! Disclosures  each request, and the steps from its raw bytes to the URL
//! Checking     the other files of the folder
//! ```
//!
//! The file contains no script, and its Content Security Policy keeps it from loading anything.
//! Nearly every string of a report comes from the audited browser or its servers. maud escapes all of
//! them, and `text::Shown` makes characters visible that hide or reorder text.
//!
//! Everything shown by colour is also shown by words or symbols, and every drawing also in numbers.

pub mod alerts;
mod arrivals;
mod checking;
mod disclosures;
mod experiments;
mod header;
mod identifiers;
pub(super) mod page;
mod phases;
mod reading;
mod recipients;
mod senders;
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
/// Returns the errors of `out`.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    out.write_all(document(report).into_string().as_bytes())
}

fn document(report: &Report) -> Markup {
    let sections = [
        verdicts::section(report),
        senders::section(report),
        experiments::section(report),
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
