//! Tests with captures that are built byte by byte.

mod build;
mod connections;
mod files;

use super::*;
use crate::ReadError;
use tracer_core::record::{Event, Record};

fn read(file: &[u8]) -> (Vec<Event>, Counters, Result<(), ReadError>) {
    let mut reader = Reader::new(file);
    let mut all = Vec::new();
    let end = loop {
        match reader.event() {
            Ok(Some(event)) => all.push(event),
            Ok(None) => break Ok(()),
            Err(err) => break Err(err),
        }
    };
    (all, reader.counters().clone(), end)
}

fn records(file: &[u8]) -> Vec<Record> {
    let (events, _, end) = read(file);
    end.expect("a whole file");
    sends(events)
}

fn sends(events: Vec<Event>) -> Vec<Record> {
    let sent = |event| match event {
        Event::Sent(record) => Some(record),
        _ => None,
    };
    events.into_iter().filter_map(sent).collect()
}
