//! The table of targets.

mod content;
mod files;
mod formats;
mod host;
mod quic;
mod records;
mod streams;

use super::{Bound, Target, seeds};

pub(crate) use self::files::RULES;

/// Memory and time of a parser without a budget of its own.
///
/// - `memory`: what a connection may keep for tables, and for a body.
/// - `time_per_byte`: a tenth of a megabyte a second, with instrumented code.
const PARSER: Bound =
    Bound { memory: 4 << 20, memory_per_byte: 1024, time: 5_000_000, time_per_byte: 10_000 };

/// Memory and time of decoding under `content::Limits`.
///
/// - `memory`: the largest dictionary of LZMA, which is allocated at once, and the output of
///   decoders, twice because a vector that grows is copied.
/// - `time_per_byte`: a second for the whole budget, ten times that with instrumented code.
const BUDGETED: Bound =
    Bound { memory: 96 << 20, memory_per_byte: 4096, time: 20_000_000, time_per_byte: 200 };

/// The tables of rules are compiled for each input.
const RULE_FILES: Bound = Bound { memory: 64 << 20, time: 500_000_000, ..PARSER };

/// Files of a database are written and read.
const STORE: Bound = Bound { memory: 64 << 20, time: 500_000_000, ..PARSER };

const KB: usize = 1 << 10;

/// A target with the bound of a parser and inputs of up to 4 KiB.
const fn parser(name: &'static str, run: fn(&[u8]) -> u64, seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds, words: &[], max_len: 4 * KB, bound: PARSER }
}

/// A target with the bound of decoding and inputs of up to 4 KiB.
const fn decoder(name: &'static str, run: fn(&[u8]) -> u64, seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { bound: BUDGETED, ..parser(name, run, seeds) }
}

/// A target of files, with inputs of up to 16 KiB.
const fn file(name: &'static str, run: fn(&[u8]) -> u64, seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { max_len: 16 * KB, ..parser(name, run, seeds) }
}

const HTTP: &[&str] = &[
    "GET ",
    "POST ",
    " HTTP/1.1\r\n",
    "Host: ",
    "Content-Length: ",
    "Transfer-Encoding: chunked\r\n",
    "Content-Type: ",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "\r\n\r\n",
    "PRI * HTTP/2.0",
    "Expect: 100-continue\r\n",
    "CONNECT ",
    "://",
    "%2F",
    "application/x-www-form-urlencoded",
    "gzip",
    "multipart/form-data; boundary=",
    "0\r\n\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
];

const TEXT: &[&str] = &[
    "https://",
    "http://",
    "www.",
    ".example.com",
    "%25",
    "%2F",
    "\\u0061",
    "\\/",
    "data:",
    ";base64,",
    "H4sI",
    "eyJ",
    "{\"",
    "\":\"",
    "\":[",
    "<a href=\"",
    "&#x",
    "&amp;",
    "]]>",
    "<!--",
    "=?utf-8?Q?",
    "=3D",
    "--b\r\n",
    "Content-Disposition: form-data; name=\"",
    "url=",
    "&",
    "bplist00",
    "0x",
    "\\x",
    "xn--",
];

const HAR: &[&str] = &[
    "{\"log\":{\"entries\":[",
    "\"request\":{",
    "\"url\":\"https://",
    "\"method\":\"POST\"",
    "\"headers\":[{",
    "\"name\":\"",
    "\"value\":\"",
    "\"postData\":{",
    "\"text\":\"",
    "\"params\":[",
    "\"startedDateTime\":\"",
    "\"_webSocketMessages\":[",
    "\"encoding\":\"base64\"",
    "\"serverIPAddress\":\"",
    "\"response\":{",
    "\"_resourceType\":\"",
    "2026-11-30T10:00:00.000Z",
    "]}",
    "null",
    "1e400",
    "\\ud83d",
];

const PROFILE: &[&str] = &[
    "{\"extensions\":{\"settings\":{\"",
    "\"path\":\"",
    "\"manifest\":{",
    "\"name\":\"",
    "__MSG_",
    "__\"",
    "\"default_locale\":\"en\"",
    "\"message\":\"",
    "\"key\":\"",
    "{\"addons\":[{\"id\":\"",
    "\"defaultLocale\":{",
    "user_pref(\"extensions.webextensions.uuids\", \"{",
    "\\\"",
    "}\");",
];

const TOML: &[&str] = &[
    "[[browser]]",
    "[[maker]]",
    "[[service]]",
    "[[identifier]]",
    "[[personal]]",
    "[[row]]",
    "[[sdk]]",
    "name = \"",
    "domains = [",
    "reason = \"",
    "source = \"",
    "true",
    "kind = \"",
    "'''",
    "= 1",
    "[[field]]",
    "packages = [",
    "executables = [",
    "[[role]]",
    "[[report]]",
    "[[vocabulary]]",
    "prefix = \"",
];

/// All targets.
pub const ALL: &[Target] = &[
    // Streams and datagrams.
    Target { words: HTTP, ..parser("http1", streams::http1, seeds::requests) },
    Target { words: HTTP, ..parser("transcript", streams::transcript, seeds::transcripts) },
    Target { max_len: 8 * KB, ..parser("http2", streams::http2, seeds::http2) },
    Target {
        max_len: 8 * KB,
        ..parser("http2_frames", streams::http2_frames, seeds::http2_frames)
    },
    parser("hpack", streams::hpack, seeds::hpack),
    parser("qpack", streams::qpack, seeds::qpack),
    parser("websocket", streams::websocket, seeds::websocket),
    parser("websocket_frames", streams::websocket_frames, seeds::websocket_frames),
    parser("tls", streams::tls, seeds::tls),
    parser("tls_hello", streams::tls_hello, seeds::tls_hello),
    parser("dns", streams::dns, seeds::dns),
    parser("quic_datagram", quic::datagram, seeds::quic_datagrams),
    parser("quic_initial", quic::initial, seeds::quic_initials),
    parser("quic_frames", quic::frames, seeds::quic_frames),
    parser("http3_streams", quic::http3_streams, seeds::http3_streams),
    // Records.
    parser("record", records::record, seeds::records),
    Target { max_len: 8 * KB, ..parser("trace", records::trace, seeds::traces) },
    Target { max_len: 8 * KB, ..decoder("pipeline", records::pipeline, seeds::events) },
    parser("packages", records::packages, seeds::packages),
    // Content.
    Target { words: HTTP, ..decoder("content", content::request, seeds::requests) },
    Target { words: TEXT, ..decoder("body", content::body, seeds::bodies) },
    Target { words: TEXT, ..decoder("form", content::form, seeds::forms) },
    Target { words: TEXT, ..decoder("multipart", content::multipart, seeds::multiparts) },
    Target { words: TEXT, ..decoder("json", content::json, seeds::json) },
    Target { words: TEXT, ..decoder("xml", content::body, seeds::xml) },
    decoder("msgpack", content::msgpack, seeds::msgpack),
    decoder("cbor", content::cbor, seeds::cbor),
    decoder("protobuf", content::protobuf, seeds::protobuf),
    decoder("grpc", content::grpc, seeds::grpc),
    decoder("plist", content::body, seeds::plists),
    decoder("plist_objects", content::plist_objects, seeds::plist_objects),
    decoder("archive", content::body, seeds::archives),
    decoder("media", content::body, seeds::media),
    decoder("compressed", content::compressed, seeds::compressed),
    Target { words: TEXT, ..decoder("encoded", content::encoded, seeds::encoded) },
    Target { words: TEXT, ..decoder("nested", content::nested, seeds::nested) },
    Target { words: TEXT, ..decoder("detect", content::detect, seeds::texts) },
    Target { words: TEXT, ..parser("urls", content::urls, seeds::texts) },
    // Recordings of other tools.
    Target { words: HAR, ..file("har", formats::har, seeds::hars) },
    Target { max_len: 32 * KB, ..file("pcapng", formats::pcapng, seeds::captures) },
    file("packets", formats::packets, seeds::packets),
    file("packed", formats::packed, seeds::packed),
    Target { words: HAR, ..parser("foreign", formats::foreign, seeds::heads) },
    // Files of the machine.
    file("elf", host::elf, seeds::elf),
    Target { max_len: 64 * KB, ..file("apk", host::elf, seeds::apks) },
    parser("btf", host::btf, seeds::btf),
    file("answers", host::answers, seeds::answers),
    Target { words: PROFILE, ..file("profiles", host::profiles, seeds::profiles) },
    parser("profile_answers", host::profile_answers, seeds::profile_answers),
    // tracer's own files.
    Target { words: TOML, bound: RULE_FILES, ..file("rules", files::rules, seeds::rules) },
    Target { words: TOML, ..file("scenario", files::scenario, seeds::scenarios) },
    Target { bound: BUDGETED, ..file("journal", files::journal, seeds::journals) },
    Target { bound: BUDGETED, max_len: 64 * KB, ..file("report", files::report, seeds::reports) },
    Target { bound: BUDGETED, ..file("alert", files::alert, seeds::alerts) },
    Target { bound: STORE, max_len: 128 * KB, ..file("store", files::store, seeds::stores) },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = ALL.iter().map(|target| target.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
