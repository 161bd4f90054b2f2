//! The last section: the other files of the folder, and redaction.

use maud::{Markup, html};

use super::page::Section;
use crate::report::Report;

/// The other files of the folder, which `cli::audit` writes.
const FILES: [(&str, &str); 6] = [
    ("report.json", "the complete report, for programs"),
    ("evidence.har", "visits and disclosing requests; opens in DevTools and mitmproxy"),
    ("evidence.pcapng", "the same as packets, with comments; opens in Wireshark"),
    ("trace", "everything that was captured; tracer report makes this report from it again"),
    ("run.json", "what the audit did, and when"),
    (SUMS, "checksums of all files"),
];

/// File of checksums, in the format of `sha256sum`.
const SUMS: &str = "SHA256SUMS";

pub(super) fn section(report: &Report) -> Section {
    let body = html! {
        (redaction(report))
        p { "The folder contains everything that this report was made from. To check that nothing has changed since:" }
        pre { code { "sha256sum --check " (SUMS) } }
        table.narrow {
            caption { "Other files in the folder" }
            thead { tr { th scope="col" { "File" } th scope="col" { "Content" } } }
            tbody {
                @for (file, what) in FILES {
                    tr { th scope="row" { code { (file) } } td { (what) } }
                }
            }
        }
        p {
            "The addresses of the audit’s pages consist of words that were made up for this run. A \
             request that contains them discloses the page."
        }
    };
    Section { id: "checking", title: "How to check this", body }
}

fn redaction(report: &Report) -> Markup {
    html! {
        @if report.redacted {
            p {
                "Values that reveal something about a person or device are shown as digests, "
                code { "‹5f2a91c0›" }
                "; equal values have equal digests. The addresses of the audit’s pages are shown in \
                 full. The evidence files are not redacted."
            }
        } @else {
            p.warning {
                strong { "Not redacted." }
                " Values are shown as they were sent, and may reveal something about a person or device."
            }
        }
    }
}
