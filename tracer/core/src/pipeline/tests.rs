//! From records to findings and accounts, through every protocol.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

mod calibration;
mod pieces;
mod recorded;
mod story;

use super::*;
use crate::account::Account;
use crate::finding::{Kind, Severity};
use crate::proto::Protocol;
use crate::record::{Connection, Hook, Process, Record, Transport};

const URL: &str = "https://visited.example/page?q=1";
const PID: u32 = 10;

/// A socket, or a TLS object, and what it sent so far.
struct Socket {
    connection: Connection,
    within_tls: Option<u64>,
    position: u32,
}

impl Socket {
    fn new(key: u64, transport: Transport, remote: &str) -> Self {
        let remote = Some(remote.parse().unwrap());
        let connection = Connection { key, transport, local: None, remote };
        Self { connection, within_tls: None, position: 0 }
    }

    /// A TLS library's object.
    fn tls(key: u64) -> Self {
        let connection = Connection { key, transport: Transport::Tls, local: None, remote: None };
        Self { connection, within_tls: None, position: 0 }
    }

    /// A send of `bytes`, of which the first `captured` are.
    fn send(&mut self, bytes: &[u8], captured: usize) -> Event {
        let position = (self.connection.transport == Transport::Tcp).then_some(self.position);
        self.position += bytes.len() as u32;
        Event::Sent(Record {
            hook: match self.connection.transport {
                Transport::Tls | Transport::Quic => Hook::SslWrite,
                Transport::Tcp | Transport::Udp | Transport::Raw => Hook::SysEnter,
            },
            time: BootTime(1),
            process: Process { uid: 1000, tgid: PID, tid: PID, comm: "NetworkService".into() },
            connection: self.connection,
            within_tls: self.within_tls,
            position,
            offset: 0,
            len: Some(bytes.len() as u32),
            payload: Bytes::copy_from_slice(&bytes[..captured.min(bytes.len())]),
        })
    }

    fn whole(&mut self, bytes: &[u8]) -> Event {
        self.send(bytes, usize::MAX)
    }
}

/// What the `h2` crate's client writes to make this request.
fn http2(path: &str, body: &str) -> Vec<u8> {
    use tokio::io::AsyncReadExt as _;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (client, mut server) = tokio::io::duplex(1 << 16);
        let (mut sender, connection) = ::h2::client::handshake(client).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post(format!("https://collector.example{path}"))
            .header("content-type", "application/json")
            .header("user-agent", "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36")
            .body(())
            .unwrap();
        let (_response, mut stream) = sender.send_request(request, false).unwrap();
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
        let mut written = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(Ok(len @ 1..)) =
            tokio::time::timeout(Duration::from_millis(50), server.read(&mut buffer)).await
        {
            written.extend_from_slice(&buffer[..len]);
        }
        written
    })
}

/// A TLS record with as much in it as `plain`, or of that type.
fn sealed(kind: u8, plain: usize) -> Vec<u8> {
    let len = plain + 17;
    [&[kind, 3, 3], &(len as u16).to_be_bytes()[..], &vec![0x5a; len]].concat()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap()
}

/// A ClientHello to `www.example.org`.
fn hello() -> Vec<u8> {
    hex(include_str!("../proto/tls/tests/openssl-3.0.hex"))
}

struct Run {
    requests: Vec<JudgedRequest>,
    totals: Totals,
    account: Account,
}

fn run(events: Vec<Event>) -> Run {
    let mut pipeline = Pipeline::new(&Knowledge::default());
    let mut out = Vec::new();
    pipeline.push(Event::Executable { tgid: PID, path: "/opt/browser/browser".into() }, &mut out);
    for event in events {
        pipeline.push(event, &mut out);
    }
    pipeline.finish(&mut out);
    let applications = pipeline.accounts().applications();
    let [(application, account)] = applications[..] else { panic!("{applications:?}") };
    assert_eq!((application.uid, application.name()), (1000, "browser"));
    let sockets = &account.sockets;
    assert_eq!(
        sockets.sent_bytes,
        sockets.decoded_bytes
            + sockets.read_in_plain_bytes
            + sockets.encrypted_unread_bytes
            + sockets.handshake_bytes
            + sockets.quic_in_plain_bytes
            + sockets.datagrams_unread_bytes
            + sockets.raw_unread_bytes
            + sockets.other_unread_bytes
            + sockets.missing_bytes
    );
    let plain = &account.plain;
    assert_eq!(plain.written_bytes, plain.decoded_bytes + plain.unread_bytes + plain.missing_bytes);
    let account = account.clone();
    let requests = out.into_iter().filter_map(|output| match output {
        Output::Request(decoded) => Some(Arc::unwrap_or_clone(decoded)),
        Output::Lost { .. } | Output::Repeated { .. } => None,
    });
    Run { requests: requests.collect(), totals: *pipeline.totals(), account }
}

/// The URLs found in a request, each with how it was wrapped.
fn found(decoded: &JudgedRequest) -> Vec<(&str, &str)> {
    let urls = decoded.findings().filter(|finding| finding.kind == Kind::Url);
    urls.map(|f| (&f.value[..], &f.chain[..])).collect()
}

#[test]
fn a_report_over_http2_and_tls_is_found() {
    let mut tls = Socket::tls(77);
    let mut socket = Socket::new(1, Transport::Tcp, "192.0.2.1:443");
    let mut events = vec![socket.whole(&hello()), socket.whole(&sealed(20, 1))];
    socket.within_tls = Some(77);
    let plain = http2("/report", &format!(r#"{{"url":"{URL}"}}"#));
    for write in plain.chunks(100) {
        events.push(tls.whole(write));
        // The head alone of the ciphertext is captured.
        events.push(socket.send(&sealed(23, write.len()), 30));
    }
    let run = run(events);
    assert_eq!(run.requests.len(), 1);
    let request = &run.requests[0];
    assert_eq!(request.sent.message.protocol, Protocol::Http2);
    assert_eq!(request.sent.message.authority.as_deref(), Some("collector.example"));
    assert_eq!(found(request), [(URL, "body > json.url")]);
    assert!(request.is_alert());

    let account = &run.account;
    assert_eq!(account.plain.decoded_bytes, plain.len() as u64);
    assert_eq!(account.sockets.handshake_bytes, 517 + 23);
    let records = plain.chunks(100).count() as u64;
    assert_eq!(account.sockets.read_in_plain_bytes, plain.len() as u64 + 22 * records);
    assert_eq!((account.sockets.missing_bytes, run.totals.tls_bytes), (0, 0));
    assert!(account.is_all_read());
    assert_eq!(account.servers.list()[0].name, "www.example.org");
}

/// Browsers also send with libraries of their platform, which name themselves.
#[test]
fn a_browser_may_report_with_the_library_of_its_platform() {
    let body = format!(r#"{{"url":"{URL}"}}"#);
    let request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: collector.example\r\nUser-Agent: okhttp/4.12.0\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let alerts = |browser: Option<&str>| {
        let mut pipeline = Pipeline::new(&Knowledge::default());
        assert!(browser.is_none_or(|name| pipeline.assume(name)));
        let mut out = Vec::new();
        let mut socket = Socket::new(1, Transport::Tcp, "192.0.2.1:80");
        pipeline.push(socket.whole(request.as_bytes()), &mut out);
        pipeline.finish(&mut out);
        pipeline.totals().alerts
    };
    assert_eq!((alerts(Some("Mi Browser")), alerts(None)), (1, 0));
}

/// Firefox's connections have a layer of NSPR even without TLS.
#[test]
fn a_send_in_clear_text_through_a_library_is_one_request() {
    let mut layer = Socket::tls(77);
    let mut socket = Socket::new(1, Transport::Tcp, "192.0.2.1:80");
    socket.within_tls = Some(77);
    let body = format!(r#"{{"url":"{URL}"}}"#);
    let head = "POST /report HTTP/1.1\r\nHost: collector.example\r\n\
                Content-Type: application/json\r\nX-Long: 0123456789\r\nContent-Length: ";
    let plain = format!("{head}{}\r\n\r\n{body}", body.len());
    let send = |socket: &mut Socket, layer: &mut Socket| {
        [socket.send(plain.as_bytes(), 60), layer.whole(plain.as_bytes())]
    };
    let events = [send(&mut socket, &mut layer), send(&mut socket, &mut layer)].concat();
    let run = run(events);
    assert_eq!(run.requests.len(), 2);
    for request in &run.requests {
        assert!(request.sent.message.complete);
        assert_eq!(request.sent.connection.transport, Transport::Tcp);
        assert_eq!(request.sent.connection.remote, Some("192.0.2.1:80".parse().unwrap()));
        assert_eq!(found(request), [(URL, "body > json.url")]);
    }
    let account = &run.account;
    assert_eq!(account.plain, crate::account::Plain::default());
    assert_eq!(account.sockets.decoded_bytes, 2 * plain.len() as u64);
    assert!(account.is_all_read());
}

/// Node.js and asyncio send what OpenSSL has encrypted into memory.
#[test]
fn what_a_library_encrypts_into_memory_is_read_once() {
    let mut tls = Socket::tls(77);
    let mut socket = Socket::new(1, Transport::Tcp, "192.0.2.1:443");
    let plain = http2("/report", &format!(r#"{{"url":"{URL}"}}"#));
    let mut events = vec![socket.whole(&hello())];
    let mut handshake = [sealed(20, 1), sealed(23, 36)].concat();
    for write in plain.chunks(100) {
        events.push(tls.whole(write));
        let sent = [std::mem::take(&mut handshake), sealed(23, write.len())].concat();
        events.push(socket.whole(&sent));
    }
    let read = run(events);
    assert_eq!(read.requests.len(), 1);
    assert_eq!(found(&read.requests[0]), [(URL, "body > json.url")]);
    let account = &read.account;
    assert_eq!((account.sockets.encrypted_unread_bytes, account.never_in_plain()), (0, 0));
    assert!(account.is_all_read());

    // Other connections of the process stay unread.
    let mut tls = Socket::tls(77);
    let mut other = Socket::new(2, Transport::Tcp, "192.0.2.2:443");
    let unread = run(vec![
        tls.whole(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        other.whole(&hello()),
        other.whole(&sealed(23, 1000)),
    ]);
    assert_eq!(unread.account.sockets.encrypted_unread_bytes, 1022);
}

/// A request on an HTTP/2 connection whose beginning was not seen. Its host is in the
/// table of the connection.
fn joined_late() -> Vec<u8> {
    let path = format!("/report?page={}", URL.replace(':', "%3A").replace('?', "%3F"));
    // The path becomes the newest entry, so the host is the second one.
    let block = [&[0x82, 0x87, 0x44, path.len() as u8], path.as_bytes(), &[0xbf]].concat();
    [&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, 9][..], &block].concat()
}

#[test]
fn a_connection_that_was_joined_late_has_an_unknown_host() {
    let mut tls = Socket::tls(77);
    let mut socket = Socket::new(1, Transport::Tcp, "192.0.2.1:443");
    socket.within_tls = Some(77);
    let run = run(vec![socket.whole(&sealed(23, 40)), tls.whole(&joined_late())]);
    assert_eq!(run.totals.unknown_hosts, 1);
    let request = &run.requests[0];
    assert!(request.has_unknown_host(), "{request:?}");
    assert_eq!((request.host(), &request.site), (None, &None));
    assert_eq!(found(request), []);
}

#[test]
fn the_server_name_of_the_connection_names_the_host() {
    let mut tls = Socket::tls(77);
    let mut socket = Socket::new(1, Transport::Tcp, "192.0.2.1:443");
    let mut events = vec![socket.whole(&hello())];
    socket.within_tls = Some(77);
    events.extend([socket.whole(&sealed(23, 40)), tls.whole(&joined_late())]);
    let run = run(events);
    let request = &run.requests[0];
    assert_eq!(request.host(), Some("www.example.org"));
    assert_eq!(request.derived_host.as_ref().unwrap().from, HostSource::ServerName);
    assert_eq!((run.totals.unknown_hosts, request.site.is_some()), (0, true));
    assert_eq!(found(request), [(URL, "query:page")]);
}

#[test]
fn another_connection_to_the_address_names_the_host() {
    let address = "192.0.2.1:443";
    let joined = |names: &[&str]| {
        let mut tls = Socket::tls(77);
        let mut socket = Socket::new(1, Transport::Tcp, address);
        socket.within_tls = Some(77);
        let mut events = vec![Socket::new(2, Transport::Tcp, address).whole(&hello())];
        for (key, name) in (3..).zip(names) {
            let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
            events.push(Socket::new(key, Transport::Tcp, address).whole(request.as_bytes()));
        }
        events.extend([socket.whole(&sealed(23, 40)), tls.whole(&joined_late())]);
        run(events)
    };
    let known = joined(&["www.example.org"]);
    let request = known.requests.last().unwrap();
    assert_eq!(request.host(), Some("www.example.org"));
    assert_eq!(request.derived_host.as_ref().unwrap().from, HostSource::Address);
    // The URL may still be of the recipient's own site.
    assert_eq!((&request.site, known.totals.unknown_hosts), (&None, 0));
    // An address of several hosts names none.
    let shared = joined(&["other.test"]);
    assert_eq!(shared.requests.last().unwrap().host(), None);
    assert_eq!(shared.totals.unknown_hosts, 1);
}

#[test]
fn a_url_for_a_program_on_this_machine_or_in_its_network_is_no_leak() {
    let told = |remote: &str, local: Option<&str>, authority: &str| {
        let mut socket = Socket::new(1, Transport::Tcp, remote);
        socket.connection.local = local.map(|local| local.parse().unwrap());
        let body = format!(r#"{{"page_url":"{URL}","device_id":"7f3c2a109b1e4c57"}}"#);
        let page = "GET /page?q=1 HTTP/1.1\r\nHost: visited.example\r\nSec-Fetch-Site: none\r\n\
                    Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n";
        let report = format!(
            "POST /r HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut visited = Socket::new(2, Transport::Tcp, "192.0.2.1:80");
        let run = run(vec![visited.whole(page.as_bytes()), socket.whole(report.as_bytes())]);
        run.requests.last().unwrap().severity().unwrap()
    };
    for (remote, authority) in [
        ("127.0.0.1:8123", "127.0.0.1:8123"),
        ("192.168.1.10:80", "192.168.1.10"),
        ("[::1]:8123", "[::1]:8123"),
        ("127.0.0.1:8123", "localhost:8123"),
        ("[::1]:3000", "app.localhost:3000"),
        ("192.168.1.10:80", "printer.local"),
    ] {
        assert_eq!(told(remote, None, authority), Severity::Low, "{authority}");
    }
    assert_eq!(told("198.51.100.7:80", Some("198.51.100.7:4000"), "198.51.100.7"), Severity::Low);
    // A name, another address, or another port: something may stand between.
    for (remote, authority) in [
        ("127.0.0.1:8123", "collector.example:8123"),
        ("127.0.0.1:8123", "192.168.1.10:8123"),
        ("127.0.0.1:8123", "127.0.0.1:9000"),
        ("192.0.2.9:80", "192.0.2.9"),
        ("192.0.2.9:80", "localhost"),
        ("192.0.2.9:80", "printer.local"),
        ("127.0.0.1:8123", "localhost.example:8123"),
    ] {
        assert_eq!(told(remote, None, authority), Severity::Critical, "{remote} {authority}");
    }
}

/// A later record of another connection.
fn later(seconds: u64) -> Event {
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05later\x04test\0\0\x01\0\x01";
    let mut dns = Socket::new(99, Transport::Udp, "192.0.2.53:53");
    match dns.whole(query) {
        Event::Sent(record) => {
            Event::Sent(Record { time: BootTime(seconds * 1_000_000_000), ..record })
        }
        _ => unreachable!(),
    }
}

#[test]
fn a_request_that_is_never_finished_is_listed() {
    let head = "POST /report HTTP/1.1\r\nHost: collector.example\r\nContent-Length: 400\r\n\r\n";
    let unfinished = |bytes: &[u8], captured: usize, seconds: u64| {
        let mut socket = Socket::new(1, Transport::Tcp, "192.0.2.1:80");
        let run = run(vec![socket.send(bytes, captured), later(seconds)]);
        let list = run.account.arrivals.unfinished_requests();
        list.map(|request| (request.method.clone(), request.host.clone())).collect::<Vec<_>>()
    };
    let part = [head.as_bytes(), &[b'x'; 100]].concat();
    let known = (Some("POST".to_owned()), Some("collector.example".to_owned()));
    assert_eq!(unfinished(&part, usize::MAX, 60), [known]);
    // The connection may go on.
    assert_eq!(unfinished(&part, usize::MAX, 2), []);
    // What was sent is not all known.
    assert_eq!(unfinished(&part, 100, 60), []);
    // All of it was sent.
    let whole = [head.as_bytes(), &[b'x'; 400]].concat();
    assert_eq!(unfinished(&whole, usize::MAX, 60), []);
    // Its head was cut.
    assert_eq!(unfinished(&head.as_bytes()[..30], usize::MAX, 60), [(Some("POST".into()), None)]);
}

#[test]
fn a_request_that_is_finished_late_is_not_listed() {
    let head = "POST /report HTTP/1.1\r\nHost: collector.example\r\nContent-Length: 4\r\n\r\n";
    let mut socket = Socket::new(1, Transport::Tcp, "192.0.2.1:80");
    let run = run(vec![socket.whole(head.as_bytes()), later(20), socket.whole(b"late"), later(60)]);
    assert_eq!(run.account.arrivals.unfinished_requests().count(), 0);
}

#[test]
fn a_lookup_without_a_connection_is_listed() {
    let query = |name: &[u8]| {
        let header = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0";
        [&header[..], &[name.len() as u8], name, b"\x04test\0\0\x01\0\x01"].concat()
    };
    let mut dns = Socket::new(6, Transport::Udp, "127.0.0.53:53");
    let mut socket = Socket::new(1, Transport::Tcp, "127.0.0.1:80");
    let run = run(vec![
        dns.whole(&query(b"reached")),
        dns.whole(&query(b"collector")),
        socket.whole(b"GET / HTTP/1.1\r\nHost: reached.test:80\r\n\r\n"),
    ]);
    let list = run.account.arrivals.unreached();
    let names: Vec<_> = list.iter().map(|host| &host.host[..]).collect();
    assert_eq!(names, ["collector.test"]);
    assert!(run.account.arrivals.only_this_machine());
}

#[test]
fn a_refused_certificate_is_listed_and_leaves_nothing_unread() {
    let mut socket = Socket::new(1, Transport::Tcp, "192.0.2.1:443");
    let run = run(vec![
        socket.whole(&hello()),
        socket.whole(&sealed(20, 1)),
        socket.whole(&sealed(23, 2)),
    ]);
    let [host] = &run.account.arrivals.unreached()[..] else { panic!("no host") };
    assert_eq!(
        (&host.host[..], host.attempt),
        ("www.example.org", crate::account::Attempt::Refused)
    );
    assert_eq!((run.account.percent_read(), run.totals.tls_bytes), (None, 0));
}

#[test]
fn a_report_over_a_websocket_is_found() {
    let mut socket = Socket::new(1, Transport::Tcp, "192.0.2.1:80");
    let handshake = "GET /live HTTP/1.1\r\nHost: collector.example\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let text = format!(r#"{{"event":"view","url":"{URL}"}}"#);
    let mut message = Vec::with_capacity(200);
    let mut deflate = Compress::new(Compression::default(), false);
    deflate.compress_vec(text.as_bytes(), &mut message, FlushCompress::Sync).unwrap();
    message.truncate(message.len() - 4);
    let key = [7, 1, 9, 3];
    let masked = message.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    let mut frame = vec![0xc1, 0x80 | message.len() as u8];
    frame.extend(key);
    frame.extend(masked);

    let run = run(vec![socket.whole(handshake.as_bytes()), socket.whole(&frame)]);
    let protocols = run.requests.iter().map(|request| request.sent.message.protocol);
    assert_eq!(protocols.collect::<Vec<_>>(), [Protocol::Http1, Protocol::WebSocket]);
    assert_eq!(found(&run.requests[0]), []);
    assert_eq!(found(&run.requests[1]), [(URL, "body > json.url")]);
    assert!(run.account.is_all_read());
}

#[test]
fn requests_over_http_3_are_judged_and_accounted_for() {
    let mut plain = Socket::new(8, Transport::Quic, "192.0.2.5:443");
    let mut linked = Socket::new(5, Transport::Udp, "192.0.2.5:443");
    linked.within_tls = Some(8);
    let body = format!("{{\"url\":\"{URL}\"}}");
    let head = b"\x01\x1c\x00\x00\xd4\xd7\x50\x11collector.example\x51\x02/c\xee";
    let head = [&head[..], b"\x00", &[body.len() as u8], body.as_bytes()].concat();
    let stream = |offset: usize, bytes: &[u8], fin: u8| {
        [&[0x0e | fin, 0, offset as u8, bytes.len() as u8][..], bytes].concat()
    };
    let (first, second) = head.split_at(20);
    let packets = [
        // From another address: the connection has migrated.
        stream(20, second, 1),
        stream(0, first, 0),
        stream(0, first, 0),
    ];
    let mut events = Vec::new();
    for (at, packet) in packets.iter().enumerate() {
        events.push(linked.whole(&[&[0x40; 20][..], packet].concat()));
        plain.connection.remote = Some(format!("192.0.2.{at}:443").parse().unwrap());
        events.push(plain.whole(packet));
    }
    let run = run(events);
    let [request] = &run.requests[..] else { panic!("{:?}", run.requests) };
    assert_eq!(request.sent.message.protocol, Protocol::Http3);
    assert_eq!(found(request), [(URL, "body > json.url")]);
    assert_eq!(run.account.plain.decoded_bytes, head.len() as u64);
    assert!(run.account.is_all_read());
    let sent: usize = packets.iter().map(|packet| 20 + packet.len()).sum();
    assert_eq!(run.account.sockets.quic_in_plain_bytes, sent as u64);
}

/// The packet with these frames, as it is when it is encrypted, and its datagram.
fn sealed_packet(socket: &mut Socket, number: u8, frames: &[u8]) -> [Event; 2] {
    let header = [&[0x40][..], b"server..", &[number]].concat();
    let mut sealed = vec![0; tracer_ebpf::SealedHeader::SIZE];
    sealed[0] = header.len() as u8;
    sealed[2..2 + header.len()].copy_from_slice(&header);
    let payload = [&sealed, frames].concat();
    let mut sealing = Socket::new(100, Transport::Quic, "192.0.2.5:443").whole(&payload);
    let Event::Sent(record) = &mut sealing else { panic!("{sealing:?}") };
    record.hook = Hook::AeadSeal;
    (record.connection.local, record.connection.remote) = (None, None);
    [sealing, socket.whole(&[&header, frames, &[0xaa; 16]].concat())]
}

#[test]
fn packets_that_were_captured_when_they_were_encrypted_are_read() {
    let mut socket = Socket::new(5, Transport::Udp, "192.0.2.5:443");
    let body = format!("{{\"url\":\"{URL}\"}}");
    let head = b"\x01\x1c\x00\x00\xd4\xd7\x50\x11collector.example\x51\x02/c\xee";
    let head = [&head[..], b"\x00", &[body.len() as u8], body.as_bytes()].concat();
    let frames = [&[0x0d, 0, 0], &head[..]].concat();
    let unknown = b"\x0f\x02\x00\x08\x3eunknown";
    let mut events = Vec::new();
    // The second one is sent again.
    for (number, frames) in [&b"\x01"[..], &frames, &frames, unknown].iter().enumerate() {
        events.extend(sealed_packet(&mut socket, number as u8, frames));
    }
    events.push(socket.whole(b"other"));
    let run = run(events);
    let [request] = &run.requests[..] else { panic!("{:?}", run.requests) };
    assert_eq!(request.sent.message.protocol, Protocol::Http3);
    assert_eq!(
        (request.sent.hook, found(request)),
        (Hook::AeadSeal, vec![(URL, "body > json.url")])
    );
    assert_eq!(request.sent.connection.remote, socket.connection.remote);
    assert_eq!(run.account.plain.decoded_bytes, head.len() as u64);
    assert_eq!(run.account.sockets.datagrams_unread_bytes, 5);
    let sent = 4 * (10 + 16) + 1 + 2 * frames.len() + unknown.len();
    assert_eq!(run.account.sockets.quic_in_plain_bytes, sent as u64);
    let list = run.account.servers.list();
    let unread: Vec<_> = list.iter().map(|s| (&s.name[..], s.unread_bytes)).collect();
    assert_eq!(unread, [("collector.example", 8), ("192.0.2.5:443", 5)]);
}

#[test]
fn the_part_of_a_datagram_that_was_not_captured_is_read_if_its_packet_was() {
    let mut socket = Socket::new(5, Transport::Udp, "192.0.2.5:443");
    let [sealing, whole] = sealed_packet(&mut socket, 1, b"\x01");
    let Event::Sent(mut record) = whole else { panic!("{whole:?}") };
    let len = record.payload.len();
    record.payload.truncate(12);
    let run = run(vec![sealing, Event::Sent(record)]);
    assert_eq!(run.account.sockets.quic_in_plain_bytes, len as u64);
    assert!(run.account.is_all_read());
}

#[test]
fn what_is_left_of_http_3_is_unread_under_the_servers_name() {
    let mut plain = Socket::new(8, Transport::Quic, "192.0.2.5:443");
    let head = b"\x09\x00\x01\x1b\x00\x00\xd1\xd7\x50\x11collector.example\x51\x02/c";
    let run = run(vec![plain.whole(head), plain.whole(b"\x09\x02\x3eunknown")]);
    let list = run.account.servers.list();
    let unread: Vec<_> = list.iter().map(|s| (&s.name[..], s.unread_bytes)).collect();
    assert_eq!(unread, [("collector.example", 8)]);
    assert!(!run.account.is_all_read());
    assert_eq!(run.totals.other_bytes, 8);
}

#[test]
fn every_byte_of_an_application_is_accounted_for() {
    let mut plain = Socket::tls(77);
    let mut linked = Socket::new(1, Transport::Tcp, "192.0.2.1:443");
    let mut encrypted = Socket::new(2, Transport::Tcp, "192.0.2.2:443");
    let mut clear = Socket::new(3, Transport::Tcp, "192.0.2.3:80");
    let mut other = Socket::new(4, Transport::Tcp, "192.0.2.4:22");
    let mut quic = Socket::new(5, Transport::Udp, "192.0.2.5:443");
    let mut dns = Socket::new(6, Transport::Udp, "192.0.2.53:53");
    linked.within_tls = Some(77);

    let get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 400\r\n\r\n";
    let initial = hex(include_str!("../proto/quic/tests/rfc9001-a2.hex"));
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
    let run = run(vec![
        linked.whole(&hello()),
        plain.whole(get.as_bytes()),
        linked.whole(&sealed(23, get.len())),
        linked.whole(&sealed(23, post.len() + 400)),
        plain.send(&[post.as_bytes(), &[b'x'; 400]].concat(), post.len() + 100),
        encrypted.whole(&hello()),
        encrypted.send(&sealed(23, 1000), 256),
        encrypted.whole(&sealed(21, 2)),
        clear.whole(get.as_bytes()),
        clear.send(&[post.as_bytes(), &[b'x'; 400]].concat(), post.len() + 100),
        other.whole(b"SSH-2.0-client\r\n"),
        quic.whole(&initial),
        quic.whole(&[0x40; 300]),
        dns.whole(query),
    ]);
    let sockets = run.account.sockets;
    assert_eq!(sockets.handshake_bytes, 2 * 517 + 24);
    let written = (get.len() + post.len() + 400) as u64;
    assert_eq!(sockets.read_in_plain_bytes, written + 2 * 22);
    assert_eq!((run.account.plain.written_bytes, run.account.plain.missing_bytes), (written, 300));
    assert_eq!(run.account.never_in_plain(), 0);
    assert_eq!(sockets.encrypted_unread_bytes, 1022);
    assert_eq!(sockets.decoded_bytes, (get.len() + post.len() + 100 + query.len()) as u64);
    assert_eq!((sockets.missing_bytes, sockets.other_unread_bytes), (300, 16));
    assert_eq!(sockets.datagrams_unread_bytes, 1500);
    assert!(!run.account.is_all_read());

    let list = run.account.servers.list();
    let unread: Vec<_> = list.iter().map(|s| (&s.name[..], s.unread_bytes)).collect();
    assert_eq!(unread, [("example.com", 1500), ("www.example.org", 1022)]);
    assert_eq!(list[1].connections, 2);
    assert_eq!(run.account.queries.list(), [("a.test", 1)]);

    assert_eq!((run.totals.tls_bytes, run.totals.missing_bytes), (1022, 2 * 300));
    assert_eq!(run.totals.other_bytes, 16 + 1500);
}
