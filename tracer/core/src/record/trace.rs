//! Trace files: recorded [`Event`]s.
//!
//! ```text
//! +----------------+   +------+---------+-----------+   +------+--
//! | magic, version |   | kind | length  | contents  |   | kind | …
//! | 8 bytes        |   | u32  | u32     |           |   |      |
//! +----------------+   +------+---------+-----------+   +------+--
//! ```
//!
//! | kind | contents |
//! |---|---|
//! | 1 | a record: the header of 120 bytes that the eBPF programs write, and the payload |
//! | 2 | the counters of the eBPF programs in their order, one u64 each |
//! | 3 | the clocks: nanoseconds since boot, and since 1970 (u64 each) |
//! | 4 | the executable of a process: its id (u32), and the path |
//! | 5 | the arguments of a process: its id (u32), and the NUL-terminated arguments |
//! | 6 | an Android application: its id (u32), and its NUL-terminated package names |
//! | 7 | the extensions of a user's browser: the UID (u32), and for each its NUL-terminated ID, name and add-on ID (empty if it has none) |
//!
//! All numbers are little-endian, like all machines supported by tracer.
//! Entries of unknown kinds are skipped, so that newer versions can add some. A
//! file that ends within an entry (after a power loss, for instance) is read up
//! to that point and reported as truncated.

use std::io::{self, Read, Write};

use bytes::Bytes;
use thiserror::Error;
use tracer_ebpf::{Counter, MAX_HEAD, RecordHeader};

use super::{BootTime, Clock, Event, Extension, Losses, Malformed, Record};

#[cfg(target_endian = "big")]
compile_error!("traces, and the programs' headers in them, are little-endian");

/// The magic number of a trace file: a name and the format version.
pub const MAGIC: [u8; 8] = *b"tracer\0\x01";

const RECORD: u32 = 1;
const LOSSES: u32 = 2;
const CLOCK: u32 = 3;
const EXECUTABLE: u32 = 4;
const ARGUMENTS: u32 = 5;
const PACKAGES: u32 = 6;
const EXTENSIONS: u32 = 7;

/// Maximum length of an entry. Entries of unknown kinds may be somewhat larger
/// than a record.
const MAX_ENTRY: usize = 16 * (RecordHeader::SIZE + MAX_HEAD);

/// Maximum number of strings in an entry: the arguments of a process and of three of its
/// ancestors.
const MAX_STRINGS: usize = 4 * super::MAX_ARGUMENTS;

/// The reason why a trace cannot be read.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The file is not a trace.
    #[error("this is not a trace that tracer recorded")]
    NotATrace,
    /// The trace has another format version.
    #[error("this trace has format version {0}; this tracer reads version {version}", version = MAGIC[7])]
    Version(u8),
    /// The file ends within an entry.
    #[error("the trace ends in the middle of an entry; everything before it was read")]
    Cut,
    /// An entry is invalid.
    #[error("the trace is damaged: {0}")]
    Damaged(String),
    /// The file cannot be read.
    #[error("cannot read the trace: {0}")]
    Read(#[from] io::Error),
}

impl From<Malformed> for TraceError {
    fn from(malformed: Malformed) -> Self {
        Self::Damaged(format!("a record cannot be read: {malformed}"))
    }
}

/// Writes a trace file.
pub struct Writer<W>(W);

impl<W: Write> Writer<W> {
    /// Starts a trace with its magic number.
    pub fn new(mut to: W) -> io::Result<Self> {
        to.write_all(&MAGIC)?;
        Ok(Self(to))
    }

    /// Continues a trace, whose magic number was already written.
    pub fn resume(to: W) -> Self {
        Self(to)
    }

    /// Returns the destination.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.0
    }

    /// Appends an event.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Sent(record) => self.entry(RECORD, &[&record.header().bytes(), &record.payload]),
            Event::Lost(losses) => {
                let counters = losses.counters().map(u64::to_le_bytes);
                self.entry(LOSSES, &[counters.as_flattened()])
            }
            Event::Executable { tgid, path } => {
                self.entry(EXECUTABLE, &[&tgid.to_le_bytes(), path.as_bytes()])
            }
            Event::Arguments { tgid, arguments } => {
                self.entry(ARGUMENTS, &[&tgid.to_le_bytes(), joined(arguments).as_bytes()])
            }
            Event::Packages { app, names } => {
                self.entry(PACKAGES, &[&app.to_le_bytes(), joined(names).as_bytes()])
            }
            Event::Extensions { uid, list } => {
                let texts = list.iter().flat_map(|one| {
                    [&*one.id, &*one.name, one.addon.as_deref().unwrap_or_default()]
                });
                // A NUL would end a text, and is in no name that a browser shows.
                let texts: Vec<String> = texts.map(|text| text.replace('\0', "")).collect();
                self.entry(EXTENSIONS, &[&uid.to_le_bytes(), joined(&texts).as_bytes()])
            }
            Event::Clock(clock) => {
                self.entry(CLOCK, &[&clock.boot.0.to_le_bytes(), &clock.unix.to_le_bytes()])
            }
        }
    }

    /// Flushes buffered data to the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn entry(&mut self, kind: u32, parts: &[&[u8]]) -> io::Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.0.write_all(&kind.to_le_bytes())?;
        self.0.write_all(&(len as u32).to_le_bytes())?;
        parts.iter().try_for_each(|part| self.0.write_all(part))
    }
}

/// Reads a trace file.
pub struct Reader<R>(R);

impl<R: Read> Reader<R> {
    /// Starts reading and verifies the magic number.
    pub fn new(mut from: R) -> Result<Self, TraceError> {
        let mut magic = [0; MAGIC.len()];
        if fill(&mut from, &mut magic)? < MAGIC.len() || magic[..7] != MAGIC[..7] {
            return Err(TraceError::NotATrace);
        }
        if magic != MAGIC {
            return Err(TraceError::Version(magic[7]));
        }
        Ok(Self(from))
    }

    /// Continues to read a trace, behind its magic number.
    pub fn resume(from: R) -> Self {
        Self(from)
    }

    /// Returns the next event, or `None` at the end of the file.
    pub fn event(&mut self) -> Result<Option<Event>, TraceError> {
        loop {
            let mut head = [0; 8];
            match fill(&mut self.0, &mut head)? {
                0 => return Ok(None),
                8 => {}
                _ => return Err(TraceError::Cut),
            }
            let [kind, len] = [0, 4]
                .map(|at| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
            let len = len as usize;
            if len > MAX_ENTRY {
                return Err(TraceError::Damaged(format!("an entry of {len} bytes")));
            }
            let mut contents = vec![0; len];
            if fill(&mut self.0, &mut contents)? < len {
                return Err(TraceError::Cut);
            }
            match kind {
                RECORD => return Ok(Some(Event::Sent(record(contents)?))),
                LOSSES => return Ok(Some(Event::Lost(losses(&contents)))),
                CLOCK => return clock(&contents).map(Some),
                EXECUTABLE => return executable(&contents).map(Some),
                ARGUMENTS => {
                    let (tgid, arguments) = numbered_list(&contents)?;
                    return Ok(Some(Event::Arguments { tgid, arguments }));
                }
                PACKAGES => {
                    let (app, names) = numbered_list(&contents)?;
                    return Ok(Some(Event::Packages { app, names }));
                }
                EXTENSIONS => {
                    let (uid, texts) = numbered_list(&contents)?;
                    return Ok(Some(Event::Extensions { uid, list: extensions(texts) }));
                }
                _ => {}
            }
        }
    }
}

fn record(contents: Vec<u8>) -> Result<Record, Malformed> {
    Record::from_kernel(&Bytes::from(contents))
}

/// Parses counters. Unknown ones are dropped, and missing ones are 0.
fn losses(contents: &[u8]) -> Losses {
    let mut counters = [0; Counter::COUNT as usize];
    let (chunks, _) = contents.as_chunks();
    for (counter, bytes) in counters.iter_mut().zip(chunks) {
        *counter = u64::from_le_bytes(*bytes);
    }
    Losses::from_counters(counters)
}

fn clock(contents: &[u8]) -> Result<Event, TraceError> {
    match contents.as_chunks() {
        ([boot, unix], []) => Ok(Event::Clock(Clock {
            boot: BootTime(u64::from_le_bytes(*boot)),
            unix: u64::from_le_bytes(*unix),
        })),
        _ => Err(TraceError::Damaged(format!("a clock of {} bytes", contents.len()))),
    }
}

fn executable(contents: &[u8]) -> Result<Event, TraceError> {
    let (tgid, path) = split_id(contents)?;
    Ok(Event::Executable { tgid, path: String::from_utf8_lossy(path).into_owned() })
}

/// Forms extensions of three texts each.
fn extensions(texts: Vec<String>) -> Vec<Extension> {
    let (triples, _) = texts.as_chunks();
    let extension = |[id, name, addon]: &[String; 3]| Extension {
        id: id.clone(),
        name: name.clone(),
        addon: (!addon.is_empty()).then(|| addon.clone()),
    };
    triples.iter().map(extension).collect()
}

/// Joins strings, each terminated by a NUL.
fn joined(texts: &[String]) -> String {
    texts.iter().flat_map(|text| [text, "\0"]).collect()
}

/// Parses a number followed by NUL-terminated strings.
fn numbered_list(contents: &[u8]) -> Result<(u32, Vec<String>), TraceError> {
    let (number, list) = split_id(contents)?;
    let list = list.split_inclusive(|&b| b == 0);
    let text =
        |item: &[u8]| String::from_utf8_lossy(item.strip_suffix(b"\0").unwrap_or(item)).into();
    Ok((number, list.take(MAX_STRINGS).map(text).collect()))
}

/// Splits an entry into the id at its start (of a process or an application) and
/// the rest.
fn split_id(contents: &[u8]) -> Result<(u32, &[u8]), TraceError> {
    let (tgid, rest) = contents
        .split_first_chunk()
        .ok_or_else(|| TraceError::Damaged("an entry without an id".into()))?;
    Ok((u32::from_le_bytes(*tgid), rest))
}

/// Reads until the buffer is full or the file ends. Returns the number of bytes
/// read.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::{super::kernel::tests::sample, *};

    fn events() -> Vec<Event> {
        let mut lost = Losses::default();
        lost.set(Counter::RingFull, 3);
        vec![
            Event::Clock(Clock { boot: BootTime(1), unix: 2 }),
            Event::Executable { tgid: 2, path: "/usr/bin/client".into() },
            Event::Arguments { tgid: 2, arguments: vec!["client".into(), String::new()] },
            Event::Packages { app: 10123, names: vec!["a.browser".into(), "b.other".into()] },
            Event::Packages { app: 10124, names: Vec::new() },
            Event::Extensions {
                uid: 1000,
                list: vec![
                    Extension { id: "abc".into(), name: "A name".into(), addon: None },
                    Extension { id: "0-1".into(), name: "Ä".into(), addon: Some("a@b".into()) },
                ],
            },
            Event::Extensions { uid: 7, list: Vec::new() },
            Event::Sent(sample()),
            Event::Lost(lost),
        ]
    }

    fn file(events: &[Event]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).unwrap();
        for event in events {
            writer.write(event).unwrap();
        }
        writer.0
    }

    fn read(file: &[u8]) -> Result<Vec<Event>, TraceError> {
        let mut reader = Reader::new(file)?;
        let mut events = Vec::new();
        while let Some(event) = reader.event()? {
            events.push(event);
        }
        Ok(events)
    }

    #[test]
    fn traces_round_trip() {
        assert_eq!(read(&file(&events())).unwrap(), events());
    }

    #[test]
    fn truncation_is_detected_and_loses_only_the_last_entry() {
        let whole = file(&events());
        let ends: Vec<usize> = (0..=events().len()).map(|n| file(&events()[..n]).len()).collect();
        for len in 0..whole.len() {
            match read(&whole[..len]) {
                Ok(events) => assert!(ends.contains(&len), "{len}: {events:?}"),
                Err(TraceError::NotATrace) => assert!(len < MAGIC.len()),
                Err(TraceError::Cut) => assert!(!ends.contains(&len)),
                Err(err) => panic!("{len}: {err}"),
            }
        }
    }

    #[test]
    fn other_files_are_not_traces() {
        assert!(matches!(read(b"GET / HTTP/1.1\r\n\r\n"), Err(TraceError::NotATrace)));
        let mut newer = file(&[]);
        newer[7] = 9;
        assert!(matches!(read(&newer), Err(TraceError::Version(9))));
    }

    #[test]
    fn entries_of_unknown_kinds_are_skipped() {
        let mut file = file(&events()[..1]);
        file.extend([9, 0, 0, 0, 2, 0, 0, 0, b'?', b'?']);
        assert_eq!(read(&file).unwrap(), events()[..1]);
    }

    #[test]
    fn an_entry_of_many_strings_is_bounded() {
        let arguments = vec![String::new(); 100_000];
        let file = file(&[Event::Arguments { tgid: 2, arguments }]);
        let [Event::Arguments { arguments, .. }] = &read(&file).unwrap()[..] else {
            panic!("arguments");
        };
        assert_eq!(arguments.len(), MAX_STRINGS);
    }

    #[test]
    fn an_excessive_length_allocates_nothing() {
        let mut file = file(&[]);
        file.extend([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert!(matches!(read(&file), Err(TraceError::Damaged(_))));
    }
}
