//! Files of other tools that tracer does not read: their names, and how to
//! convert them. `foreign.toml` lists them.

use std::{fmt, sync::LazyLock};

use data_encoding::HEXLOWER;
use serde::Deserialize;

/// A kind of file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Foreign {
    /// The kind, as in "this is …".
    what: String,
    /// The next step.
    next: String,
    /// Bytes at the start of the file, in hexadecimal.
    #[serde(default)]
    magic: Vec<String>,
    /// Position of the magic bytes.
    #[serde(default)]
    at: usize,
    /// Text at the start of the file, compared without white space.
    #[serde(default)]
    text: Vec<String>,
    /// Words that the first bytes contain, all of them.
    #[serde(default)]
    words: Vec<String>,
    /// Ends of names of such files. They decide only if nothing else does.
    #[serde(default)]
    extensions: Vec<String>,
    /// Parts of the name of a file in a ZIP archive that only this tool writes.
    #[serde(default)]
    archived: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tool: Vec<Foreign>,
}

/// The list. A test checks that it can be parsed.
static LIST: LazyLock<Vec<Foreign>> = LazyLock::new(|| {
    toml::from_str::<File>(include_str!("foreign.toml")).map(|file| file.tool).unwrap_or_default()
});

/// Number of bytes without white space that are compared with a text.
const TEXT: usize = 128;

/// Returns the kind of a file that tracer does not read, by its first bytes and,
/// if these are unknown, by its name.
pub fn detect(head: &[u8], name: Option<&str>) -> Option<&'static Foreign> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = text.iter().filter(|b| !b.is_ascii_whitespace()).take(TEXT);
    let text: Vec<u8> = text.copied().collect();
    LIST.iter().find(|tool| tool.has_content(head, &text)).or_else(|| {
        let name = if is_erf(head) { ".erf".into() } else { name?.to_ascii_lowercase() };
        LIST.iter().find(|tool| tool.extensions.iter().any(|end| name.ends_with(end.as_str())))
    })
}

/// Reports whether the bytes are records in Endace's ERF, which has no magic
/// number: a time in little endian, a type, flags, and lengths in big endian.
fn is_erf(head: &[u8]) -> bool {
    // Seconds of the years 1990 and 2100.
    const TIMES: std::ops::Range<u32> = 631_152_000..4_102_444_800;
    const TYPES: std::ops::RangeInclusive<u8> = 1..=48;
    let mut rest = head;
    let mut records = 0;
    while let [_, _, _, _, a, b, c, d, kind, _, high, low, ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let is_record = TIMES.contains(&u32::from_le_bytes([*a, *b, *c, *d]))
            && TYPES.contains(&(kind & 0x7f))
            && len > 16;
        if !is_record {
            return false;
        }
        // Later records may be cut.
        let Some(next) = rest.get(len..) else { return records > 0 };
        records += 1;
        rest = next;
    }
    records > 0 && rest.is_empty() || records > 1
}

/// Returns the kind of a ZIP archive that has a file of that name.
pub(crate) fn of_archive(name: &str) -> Option<&'static Foreign> {
    LIST.iter().find(|tool| tool.archived.iter().any(|part| name.contains(part.as_str())))
}

impl Foreign {
    fn has_content(&self, head: &[u8], text: &[u8]) -> bool {
        let starts = |start: &String| {
            let start: Vec<u8> = start.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
            text.starts_with(&start)
        };
        let has_magic = |magic: &String| {
            let magic = HEXLOWER.decode(magic.as_bytes()).unwrap_or_default();
            !magic.is_empty() && head.get(self.at..).is_some_and(|rest| rest.starts_with(&magic))
        };
        let has_word = |word: &String| memchr::memmem::find(head, word.as_bytes()).is_some();
        if self.magic.is_empty() && self.text.is_empty() && self.words.is_empty() {
            return false;
        }
        (self.magic.is_empty() || self.magic.iter().any(has_magic))
            && (self.text.is_empty() || self.text.iter().any(starts))
            && self.words.iter().all(has_word)
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this is {}: {}", self.what, self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(head: &[u8]) -> String {
        detect(head, None).map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn the_list_is_valid() {
        let list = toml::from_str::<File>(include_str!("foreign.toml")).unwrap().tool;
        assert_eq!(list.len(), LIST.len());
        for tool in &list {
            assert!(tool.magic.iter().all(|magic| HEXLOWER.decode(magic.as_bytes()).is_ok()));
            assert!(!tool.what.is_empty() && !tool.next.is_empty(), "{tool:?}");
            assert!(!tool.next.ends_with('.') && !tool.what.ends_with('.'), "{tool:?}");
        }
    }

    #[test]
    fn files_of_other_tools_are_named_with_the_next_step() {
        let mut etl = vec![0; 80];
        etl[..4].copy_from_slice(&[0, 0, 1, 0]);
        etl[72..76].copy_from_slice(&[2, 0, 2, 0xc0]);
        for (head, word) in [
            (&b"<?xml version=\"1.0\"?>\n<!DOCTYPE items [\n]>\n<items burpVersion=\"1\">"[..], "python3"),
            (b"598:7:version;2:21#4:type;4:http;2:id;36:7f3c2a10", "hardump"),
            (b"2511:9:websocket;0:~8:response;1:~4:type;4:http;7:version;2:20#", "hardump"),
            (b"{\"constants\": {\"logEventTypes\": {", "net-log"),
            (b"\xef\xbb\xbf{\n  \"constants\":{\"activeFieldTrialGroups\":[", "net-log"),
            (b"[{\"status\":\"COMPLETE\",\"method\":\"GET\",\"protocolVersion\":\"HTTP/1.1\"", "charles convert"),
            (b"<?xml version='1.0' encoding='UTF-8' ?>\n<?charles serialisation-version='2.0' ?>", "charles convert"),
            (b"[\n  {\n    \"_index\": \"packets-2026-11-22\",", "tshark"),
            (b"{\"index\":{\"_index\":\"packets-2026-11-22\"", "tshark"),
            (b"No.     Time           Source                Destination", "tshark"),
            (b"\"No.\",\"Time\",\"Source\",\"Destination\"", "tshark"),
            (b"<?xml version=\"1.0\"?>\n<pdml version=\"0\" creator=\"wireshark/4\">", "tshark"),
            (b"Frame 1: 74 bytes on wire (592 bits)", "tshark"),
            (b"{\"version\":\"1.2\",\"creator\":{\"name\":\"x\"},\"entries\":[]}", "{log: .}"),
            (b"[{\"startedDateTime\":\"\",\"request\":{\"httpVersion\":\"\",\"headersSize\":1}}]", "flatten"),
            (b"[{\"method\": \"POST\", \"url\": \"https://a.test/\"}]", "to_entries"),
            (b"SQLite format 3\0", "SQLite"),
            (b"\x7fELF\x02\x01\x01\0", "tracer locate"),
            (b"%PDF-1.7\n", "PDF"),
            (&etl, "etl2pcapng"),
            (b"snoop\0\0\0\0\0\0\x02", "editcap"),
            (b"btsnoop\0\0\0\0\x01", "editcap"),
            (b"== Info:   Trying 192.0.2.1:443...\n", "curl"),
            (b"*   Trying 192.0.2.1:443...\n* Connected to", "curl"),
            (b"* Host a.test:443 was resolved.\n", "curl"),
            (b"* Using HTTP2\n> GET / HTTP/2\n> Host: a.test\n", "curl"),
            (b"    1   0.000000 192.0.2.10 \xe2\x86\x92 192.0.2.1 TCP 54", "tshark"),
            (b"CLIENT_RANDOM 52", "editcap --inject-secrets"),
            (b"CLIENT_HANDSHAKE_TRAFFIC_SECRET ab", "editcap --inject-secrets"),
            (b"# SSL/TLS secrets log file, generated by NSS\n", "editcap --inject-secrets"),
            (b"{\"traceEvents\":[", "HAR"),
            (b"<!DOCTYPE html>\n<html>", "web page"),
            (b"\x89PNG\r\n\x1a\n", "image"),
            (b"<?xml version=\"1.0\"?>\n<note>", "XML"),
            (b"#separator \\x09\n#set_separator\t,", "Zeek"),
            (b"00000000: 1f8b 0808 0000 0000 0003 6361 7074 7572", "xxd -r"),
            (b"{\"timestamp\":\"2026-11-22T10:00:00\",\"flow_id\":1,\"event_type\":\"http\"", "Suricata"),
        ] {
            let named = name_of(head);
            assert!(named.contains(word), "{}: {named}", head.escape_ascii());
        }
    }

    #[test]
    fn records_without_a_magic_number_are_recognised() {
        let mut record = vec![0; 80];
        record[4..8].copy_from_slice(&1_795_341_600_u32.to_le_bytes());
        (record[8], record[11]) = (2, 80);
        assert!(name_of(&record).contains("editcap"));
        assert!(name_of(&record.repeat(3)).contains("editcap"));
        assert_eq!(name_of(&record[..79].repeat(3)), "");
    }

    #[test]
    fn files_that_tracer_reads_are_not_named() {
        for head in [
            &b""[..],
            b"{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":\"Burp\"}",
            b"{\"log\": {\"comment\": \"constants _index packets- traceEvents\"",
            b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"POST /items HTTP/2\r\nHost: burpVersion\r\n\r\n<?xml version=\"1.0\"?>",
            b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a",
            b"\xd4\xc3\xb2\xa1\x02\0\x04\0",
            b"tracer\0\x01",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<!DOCTYPE html>",
        ] {
            assert!(detect(head, None).is_none(), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn the_name_decides_if_the_content_is_unknown() {
        let named = |name| detect(b"\xac\xed\0\x05??", Some(name)).map(ToString::to_string);
        assert!(named("a.CHLS").unwrap().contains("charles convert"));
        assert!(named("a.erf").unwrap().contains("editcap"));
        assert_eq!(named("a.bin"), None);
        let shark = detect(b"%PDF-", Some("a.chls")).unwrap().to_string();
        assert!(shark.contains("PDF"), "{shark}");
        assert!(of_archive("raw/01_c.txt").unwrap().to_string().contains("Fiddler"));
        assert!(of_archive("capture.pcap").is_none());
    }
}
