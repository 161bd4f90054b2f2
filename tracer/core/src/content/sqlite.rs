//! Databases of SQLite, as browsers keep their history in.
//!
//! ```text
//! "SQLite format 3" 0 | size of a page:2 … (100 bytes) | first page | page | …
//! page    0d, …, number of rows:2, …  positions of the rows │ free │ row, row, …
//!         05, …  pages of the same table, and the last one of them
//! row     length, number, length of the header, types, values
//! ```
//!
//! Pages are read in the order of the file, so that of a truncated file all rows before the
//! cut are found. The first page describes the tables, and names their columns.

use std::{collections::HashMap, ops::Range, rc::Rc};

const MAGIC: &[u8] = b"SQLite format 3\0";

/// Length of the header of a file.
const HEADER: usize = 100;

/// Minimum size of a page.
const MIN_PAGE: usize = 512;

/// Number of bytes of a long row that are not in its page, and their position.
const OVERFLOW: usize = 4;

/// Reports whether the input starts like a database.
pub(super) fn starts(input: &[u8]) -> bool {
    input.starts_with(MAGIC) && input.len() >= HEADER
}

/// A part of a database.
#[derive(Debug)]
pub(super) enum Part<'d> {
    Row(Row<'d>),
    /// Bytes that are no rows: what was deleted, the rest of long values, indexes.
    Other(&'d [u8]),
}

/// A row of a table.
#[derive(Debug)]
pub(super) struct Row<'d> {
    table: Option<Rc<Table>>,
    pub(super) values: Vec<Value<'d>>,
}

/// A text, a blob or a small integer.
#[derive(Debug)]
pub(super) struct Value<'d> {
    pub(super) column: usize,
    pub(super) bytes: &'d [u8],
    /// Set if the value goes on in another page.
    pub(super) is_cut: bool,
    pub(super) is_number: bool,
}

impl Row<'_> {
    /// Returns the names of the table and of a column.
    pub(super) fn names(&self, column: usize) -> Option<(&str, &str)> {
        let table = self.table.as_ref()?;
        Some((&table.name, table.columns.get(column)?))
    }
}

/// A table.
#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<String>,
}

/// Reads the parts of a database in the order of the file.
pub(super) fn parts(input: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let pages = Pages::new(input);
    let tables = pages.tables();
    (0..pages.count()).flat_map(move |number| {
        let table = tables.get(&number).cloned();
        pages.parts(number, table)
    })
}

/// The pages of a database, which are numbered from 0.
#[derive(Debug, Clone, Copy)]
struct Pages<'d> {
    input: &'d [u8],
    size: usize,
    /// Number of bytes of a page that are in use.
    usable: usize,
}

impl<'d> Pages<'d> {
    fn new(input: &'d [u8]) -> Self {
        let size = match u16_at(input, 16) {
            Some(1) => 1 << 16,
            Some(size) if size >= MIN_PAGE && size.is_power_of_two() => size,
            // The size is damaged.
            _ => input.len().max(MIN_PAGE),
        };
        let reserved = input.get(20).map_or(0, |byte| usize::from(*byte));
        Self { input, size, usable: size - reserved.min(size / 2) }
    }

    fn count(self) -> usize {
        self.input.len().div_ceil(self.size)
    }

    /// Returns the bytes of a page, and the position of its header in them.
    fn page(self, number: usize) -> Option<(&'d [u8], usize)> {
        let start = number.checked_mul(self.size)?;
        let page = self.input.get(start..(start + self.size).min(self.input.len()))?;
        Some((page, if number == 0 { HEADER } else { 0 }))
    }

    /// Returns the positions of the cells of a page.
    fn cells(page: &[u8], header: usize, first: usize) -> impl Iterator<Item = usize> {
        let count = u16_at(page, header + 3).unwrap_or(0);
        (0..count).map_while(move |cell| u16_at(page, header + first + 2 * cell))
    }

    /// Returns the tables by the numbers of their pages.
    fn tables(self) -> HashMap<usize, Rc<Table>> {
        let mut tables = HashMap::new();
        for part in self.parts(0, None) {
            let Part::Row(row) = part else { continue };
            let value = |column| row.values.iter().find(|value| value.column == column);
            let text = |column| value(column).and_then(|it| std::str::from_utf8(it.bytes).ok());
            let (Some("table"), Some(name), Some(sql)) = (text(0), text(1), text(4)) else {
                continue;
            };
            let table = Rc::new(Table { name: name.to_owned(), columns: columns(sql) });
            let root = value(3).filter(|value| value.is_number).map(|it| integer(it.bytes));
            self.assign(&table, root.unwrap_or(0), &mut tables);
        }
        tables
    }

    /// Assigns the pages below the root of a table to it. Their numbers in the file begin at 1.
    fn assign(self, table: &Rc<Table>, root: usize, tables: &mut HashMap<usize, Rc<Table>>) {
        let mut open: Vec<usize> = root.checked_sub(1).into_iter().collect();
        while let Some(number) = open.pop() {
            // Damaged files refer to pages again and again.
            if number >= self.count() || tables.contains_key(&number) {
                continue;
            }
            tables.insert(number, Rc::clone(table));
            let Some((page, header)) = self.page(number) else { continue };
            if page.get(header) != Some(&0x05) {
                continue;
            }
            let child = |at: usize| page.get(at..at + 4).map(integer);
            let children = Self::cells(page, header, 12).chain([header + 8]).filter_map(child);
            open.extend(children.filter_map(|child| child.checked_sub(1)));
        }
    }

    /// Returns the rows of a page, and its other bytes.
    fn parts(self, number: usize, table: Option<Rc<Table>>) -> Vec<Part<'d>> {
        let Some((page, header)) = self.page(number) else {
            return Vec::new();
        };
        let mut parts = Vec::new();
        if page.get(header) != Some(&0x0d) {
            // Pages that only refer to others hold nothing themselves.
            if page.get(header) != Some(&0x05) {
                parts.push(Part::Other(page.get(header..).unwrap_or_default()));
            }
            return parts;
        }
        let count = u16_at(page, header + 3).unwrap_or(0);
        let mut used: Vec<Range<usize>> = Vec::with_capacity(count + 1);
        used.push(0..header + 8 + 2 * count);
        for at in Self::cells(page, header, 8) {
            if let Some((values, end)) = self.row(page, at) {
                used.push(at..end);
                parts.push(Part::Row(Row { table: table.clone(), values }));
            }
        }
        used.sort_by_key(|range| range.start);
        let mut free = 0;
        for range in used {
            parts.extend(page.get(free..range.start).map(Part::Other));
            free = free.max(range.end);
        }
        parts.extend(page.get(free..).map(Part::Other));
        parts.retain(
            |part| !matches!(part, Part::Other(bytes) if bytes.iter().all(|byte| *byte == 0)),
        );
        parts
    }

    /// Returns the values of the row at a position in a page, and the end of the row.
    fn row(self, page: &'d [u8], at: usize) -> Option<(Vec<Value<'d>>, usize)> {
        let mut at = at;
        let len = varint(page, &mut at)?;
        varint(page, &mut at)?;
        let local = self.local(len);
        let row = page.get(at..(at + local).min(page.len()))?;
        let end = at + local + if local < len { OVERFLOW } else { 0 };
        let mut types = 0;
        let header = varint(row, &mut types)?;
        let mut value = header;
        let mut values = Vec::new();
        for column in 0.. {
            if types >= header {
                break;
            }
            let kind = varint(row, &mut types)?;
            let len = match kind {
                1..=4 => kind,
                5 => 6,
                6 | 7 => 8,
                12.. => (kind - 12) / 2,
                _ => 0,
            };
            if matches!(kind, 1..=4 | 12..)
                && let Some(rest) = row.get(value..)
            {
                let (bytes, is_cut) = (&rest[..len.min(rest.len())], len > rest.len());
                values.push(Value { column, bytes, is_cut, is_number: kind < 12 });
            }
            value = value.checked_add(len)?;
        }
        // Rows of numbers alone are rows as well.
        (header <= row.len() && value <= len).then_some((values, end))
    }

    /// Returns the number of bytes of a row that are in its page.
    fn local(self, len: usize) -> usize {
        if len <= self.usable - 35 {
            return len;
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let local = least + (len - least) % (self.usable - 4);
        if local <= self.usable - 35 { local } else { least }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

/// Reads a number of up to eight bytes.
fn integer(bytes: &[u8]) -> usize {
    bytes.iter().take(8).fold(0usize, |number, byte| number << 8 | usize::from(*byte))
}

/// Reads a number in groups of seven bits, the most significant first.
fn varint(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut number = 0usize;
    for count in 0..9 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if count == 8 {
            number = number.checked_mul(256)? | usize::from(byte);
            break;
        }
        number = number.checked_mul(128)? | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    // Longer values do not exist.
    (number < 1 << 31).then_some(number)
}

/// Returns the names of the columns in a statement that creates a table.
fn columns(sql: &str) -> Vec<String> {
    let Some(at) = sql.find('(') else {
        return Vec::new();
    };
    let mut depth = 0;
    let parts = sql[at + 1..].split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    let name = |part: &str| {
        let name = part.split_whitespace().next()?;
        let name = name.trim_matches(['"', '`', '[', ']', '\'', ')']);
        (!name.is_empty()).then(|| name.to_owned())
    };
    parts.map_while(name).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const URL: &str = "https://news.example.org/politics/story-42?q=private";

    /// A database that Python's `sqlite3` wrote, with pages of 512 bytes: twenty visits,
    /// compressed with zlib.
    const HISTORY: &str = "eNrt1c9u0zAYAPDvS9qkXdu125gQGiAfN6m065+12xAaBUWopEPQ5cDEAYXisUDalMQt7IQQEg/BawBPwJUD4k0QEkLigk0XM8ShSL7A2KfYsh3558ifk+zc6niMkr0g7LuM1EADRLhMCADovJjwMzReEkf6CNNDh1IPc2IybgO+49VxDqaZpxcX8bnN3Hs+HYV+JIp+tWu1HIs4rSsdi4iRZe8+ad9wrGtWl9zstrdb3V1iW7tFcZM41m2nSJjHfHrYHnuRx+72gtGAxdOKxHcjRjjcWbmIhlj1zo9F+5S5omi/LCpGlh/Rgxh0/dEEXxG5QfwM/DqJ/yMyqC/lxzSMvGDQTIqXFD+JcRO/4ZdJ8ySOcxgFXiWz4nNuiPffgE3At/gQz8NHeMk7fxTXDQNGS2juMzaMNsvlAX0SlehTtz/0aSkIH5SHge8xrxeVIxaEBxfq1a3Hl4ahN3YZ3REjZC259fXQSqpa9YS0EqpWTZeWrmpVtdhqa8JKK1gVSaGgUgrUakxN8t8AfIP7eBY+wAvemRp2lj/AOZV9qVQy8SPYGWVsdUZmbEY1YxtpaaVVrfWUtFKqVtOUlqlqNYyj+U/Ae8DXuIdneOMZVKem/9Xf+V2zC8oHaS0vT2VeGavPSmxWGavlJJZTxqrZ3/LPcy/OwL/8X7PnlTemOSd3eU4ZaxQkdkoZ21iQ2IIytj4fY98Btq47/g==";

    pub(in crate::content) fn history() -> Vec<u8> {
        use std::io::Read as _;
        let packed = data_encoding::BASE64.decode(HISTORY.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Returns the texts of a database, each with the names of its table and column.
    fn texts(input: &[u8]) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        for part in parts(input) {
            let Part::Row(row) = part else { continue };
            for value in row.values.iter().filter(|value| !value.is_number) {
                let (table, column) = row.names(value.column).unwrap_or_default();
                let text = String::from_utf8_lossy(value.bytes).into_owned();
                texts.push((format!("{table}.{column}"), text));
            }
        }
        texts
    }

    #[test]
    fn rows_are_read_with_the_names_of_their_columns() {
        let history = history();
        assert!(starts(&history));
        let texts = texts(&history);
        let has = |name: &str, text: &str| texts.contains(&(name.to_owned(), text.to_owned()));
        assert!(has("urls.url", URL), "{texts:?}");
        assert!(has("urls.title", "Story 7"), "{texts:?}");
        let urls = texts.iter().filter(|(name, text)| name == "urls.url" && text == URL);
        assert_eq!(urls.count(), 20);
    }

    #[test]
    fn what_was_deleted_is_not_lost() {
        let mut history = history();
        let free = history.windows(64).rposition(|window| window == [0; 64]).unwrap();
        history[free..free + 10].copy_from_slice(b"deleted it");
        let is_there = |part: Part<'_>| match part {
            Part::Other(bytes) => memchr::memmem::find(bytes, b"deleted it").is_some(),
            Part::Row(_) => false,
        };
        assert!(parts(&history).any(is_there));
    }

    #[test]
    fn damaged_and_truncated_databases_are_read_as_far_as_they_go() {
        let history = history();
        for len in 0..history.len() {
            for (_, text) in texts(&history[..len]) {
                assert!(
                    !text.starts_with("https://news") || URL.starts_with(&text),
                    "{len}: {text}"
                );
            }
        }
        for at in 0..history.len() {
            let mut damaged = history.clone();
            damaged[at] ^= 0xff;
            texts(&damaged);
        }
    }

    #[test]
    fn columns_are_named() {
        let sql = "CREATE TABLE urls(id INTEGER PRIMARY KEY, \"url\" TEXT CHECK(length(url, 3)), `n` INT)";
        assert_eq!(columns(sql), ["id", "url", "n"]);
        assert!(columns("CREATE TABLE").is_empty());
    }
}
