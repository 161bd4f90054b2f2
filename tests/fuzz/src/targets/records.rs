//! Events that cross from the capture to the decoder.

use std::io::Cursor;

use tracer_core::{
    alert::{
        Notice, json,
        redact::{Key, Redactor},
        text,
    },
    packages::PackageList,
    pipeline::{Output, Pipeline},
    record::{BootTime, Event, Record, trace},
};

use super::content::knowledge;
use crate::split::parts;

/// Entries of the ring buffer.
pub(super) fn record(input: &[u8]) -> u64 {
    if let Ok(record) = Record::from_kernel(input) {
        // What was read can be written, and is read the same.
        let mut written = trace::Writer::resume(Vec::new());
        let event = Event::Sent(record);
        written.write(&event).expect("a vector takes everything");
        let mut reader = trace::Reader::resume(Cursor::new(&*written.get_mut()));
        assert_eq!(reader.event().expect("an entry that was written"), Some(event));
    }
    input.len() as u64
}

/// A trace file.
pub(super) fn trace(input: &[u8]) -> u64 {
    let Ok(mut reader) = trace::Reader::new(Cursor::new(input)) else { return input.len() as u64 };
    let mut events = Vec::new();
    while let Ok(Some(event)) = reader.event() {
        events.push(event);
    }
    let mut writer = trace::Writer::resume(Vec::new());
    events.iter().for_each(|event| writer.write(event).expect("a vector takes everything"));
    let mut again = trace::Reader::resume(Cursor::new(&*writer.get_mut()));
    for event in events {
        assert_eq!(again.event().expect("an entry that was written"), Some(event));
    }
    input.len() as u64
}

/// Events with correct lengths, decoded, judged, and written in every form. The number of a part is
/// the kind of its entry.
pub(super) fn pipeline(input: &[u8]) -> u64 {
    let mut pipeline = Pipeline::new(knowledge());
    let mut work = input.len() as u64;
    let mut outputs = Vec::new();
    for (kind, part) in parts(input).take(64) {
        let entry = [&[kind % 8, 0, 0, 0], &(part.len() as u32).to_le_bytes()[..], part].concat();
        let mut reader = trace::Reader::resume(Cursor::new(entry));
        if let Ok(Some(event)) = reader.event() {
            pipeline.push(event, &mut outputs);
        }
        if kind >= 0xf0 {
            pipeline.tick(BootTime(u64::from(kind) << 32), &mut outputs);
        }
    }
    pipeline.finish(&mut outputs);
    let redactor = Redactor::keyed(Key([7; Key::LEN]));
    for output in &outputs {
        if let Output::Request(request) = output {
            work += request.report.work;
            json::write_request("fuzz", 0, request, pipeline.extensions(), &mut Vec::new());
        }
        if let Some(notice) = Notice::from_output(output) {
            for notice in [notice.clone(), notice.redacted(&redactor)] {
                let line = match &notice {
                    Notice::Alert { alert, .. } => text::alert(alert, text::Style::default()),
                    Notice::Repeated { alert, count, total, .. } => {
                        text::repeated(*alert, *count, *total)
                    }
                    Notice::Lost { loss, count, total } => text::lost(*loss, *count, *total),
                };
                assert!(!line.contains(['\x1b', '\x07']), "control characters: {line:?}");
                json::notice(&notice);
            }
        }
    }
    json::summary(pipeline.totals(), pipeline.accounts());
    work
}

/// Android's list of packages.
pub(super) fn packages(input: &[u8]) -> u64 {
    let list = PackageList::parse(input);
    assert!(list.len() + list.malformed() + list.left_out() <= input.len() + 1);
    input.len() as u64
}
