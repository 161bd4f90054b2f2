//! Questions to the domain name system (RFC 1035), also over multicast
//! (RFC 6762): the names that a client asks for.
//!
//! ```text
//! id (16) │ flags (16) │ counts (4 × 16) │ questions │ …
//!           QR(1) opcode(4) …
//!
//! question: name │ type (16) │ class (16)
//! name:     length (8) label … 0     or, to end it: 11 offset (14)
//!
//! over TCP, each message is preceded by its length (16).
//! ```

use super::wire::{Reader, Short};

/// The ports of DNS and of multicast DNS.
pub(super) const PORTS: [u16; 2] = [53, 5353];

/// The most questions read of one message. Resolvers ask one at a time,
/// multicast queriers some tens.
const MAX_QUESTIONS: u64 = 64;

/// The longest name on the wire (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 255;

/// The most pointers followed for one name. Those who compress need one.
const MAX_POINTERS: usize = 8;

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A query: the names asked for.
    Complete(Vec<String>),
    /// A query of which a part is not known, or makes no sense: the names
    /// before that.
    Truncated(Vec<String>),
    /// No query.
    NotMine,
}

/// Reads a message of `len` bytes that begins with `bytes`.
pub(super) fn parse(bytes: &[u8], len: usize) -> Parsed {
    let mut names = Vec::new();
    match read(Message { bytes, len }, &mut names) {
        Ok(()) => Parsed::Complete(names),
        Err(Short::Malformed) if names.is_empty() => Parsed::NotMine,
        Err(Short::Cut | Short::Malformed) => Parsed::Truncated(names),
    }
}

/// A message of `len` bytes, as far as it is known.
#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl<'a> Message<'a> {
    /// Reads from a place in the message on.
    fn from(self, at: usize) -> Reader<'a> {
        Reader::new(self.bytes.get(at..).unwrap_or_default(), self.len.saturating_sub(at))
    }
}

fn read(message: Message<'_>, names: &mut Vec<String>) -> Result<(), Short> {
    let must = |it: bool| if it { Ok(()) } else { Err(Short::Malformed) };
    let mut reader = message.from(0);
    let _id = reader.u16()?;
    let flags = reader.u16()?;
    // A standard query: no response, opcode 0.
    must(flags & 0xf800 == 0)?;
    let questions = u64::from(reader.u16()?);
    reader.sub(6)?;
    must((1..=MAX_QUESTIONS).contains(&questions))?;
    for _ in 0..questions {
        let name = read_name(&mut reader, message)?;
        let _type = reader.u16()?;
        // Multicast queriers set the top bit to be answered directly.
        let class = reader.u16()? & 0x7fff;
        must(matches!(class, 1 | 3 | 4 | 254 | 255))?;
        names.push(name);
    }
    Ok(())
}

/// Reads a name: its labels, joined with dots.
fn read_name<'a>(reader: &mut Reader<'a>, message: Message<'a>) -> Result<String, Short> {
    let mut name = Vec::new();
    // A pointer leads to an earlier place than the name, and than any before.
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
                    return Err(Short::Malformed);
                }
                earliest = to;
                elsewhere = message.from(to);
                labels = &mut elsewhere;
            }
            _ => return Err(Short::Malformed),
        }
        if name.len() > MAX_NAME {
            return Err(Short::Malformed);
        }
    }
    // Labels can hold any byte; what is no text is shown as escapes.
    let text = match std::str::from_utf8(&name) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_lowercase(),
        _ => name.escape_ascii().to_string(),
    };
    Ok(if text.is_empty() { ".".to_owned() } else { text })
}

/// Queries over TCP, one after the other.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// A length, and as much of a message as came.
    held: Vec<u8>,
}

/// What follows is no query: so many bytes since the last one are in none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotDns(pub(super) u64);

impl Stream {
    /// Takes the next bytes; the names that they complete are appended.
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
                    Parsed::Complete(asked) => names.extend(asked),
                    Parsed::Truncated(_) | Parsed::NotMine => {
                        return Err(NotDns((self.held.len() + bytes.len()) as u64));
                    }
                }
                self.held.clear();
            }
        }
        Ok(())
    }

    /// The bytes of a message that is not complete.
    pub(super) fn buffered(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A query of `names`, each a name as it stands on the wire.
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
        // With an EDNS record behind it.
        let message = [&message[..], b"\0\0\x29\x10\0\0\0\0\0\0\0"].concat();
        assert_eq!(whole(&message), Parsed::Complete(names(&["www.example.org"])));
        assert_eq!(whole(&query(0, &[b"\0"])), Parsed::Complete(names(&["."])));
        let odd = whole(&query(0, &[b"\x02\x1b\xff\0"]));
        assert_eq!(odd, Parsed::Complete(names(&["\\x1b\\xff"])));
    }

    #[test]
    fn pointers_lead_back_only() {
        // The second name ends in the first one's last two labels, at 16.
        let message = query(0, &[WWW, b"\x03cdn\xc0\x10"]);
        assert_eq!(
            whole(&message),
            Parsed::Complete(names(&["www.example.org", "cdn.example.org"]))
        );
        // To itself, ahead, and into a loop.
        for name in [&b"\xc0\x0c"[..], b"\xc0\x20\0", b"\x01a\xc0\x0c"] {
            assert_eq!(whole(&query(0, &[name])), Parsed::NotMine, "{name:?}");
        }
        let chain: Vec<u8> = (0..40u8).flat_map(|i| [0xc0, 12 + 2 * i]).collect();
        let chain: Vec<&[u8]> = chain.chunks(2).collect();
        assert_eq!(whole(&query(0, &chain)), Parsed::NotMine);
    }

    #[test]
    fn only_queries_are_queries() {
        let response = query(0x8180, &[WWW]);
        let update = query(0x2800, &[WWW]);
        let mut class = query(0, &[WWW]);
        *class.last_mut().unwrap() = 9;
        for message in [&response[..], &update, &class, b"", &query(0, &[]), &[0xff; 40]] {
            assert_eq!(whole(message), Parsed::NotMine, "{message:?}");
        }
        let long: Vec<u8> =
            [b'?'; 64 * 5].chunks(63).flat_map(|l| [&[l.len() as u8], l].concat()).collect();
        assert_eq!(whole(&query(0, &[&[&long[..], &[0]].concat()])), Parsed::NotMine);
    }

    #[test]
    fn no_prefix_contradicts() {
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
    fn streams_hold_messages() {
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
