//! A parser for the kernel's type information (BTF), as far as field offsets need it.
//!
//! ```text
//! +--------+----------------------------+---------------------------+
//! | header | types: struct btf_type,    | strings, NUL-terminated   |
//! |        | each with kind-wise extras |                           |
//! +--------+----------------------------+---------------------------+
//! ```
//!
//! Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h. Although the file
//! comes from the kernel, every index in it is checked.

use std::collections::HashMap;

use thiserror::Error;

/// Maximum depth of nested structs and of typedefs. A deeper file is malformed.
const MAX_DEPTH: usize = 32;

/// Maximum number of members that are looked at for one name. The largest structs of the kernel
/// have some hundred, with those of anonymous structs in them.
const MAX_MEMBERS: usize = 1 << 16;

/// A reason for which a field's offset is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BtfError {
    /// The data does not follow the format.
    #[error("the kernel's BTF is malformed: {0}")]
    Malformed(&'static str),
    /// The struct does not exist.
    #[error("this kernel has no struct {0}")]
    NoStruct(String),
    /// The struct does not have the member.
    #[error("this kernel's struct {0} has no member {1}")]
    NoMember(String, String),
    /// The constant does not exist.
    #[error("this kernel has no constant {0}")]
    NoConstant(String),
}

/// A parsed BTF file.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Offset in `types` of each type's record; the first is that of type 1.
    starts: Vec<u32>,
    /// Ids of structs and unions by name.
    structs: HashMap<&'a [u8], u32>,
}

/// The kind of a type (`BTF_KIND_*`), as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A struct or union.
    Struct,
    /// A typedef or a qualifier of the type it refers to.
    Alias,
    /// A 32-bit enum.
    Enum,
    /// Anything else.
    Other,
}

/// The record of a type.
struct Type {
    /// Offset of the name in the strings.
    name: u32,
    kind: Kind,
    bitfields: bool,
    /// Number of extras.
    vlen: usize,
    refers_to: u32,
    /// Offset of the extras in the types.
    extras: usize,
}

impl<'a> Btf<'a> {
    /// Indexes a BTF file.
    pub fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        const MAGIC: u16 = 0xeb9f;
        if u16_at(data, 0) != Some(MAGIC) {
            return Err(BtfError::Malformed("bad magic number"));
        }
        let word = |at| u32_at(data, at).map(|n| n as usize);
        let section = |off: usize, len: usize| {
            let from = word(4)?.checked_add(word(off)?)?;
            data.get(from..from.checked_add(word(len)?)?)
        };
        let types =
            section(8, 12).ok_or(BtfError::Malformed("the type section exceeds the file"))?;
        let strings =
            section(16, 20).ok_or(BtfError::Malformed("the string section exceeds the file"))?;

        let mut btf = Self { types, strings, starts: Vec::new(), structs: HashMap::new() };
        let mut at = 0;
        while at < types.len() {
            let id = btf.starts.len() as u32 + 1;
            let start = u32::try_from(at).map_err(|_| BtfError::Malformed("too large"))?;
            let (ty, len) = type_at(types, at)
                .ok_or(BtfError::Malformed("a type is truncated or of an unknown kind"))?;
            btf.starts.push(start);
            if ty.kind == Kind::Struct && ty.name != 0 {
                btf.structs.entry(btf.string(ty.name)).or_insert(id);
            }
            at += len;
        }
        Ok(btf)
    }

    /// Returns the offset in bytes of a member, which may be a path through members
    /// (`__sk_common.skc_family`). As in C, members of anonymous structs and unions
    /// count as members of the enclosing one.
    pub fn offset(&self, of: &str, path: &str) -> Result<u32, BtfError> {
        let no_member = || BtfError::NoMember(of.to_owned(), path.to_owned());
        let mut id =
            *self.structs.get(of.as_bytes()).ok_or_else(|| BtfError::NoStruct(of.to_owned()))?;
        let mut bits = 0;
        for name in path.split('.') {
            let mut left = MAX_MEMBERS;
            let (member, at) =
                self.member(id, name.as_bytes(), 0, &mut left).ok_or_else(no_member)?;
            id = member;
            bits = at.checked_add(bits).ok_or(BtfError::Malformed("an offset is too large"))?;
        }
        Ok(bits / 8)
    }

    /// Returns the value of a constant in any enum.
    pub fn constant(&self, name: &str) -> Result<u32, BtfError> {
        self.starts
            .iter()
            .filter_map(|&start| type_at(self.types, start as usize))
            .filter(|(ty, _)| ty.kind == Kind::Enum)
            .flat_map(|(ty, _)| (0..ty.vlen).map(move |i| ty.extras + i * 8))
            .find(|&extra| {
                u32_at(self.types, extra).is_some_and(|at| self.string(at) == name.as_bytes())
            })
            .and_then(|extra| u32_at(self.types, extra + 4))
            .ok_or_else(|| BtfError::NoConstant(name.to_owned()))
    }

    /// Returns the type of a member and its offset in bits, if it is among the next `left`.
    fn member(&self, id: u32, name: &[u8], depth: usize, left: &mut usize) -> Option<(u32, u32)> {
        let ty = self.resolve(id)?;
        if ty.kind != Kind::Struct || depth > MAX_DEPTH {
            return None;
        }
        for i in 0..ty.vlen {
            *left = left.checked_sub(1)?;
            let extra = ty.extras + i * 12;
            let member_name = u32_at(self.types, extra)?;
            let member = u32_at(self.types, extra + 4)?;
            let mut at = u32_at(self.types, extra + 8)?;
            if ty.bitfields {
                at &= 0x00ff_ffff;
            }
            if member_name == 0 {
                if let Some((found, inner)) = self.member(member, name, depth + 1, left) {
                    return Some((found, at.checked_add(inner)?));
                }
            } else if self.string(member_name) == name {
                return Some((member, at));
            }
        }
        None
    }

    /// Resolves typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..MAX_DEPTH {
            let start = *self.starts.get(usize::try_from(id).ok()?.checked_sub(1)?)?;
            let (ty, _) = type_at(self.types, start as usize)?;
            match ty.kind {
                Kind::Alias => id = ty.refers_to,
                _ => return Some(ty),
            }
        }
        None
    }

    fn string(&self, at: u32) -> &'a [u8] {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        rest.split(|&b| b == 0).next().unwrap_or_default()
    }
}

/// Parses the record at `at`; returns the type and the record's length.
fn type_at(types: &[u8], at: usize) -> Option<(Type, usize)> {
    const HEAD: usize = 12;
    let info = u32_at(types, at + 4)?;
    let vlen = (info & 0xffff) as usize;
    let (kind, extra) = match (info >> 24) & 0x1f {
        4 | 5 => (Kind::Struct, vlen * 12),       // STRUCT, UNION
        8 | 9 | 10 | 11 | 18 => (Kind::Alias, 0), // TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG
        1 | 14 | 17 => (Kind::Other, 4),          // INT, VAR, DECL_TAG
        3 => (Kind::Other, 12),                   // ARRAY
        6 => (Kind::Enum, vlen * 8),              // ENUM
        13 => (Kind::Other, vlen * 8),            // FUNC_PROTO
        15 | 19 => (Kind::Other, vlen * 12),      // DATASEC, ENUM64
        2 | 7 | 12 | 16 => (Kind::Other, 0),      // PTR, FWD, FUNC, FLOAT
        _ => return None,
    };
    let len = HEAD + extra;
    types.get(at..at + len)?;
    let ty = Type {
        name: u32_at(types, at)?,
        kind,
        bitfields: info >> 31 != 0,
        vlen,
        refers_to: u32_at(types, at + 8)?,
        extras: at + HEAD,
    };
    Some((ty, len))
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a BTF file type by type.
    #[derive(Default)]
    struct Builder {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Builder {
        fn name(&mut self, name: &str) -> u32 {
            if self.strings.is_empty() {
                self.strings.push(0);
            }
            if name.is_empty() {
                return 0;
            }
            let at = self.strings.len() as u32;
            self.strings.extend(name.as_bytes());
            self.strings.push(0);
            at
        }

        fn ty(&mut self, name: &str, kind: u32, vlen: u32, refers_to: u32, extras: &[u32]) {
            let name = self.name(name);
            for word in [name, kind << 24 | vlen, refers_to].iter().chain(extras) {
                self.types.extend(word.to_le_bytes());
            }
        }

        fn structure(&mut self, name: &str, members: &[(&str, u32, u32)]) {
            let extras: Vec<u32> = members
                .iter()
                .flat_map(|&(name, ty, bytes)| [self.name(name), ty, bytes * 8])
                .collect();
            self.ty(name, 4, members.len() as u32, 0, &extras);
        }

        fn build(&self) -> Vec<u8> {
            let mut file = vec![0x9f, 0xeb, 1, 0];
            for word in
                [24, 0, self.types.len() as u32, self.types.len() as u32, self.strings.len() as u32]
            {
                file.extend(word.to_le_bytes());
            }
            file.extend(&self.types);
            file.extend(&self.strings);
            file
        }
    }

    fn sample() -> Vec<u8> {
        let mut b = Builder::default();
        b.ty("int", 1, 0, 4, &[32]); // 1
        b.structure("", &[("inner", 1, 4)]); // 2: anonymous
        b.structure("common", &[("family", 1, 16), ("", 2, 24)]); // 3
        b.ty("common_t", 8, 0, 3, &[]); // 4: typedef
        b.ty("", 10, 0, 4, &[]); // 5: const
        b.structure("sock", &[("pad", 1, 0), ("__sk_common", 5, 8)]); // 6
        let extras = [b.name("ITER_IOVEC"), 4, b.name("ITER_KVEC"), 8];
        b.ty("iter_type", 6, 2, 4, &extras); // 7
        b.build()
    }

    #[test]
    fn follows_paths_typedefs_and_anonymous_members() {
        let file = sample();
        let btf = Btf::parse(&file).unwrap();
        assert_eq!(btf.offset("sock", "__sk_common.family"), Ok(24));
        assert_eq!(btf.offset("sock", "__sk_common.inner"), Ok(8 + 24 + 4));
        assert_eq!(btf.offset("common", "inner"), Ok(28));
    }

    #[test]
    fn finds_constants_in_any_enum() {
        let file = sample();
        let btf = Btf::parse(&file).unwrap();
        assert_eq!(btf.constant("ITER_IOVEC"), Ok(4));
        assert_eq!(btf.constant("ITER_KVEC"), Ok(8));
        assert_eq!(btf.constant("ITER_UBUF"), Err(BtfError::NoConstant("ITER_UBUF".into())));
    }

    #[test]
    fn errors_name_the_missing_item() {
        let file = sample();
        let btf = Btf::parse(&file).unwrap();
        assert_eq!(btf.offset("mutex", "owner"), Err(BtfError::NoStruct("mutex".into())));
        assert_eq!(
            btf.offset("sock", "__sk_common.nothing"),
            Err(BtfError::NoMember("sock".into(), "__sk_common.nothing".into()))
        );
    }

    #[test]
    fn recursive_struct_is_an_error() {
        let mut b = Builder::default();
        b.structure("loop", &[("", 1, 0)]);
        let file = b.build();
        assert!(Btf::parse(&file).unwrap().offset("loop", "x").is_err());
    }

    #[test]
    fn structs_that_contain_themselves_twice_take_bounded_time() {
        let mut b = Builder::default();
        b.structure("loop", &[("", 1, 0), ("", 1, 0), ("x", 1, 0)]);
        let file = b.build();
        assert!(Btf::parse(&file).unwrap().offset("loop", "y").is_err());
    }

    #[test]
    fn offsets_beyond_the_range_are_errors() {
        let mut b = Builder::default();
        b.structure("inner", &[("x", 1, 0x1fff_ffff)]); // 1
        b.structure("outer", &[("inner", 1, 0x1fff_ffff)]); // 2
        let file = b.build();
        let btf = Btf::parse(&file).unwrap();
        assert_eq!(btf.offset("outer", "inner"), Ok(0x1fff_ffff));
        let error = BtfError::Malformed("an offset is too large");
        assert_eq!(btf.offset("outer", "inner.x"), Err(error));
    }

    #[test]
    fn no_prefix_or_flipped_byte_panics() {
        let file = sample();
        for len in 0..file.len() {
            let _ = Btf::parse(&file[..len]).map(|b| b.offset("sock", "__sk_common.inner"));
            let _ = Btf::parse(&file[..len]).map(|b| b.constant("ITER_KVEC"));
        }
        for at in 0..file.len() {
            let mut file = file.clone();
            file[at] ^= 0xff;
            let _ = Btf::parse(&file).map(|b| b.offset("sock", "__sk_common.inner"));
            let _ = Btf::parse(&file).map(|b| b.constant("ITER_KVEC"));
        }
    }
}
