//! Whether probes in programs work: one is set in a function of tracer's own, as
//! if that were a TLS library's, and has to fire when it is called.

use std::{fs, hint::black_box, io};

use aya::programs::uprobe::UProbeScope;

use super::{
    HookError, Options, SocketHook, Watch, follow, load_for, random,
    reader::{Entry, Reader},
    scope,
};
use tracer_core::record::Hook;

/// Whether probes in programs work here.
pub fn test_probes() -> Result<(), HookError> {
    /// Room for what this process sends meanwhile.
    const RING: u32 = 64 << 10;

    // No hook at sockets is attached; the one that asks for least is named.
    let options = Options { watch: Watch::default(), ring: RING, hook: SocketHook::SysEnter };
    // Nobody has this process id: this process is not left out.
    let mut ebpf = load_for(&options, 0)?;
    scope::set_policy(&mut ebpf, &options.watch)?;
    scope::put_in_scope(&mut ebpf, [std::process::id()])?;
    let failed = |source| HookError::Program { name: "for TLS libraries", source };
    follow::load(&mut ebpf).map_err(failed)?;
    let offset =
        own_offset().map_err(|source| HookError::Read { path: "/proc/self/maps", source })?;
    for name in ["ssl_write_return", "ssl_write"] {
        follow::uprobe(&mut ebpf, name)
            .and_then(|probe| probe.attach(offset, "/proc/self/exe", UProbeScope::AllProcesses))
            .map_err(failed)?;
    }
    let mut reader = Reader::new(&mut ebpf)?;
    let mark = random().to_ne_bytes();
    let write: Write = black_box(write_in_plain);
    write(mark.as_ptr(), mark.as_ptr(), mark.len() as i32);
    let mut records = 0;
    while let Some(entry) = reader.entry() {
        if let Ok(Entry::Sent(record)) = entry
            && record.hook == Hook::SslWrite
            && record.payload == mark[..]
        {
            records += 1;
        }
    }
    match records {
        1 => Ok(()),
        _ => Err(HookError::Silent { what: "a call of a probed function", records }),
    }
}

/// A function with the arguments of `SSL_write`.
type Write = extern "C" fn(*const u8, *const u8, i32) -> i32;

/// Takes all, as `SSL_write` says it.
#[inline(never)]
extern "C" fn write_in_plain(object: *const u8, bytes: *const u8, len: i32) -> i32 {
    black_box((object, bytes));
    black_box(len)
}

/// Where that function lies in tracer's own file.
fn own_offset() -> io::Result<u64> {
    let write: Write = write_in_plain;
    let address = write as usize as u64;
    let maps = fs::read_to_string("/proc/self/maps")?;
    maps.lines()
        .find_map(|line| offset_of(line, address))
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// The position in its file of what is mapped at an address, by a line of
/// `/proc/PID/maps`: `start-end perms offset dev inode path` (proc(5)).
fn offset_of(line: &str, address: u64) -> Option<u64> {
    let mut fields = line.split(' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let (start, end, offset) = (hex(start)?, hex(end)?, hex(fields.nth(1)?)?);
    (start..end).contains(&address).then(|| address - start + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_their_file() {
        let line = "1000-3000 r-xp 00000800 fe:00 12 /usr/bin/tracer";
        assert_eq!(offset_of(line, 0x1000), Some(0x800));
        assert_eq!(offset_of(line, 0x2fff), Some(0x27ff));
        assert_eq!(offset_of(line, 0x3000), None);
        assert_eq!(offset_of("", 0), None);
        assert!(own_offset().is_ok());
    }
}
