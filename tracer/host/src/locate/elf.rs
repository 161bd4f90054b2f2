//! A reader for the parts of an ELF file that are needed to locate functions.
//!
//! It relies on the program headers and the dynamic table, which the loader uses as well.
//! Section headers can be missing or wrong, so only `.symtab` and `.gnu_debugdata` are found
//! by them.
//!
//! Source: the System V ABI's object file format; `elf(5)`.

use std::io;
use std::ops::Range;

use object::LittleEndian as LE;
use object::elf::{self, Dyn64, FileHeader64, ProgramHeader64, Rela64, SectionHeader64, Sym64};
use object::pod::{self, Pod};
use object::read::elf::NoteIterator;

use super::source::{Fields, Part, WINDOW};
use super::{Arch, Reason};

/// Maximum number of program headers. Real files have about 10.
const MAX_SEGMENTS: usize = 128;
/// Maximum number of section headers. Real files have about 40.
const MAX_SECTIONS: usize = 4096;
/// Maximum number of bytes read of a note segment. The build id is among the first notes.
const MAX_NOTES: usize = 64 << 10;
/// Maximum number of bytes read of the dynamic table: 4096 entries.
const MAX_DYNAMIC: usize = 64 << 10;
/// Maximum number of needed libraries that are reported.
const MAX_NEEDED: usize = 256;
/// Maximum length of a file or section name.
const MAX_NAME: usize = 256;
/// Maximum length of a build id: SHA-512 is the longest hash in use.
const MAX_BUILD_ID: usize = 64;

/// A symbol of a 64-bit little-endian file.
pub(super) type RawSymbol = Sym64<LE>;

/// An error that ends the analysis of a file.
#[derive(Debug)]
pub(super) enum ElfError {
    Io(io::Error),
    Reason(Reason),
}

impl From<io::Error> for ElfError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Reason> for ElfError {
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

/// The file-backed part of a `PT_LOAD` segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// Virtual addresses, without the zero-filled tail.
    pub(super) addresses: Range<u64>,
    /// Offset in the file.
    pub(super) offset: u64,
    /// True if the segment is mapped as executable.
    pub(super) executable: bool,
    /// True if the segment can be written to, before or after relocation.
    pub(super) writable: bool,
}

impl Segment {
    pub(super) fn size(&self) -> u64 {
        self.addresses.end - self.addresses.start
    }
}

/// The position of a symbol table in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SymbolTable {
    /// Offsets of the `Elf64_Sym` entries.
    pub(super) symbols: Range<u64>,
    /// Offsets of the string table.
    pub(super) strings: Range<u64>,
}

/// The contents of the dynamic table.
#[derive(Debug, Default)]
pub(super) struct Dynamic {
    /// `.dynsym`.
    pub(super) symbols: Option<SymbolTable>,
    /// `DT_NEEDED`: the libraries that are loaded together with this file.
    pub(super) needed: Vec<String>,
    /// Addresses of the `Elf64_Rela` entries (`DT_RELA`).
    pub(super) relocations: Range<u64>,
    /// Addresses of those of the procedure linkage table (`DT_JMPREL`).
    pub(super) plt_relocations: Range<u64>,
}

/// An ELF file of a supported architecture.
pub(super) struct Image<'a> {
    pub(super) file: Part<'a>,
    pub(super) arch: Arch,
    /// True if it is loaded at fixed addresses (`ET_EXEC`), which its code can contain.
    pub(super) fixed: bool,
    pub(super) segments: Vec<Segment>,
    /// Addresses of `.eh_frame_hdr`.
    pub(super) eh_frame_hdr: Option<Range<u64>>,
    notes: Vec<Range<u64>>,
    dynamic: Option<Range<u64>>,
    sections: Vec<Section>,
    /// Offsets of `.shstrtab`.
    section_names: Range<u64>,
}

#[derive(Debug, Clone)]
struct Section {
    name: u32,
    kind: u32,
    range: Range<u64>,
    link: u32,
}

/// Reports whether `head` is the beginning of an ELF file.
pub(super) fn is_elf(head: &[u8]) -> bool {
    head.starts_with(&elf::ELFMAG)
}

impl<'a> Image<'a> {
    /// Reads the headers of `file`.
    pub(super) fn read(file: Part<'a>) -> Result<Self, ElfError> {
        let bytes = file.read(0, size_of::<FileHeader64<LE>>())?;
        if !is_elf(&bytes) {
            return Err(Reason::Malformed("not an ELF file".into()).into());
        }
        let (header, _) = pod::from_bytes::<FileHeader64<LE>>(&bytes)
            .map_err(|()| Reason::Malformed("the ELF header is truncated".into()))?;
        let arch = architecture(header)?;
        let count = usize::from(header.e_phnum.get(LE));
        if usize::from(header.e_phentsize.get(LE)) != size_of::<ProgramHeader64<LE>>()
            || count > MAX_SEGMENTS
        {
            return Err(Reason::Malformed("the program headers are invalid".into()).into());
        }
        let (sections, section_names) = section_headers(&file, header)?;
        let mut image = Self {
            file,
            arch,
            fixed: header.e_type.get(LE) == elf::ET_EXEC,
            segments: Vec::new(),
            eh_frame_hdr: None,
            notes: Vec::new(),
            dynamic: None,
            sections,
            section_names,
        };
        let headers =
            file.read(header.e_phoff.get(LE), size_of::<ProgramHeader64<LE>>() * count)?;
        for header in entries::<ProgramHeader64<LE>>(&headers) {
            image.add_segment(header);
        }
        // The cost of scanning must be bounded by the size of the file, whatever the headers
        // claim. So segments that share much of the file are rejected.
        let scanned = image.segments.iter().fold(0u64, |sum, s| sum.saturating_add(s.size()));
        if scanned > file.size().saturating_mul(2) {
            return Err(Reason::Malformed("the segments overlap".into()).into());
        }
        Ok(image)
    }

    fn add_segment(&mut self, header: &ProgramHeader64<LE>) {
        let (offset, address) = (header.p_offset.get(LE), header.p_vaddr.get(LE));
        // Ignore the part of a segment beyond the end of the file.
        let size = header.p_filesz.get(LE).min(self.file.size().saturating_sub(offset));
        let Some(end) = address.checked_add(size) else {
            return;
        };
        match header.p_type.get(LE) {
            elf::PT_LOAD if size > 0 => self.segments.push(Segment {
                addresses: address..end,
                offset,
                executable: header.p_flags.get(LE) & elf::PF_X != 0,
                writable: header.p_flags.get(LE) & elf::PF_W != 0,
            }),
            elf::PT_DYNAMIC => self.dynamic = Some(offset..offset.saturating_add(size)),
            elf::PT_NOTE => self.notes.push(offset..offset.saturating_add(size)),
            elf::PT_GNU_EH_FRAME => self.eh_frame_hdr = Some(address..end),
            _ => {}
        }
    }

    /// Returns the offsets of a section.
    pub(super) fn section(&self, name: &str) -> io::Result<Option<Range<u64>>> {
        for section in &self.sections {
            let at = self.section_names.start.saturating_add(u64::from(section.name));
            if at < self.section_names.end && self.c_string(at)?.as_deref() == Some(name) {
                return Ok(Some(section.range.clone()));
            }
        }
        Ok(None)
    }

    /// Returns the position of `.symtab`, if the file is not stripped.
    pub(super) fn symtab(&self) -> Option<SymbolTable> {
        let symtab = self.sections.iter().find(|s| s.kind == elf::SHT_SYMTAB)?;
        let strtab = self.sections.get(usize::try_from(symtab.link).ok()?)?;
        Some(SymbolTable { symbols: symtab.range.clone(), strings: strtab.range.clone() })
    }

    /// Returns the `.note.gnu.build-id` in hexadecimal.
    pub(super) fn build_id(&self) -> io::Result<Option<String>> {
        for range in &self.notes {
            let len = usize::try_from(range.end - range.start).unwrap_or(MAX_NOTES);
            let notes = self.file.read(range.start, len.min(MAX_NOTES))?;
            if let Some(id) = gnu_build_id(&notes) {
                return Ok(Some(id.iter().map(|byte| format!("{byte:02x}")).collect()));
            }
        }
        Ok(None)
    }

    /// Reads the dynamic table, which is empty in a static file.
    pub(super) fn dynamic(&self) -> io::Result<Dynamic> {
        let Some(range) = &self.dynamic else {
            return Ok(Dynamic::default());
        };
        let len = usize::try_from(range.end - range.start).unwrap_or(MAX_DYNAMIC);
        let table = self.file.read(range.start, len.min(MAX_DYNAMIC))?;
        let entries: Vec<(i64, u64)> = entries::<Dyn64<LE>>(&table)
            .iter()
            .map(|entry| (entry.d_tag.get(LE), entry.d_val.get(LE)))
            .take_while(|(tag, _)| *tag != elf::DT_NULL)
            .collect();
        let value = |tag| entries.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value);
        let relocations = value(elf::DT_RELA).unwrap_or(0);
        let relocations =
            relocations..relocations.saturating_add(value(elf::DT_RELASZ).unwrap_or(0));
        let plt_relocations = value(elf::DT_JMPREL).unwrap_or(0);
        let plt_relocations =
            plt_relocations..plt_relocations.saturating_add(value(elf::DT_PLTRELSZ).unwrap_or(0));
        let Some(strings) = value(elf::DT_STRTAB).and_then(|va| self.offset_of(va)) else {
            return Ok(Dynamic { relocations, plt_relocations, ..Dynamic::default() });
        };
        let strings_end =
            strings.saturating_add(value(elf::DT_STRSZ).unwrap_or(0)).min(self.file.size());

        let mut needed = Vec::new();
        for (_, name) in entries.iter().filter(|(tag, _)| *tag == elf::DT_NEEDED).take(MAX_NEEDED) {
            let at = strings.saturating_add(*name);
            if at < strings_end {
                needed.extend(self.c_string(at)?);
            }
        }

        let mut symbols = None;
        if let Some(start) = value(elf::DT_SYMTAB).and_then(|va| self.offset_of(va)) {
            let count = match (value(elf::DT_HASH), value(elf::DT_GNU_HASH)) {
                (Some(va), _) => self.sysv_hash_symbols(va)?,
                (None, Some(va)) => self.gnu_hash_symbols(va)?,
                (None, None) => 0,
            };
            let end = start.saturating_add(count.saturating_mul(size_of::<RawSymbol>() as u64));
            symbols = Some(SymbolTable {
                symbols: start..end.min(self.file.size()),
                strings: strings..strings_end,
            });
        }
        Ok(Dynamic { symbols, needed, relocations, plt_relocations })
    }

    /// Returns the address of the symbol with which the loader fills the `slot` of the global
    /// offset table, if this file defines it.
    pub(super) fn symbol_at_slot(&self, dynamic: &Dynamic, slot: u64) -> io::Result<Option<u64>> {
        let Some(table) = &dynamic.symbols else {
            return Ok(None);
        };
        let mut index = None;
        for relocations in [&dynamic.plt_relocations, &dynamic.relocations] {
            let Some(offset) = self.offset_of(relocations.start) else {
                continue;
            };
            let size = relocations.end - relocations.start;
            let overlap = WINDOW % size_of::<Rela64<LE>>();
            self.file.windows(offset, size, overlap, |_, window| {
                let mut entries = entries::<Rela64<LE>>(window).iter();
                let found = entries.find(|entry| entry.r_offset.get(LE) == slot);
                index = index.or(found.map(|entry| entry.r_sym(LE, false)));
            })?;
        }
        let Some(index) = index.filter(|index| *index > 0) else {
            return Ok(None);
        };
        let size = size_of::<RawSymbol>();
        let at = table.symbols.start.saturating_add(u64::from(index) * size as u64);
        if at.saturating_add(size as u64) > table.symbols.end {
            return Ok(None);
        }
        let symbol = self.file.read(at, size)?;
        let symbol = entries::<RawSymbol>(&symbol).first();
        let defined = symbol.filter(|symbol| symbol.st_shndx.get(LE) != elf::SHN_UNDEF);
        Ok(defined.map(|symbol| symbol.st_value.get(LE)))
    }

    /// Returns the number of symbols: `nchain` of `DT_HASH`.
    fn sysv_hash_symbols(&self, table: u64) -> io::Result<u64> {
        Ok(u64::from(self.read_address(table, 8)?.u32(4).unwrap_or(0)))
    }

    /// Derives the number of symbols from the end of the last chain in `DT_GNU_HASH`.
    ///
    /// ```text
    /// u32 nbuckets, symoffset, bloom_size, bloom_shift
    /// u64 bloom[bloom_size]
    /// u32 buckets[nbuckets]   first symbol of each chain, 0 for none
    /// u32 chain[]             hash of symbol symoffset+i, bit 0: chain ends
    /// ```
    fn gnu_hash_symbols(&self, table: u64) -> io::Result<u64> {
        let Some(at) = self.offset_of(table) else {
            return Ok(0);
        };
        let header = self.file.read(at, 16)?;
        let (Some(buckets), Some(first), Some(bloom)) =
            (header.u32(0), header.u32(4), header.u32(8))
        else {
            return Ok(0);
        };
        let buckets_at = at.saturating_add(16 + 8 * u64::from(bloom));
        let chains_at = buckets_at.saturating_add(4 * u64::from(buckets));
        let mut last = 0;
        self.file.windows(buckets_at, 4 * u64::from(buckets), 0, |_, window| {
            last = window.chunks_exact(4).filter_map(|b| b.u32(0)).fold(last, u32::max);
        })?;
        let Some(skip) = last.checked_sub(first) else {
            return Ok(u64::from(first));
        };
        // A chain has a few entries; no real one is longer than a page.
        let chain = self.file.read(chains_at.saturating_add(4 * u64::from(skip)), 4096)?;
        let ends = |hash: &[u8]| hash.u32(0).is_some_and(|hash| hash & 1 == 1);
        let len = chain.chunks_exact(4).position(ends).map_or(0, |end| end as u64 + 1);
        Ok(u64::from(last) + len)
    }

    /// Returns the file offset of a virtual address. If segments overlap, the first one
    /// counts.
    pub(super) fn offset_of(&self, address: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|s| s.addresses.contains(&address))?;
        segment.offset.checked_add(address - segment.addresses.start)
    }

    /// Returns the virtual address of a file offset.
    pub(super) fn address_of(&self, offset: u64) -> Option<u64> {
        let segment =
            self.segments.iter().find(|s| s.offset <= offset && offset - s.offset < s.size())?;
        Some(segment.addresses.start + (offset - segment.offset))
    }

    /// Returns the executable segment that contains `address`.
    pub(super) fn code_at(&self, address: u64) -> Option<&Segment> {
        self.segments.iter().find(|s| s.executable && s.addresses.contains(&address))
    }

    /// Reads up to `len` bytes at `address`, within its segment.
    pub(super) fn read_address(&self, address: u64, len: usize) -> io::Result<Vec<u8>> {
        let Some(segment) = self.segments.iter().find(|s| s.addresses.contains(&address)) else {
            return Ok(Vec::new());
        };
        let left = usize::try_from(segment.addresses.end - address).unwrap_or(len);
        let offset = segment.offset.saturating_add(address - segment.addresses.start);
        self.file.read(offset, len.min(left))
    }

    /// Reads the NUL-terminated name at a file offset.
    fn c_string(&self, offset: u64) -> io::Result<Option<String>> {
        let bytes = self.file.read(offset, MAX_NAME)?;
        let end = memchr::memchr(0, &bytes);
        Ok(end
            .map(|end| String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()))
    }
}

/// Returns the structs in `bytes`, without an incomplete one at the end.
pub(super) fn entries<T: Pod>(bytes: &[u8]) -> &[T] {
    let count = bytes.len() / size_of::<T>();
    pod::slice_from_bytes(bytes, count).map_or(&[], |(entries, _)| entries)
}

/// Returns the architecture, if it is supported.
fn architecture(header: &FileHeader64<LE>) -> Result<Arch, Reason> {
    let machine = header.e_machine.get(LE);
    match (header.e_ident.class, header.e_ident.data, machine) {
        (elf::ELFCLASS64, elf::ELFDATA2LSB, elf::EM_X86_64) => Ok(Arch::X86_64),
        (elf::ELFCLASS64, elf::ELFDATA2LSB, elf::EM_AARCH64) => Ok(Arch::Arm64),
        (elf::ELFCLASS32, elf::ELFDATA2LSB, elf::EM_386) => Err(Reason::Unsupported(
            "a program for 32-bit x86, which passes arguments on the stack; use the 64-bit program"
                .into(),
        )),
        (elf::ELFCLASS32, elf::ELFDATA2LSB, elf::EM_ARM) => Err(Reason::Unsupported(
            "a program for 32-bit Arm (armeabi), in whose processes 64-bit kernels place no probes; \
             use the 64-bit program (arm64-v8a)"
                .into(),
        )),
        (elf::ELFCLASS32, ..) => Err(Reason::Unsupported("a 32-bit ELF file".into())),
        _ => Err(Reason::Unsupported(format!("ELF machine {machine}"))),
    }
}

/// Reads the section headers, and returns the offsets of their names. Returns no sections if
/// the headers are missing or invalid: nothing depends on them.
fn section_headers(
    file: &Part<'_>,
    header: &FileHeader64<LE>,
) -> io::Result<(Vec<Section>, Range<u64>)> {
    let count = usize::from(header.e_shnum.get(LE));
    if usize::from(header.e_shentsize.get(LE)) != size_of::<SectionHeader64<LE>>()
        || count > MAX_SECTIONS
    {
        return Ok((Vec::new(), 0..0));
    }
    let table = file.read(header.e_shoff.get(LE), size_of::<SectionHeader64<LE>>() * count)?;
    let sections: Vec<Section> = entries::<SectionHeader64<LE>>(&table)
        .iter()
        .map(|section| {
            let start = section.sh_offset.get(LE);
            // Keep a section beyond the end of the file as an empty one, because sections
            // are referred to by index.
            let range = match start.checked_add(section.sh_size.get(LE)) {
                Some(end) if end <= file.size() => start..end,
                _ => 0..0,
            };
            Section {
                name: section.sh_name.get(LE),
                kind: section.sh_type.get(LE),
                range,
                link: section.sh_link.get(LE),
            }
        })
        .collect();
    let names = sections.get(usize::from(header.e_shstrndx.get(LE)));
    let names = names.map_or(0..0, |section| section.range.clone());
    Ok((sections, names))
}

/// Returns the description of the note named `GNU` with type `NT_GNU_BUILD_ID`.
fn gnu_build_id(notes: &[u8]) -> Option<&[u8]> {
    let mut notes = NoteIterator::<FileHeader64<LE>>::new(LE, 4, notes).ok()?;
    while let Ok(Some(note)) = notes.next() {
        let id = note.desc();
        if note.n_type(LE) == elf::NT_GNU_BUILD_ID
            && note.name() == elf::ELF_NOTE_GNU
            && !id.is_empty()
        {
            return id.get(..id.len().min(MAX_BUILD_ID));
        }
    }
    None
}
