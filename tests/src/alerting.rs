//! A run in which a program reports a page.

use std::path::Path;

use tracer::store::{Place, Retention, Store, Writer};
use tracer_core::{
    alert::Notice,
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    record::{BootTime, Clock, Connection, Event, Hook, Losses, Process, Record, Transport},
};

/// Returns the events of a program that reports a page three times, over a connection of its own, and
/// of losses.
fn events() -> Vec<Event> {
    let sent = |key: u64, seconds: u64, bytes: String| {
        let remote = Some("192.0.2.1:80".parse().unwrap());
        Event::Sent(Record {
            hook: Hook::Fentry,
            time: BootTime(seconds * 1_000_000_000),
            process: Process { uid: 1000, tgid: 7, tid: 7, comm: "reporter".into() },
            connection: Connection { key, transport: Transport::Tcp, local: None, remote },
            within_tls: None,
            position: None,
            offset: 0,
            len: Some(bytes.len() as u32),
            payload: bytes.into_bytes().into(),
        })
    };
    let visit = "GET /page?q=1 HTTP/1.1\r\nHost: visited.example\r\n\r\n".to_owned();
    let body = r#"{"distinct_id":"7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11","properties":{"url":"http://visited.example/page?q=1"}}"#;
    let report = format!(
        "POST /sa HTTP/1.1\r\nHost: collector.example\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut losses = Losses::default();
    losses.set(tracer_ebpf::Counter::RingFull, 3);
    vec![
        Event::Clock(Clock { boot: BootTime(0), unix: 1_795_341_600_000_000_000 }),
        sent(1, 1, visit),
        sent(2, 2, report.clone()),
        sent(3, 3, report.clone()),
        sent(4, 4, report),
        Event::Lost(losses),
    ]
}

/// Returns the pipeline of the run at its end, and its outputs.
pub fn outputs() -> (Pipeline, Vec<Output>) {
    let mut pipeline = Pipeline::new(&Knowledge::default());
    let mut outputs = Vec::new();
    for event in events() {
        pipeline.push(event, &mut outputs);
    }
    pipeline.finish(&mut outputs);
    (pipeline, outputs)
}

/// Keeps the run in a new store.
///
/// # Panics
/// Panics if it cannot be written.
pub fn store(path: &Path) {
    let store = Store::open(&Place::Named(path.to_owned())).expect("a store");
    let mut writer = Writer::start(store, Retention::default()).expect("its writer");
    let (pipeline, outputs) = outputs();
    outputs.iter().filter_map(Notice::from_output).for_each(|notice| writer.notice(&notice));
    let mut pipeline = pipeline;
    writer.sightings(pipeline.changed_sightings());
    writer.finish();
}
