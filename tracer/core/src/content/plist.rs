//! Binary property lists, also those of Apple's keyed archives.
//!
//! ```text
//! "bplist00" | objects … | offsets of the objects | trailer: sizes, count, top, offset
//! object     0X null, bool   1X integer   2X real   3X date   4X data   5X ASCII
//!            6X UTF-16   8X identifier of an object   aX array   dX dictionary
//! ```
//!
//! A keyed archive lists its objects in `$objects` and refers to them by number. Values
//! are reported where they are referred to, with the name that they have there. A
//! truncated list lacks the offsets; its strings are read in order.

use std::{borrow::Cow, cell::Cell, collections::HashSet};

use super::{
    chain::{Path, Segment},
    tree::{Containers, MAX_NESTING},
};

const MAGIC: &[u8; 8] = b"bplist00";

/// Length of the trailer.
const TRAILER: usize = 32;

/// Maximum number of values. Objects can be referred to many times.
const MAX_VALUES: usize = 1 << 14;

/// Maximum number of bytes that are looked at, for each byte of a list. An object is looked at a few
/// times for each reference to it, and names are in the path of each value below them.
const MAX_LOOKS: usize = 64;

/// A list that was read.
#[derive(Debug)]
pub(super) struct List {
    pub(super) items: Vec<Item>,
    /// Number of bytes that were looked at.
    pub(super) looked_at: usize,
    /// Set if a limit was reached, so that values are missing.
    pub(super) limited: bool,
}

/// A value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) path: Path<'static>,
    pub(super) value: Vec<u8>,
    /// Set for numbers and booleans.
    pub(super) scalar: bool,
    pub(super) container: u32,
}

/// Reports whether the input starts like a binary property list.
pub(super) fn starts(input: &[u8]) -> bool {
    input.starts_with(MAGIC)
}

/// Reads the values of a whole list. Returns `None` if its end is not known, or is not
/// that of a list.
pub(super) fn read(input: &[u8], containers: &mut Containers) -> Option<List> {
    let trailer = input.get(input.len().checked_sub(TRAILER)?..)?;
    let number = |at: usize| usize::try_from(uint(trailer.get(at..at + 8)?)).ok();
    let (offset_len, ref_len) = (usize::from(trailer[6]), usize::from(trailer[7]));
    let (count, top, table) = (number(8)?, number(16)?, number(24)?);
    let is_valid = (1..=8).contains(&offset_len) && (1..=8).contains(&ref_len);
    let end = count.checked_mul(offset_len)?.checked_add(table)?;
    if !is_valid || end > input.len() - TRAILER {
        return None;
    }
    let offsets = input.get(table..end)?.chunks_exact(offset_len);
    let offsets =
        offsets.map(|offset| usize::try_from(uint(offset)).ok()).collect::<Option<_>>()?;
    let allowed = input.len().saturating_mul(MAX_LOOKS);
    let objects = Objects { input: &input[..table], offsets, ref_len, left: Cell::new(allowed) };
    let mut reader = Reader {
        archive: objects.archive(top),
        objects,
        containers,
        path: Vec::new(),
        resolved: HashSet::new(),
        items: Vec::new(),
        steps: 0,
    };
    let container = reader.containers.next();
    reader.visit(top, container);
    reader.unresolved(container);
    let left = reader.objects.left.get();
    let limited = left == 0 || reader.steps > MAX_VALUES;
    Some(List { items: reader.items, looked_at: allowed - left, limited })
}

fn uint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// An object.
#[derive(Debug)]
enum Object<'d> {
    Scalar(String),
    Text(Cow<'d, [u8]>),
    Identifier(usize),
    Array(Vec<usize>),
    Dictionary(Vec<usize>, Vec<usize>),
    Other,
}

#[derive(Debug)]
struct Objects<'d> {
    input: &'d [u8],
    offsets: Vec<usize>,
    ref_len: usize,
    /// Number of bytes that may still be looked at.
    left: Cell<usize>,
}

impl<'d> Objects<'d> {
    /// Charges a look at `len` bytes. Returns `None`, now and from then on, if no more are allowed.
    fn charge(&self, len: usize) -> Option<()> {
        let left = self.left.get().saturating_sub(len);
        self.left.set(left);
        (left > 0).then_some(())
    }

    fn get(&self, index: usize) -> Option<Object<'d>> {
        self.charge(1)?;
        let at = *self.offsets.get(index)?;
        let (&marker, rest) = self.input.get(at..)?.split_first()?;
        let low = usize::from(marker & 15);
        let number = |len: usize| rest.get(..len).map(uint);
        // The length of larger objects follows as an integer.
        let sized = || -> Option<(usize, &'d [u8])> {
            if low < 15 {
                return Some((low, rest));
            }
            let (&marker, rest) = rest.split_first()?;
            let len = 1usize << (marker & 3);
            (marker >> 4 == 1).then_some(())?;
            Some((usize::try_from(uint(rest.get(..len)?)).ok()?, rest.get(len..)?))
        };
        let refs = |content: &[u8], count: usize| -> Option<Vec<usize>> {
            let bytes = content.get(..count.checked_mul(self.ref_len)?)?;
            self.charge(bytes.len())?;
            bytes.chunks_exact(self.ref_len).map(|it| usize::try_from(uint(it)).ok()).collect()
        };
        Some(match marker >> 4 {
            0 if marker == 8 => Object::Scalar("false".to_owned()),
            0 if marker == 9 => Object::Scalar("true".to_owned()),
            1 => Object::Scalar(number(1 << low.min(4))?.cast_signed().to_string()),
            2 | 3 => match rest.get(..1 << low.min(3))? {
                bytes @ [_, _, _, _] => {
                    Object::Scalar(f32::from_be_bytes(*bytes.first_chunk()?).to_string())
                }
                bytes => Object::Scalar(f64::from_be_bytes(*bytes.first_chunk()?).to_string()),
            },
            4 | 5 => {
                let (len, content) = sized()?;
                let text = content.get(..len)?;
                self.charge(text.len())?;
                Object::Text(Cow::Borrowed(text))
            }
            6 => {
                let (len, content) = sized()?;
                let units = content.get(..len.checked_mul(2)?)?;
                self.charge(units.len())?;
                let units =
                    units.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                let text: String = char::decode_utf16(units)
                    .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                    .collect();
                Object::Text(Cow::Owned(text.into_bytes()))
            }
            8 => Object::Identifier(usize::try_from(number(low + 1)?).ok()?),
            10 | 12 => {
                let (count, content) = sized()?;
                Object::Array(refs(content, count)?)
            }
            13 => {
                let (count, content) = sized()?;
                let keys = refs(content, count)?;
                let values = refs(content.get(count * self.ref_len..)?, count)?;
                Object::Dictionary(keys, values)
            }
            _ => Object::Other,
        })
    }

    fn text(&self, index: usize) -> Option<String> {
        match self.get(index)? {
            Object::Text(text) => Some(String::from_utf8_lossy(&text).into_owned()),
            _ => None,
        }
    }

    /// Returns the objects of a keyed archive.
    fn archive(&self, top: usize) -> Option<Vec<usize>> {
        let Object::Dictionary(keys, values) = self.get(top)? else {
            return None;
        };
        let at = keys.iter().position(|&key| self.text(key).as_deref() == Some("$objects"))?;
        match self.get(*values.get(at)?)? {
            Object::Array(objects) => Some(objects),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Reader<'d, 'c> {
    objects: Objects<'d>,
    archive: Option<Vec<usize>>,
    containers: &'c mut Containers,
    path: Vec<Segment<'static>>,
    /// The archive's objects that were reported where they are referred to.
    resolved: HashSet<usize>,
    items: Vec<Item>,
    steps: usize,
}

impl Reader<'_, '_> {
    fn push(&mut self, value: Vec<u8>, scalar: bool, container: u32) {
        let names = self.path.iter().map(|segment| match segment {
            Segment::Key(name) => name.len(),
            Segment::Index(_) => 1,
        });
        if self.objects.charge(names.sum::<usize>().saturating_add(value.len())).is_none() {
            return;
        }
        self.items.push(Item { path: Path(self.path.clone()), value, scalar, container });
    }

    /// Returns the object that an identifier refers to.
    fn resolve(&self, index: usize) -> usize {
        match (&self.archive, self.objects.get(index)) {
            (Some(archive), Some(Object::Identifier(at))) => {
                archive.get(at).copied().unwrap_or(index)
            }
            _ => index,
        }
    }

    fn visit(&mut self, index: usize, container: u32) {
        self.steps += 1;
        if self.path.len() >= MAX_NESTING || self.steps > MAX_VALUES {
            return;
        }
        match self.objects.get(index) {
            Some(Object::Scalar(text)) => self.push(text.into_bytes(), true, container),
            Some(Object::Text(text)) => self.push(text.into_owned(), false, container),
            Some(Object::Array(items)) => {
                let is_archive = self.archive.as_ref() == Some(&items);
                // What nothing refers to comes last, in `unresolved`.
                for (at, item) in items.into_iter().enumerate() {
                    let is_leaf = !matches!(
                        self.objects.get(item),
                        Some(Object::Dictionary(..) | Object::Array(_))
                    );
                    if is_archive && is_leaf {
                        continue;
                    }
                    self.path.push(Segment::Index(at));
                    self.visit(item, container);
                    self.path.pop();
                }
            }
            Some(Object::Dictionary(keys, values)) => self.dictionary(keys, values),
            Some(Object::Identifier(_) | Object::Other) | None => {}
        }
    }

    /// Reports the texts of an archive that no name refers to.
    fn unresolved(&mut self, container: u32) {
        for index in self.archive.clone().unwrap_or_default() {
            if !self.resolved.contains(&index)
                && let Some(Object::Text(text)) = self.objects.get(index)
                && self.items.len() < MAX_VALUES
            {
                self.push(text.into_owned(), false, container);
            }
        }
    }

    fn dictionary(&mut self, keys: Vec<usize>, values: Vec<usize>) {
        let container = self.containers.next();
        let named = |name: &str| {
            let at =
                keys.iter().position(|&key| self.objects.text(key).as_deref() == Some(name))?;
            match self.objects.get(*values.get(at)?)? {
                Object::Array(items) => Some(items),
                _ => None,
            }
        };
        // An archived dictionary has its names and values in two lists.
        let pairs = match (named("NS.keys"), named("NS.objects")) {
            (Some(keys), Some(values)) => keys.into_iter().zip(values).collect::<Vec<_>>(),
            _ => keys.iter().copied().zip(values.iter().copied()).collect(),
        };
        for (key, value) in pairs {
            let Some(name) = self.objects.text(self.resolve(key)) else {
                continue;
            };
            if matches!(&*name, "$class" | "$classes" | "$classname") {
                continue;
            }
            self.path.push(Segment::Key(name.into()));
            let target = self.resolve(value);
            let is_leaf =
                matches!(self.objects.get(target), Some(Object::Scalar(_) | Object::Text(_)));
            if target == value || is_leaf && self.resolved.len() < MAX_VALUES {
                self.resolved.insert(target);
                self.visit(target, container);
            }
            self.path.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Python's `plistlib`: `{"url": …, "n": 42, "tags": ["a", "ü"], "ok": true}`.
    const LIST: &str = "62706c6973743030d4010203040506070a516e526f6b54746167735375726c102a09a2080951616100fc5f101a68747470733a2f2f6e6577732e6578616d706c652e6f72672f61081113161b1f212225272a0000000000000101000000000000000b00000000000000000000000000000047";
    /// A keyed archive: a dictionary with `url` and `device_id`, and an object with a
    /// field `title`.
    const ARCHIVE: &str = "62706c6973743030d401020304050622255924617263686976657258246f626a656374735424746f70582476657273696f6e5f100f4e534b657965644172636869766572a9070813141516171b1c55246e756c6cd3090a0b0c0d105624636c617373574e532e6b6579735a4e532e6f626a656374738008a20e0f80028003a21112800480055375726c596465766963655f69645f101a68747470733a2f2f6e6577732e6578616d706c652e6f72672f615f102437663363326131302d396231652d346335372d386637652d356430613262366339653131d20918191a557469746c65800880075553746f7279d21d1e1f205824636c61737365735a24636c6173736e616d65a220215c4e5344696374696f6e617279584e534f626a656374d1232454726f6f74800112000186a000080011001b0024002900320044004e0054005b0062006a00750077007a007c007e0081008300850089009300b000d700dc00e200e400e600ec00f100fa010501080115011e012101260128000000000000020100000000000000260000000000000000000000000000012d";

    fn lines(hex: &str) -> Vec<String> {
        let input = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
        let List { items, limited, .. } = read(&input, &mut Containers::default()).unwrap();
        assert!(!limited);
        let line =
            |item: &Item| format!("{} = {}", item.path, String::from_utf8_lossy(&item.value));
        items.iter().map(line).collect()
    }

    #[test]
    fn reads_a_list() {
        let mut found = lines(LIST);
        found.sort();
        assert_eq!(
            found,
            [
                ".n = 42",
                ".ok = true",
                ".tags[0] = a",
                ".tags[1] = ü",
                ".url = https://news.example.org/a"
            ]
        );
    }

    #[test]
    fn names_the_values_of_a_keyed_archive() {
        let found = lines(ARCHIVE);
        for expected in [
            ".url = https://news.example.org/a",
            ".device_id = 7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11",
            ".title = Story",
        ] {
            assert!(found.iter().any(|line| line.ends_with(expected)), "{expected}: {found:#?}");
        }
    }

    /// Builds a list of objects, with references of two bytes.
    fn list(objects: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let mut offsets = Vec::new();
        for object in objects {
            offsets.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
            bytes.extend(object);
        }
        let table = bytes.len() as u64;
        bytes.extend(offsets);
        bytes.extend([0, 0, 0, 0, 0, 0, 4, 2]);
        for number in [objects.len() as u64, 0, table] {
            bytes.extend(number.to_be_bytes());
        }
        bytes
    }

    /// Builds the start of an object with a length: its kind, and a number of four bytes.
    fn sized(kind: u8, len: usize) -> Vec<u8> {
        [&[kind << 4 | 15, 0x12], &u32::try_from(len).unwrap().to_be_bytes()[..]].concat()
    }

    fn array(items: &[u16]) -> Vec<u8> {
        let references = items.iter().flat_map(|item| item.to_be_bytes());
        sized(10, items.len()).into_iter().chain(references).collect()
    }

    #[test]
    fn objects_that_are_referred_to_often_have_a_bounded_cost() {
        const LEN: usize = 20_000;
        let text = [sized(5, LEN), vec![b'a'; LEN]].concat();
        // One text, or one list, in thousands of places; and a long name of thousands of values.
        let texts = list(&[array(&[1; LEN]), text.clone()]);
        let lists = list(&[array(&[1; LEN]), array(&[2; LEN]), vec![0x51, b'x']]);
        let named = list(&[vec![0xd1, 0, 1, 0, 2], text, array(&[3; LEN]), vec![0x51, b'x']]);
        for bytes in [texts, lists, named] {
            let List { items, looked_at, limited } =
                read(&bytes, &mut Containers::default()).unwrap();
            assert!(limited && looked_at <= MAX_LOOKS * bytes.len());
            let size = |item: &Item| item.value.len() + item.path.to_string().len();
            let size: usize = items.iter().map(size).sum();
            assert!(size <= 2 * MAX_LOOKS * bytes.len(), "{size} bytes of {}", bytes.len());
        }
    }

    #[test]
    fn other_input_is_no_list() {
        let input = data_encoding::HEXLOWER.decode(LIST.as_bytes()).unwrap();
        for len in 0..input.len() {
            // A prefix never panics; its end is not a trailer.
            let _ = read(&input[..len], &mut Containers::default());
        }
        for at in 0..input.len() {
            let mut broken = input.clone();
            broken[at] = 0xff;
            let _ = read(&broken, &mut Containers::default());
        }
    }
}
