//! Writes zip files: APKs that hold a library as Android's linker can map it, uncompressed and
//! page-aligned (PKWARE's APPNOTE.TXT 6.3.10; AOSP, `zipalign`), and extensions of Firefox.

use std::{fs, path::Path};

/// Largest page size of the kernels that the tests run on.
const PAGE: usize = 16 << 10;

/// ID of the extra field that pads an entry to a page: the alignment, then zeros.
const ALIGNMENT: u16 = 0xd935;

/// Date of every entry: 1 January 1980, the earliest that the format can express.
const DATE: u16 = 1 << 5 | 1;

/// Builds a zip file with uncompressed entries.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

impl Archive {
    /// Creates an APK that holds an empty manifest, which makes a zip file an APK.
    pub fn apk() -> Self {
        let mut apk = Self::default();
        apk.store("AndroidManifest.xml", &[]);
        apk
    }

    /// Adds a file. Returns the offset of its contents in the archive.
    ///
    /// # Panics
    /// Panics if the file is larger than 4 GiB.
    pub fn store(&mut self, name: &str, content: &[u8]) -> u64 {
        const HEADER: usize = 30;
        let header = self.bytes.len();
        let unaligned = header + HEADER + name.len() + 6;
        let padding = unaligned.next_multiple_of(PAGE) - unaligned;
        let mut extra = Vec::new();
        put(&mut extra, &[ALIGNMENT, short(2 + padding), short(PAGE)]);
        extra.resize(extra.len() + padding, 0);

        let crc = crc32fast::hash(content);
        let size = u32::try_from(content.len()).expect("a small file");
        // Version 1.0, no flags, stored, midnight.
        let mut common = Vec::new();
        put(&mut common, &[10, 0, 0, 0, DATE]);
        for value in [crc, size, size] {
            common.extend(value.to_le_bytes());
        }
        put(&mut common, &[short(name.len())]);

        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&common);
        put(&mut self.bytes, &[short(extra.len())]);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(extra);
        let at = self.bytes.len() as u64;
        self.bytes.extend(content);

        self.directory.extend(b"PK\x01\x02\x0a\0");
        self.directory.extend(common);
        // No extra field, comment, second disk or attributes.
        self.directory.extend([0; 12]);
        self.directory.extend(u32::try_from(header).expect("a small archive").to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.entries += 1;
        at
    }

    /// Writes the archive to a file.
    ///
    /// # Panics
    /// Panics if the file cannot be written.
    pub fn write(self, path: &Path) {
        fs::write(path, self.bytes()).expect("an archive");
    }

    /// Returns the contents of the archive's file.
    ///
    /// # Panics
    /// Panics if the archive is larger than 4 GiB.
    pub fn bytes(mut self) -> Vec<u8> {
        let start = u32::try_from(self.bytes.len()).expect("a small archive");
        let size = u32::try_from(self.directory.len()).expect("a small directory");
        self.bytes.append(&mut self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        put(&mut self.bytes, &[self.entries, self.entries]);
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(start.to_le_bytes());
        self.bytes.extend([0; 2]);
        self.bytes
    }
}

fn put(bytes: &mut Vec<u8>, values: &[u16]) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

fn short(len: usize) -> u16 {
    u16::try_from(len).expect("16 bits")
}
