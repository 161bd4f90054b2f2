//! Events that were recorded from real programs.

use super::*;
use crate::record::trace;

/// Node.js 20 posts three reports on one connection. Its TLS functions were probed
/// after the first.
const NODE: &[u8] = include_bytes!("node-20.trace");

#[test]
fn reports_of_node_are_read_once() {
    let mut reader = trace::Reader::new(NODE).unwrap();
    let mut pipeline = Pipeline::new(&Knowledge::default());
    let mut out = Vec::new();
    while let Some(event) = reader.event().unwrap() {
        pipeline.push(event, &mut out);
    }
    pipeline.finish(&mut out);
    let requests = out.iter().filter(|output| matches!(output, Output::Request(_)));
    assert_eq!(requests.count(), 2);
    let applications = pipeline.accounts().applications();
    let [(application, account)] = applications[..] else { panic!("{applications:?}") };
    assert_eq!(application.name(), "node");
    assert_eq!((account.sockets.encrypted_unread_bytes, account.never_left()), (0, 0));
    assert_eq!(account.sockets.read_in_plain_bytes, 609);
    // The first report was not captured in plain.
    assert_eq!(account.never_in_plain(), 181);
    let written = account.plain.written_bytes;
    assert_eq!((written, account.plain.decoded_bytes), (2 * 181, 2 * 181));
    assert!(!account.is_all_read());
}
