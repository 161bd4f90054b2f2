//! What the browser tried to send and what did not arrive.

use maud::{Markup, html};
use tracer_core::account::Attempt;

use super::{
    page::caption,
    text::{Shown, number},
};
use crate::report::{NotArrived, UnfinishedReport, UnreachedReport};

/// Number of rows shown in each table. The rest is in `report.json`.
const MAX_ROWS: usize = 50;

/// Builds the tables. They are empty if everything arrived.
pub(super) fn tables(not_arrived: &NotArrived) -> Markup {
    let NotArrived { hosts, requests, .. } = not_arrived;
    let more = hosts.len().saturating_sub(MAX_ROWS) + requests.len().saturating_sub(MAX_ROWS);
    let more = more as u64 + not_arrived.unlisted;
    html! {
        @if not_arrived.outside_connections == 0 {
            p { "No connection to another machine was seen." }
        }
        @if !hosts.is_empty() {
            table.narrow {
                (caption("Hosts that the browser tried to reach, and to which nothing was sent."))
                thead {
                    tr {
                        th scope="col" { "Host" }
                        th scope="col" { "What was seen" }
                        th scope="col" { "Attempts" }
                        th scope="col" { "First" }
                        th scope="col" { "Last" }
                    }
                }
                tbody { @for host in hosts.iter().take(MAX_ROWS) { (host_row(host)) } }
            }
        }
        @if !requests.is_empty() {
            table.narrow {
                (caption("Requests that were begun and not finished."))
                thead {
                    tr {
                        th scope="col" { "Host" }
                        th scope="col" { "Method" }
                        th scope="col" { "Time" }
                    }
                }
                tbody { @for request in requests.iter().take(MAX_ROWS) { (request_row(request)) } }
            }
        }
        @if more > 0 { p.more { "And " (number(more)) " more, in report.json or not listed." } }
    }
}

fn host_row(host: &UnreachedReport) -> Markup {
    let seen = match host.attempt {
        Attempt::LookedUp => "its name was looked up",
        Attempt::Handshake => "a TLS handshake began",
        Attempt::Refused => "the browser refused the certificate",
    };
    html! {
        tr {
            th scope="row" { bdi { (Shown(&host.host)) } }
            td { (seen) }
            td.number { (number(host.lookups.max(host.connections))) }
            td { (Shown(&host.first)) }
            td { (Shown(&host.last)) }
        }
    }
}

fn request_row(request: &UnfinishedReport) -> Markup {
    html! {
        tr {
            th scope="row" { bdi { (Shown(request.host.as_deref().unwrap_or("unknown"))) } }
            td { (Shown(request.method.as_deref().unwrap_or("unknown"))) }
            td { (Shown(&request.time)) }
        }
    }
}
