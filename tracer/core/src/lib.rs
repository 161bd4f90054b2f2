//! The pure core of tracer: bytes and a timestamp in, values out.
//!
//! A module imports only modules that are declared above it; a test checks that.
//! Data flows in this order: [`record`] → [`stream`] → [`proto`] → [`content`] →
//! [`detect`] → [`judge`] → [`alert`]. [`pipeline`] joins them, and [`account`]
//! counts the bytes that were sent, read and not read.
//!
//! [`application`], [`address`], [`finding`] and [`visits`] are the vocabulary that
//! the later modules share. [`rules`] holds vendor knowledge as data; [`knowledge`]
//! joins it with the lexicon that detection compiles from it.
//!
//! # Example
//!
//! The sends of a program go in, and what it disclosed comes out:
//!
//! ```
//! use tracer_core::{
//!     finding::Severity,
//!     knowledge::Knowledge,
//!     pipeline::{Output, Pipeline},
//!     record::{BootTime, Connection, Event, Hook, Process, Record, Transport},
//! };
//!
//! /// A send of a whole request, on a connection of its own.
//! fn sent(key: u64, request: &'static str) -> Event {
//!     Event::Sent(Record {
//!         hook: Hook::SslWrite,
//!         time: BootTime(key * 1_000_000),
//!         process: Process { uid: 1000, tgid: 7, tid: 7, comm: "browser".into() },
//!         connection: Connection { key, transport: Transport::Tls, local: None, remote: None },
//!         within_tls: None,
//!         position: None,
//!         offset: 0,
//!         len: Some(request.len() as u32),
//!         payload: request.as_bytes().into(),
//!     })
//! }
//!
//! let mut pipeline = Pipeline::new(&Knowledge::default());
//! let mut outputs = Vec::new();
//! // The user opens a page …
//! pipeline.push(sent(1, "GET /page?q=1 HTTP/1.1\r\nHost: visited.example\r\n\r\n"), &mut outputs);
//! // … and the browser sends its URL to another site, in base64.
//! let report = "GET /log?u=aHR0cHM6Ly92aXNpdGVkLmV4YW1wbGUvcGFnZT9xPTE= HTTP/1.1\r\n\
//!               Host: collector.example\r\n\r\n";
//! pipeline.push(sent(2, report), &mut outputs);
//! pipeline.finish(&mut outputs);
//!
//! let requests = outputs.iter().filter_map(|output| match output {
//!     Output::Request(request) => Some(request),
//!     _ => None,
//! });
//! let alert = requests.max_by_key(|request| request.severity()).unwrap();
//! assert!(alert.severity() >= Some(Severity::Medium));
//! let disclosed = &alert.disclosures[0].finding;
//! assert_eq!(disclosed.value, "https://visited.example/page?q=1");
//! assert_eq!(disclosed.chain, "query:u > base64");
//! ```
//!
//! [`alert::Notice`] turns outputs into lines for people and programs. `docs/schema` describes the
//! JSON form.
//!
//! This crate does no I/O and reads no clock: it has no dependency that could,
//! and `cargo xtask test` checks that. `ARCHITECTURE.md` names the invariants.

#![forbid(unsafe_code)]

pub mod wording;
pub mod packages;
pub mod record;
pub mod schedule;
pub mod extensions;
pub mod stream;
pub mod proto;
pub mod content;
pub mod application;
pub mod address;
pub mod finding;
pub mod visits;
pub mod rules;
pub mod detect;
pub mod knowledge;
pub mod judge;
pub mod account;
pub mod pipeline;
pub mod alert;

#[cfg(test)]
mod layers;
