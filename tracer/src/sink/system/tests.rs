use std::sync::Arc;

use super::*;
use tracer_core::{
    alert::{
        fixtures,
        redact::{Key, Redactor},
    },
    pipeline::Output,
};

fn log() -> (tempfile::TempDir, PathBuf, UnixDatagram) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    (folder, path, socket)
}

fn received(socket: &UnixDatagram) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 16];
    let len = socket.recv(&mut buffer).unwrap();
    buffer.truncate(len);
    buffer
}

fn alert() -> Notice {
    let output = Output::Request(Arc::new(fixtures::judged()));
    let redactor = Redactor::keyed(Key([1; Key::LEN]));
    Notice::from_output(&output).unwrap().redacted(&redactor)
}

#[test]
fn logged_alerts_are_redacted() {
    for kind in Log::ALL {
        let (_folder, path, socket) = log();
        let mut sink = SystemLog::at(&path, kind).unwrap();
        sink.notice(&alert()).unwrap();
        let datagram = String::from_utf8_lossy(&received(&socket)).into_owned();
        for part in ["tracer", "told collector.example about https://news.example.org/story?q=‹"]
        {
            assert!(datagram.contains(part), "{}: {datagram}", kind.name());
        }
        assert!(!datagram.contains("private"), "{}: {datagram}", kind.name());
        if kind == Log::Journald {
            for field in [
                "PRIORITY=3\n",
                "TRACER_ALERT=1\n",
                "TRACER_SEVERITY=high\n",
                "TRACER_APPLICATION=browser\n",
                "TRACER_RECIPIENT=third_party\n",
                "TRACER_SENDER=browser\n",
            ] {
                assert!(datagram.contains(field), "{field} {datagram}");
            }
        }
        sink.notice(&Notice::Repeated { alert: 1, count: 2, total: 3, unix: None }).unwrap();
        let next = String::from_utf8_lossy(&received(&socket)).into_owned();
        assert!(next.contains("again 2 times (3 in all): alert 1"), "{next}");
        assert_eq!(sink.dropped(), 0);
    }
}

/// A log that does not read does not block, and dropped lines are counted.
#[test]
fn full_logs_do_not_block() {
    const SENT: u64 = 5000;
    let (_folder, path, socket) = log();
    let mut sink = SystemLog::at(&path, Log::Journald).unwrap();
    for _ in 0..SENT {
        sink.notice(&alert()).unwrap();
    }
    socket.set_nonblocking(true).unwrap();
    let mut taken = 0;
    while socket.recv(&mut [0; 16]).is_ok() {
        taken += 1;
    }
    assert!(sink.dropped() > 0);
    assert_eq!(taken + sink.dropped(), SENT);
}

#[test]
fn restarted_logs_are_reconnected() {
    let (_folder, path, socket) = log();
    let mut sink = SystemLog::at(&path, Log::Syslog).unwrap();
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    sink.notice(&alert()).unwrap();
    assert_eq!(sink.dropped(), 1);
    let socket = UnixDatagram::bind(&path).unwrap();
    sink.notice(&alert()).unwrap();
    assert_eq!(sink.dropped(), 1);
    assert!(received(&socket).starts_with(b"<83>tracer["));
    assert!(SystemLog::at(Path::new("/no/such/socket"), Log::Syslog).is_err());
}
