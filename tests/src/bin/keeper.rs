//! Adds alerts to a store until a test kills it.
//!
//! ```text
//! keeper FILE
//! ```
//!
//! Prints the number of each alert as soon as the store's writer has accepted it.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use tracer::store::{Place, Retention, Store, Writer};
use tracer_core::{
    alert::Notice,
    judge::{AlertStatus, JudgedRequest},
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    proto::parse_http1,
    record::{Connection, Hook, Process, Transport},
    stream::Sent,
};

const REPORT: &[u8] = b"POST /v1 HTTP/1.1\r\nHost: collector.example\r\nContent-Length: 54\r\n\r\n\
                        {\"page_url\":\"https://news.example.org/story?q=secret\"}";

/// Pause between two alerts: short enough for a kill to hit every stage of a
/// commit, and long enough for a busy disk to keep up.
const PAUSE: Duration = Duration::from_millis(2);

fn main() {
    let path = PathBuf::from(std::env::args_os().nth(1).expect("a file"));
    let alert = alert();
    let store = Store::open(&Place::Named(path)).expect("a store");
    let writer = Writer::start(store, Retention::default()).expect("its writer");
    let mut number = 1;
    loop {
        let alert = JudgedRequest { alert: AlertStatus::New(number), ..alert.clone() };
        let notice = Notice::from_output(&Output::Request(Arc::new(alert))).expect("an alert");
        let lost = writer.lost();
        writer.notice(&notice);
        // If the disk is behind, try the same alert again.
        if writer.lost() == lost {
            println!("{number}");
            io::stdout().flush().expect("stdout is open");
            number += 1;
        }
        thread::sleep(PAUSE);
    }
}

fn alert() -> JudgedRequest {
    let (mut requests, _) = parse_http1(REPORT);
    let sent = Sent {
        connection: Connection { key: 1, transport: Transport::Tcp, local: None, remote: None },
        hook: Hook::SysEnter,
        process: Process { uid: 1, tgid: 2, tid: 3, comm: "keeper".into() },
        message: requests.pop().expect("a request"),
    };
    let mut outputs = Vec::new();
    Pipeline::new(&Knowledge::default()).request(sent, &mut outputs);
    match outputs.pop() {
        Some(Output::Request(decoded)) if decoded.is_alert() => Arc::unwrap_or_clone(decoded),
        other => panic!("no alert: {other:?}"),
    }
}
