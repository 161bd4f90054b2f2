//! Writes an initramfs: a cpio archive in the format `newc`
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! ```text
//! +--------+---------------------+-----------+-----------+
//! | 070701 | 13 numbers, 8 hex   | name, NUL | content   |   each entry, name and
//! |        | digits each         | (padded)  | (padded)  |   content padded to 4
//! +--------+---------------------+-----------+-----------+
//! ```

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

/// File types (stat(2)).
mod kind {
    pub(super) const DIRECTORY: u32 = 0o040_000;
    pub(super) const FILE: u32 = 0o100_000;
    pub(super) const LINK: u32 = 0o120_000;
    pub(super) const CHARACTERS: u32 = 0o020_000;
}

/// Writes an initramfs. Folders are added as needed.
pub(super) struct Initramfs<W> {
    out: W,
    made: BTreeSet<String>,
    entries: u32,
}

impl Initramfs<BufWriter<File>> {
    /// # Errors
    /// If the file cannot be written.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::new(BufWriter::new(file)))
    }
}

impl<W: Write> Initramfs<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, made: BTreeSet::new(), entries: 0 }
    }

    /// Adds a folder with a mode.
    ///
    /// # Errors
    /// If it cannot be written, as for all entries.
    pub(super) fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        let path = path.trim_matches('/');
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.parents(parent)?;
        }
        if self.made.insert(path.to_owned()) {
            self.entry(path, kind::DIRECTORY | mode, (0, 0), &[])?;
        }
        Ok(())
    }

    /// Adds a copy of a file, with its mode.
    pub(super) fn copy(&mut self, path: &str, from: &Path) -> Result<()> {
        let read = || Ok::<_, io::Error>((fs::read(from)?, fs::metadata(from)?));
        let (content, metadata) =
            read().with_context(|| format!("cannot read {}", from.display()))?;
        self.file(path, metadata.permissions().mode() & 0o777, &content)
    }

    /// Adds a file.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.leaf(path, kind::FILE | mode, (0, 0), content)
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, to: &str) -> Result<()> {
        self.leaf(path, kind::LINK | 0o777, (0, 0), to.as_bytes())
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        self.leaf(path, kind::CHARACTERS | 0o600, (major, minor), &[])
    }

    /// Adds the contents of a folder below `at`.
    pub(super) fn tree(&mut self, folder: &Path, at: &str) -> Result<()> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().context("a file name is not UTF-8")?;
            let (path, at) = (entry.path(), format!("{at}/{name}"));
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.tree(&path, &at)?;
            } else if kind.is_symlink() {
                let to = fs::read_link(&path)?;
                self.link(&at, to.to_str().context("the target of a link is not UTF-8")?)?;
            } else {
                self.copy(&at, &path)?;
            }
        }
        Ok(())
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn leaf(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        let path = path.trim_matches('/');
        ensure!(self.made.insert(path.to_owned()), "two files have the path {path}");
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.parents(parent)?;
        }
        self.entry(path, mode, device, content)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        if self.made.contains(path) { Ok(()) } else { self.folder(path, 0o755) }
    }

    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        (major, minor): (u32, u32),
        content: &[u8],
    ) -> Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len()).context("a file is too large")?;
        // Inode, mode, owner, group, links, time, size, device that contains it (two
        // numbers), device that it is (two), length of the name, checksum.
        let numbers = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            major,
            minor,
            u32::try_from(name.len() + 1)?,
            0,
        ];
        write!(self.out, "070701")?;
        for number in numbers {
            write!(self.out, "{number:08x}")?;
        }
        let header = 6 + 8 * numbers.len();
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(header + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, len: usize) -> Result<()> {
        Ok(self.out.write_all(&[0; 3][..len.next_multiple_of(4) - len])?)
    }
}

#[cfg(test)]
mod tests {
    use super::Initramfs;

    #[test]
    fn archives_have_the_kernels_format() {
        let mut archive = Initramfs::new(Vec::new());
        archive.device("dev/console", 5, 1).unwrap();
        archive.file("/a/init", 0o755, b"#!x\n1").unwrap();
        archive.link("a/sh", "init").unwrap();
        assert!(archive.file("a/sh", 0o644, b"").is_err(), "there is one of that name");
        let bytes = archive.finish().unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.len() % 4, 0);
        let headers: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert!(headers.iter().all(|at| at % 4 == 0), "{headers:?}");
        let entry = |n: usize| {
            let field = |i: usize| {
                let at = headers[n] + 6 + 8 * i;
                u32::from_str_radix(&text[at..at + 8], 16).unwrap()
            };
            let name = headers[n] + 110;
            let name = &text[name..name + field(11) as usize - 1];
            (name.to_owned(), field(1), field(6), (field(9), field(10)))
        };
        assert_eq!(entry(0), ("dev".into(), 0o40755, 0, (0, 0)));
        assert_eq!(entry(1), ("dev/console".into(), 0o20600, 0, (5, 1)));
        assert_eq!(entry(2), ("a".into(), 0o40755, 0, (0, 0)));
        assert_eq!(entry(3), ("a/init".into(), 0o100_755, 5, (0, 0)));
        assert_eq!(entry(4), ("a/sh".into(), 0o120_777, 4, (0, 0)));
        assert_eq!(entry(5), ("TRAILER!!!".into(), 0, 0, (0, 0)));
        assert!(text.contains("#!x\n1\0\0\0"));
    }
}
