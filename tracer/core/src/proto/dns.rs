//! DNS queries (RFC 1035), including multicast DNS (RFC 6762): the names that a
//! client looks up.
//!
//! ```text
//! id (16) │ flags (16) │ counts (4 × 16) │ questions │ …
//!           QR(1) opcode(4) …
//!
//! question: name │ type (16) │ class (16)
//! name:     length (8) label … 0     or, to end it: 11 offset (14)
//!
//! Over TCP, each message is preceded by its length (16).
//! ```

use super::wire::{ReadError, Reader};

/// The ports of DNS and multicast DNS.
pub(super) const PORTS: [u16; 2] = [53, 5353];

/// Maximum number of questions read per message. Resolvers ask one at a time,
/// multicast queriers a few dozen.
const MAX_QUESTIONS: u64 = 64;

/// Maximum length of a name on the wire (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;

/// Maximum number of pointers followed per name. Compressed names need one.
const MAX_POINTERS: usize = 8;

/// The result of parsing a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A query, with the names in it.
    Complete(Vec<String>),
    /// A query that is truncated or partly malformed, with the names before
    /// that point.
    Truncated(Vec<String>),
    /// Not a query.
    NotQuery,
}

/// Parses a message of `len` bytes, of which `bytes` are known.
pub(super) fn parse(bytes: &[u8], len: usize) -> Parsed {
    let mut names = Vec::new();
    match read(Message { bytes, len }, &mut names) {
        Ok(()) => Parsed::Complete(names),
        Err(ReadError::Malformed) if names.is_empty() => Parsed::NotQuery,
        Err(ReadError::Cut | ReadError::Malformed) => Parsed::Truncated(names),
    }
}

/// Returns the names that a query asks for, as the body of a request holds them (RFC 8484).
pub fn names(query: &[u8]) -> Vec<String> {
    match parse(query, query.len()) {
        Parsed::Complete(names) | Parsed::Truncated(names) => names,
        Parsed::NotQuery => Vec::new(),
    }
}

/// A message of `len` bytes, possibly truncated.
#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Message<'a> {
    /// Returns a reader that starts at `at`.
    fn reader_at(self, at: usize) -> Reader<'a> {
        Reader::new(self.bytes.get(at..).unwrap_or_default(), self.len.saturating_sub(at))
    }
}

fn read(message: Message<'_>, names: &mut Vec<String>) -> Result<(), ReadError> {
    let require = |valid: bool| if valid { Ok(()) } else { Err(ReadError::Malformed) };
    let mut reader = message.reader_at(0);
    let _id = reader.u16()?;
    let flags = reader.u16()?;
    // A standard query is not a response and has opcode 0.
    require(flags & 0xf800 == 0)?;
    let questions = u64::from(reader.u16()?);
    reader.sub(6)?;
    require((1..=MAX_QUESTIONS).contains(&questions))?;
    for _ in 0..questions {
        let name = read_name(&mut reader, message)?;
        let _type = reader.u16()?;
        // Multicast queriers set the top bit to request a unicast response.
        let class = reader.u16()? & 0x7fff;
        require(matches!(class, 1 | 3 | 4 | 254 | 255))?;
        names.push(name);
    }
    Ok(())
}

/// Reads a name and joins its labels with dots.
fn read_name<'a>(reader: &mut Reader<'a>, message: Message<'a>) -> Result<String, ReadError> {
    let mut name = Vec::new();
    // A pointer must refer to a position before the name and before any earlier
    // pointer.
    let mut earliest = message.len.saturating_sub(reader.len());
    let mut pointers = 0;
    let mut elsewhere;
    let mut labels = reader;
    loop {
        match labels.u8()? {
            0 => break,
            len @ 1..=63 => {
                let label = labels.take(len.into())?;
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend_from_slice(label);
            }
            high @ 0xc0.. => {
                let to = usize::from(high & 0x3f) << 8 | usize::from(labels.u8()?);
                pointers += 1;
                if to >= earliest || pointers > MAX_POINTERS {
                    return Err(ReadError::Malformed);
                }
                earliest = to;
                elsewhere = message.reader_at(to);
                labels = &mut elsewhere;
            }
            _ => return Err(ReadError::Malformed),
        }
        if name.len() > MAX_NAME {
            return Err(ReadError::Malformed);
        }
    }
    // Labels may contain any byte; anything but text is escaped.
    let text = match std::str::from_utf8(&name) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_lowercase(),
        _ => name.escape_ascii().to_string(),
    };
    Ok(if text.is_empty() { ".".to_owned() } else { text })
}

/// A sequence of queries over TCP.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The length and the known part of an incomplete message.
    held: Vec<u8>,
}

/// The bytes are not a query. Contains the number of bytes since the last
/// query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotDns(pub(super) u64);

impl Stream {
    /// Reads the next bytes and appends the names in every completed query.
    pub(super) fn data(&mut self, mut bytes: &[u8], names: &mut Vec<String>) -> Result<(), NotDns> {
        while !bytes.is_empty() {
            let (wanted, len) = match self.held.first_chunk() {
                Some(&len) => {
                    let len = usize::from(u16::from_be_bytes(len));
                    (2 + len, Some(len))
                }
                None => (2, None),
            };
            let taken = wanted.saturating_sub(self.held.len()).min(bytes.len());
            let (now, later) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            self.held.extend_from_slice(now);
            bytes = later;
            if let Some(len) = len
                && self.held.len() == wanted
            {
                let message = self.held.get(2..).unwrap_or_default();
                match parse(message, len) {
                    Parsed::Complete(more) => names.extend(more),
                    Parsed::Truncated(_) | Parsed::NotQuery => {
                        return Err(NotDns((self.held.len() + bytes.len()) as u64));
                    }
                }
                self.held.clear();
            }
        }
        Ok(())
    }

    /// Returns the number of bytes held of an incomplete message.
    pub(super) fn buffered(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Builds a query for names given in wire format.
    fn query(flags: u16, names: &[&[u8]]) -> Vec<u8> {
        let mut message = vec![0x12, 0x34];
        message.extend(flags.to_be_bytes());
        message.extend([0, names.len() as u8, 0, 0, 0, 0, 0, 0]);
        for name in names {
            message.extend_from_slice(name);
            message.extend([0, 1, 0, 1]);
        }
        message
    }

    const WWW: &[u8] = b"\x03WWW\x07example\x03org\0";

    fn whole(message: &[u8]) -> Parsed {
        parse(message, message.len())
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_are_read() {
        let message = query(0x0100, &[WWW]);
        assert_eq!(whole(&message), Parsed::Complete(names(&["www.example.org"])));
        // Followed by an EDNS record.
        let message = [&message[..], b"\0\0\x29\x10\0\0\0\0\0\0\0"].concat();
        assert_eq!(whole(&message), Parsed::Complete(names(&["www.example.org"])));
        assert_eq!(whole(&query(0, &[b"\0"])), Parsed::Complete(names(&["."])));
        let odd = whole(&query(0, &[b"\x02\x1b\xff\0"]));
        assert_eq!(odd, Parsed::Complete(names(&["\\x1b\\xff"])));
    }

    #[test]
    fn pointers_must_refer_backwards() {
        // The second name ends with the last two labels of the first one, at
        // 16.
        let message = query(0, &[WWW, b"\x03cdn\xc0\x10"]);
        assert_eq!(
            whole(&message),
            Parsed::Complete(names(&["www.example.org", "cdn.example.org"]))
        );
        // Pointers to itself, forwards, and into a loop.
        for name in [&b"\xc0\x0c"[..], b"\xc0\x20\0", b"\x01a\xc0\x0c"] {
            assert_eq!(whole(&query(0, &[name])), Parsed::NotQuery, "{name:?}");
        }
        let chain: Vec<u8> = (0..40u8).flat_map(|i| [0xc0, 12 + 2 * i]).collect();
        let chain: Vec<&[u8]> = chain.chunks(2).collect();
        assert_eq!(whole(&query(0, &chain)), Parsed::NotQuery);
    }

    #[test]
    fn other_messages_are_not_queries() {
        let response = query(0x8180, &[WWW]);
        let update = query(0x2800, &[WWW]);
        let mut class = query(0, &[WWW]);
        *class.last_mut().unwrap() = 9;
        for message in [&response[..], &update, &class, b"", &query(0, &[]), &[0xff; 40]] {
            assert_eq!(whole(message), Parsed::NotQuery, "{message:?}");
        }
        let long: Vec<u8> =
            [b'?'; 64 * 5].chunks(63).flat_map(|l| [&[l.len() as u8], l].concat()).collect();
        assert_eq!(whole(&query(0, &[&[&long[..], &[0]].concat()])), Parsed::NotQuery);
    }

    #[test]
    fn prefixes_are_consistent() {
        let mut broken = query(0, &[WWW, WWW]);
        *broken.last_mut().unwrap() = 9;
        for message in [query(0, &[WWW, b"\x03cdn\xc0\x10"]), broken] {
            let (Parsed::Complete(all) | Parsed::Truncated(all)) = whole(&message) else {
                panic!("no query");
            };
            for len in 0..message.len() {
                let Parsed::Truncated(part) = parse(&message[..len], message.len()) else {
                    panic!("{len}");
                };
                assert!(all.starts_with(&part));
            }
        }
    }

    #[test]
    fn streams_are_split_into_messages() {
        let message = query(0, &[WWW]);
        let framed = [&[0, message.len() as u8], &message[..]].concat();
        let twice = framed.repeat(2);
        for size in 1..twice.len() {
            let mut stream = Stream::default();
            let mut asked = Vec::new();
            for part in twice.chunks(size) {
                assert_eq!(stream.data(part, &mut asked), Ok(()));
            }
            assert_eq!(asked, names(&["www.example.org"; 2]));
            assert_eq!(stream.buffered(), 0);
        }
        let mut stream = Stream::default();
        let mut asked = Vec::new();
        assert_eq!(stream.data(&framed, &mut asked), Ok(()));
        assert_eq!(stream.data(b"\0\x03abcdef", &mut asked), Err(NotDns(8)));
        assert_eq!(asked.len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_panics(message in proptest::collection::vec(any::<u8>(), 0..100), more in 0usize..9) {
            parse(&message, message.len() + more);
            let begins = [&query(0, &[WWW; 3])[..12], &message].concat();
            parse(&begins, begins.len() + more);
            let _ = Stream::default().data(&message, &mut Vec::new());
        }
    }
}
