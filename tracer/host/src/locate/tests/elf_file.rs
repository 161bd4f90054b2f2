//! Builds small ELF files.
//!
//! ```text
//! offset   address
//! 0x00000  0x00000   headers
//! 0x00200  0x00200   build id          ┐ read-only segment
//! 0x00400  0x00400   strings           │
//! 0x04000  0x04000   dynamic table, symbols, names, hash table
//! 0x07000  0x07000   .eh_frame_hdr, FDEs
//! 0x08000  0x08000   relocations
//! 0x09000  0x09000   those of the procedure linkage table
//! 0x0a000  0x0a000   data                ─ writable segment
//! 0x10000  0x11000   code              ─ executable segment
//! after the code     .symtab, .strtab, .gnu_debugdata, sections
//! ```

use crate::locate::Arch;

/// Address and offset of the strings.
pub(super) const STRINGS: u64 = 0x400;
const DYNAMIC: u64 = 0x4000;
const DYNSYM: u64 = 0x5000;
const DYNSTR: u64 = 0x6000;
const HASH: u64 = 0x6800;
const UNWIND: u64 = 0x7000;
const RELOCATIONS: u64 = 0x8000;
const PLT_RELOCATIONS: u64 = 0x9000;
/// Address of the writable segment.
pub(super) const DATA: u64 = 0xa000;
const CODE_OFFSET: u64 = 0x10000;
/// Address of the code.
pub(super) const CODE: u64 = 0x11000;

/// A symbol: name, address (0 for an import), size.
pub(super) type Symbol = (&'static str, u64, u64);

/// The contents of a file.
#[derive(Clone)]
pub(super) struct ElfFile {
    pub(super) arch: Arch,
    pub(super) build_id: Vec<u8>,
    pub(super) strings: Vec<u8>,
    pub(super) code: Vec<u8>,
    pub(super) exports: Vec<Symbol>,
    pub(super) symbols: Vec<Symbol>,
    pub(super) needed: Vec<&'static str>,
    pub(super) debugdata: Vec<u8>,
    /// Functions with unwind information: address and size, sorted.
    pub(super) unwind: Vec<(u64, u32)>,
    /// Values of relative relocations.
    pub(super) relocations: Vec<u64>,
    /// Relative relocations at other addresses than that of the data: address and value.
    pub(super) relocations_at: Vec<(u64, u64)>,
    /// Slots of the global offset table: address, and index of the exported symbol.
    pub(super) slots: Vec<(u64, usize)>,
    /// Words of the data segment.
    pub(super) data: Vec<u64>,
    /// Set for a program that is loaded at fixed addresses.
    pub(super) fixed: bool,
    /// Set to use DT_HASH instead of DT_GNU_HASH.
    pub(super) sysv_hash: bool,
}

impl ElfFile {
    pub(super) fn new(arch: Arch) -> Self {
        Self {
            arch,
            build_id: vec![0xab; 20],
            strings: Vec::new(),
            code: Vec::new(),
            exports: Vec::new(),
            symbols: Vec::new(),
            needed: Vec::new(),
            debugdata: Vec::new(),
            unwind: Vec::new(),
            relocations: Vec::new(),
            relocations_at: Vec::new(),
            slots: Vec::new(),
            data: Vec::new(),
            fixed: false,
            sysv_hash: false,
        }
    }

    pub(super) fn build(&self) -> Vec<u8> {
        let mut file = vec![0; CODE_OFFSET as usize];
        self.read_only(&mut file);
        file.extend(&self.code);
        let (sections, count) = self.sections(&mut file);
        self.headers(&mut file, sections, count);
        file
    }

    fn headers(&self, file: &mut [u8], sections: u64, count: u16) {
        let machine: u16 = if self.arch == Arch::X86_64 { 62 } else { 183 };
        put(file, 0, b"\x7fELF\x02\x01\x01");
        put(file, 16, &(if self.fixed { 2u16 } else { 3 }).to_le_bytes());
        put(file, 18, &machine.to_le_bytes());
        put(file, 32, &64u64.to_le_bytes());
        put(file, 40, &sections.to_le_bytes());
        put(file, 54, &56u16.to_le_bytes());
        let code = self.code.len() as u64;
        let segments = [
            (1u32, 4u32, 0, 0, DATA),
            (1, 6, DATA, DATA, 0x1000),
            (1, 5, CODE_OFFSET, CODE, code),
            (2, 4, DYNAMIC, DYNAMIC, 0x1000),
            (4, 4, 0x200, 0x200, 0x100),
            (0x6474_e550, 4, UNWIND, UNWIND, 0x1000),
        ];
        put(file, 56, &(segments.len() as u16).to_le_bytes());
        put(file, 58, &64u16.to_le_bytes());
        put(file, 60, &count.to_le_bytes());
        put(file, 62, &(count - 1).to_le_bytes());
        for (i, (kind, flags, offset, address, size)) in segments.into_iter().enumerate() {
            let at = 64 + 56 * i;
            put(file, at, &kind.to_le_bytes());
            put(file, at + 4, &flags.to_le_bytes());
            for (field, value) in
                [(8, offset), (16, address), (24, address), (32, size), (40, size)]
            {
                put(file, at + field, &value.to_le_bytes());
            }
        }
    }

    fn read_only(&self, file: &mut [u8]) {
        if !self.build_id.is_empty() {
            let note = [4, self.build_id.len() as u32, 3].map(u32::to_le_bytes).concat();
            put(file, 0x200, &note);
            put(file, 0x20c, b"GNU\0");
            put(file, 0x210, &self.build_id);
        }
        put(file, STRINGS as usize, &self.strings);

        let mut names = vec![0];
        let mut table = symbol_table(&self.exports, &mut names);
        let relocation = if self.arch == Arch::X86_64 { 8u64 } else { 1027 };
        let at_data = self.relocations.iter().map(|value| (DATA, *value));
        let all = at_data.chain(self.relocations_at.iter().copied());
        let relocations: Vec<u64> =
            all.flat_map(|(address, value)| [address, relocation, value]).collect();
        let words = |all: &[u64]| all.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        put(file, RELOCATIONS as usize, &words(&relocations));
        let slots =
            self.slots.iter().flat_map(|(slot, index)| [*slot, (*index as u64 + 1) << 32 | 7, 0]);
        let slots: Vec<u64> = slots.collect();
        put(file, PLT_RELOCATIONS as usize, &words(&slots));
        put(file, DATA as usize, &words(&self.data));
        let mut dynamic: Vec<u64> =
            vec![5, DYNSTR, 6, DYNSYM, 7, RELOCATIONS, 8, 8 * relocations.len() as u64];
        dynamic.extend([23, PLT_RELOCATIONS, 2, 8 * slots.len() as u64]);
        for needed in &self.needed {
            dynamic.extend([1, names.len() as u64]);
            names.extend(needed.as_bytes());
            names.push(0);
        }
        dynamic.extend([10, names.len() as u64]);
        // At most one bucket, with a chain of all exported symbols.
        let imports = self.exports.iter().filter(|symbol| symbol.1 == 0).count() as u32 + 1;
        let all = self.exports.len() as u32 + 1;
        let hash: Vec<u32> = if self.sysv_hash {
            dynamic.extend([4, HASH]);
            vec![1, all, 0]
        } else {
            dynamic.extend([0x6fff_fef5, HASH]);
            let last = if imports < all { imports } else { 0 };
            let mut hash = vec![1, imports, 1, 0, 0, 0, last];
            hash.extend((imports..all).map(|i| if i + 1 == all { 3 } else { 2 }));
            hash
        };
        dynamic.extend([0, 0]);
        table.truncate(0x1000);
        put(
            file,
            DYNAMIC as usize,
            &dynamic.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>(),
        );
        put(file, DYNSYM as usize, &table);
        put(file, DYNSTR as usize, &names);
        put(file, HASH as usize, &hash.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
        self.unwind_table(file);
    }

    fn unwind_table(&self, file: &mut [u8]) {
        let base = UNWIND as usize;
        put(file, base, &[1, 0x1b, 0x03, 0x3b]);
        put(file, base + 8, &(self.unwind.len() as u32).to_le_bytes());
        for (i, (start, size)) in self.unwind.iter().enumerate() {
            let fde = base + 0x800 + 16 * i;
            let relative = |address: u64, to: usize| (address as i32 - to as i32).to_le_bytes();
            put(file, base + 12 + 8 * i, &relative(*start, base));
            put(file, base + 16 + 8 * i, &relative(fde as u64, base));
            put(file, fde, &12u32.to_le_bytes());
            put(file, fde + 8, &relative(*start, fde + 8));
            put(file, fde + 12, &size.to_le_bytes());
        }
    }

    /// Appends the sections; returns the offset and the number of their headers.
    fn sections(&self, file: &mut Vec<u8>) -> (u64, u16) {
        let names = b"\0.symtab\0.strtab\0.gnu_debugdata\0.shstrtab\0";
        let mut strtab = vec![0];
        let symtab = symbol_table(&self.symbols, &mut strtab);
        let mut headers = vec![[0u64; 5]];
        let kind = if self.symbols.is_empty() { 8 } else { 2 };
        for (name, kind, link, content) in [
            (1, kind, 2, symtab.as_slice()),
            (9, 3, 0, &strtab),
            (17, 1, 0, &self.debugdata),
            (32, 3, 0, names),
        ] {
            headers.push([name, kind, link, file.len() as u64, content.len() as u64]);
            file.extend(content);
        }
        let at = file.len() as u64;
        for [name, kind, link, offset, size] in &headers {
            let mut header = [0; 64];
            put(&mut header, 0, &(*name as u32).to_le_bytes());
            put(&mut header, 4, &(*kind as u32).to_le_bytes());
            put(&mut header, 24, &offset.to_le_bytes());
            put(&mut header, 32, &size.to_le_bytes());
            put(&mut header, 40, &(*link as u32).to_le_bytes());
            file.extend(header);
        }
        (at, headers.len() as u16)
    }
}

/// Builds a table of a null symbol and the given symbols; appends their names.
fn symbol_table(symbols: &[Symbol], names: &mut Vec<u8>) -> Vec<u8> {
    let mut table = vec![0; 24];
    for (name, address, size) in symbols {
        table.extend((names.len() as u32).to_le_bytes());
        let section: u16 = if *address == 0 { 0 } else { 1 };
        table.extend([0x12, 0]);
        table.extend(section.to_le_bytes());
        table.extend(address.to_le_bytes());
        table.extend(size.to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
    }
    table
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
