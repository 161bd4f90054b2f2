//! The share of the traffic that was read.

use maud::{Markup, html};

use super::{
    arrivals,
    page::{Section, caption},
    text::{Shown, bytes, number, percent},
};
use crate::report::{Reading, Report};

/// Number of servers shown. The rest is in `report.json`.
const MAX_SERVERS: usize = 50;

pub(super) fn section(report: &Report) -> Section {
    let reading = &report.reading;
    let unread = reading.content_bytes.saturating_sub(reading.read_bytes);
    let body = html! {
        figure {
            (bar(reading))
            figcaption {
                b { (percent(reading.percent_read)) } " of the traffic was read: "
                (bytes(reading.read_bytes)) " of " (bytes(reading.content_bytes)) ", without "
                (bytes(unread)) ". The line marks the " (reading.percent_needed)
                "\u{a0}% that a “no” requires."
            }
        }
        dl.facts {
            div { dt { "In bodies that could not be decoded" } dd { (bytes(reading.opaque_bytes)) } }
            @if let Some(understood) = reading.percent_understood {
                div {
                    dt { "Understood" }
                    dd {
                        (percent(Some(understood))) " of the traffic; a “no” about pages requires "
                        (reading.percent_understood_needed) "\u{a0}%"
                    }
                }
            }
            div { dt { "Sends that were lost" } dd { (number(reading.lost)) } }
        }
        @if !reading.unread.is_empty() { (servers(reading)) }
        @if !reading.not_understood.is_empty() { (not_understood(reading)) }
        (arrivals::tables(&report.not_arrived))
    };
    Section { id: "reading", title: "Bytes read", body }
}

/// Draws the share as a bar. The caption has the numbers.
fn bar(reading: &Reading) -> Markup {
    let share = if reading.content_bytes == 0 {
        0.0
    } else {
        100.0 * (reading.read_bytes.min(reading.content_bytes) as f64)
            / reading.content_bytes as f64
    };
    let needed = format!("{}%", reading.percent_needed.min(100));
    html! {
        svg.share width="100%" height="28" aria-hidden="true" focusable="false" {
            rect.unread x="0" y="4" width="100%" height="20" {}
            rect.read x="0" y="4" width=(format!("{share:.2}%")) height="20" {}
            line.needed x1=(needed) x2=(needed) y1="0" y2="28" {}
        }
    }
}

/// Lists values that were read and not understood.
fn not_understood(reading: &Reading) -> Markup {
    let more = reading.not_understood.len().saturating_sub(MAX_SERVERS);
    html! {
        table.cards {
            (caption("Values that change, and whose meaning is not known. They can be random numbers, or anything that is encrypted."))
            thead {
                tr {
                    th scope="col" { "Recipient" }
                    th scope="col" { "Place" }
                    th scope="col" { "Values" }
                    th scope="col" { "Bytes" }
                }
            }
            tbody {
                @for one in reading.not_understood.iter().take(MAX_SERVERS) {
                    tr {
                        th scope="row" { bdi { (Shown(&one.recipient)) } }
                        td data-label="Place" { code { (Shown(&one.place)) } }
                        td.number data-label="Values" { (number(one.values)) }
                        td.number data-label="Bytes" { (bytes(one.bytes)) }
                    }
                }
            }
        }
        @if more > 0 { p.more { "And " (number(more as u64)) " more, in report.json." } }
    }
}

fn servers(reading: &Reading) -> Markup {
    let more = reading.unread.len().saturating_sub(MAX_SERVERS);
    html! {
        table.narrow {
            (caption("Servers that received unread bytes, most first."))
            thead { tr { th scope="col" { "Server" } th scope="col" { "Unread" } } }
            tbody {
                @for (server, amount) in reading.unread.iter().take(MAX_SERVERS) {
                    tr {
                        th scope="row" { bdi { (Shown(server)) } }
                        td.number { (bytes(*amount)) }
                    }
                }
            }
        }
        @if more > 0 { p.more { "And " (number(more as u64)) " more, in report.json." } }
    }
}
