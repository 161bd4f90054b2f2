//! How to check the report, and what it does not show.

use maud::{Markup, html};

use super::page::Section;
use crate::report::Report;

/// The files beside the report, and what they are for. `cli::audit` writes them.
const FILES: [(&str, &str); 6] = [
    ("report.json", "all that is said here, and more, for programs"),
    ("evidence.har", "the requests that disclose something; DevTools and mitmproxy open it"),
    ("evidence.pcapng", "the same as packets with comments, for Wireshark"),
    ("trace", "all that was captured; tracer report makes this report of it again"),
    ("run.json", "what was done, and when"),
    (SUMS, "digests of all of them"),
];

/// As `sha256sum` writes them.
const SUMS: &str = "SHA256SUMS";

pub(super) fn section(report: &Report) -> Section {
    let body = html! {
        (redaction(report))
        p { "A run's folder holds what this report was made of. To check that nothing was changed since:" }
        pre { code { "sha256sum --check " (SUMS) } }
        table.narrow {
            caption { "Files beside this one." }
            thead { tr { th scope="col" { "File" } th scope="col" { "What it holds" } } }
            tbody {
                @for (file, what) in FILES {
                    tr { th scope="row" { code { (file) } } td { (what) } }
                }
            }
        }
        p {
            "A page’s address is made of words that were drawn at random for this run and phase and \
             stand nowhere else. Whoever names one was told of it."
        }
    };
    Section { id: "checking", title: "How to check this", body }
}

fn redaction(report: &Report) -> Markup {
    html! {
        @if report.redacted {
            p {
                "Values that tell about a person or device are shown as digests, "
                code { "‹5f2a91c0›" }
                ": equal values have equal digests. The audit’s own page addresses are shown in full. \
                 The evidence files hold everything as it was sent."
            }
        } @else {
            p.warning {
                strong { "Not redacted." }
                " Values are shown as they were sent, and may tell about a person or device."
            }
        }
    }
}
