//! The traffic that was read and understood, and the traffic that did not arrive.

use serde::{Deserialize, Serialize};

use crate::phase::Phase;
use tracer_core::account::Attempt;

/// Share of the traffic that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Percentage that a "no" requires.
    pub percent_needed: u8,
    /// Percentage of the run's traffic that was read; null if nothing was sent.
    pub percent_read: Option<u8>,
    /// Number of bytes of content.
    pub content_bytes: u64,
    /// Number of them that were read.
    pub read_bytes: u64,
    /// Percentage of the run's traffic that was read and whose meaning is known. Null in reports
    /// before version 2.
    #[serde(default)]
    pub percent_understood: Option<u8>,
    /// Percentage that has to be understood for a "no" about pages.
    #[serde(default)]
    pub percent_understood_needed: u8,
    /// Number of bytes that were read and whose meaning is known.
    #[serde(default)]
    pub understood_bytes: u64,
    /// Places with values that change and whose meaning is not known, those with most bytes first.
    #[serde(default)]
    pub not_understood: Vec<NotUnderstood>,
    /// Number of bytes in bodies that could not be decoded.
    pub opaque_bytes: u64,
    /// Number of sends that were lost.
    pub lost: u64,
    /// Servers that unread bytes were sent to, and their number, most first.
    pub unread: Vec<(String, u64)>,
}

/// A place with values that change and whose meaning is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotUnderstood {
    /// Registrable domain, or address.
    pub recipient: String,
    /// The place: a chain, without indices of arrays.
    pub place: String,
    /// Number of different values.
    pub values: u64,
    /// Number of their bytes, as they were sent.
    pub bytes: u64,
}

/// Requests and connections that the browser attempted and that did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NotArrived {
    /// Number of TCP connections to other machines on which something was sent.
    pub outside_connections: u64,
    /// Hosts that were looked up or connected to, and to which nothing was sent.
    pub hosts: Vec<UnreachedReport>,
    /// Requests that were begun and not finished.
    pub requests: Vec<UnfinishedReport>,
    /// Number of hosts and requests that are not listed.
    pub unlisted: u64,
}

/// A host to which nothing was sent, although the browser tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreachedReport {
    /// Name of the host.
    pub host: String,
    /// The furthest stage that an attempt reached.
    pub attempt: Attempt,
    /// Number of DNS queries for it.
    pub lookups: u64,
    /// Number of connections to it.
    pub connections: u64,
    /// Time of the first attempt, RFC 3339.
    pub first: String,
    /// Time of the last attempt.
    pub last: String,
    /// Phases of the first and the last attempt.
    pub phases: Vec<Phase>,
}

/// A request of which only the beginning was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedReport {
    /// Time at which it began, RFC 3339.
    pub time: String,
    /// The phase.
    pub phase: Option<Phase>,
    /// The host, if it was sent.
    pub host: Option<String>,
    /// The method, if it was sent.
    pub method: Option<String>,
}
