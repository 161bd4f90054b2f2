//! Files.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tracer_audit::report::Report;
use tracer_core::{
    alert::Notice,
    knowledge::Knowledge,
    pipeline::Pipeline,
    record::{BootTime, Clock, Connection, Event, Hook, Process, Record, Transport, trace},
};
use tracer_formats::pcapng;
use tracer_host::locate::{Cache, locate};
use tracer_tests::{apk::Archive, reports as invented};

use super::{Inputs, all, read};
use crate::{split::join, targets::RULES};

/// Returns the events of the recorded captures and traces.
fn recorded() -> Vec<Vec<Event>> {
    let mut recorded = Vec::new();
    for file in all("tests/fixtures/quic", ".pcapng") {
        let secrets = pcapng::Secrets::collect(&file[..]);
        let mut reader = pcapng::Reader::with_secrets(&file[..], secrets);
        let mut events = Vec::new();
        while let Ok(Some(event)) = reader.event() {
            events.push(event);
        }
        recorded.push(events);
    }
    let node = read("tracer/core/src/pipeline/tests/node-20.trace");
    let mut reader = trace::Reader::new(&node[..]).expect("a trace");
    let mut events = vec![
        Event::Clock(Clock { boot: BootTime(1), unix: 1_700_000_000_000_000_000 }),
        Event::Arguments { tgid: 7, arguments: vec!["chromium".into(), "--incognito".into()] },
        Event::Packages { app: 10_123, names: vec!["org.example.browser".into()] },
    ];
    while let Ok(Some(event)) = reader.event() {
        events.push(event);
    }
    recorded.push(events);
    recorded
}

/// Writes events as the entries of a trace.
fn entries(events: &[Event]) -> Vec<u8> {
    let mut writer = trace::Writer::resume(Vec::new());
    events.iter().for_each(|event| writer.write(event).expect("a vector takes everything"));
    std::mem::take(writer.get_mut())
}

pub(crate) fn traces() -> Inputs {
    let start =
        |events: Vec<Event>| [&trace::MAGIC, &entries(&events[..events.len().min(6)])[..]].concat();
    recorded().into_iter().map(start).collect()
}

pub(crate) fn events() -> Inputs {
    let parts = |events: Vec<Event>| {
        let entries: Inputs =
            events.iter().take(12).map(|event| entries(std::slice::from_ref(event))).collect();
        join(entries.iter().map(|entry| (entry[0], &entry[8..])))
    };
    recorded().into_iter().map(parts).collect()
}

pub(crate) fn records() -> Inputs {
    let records = recorded().into_iter().flatten().filter(|event| matches!(event, Event::Sent(_)));
    records.step_by(20).map(|event| entries(&[event])[8..].to_vec()).collect()
}

pub(crate) fn packages() -> Inputs {
    vec![
        b"org.example.browser 10123 0 /data/user/0/org.example.browser default:targetSdkVersion=34 3003 0 1\n\
          com.example.other 10124 1 /data/user/0/com.example.other platform none 0 1 1 @system\n"
            .to_vec(),
    ]
}

pub(crate) fn hars() -> Inputs {
    let entry = |url: &str, more: serde_json::Value| {
        let mut entry = json!({
            "startedDateTime": "2026-11-30T10:00:00.123Z",
            "serverIPAddress": "192.0.2.1", "connection": "1",
            "request": {
                "method": "POST", "url": url, "httpVersion": "HTTP/2.0",
                "headers": [{ "name": "Content-Type", "value": "application/x-www-form-urlencoded" }],
                "queryString": [], "cookies": [],
                "postData": { "mimeType": "application/x-www-form-urlencoded", "text": "a=b&c=%2Fd",
                              "params": [{ "name": "a", "value": "b" }] },
            },
            "response": { "status": 200, "headers": [], "_error": null },
            "_resourceType": "xhr", "_initiator": { "type": "script" },
        });
        if let (Some(entry), Some(more)) = (entry.as_object_mut(), more.as_object()) {
            entry.extend(more.clone());
        }
        entry
    };
    let messages = json!({ "_webSocketMessages": [
        { "type": "send", "time": 1_764_000_000.5, "opcode": 1, "data": "{\"url\":\"https://a.example/\"}" },
        { "type": "receive", "time": 1_764_000_001, "opcode": 2, "data": "AAEC" },
    ] });
    let log = |entries: Vec<serde_json::Value>| json!({ "log": { "version": "1.2", "creator": { "name": "WebInspector" }, "entries": entries } });
    vec![
        log(vec![entry("https://collector.example/a?b=c", json!({}))]).to_string().into_bytes(),
        log(vec![entry("wss://a.example/ws", messages)]).to_string().into_bytes(),
        [
            b"\xef\xbb\xbf".to_vec(),
            serde_json::to_vec_pretty(&log(vec![
                entry(
                    "http://[2001:db8::1]:8080/",
                    json!({ "startedDateTime": "2026-11-30T10:00:00+01:00" }),
                ),
                entry(
                    "https://b.example/",
                    json!({ "response": { "status": 0, "_error": "net::ERR_BLOCKED_BY_CLIENT" } }),
                ),
            ]))
            .expect("JSON"),
        ]
        .concat(),
        // The file of one byte that made the reader panic.
        vec![0xef],
    ]
}

pub(crate) fn captures() -> Inputs {
    all("tests/fixtures/quic", ".pcapng")
}

pub(crate) fn packets() -> Inputs {
    // Ethernet, IPv4, UDP to port 53, and a query.
    let query = super::dns().swap_remove(0);
    let udp = [&[0xc0, 0, 0, 53, 0, (8 + query.len()) as u8, 0, 0][..], &query].concat();
    let ip = |protocol: u8, payload: &[u8]| {
        let head = [
            0x45,
            0,
            0,
            (20 + payload.len()) as u8,
            0,
            1,
            0,
            0,
            64,
            protocol,
            0,
            0,
            10,
            0,
            0,
            1,
            192,
            0,
            2,
            1,
        ];
        [&head[..], payload].concat()
    };
    let ethernet = |ip: &[u8]| [&[2; 12][..], &[8, 0], ip].concat();
    let syn = [0xc0, 1, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
    let data = [0xc0, 1, 0, 80, 0, 0, 0, 2, 0, 0, 0, 0, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0];
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let tcp = [syn.to_vec(), [&data[..], request].concat()];
    let link = |number: u16, packets: &[Vec<u8>]| {
        let packets = join((0..).zip(packets.iter().map(|packet| &packet[..])));
        [&number.to_le_bytes()[..], &packets].concat()
    };
    let ipv6 = [&[0x60, 0, 0, 0, 0, udp.len() as u8, 17, 64][..], &[0xfd; 32], &udp].concat();
    let tcp = tcp.map(|segment| ip(6, &segment));
    vec![
        link(1, &[ethernet(&ip(17, &udp)), ethernet(&tcp[0]), ethernet(&tcp[1])]),
        // Raw IP, null, Linux cooked (both), NFLOG, PKTAP, and PPP.
        link(101, &[ip(17, &udp), ipv6.clone()]),
        link(0, &[[&[2, 0, 0, 0], &tcp[0][..]].concat(), [&[30, 0, 0, 0], &ipv6[..]].concat()]),
        link(113, &[[&[0, 4, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0], &tcp[0][..]].concat()]),
        link(
            276,
            &[[&[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 4, 6, 2, 2, 2, 2, 2, 2, 0, 0], &tcp[0][..]]
                .concat()],
        ),
        link(
            239,
            &[[
                &[2, 0, 0, 0, 8, 0, 11, 0, 0, 0, 39, 15],
                &(4 + tcp[0].len() as u16).to_le_bytes()[..],
                &[9, 0],
                &tcp[0],
            ]
            .concat()],
        ),
        link(9, &[[&[0, 0x21], &tcp[0][..]].concat()]),
    ]
}

pub(crate) fn packed() -> Inputs {
    let har = hars().swap_remove(0);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&har).expect("a vector takes everything");
    let gzip = encoder.finish().expect("a vector takes everything");
    let mut zip = Archive::default();
    zip.store("a.har", &har[..200]);
    let utf16: Vec<u8> =
        b"\xff\xfe".iter().copied().chain(har.iter().flat_map(|&byte| [byte, 0])).collect();
    let zstd =
        [&b"\x28\xb5\x2f\xfd\x20\x64"[..], &(100_u32 << 3 | 1).to_le_bytes()[..3], &har[..100]]
            .concat();
    vec![gzip.clone(), zip.bytes(), utf16, zstd, [&gzip[..], &gzip].concat()]
}

pub(crate) fn heads() -> Inputs {
    let mut heads = hars();
    heads.push(b"4:1234;5:abcde,}".to_vec());
    heads.push(b"<?xml version=\"1.0\"?><items burpVersion=\"2024.1\"><item>".to_vec());
    heads.push(b"{\"log\":{\"type\":\"NetLog\",\"constants\":{".to_vec());
    heads
}

pub(crate) fn elf() -> Inputs {
    vec![read("tests/fuzz/seeds/x86_64.so"), read("tests/fuzz/seeds/arm64.so")]
}

pub(crate) fn apks() -> Inputs {
    let apk = |library: &[u8]| {
        let mut apk = Archive::apk();
        apk.store("lib/arm64-v8a/libssl.so", library);
        apk.bytes()
    };
    elf().iter().map(|library| apk(library)).collect()
}

pub(crate) fn btf() -> Inputs {
    vec![read("tests/fuzz/seeds/kernel.btf")]
}

pub(crate) fn answers() -> Inputs {
    let answer = |library: Vec<u8>| {
        let mut cache = Cache::new();
        let located = locate(&library, "a", &mut cache).expect("an ELF file");
        let findings: Vec<_> = located.iter().map(|located| &located.findings).collect();
        [serde_json::to_vec(&findings).expect("JSON"), cache.to_json().into_bytes()]
    };
    elf().into_iter().flat_map(answer).collect()
}

pub(crate) fn rules() -> Inputs {
    // The start of each file: whole ones are longer than inputs.
    const LEN: usize = 3000;
    let start = |(number, name): (u8, &str)| {
        let text = read(&format!("tracer/rules/{name}"));
        let end =
            text.windows(3).take(LEN).rposition(|part| part == b"\n\n[").unwrap_or(text.len());
        [&[number], &text[..end]].concat()
    };
    (0..).zip(RULES).map(start).collect()
}

pub(crate) fn scenarios() -> Inputs {
    all("tracer/scenarios", ".toml")
}

pub(crate) fn journals() -> Inputs {
    let visit = |id: u64, at: u64| {
        json!({ "canary": {
                    "id": id, "url": format!("http://w{id}orange.tracer.example/a{id}lemon?q=b{id}grape"),
                    "authority": format!("w{id}orange.tracer.example"), "host_word": format!("w{id}orange"),
                    "path_word": format!("a{id}lemon"), "query_word": format!("b{id}grape"), "title": "a page" },
                "how": "opened", "at": at, "served": true })
    };
    let stage = |phase: &str, began: u64| {
        json!({ "phase": phase, "began": began, "ended": began + 900, "outcome": { "kind": "done" },
                "visits": [visit(began, began + 1), visit(began + 1, began + 2)], "idle": [began + 5] })
    };
    let journal = json!({
        "schema": 2, "run": "c1d0a7725f3e", "redaction_key": "00112233445566778899aabbccddeeff",
        "subject": { "name": "Browser", "version": "1.0", "browser": null, "watched": ["--exe /b"],
                     "scenario": "chromium", "system": "Linux" },
        "clock": { "boot": 0, "unix": 1_764_000_000_000_000_000_u64 },
        "began": 1, "ended": 9000, "interrupted": false,
        "stages": [stage("fresh", 1000), stage("pages", 2000), stage("private", 3000)],
    });
    vec![journal.to_string().into_bytes()]
}

pub(crate) fn reports() -> Inputs {
    let short = |report: Report| serde_json::to_vec(&report).expect("JSON");
    [invented::killed(), invented::clean(), invented::hostile(), invented::reporting()]
        .map(short)
        .into()
}

/// The alerts that the recorded requests raise.
pub(crate) fn alerts() -> Inputs {
    const MOST: usize = 12;
    let mut pipeline = Pipeline::new(&Knowledge::default());
    let mut outputs = Vec::new();
    for (time, request) in (1..).map(BootTime).zip(all("tests/fixtures/corpus", ".http")) {
        pipeline.push(Event::Sent(plaintext(request, time)), &mut outputs);
    }
    pipeline.finish(&mut outputs);
    let alerts = outputs.iter().filter_map(Notice::from_output).filter_map(|notice| match notice {
        Notice::Alert { alert, .. } => Some(serde_json::to_vec(&alert).expect("JSON")),
        Notice::Repeated { .. } | Notice::Lost { .. } => None,
    });
    alerts.take(MOST).collect()
}

/// A request that a process writes to its TLS library, on a connection of its own.
fn plaintext(request: Vec<u8>, time: BootTime) -> Record {
    let transport = Transport::Tls;
    let connection = Connection { key: time.0, transport, local: None, remote: None };
    let process = Process { uid: 1000, tgid: 7, tid: 7, comm: "browser".into() };
    let len = u32::try_from(request.len()).ok();
    let payload = request.into();
    let hook = Hook::SslWrite;
    Record {
        hook,
        time,
        process,
        connection,
        within_tls: None,
        position: None,
        offset: 0,
        len,
        payload,
    }
}

/// An empty store: the schema and a key.
pub(crate) fn stores() -> Inputs {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    drop(tracer::store::Store::open(&tracer::store::Place::Named(path.clone())).expect("a store"));
    vec![std::fs::read(path).expect("a store")]
}

/// Files of profiles. Every file of a profile has the same content, so that one seed can hold the
/// preferences, and the manifests that they lead to.
pub(crate) fn profiles() -> Vec<Vec<u8>> {
    let manifest = include_str!("../../../fixtures/browsers/reporter/manifest.json");
    let preferences = r#"{"extensions": {"settings": {
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": {"path": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/1.0_0"},
        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb": {"path": "/opt/b", "manifest": {"name": "A copy"}}}},
        "name": "__MSG_appName__", "default_locale": "de", "APPNAME": {"message": "\u00dcbersetzer"}}"#;
    let addons = r#"{"schemaVersion": 37, "addons": [
        {"id": "leaker@tracer.test", "defaultLocale": {"name": "Leaker"}}, {"id": 7}, {}, "x"]}"#;
    let uuids = r#"user_pref("extensions.webextensions.uuids", "{\"leaker@tracer.test\":\"910a3f67-eca5-44aa-b631-ad78714ed299\"}");"#;
    [manifest, preferences, addons, uuids].map(|text| text.as_bytes().to_vec()).into()
}

/// Answers of the process that parses profiles.
pub(crate) fn profile_answers() -> Vec<Vec<u8>> {
    let found = r#"{"Found":[["abc","A name",null],["910a3f67","Leaker","leaker@tracer.test"]]}"#;
    let open = r#"{"Open":"/home/user/.config/chromium/Default/Preferences"}"#;
    [found, open].map(|text| text.as_bytes().to_vec()).into()
}
