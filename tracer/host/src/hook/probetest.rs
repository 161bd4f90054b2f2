//! Tests whether uprobes work, by probing a function of tracer's own as if it were
//! that of a TLS library, and calling it.

use std::{hint::black_box, io};

use aya::programs::uprobe::UProbeScope;

use super::{
    HookError, Options, SocketHook, Watch, follow, load, proc, random,
    reader::{RingEntry, RingReader},
    scope,
};
use tracer_core::record::Hook;

/// Tests whether probes on TLS libraries work on this machine. Returns the names of the programs
/// that the kernel rejects, although others work.
pub fn test_probes() -> Result<Vec<&'static str>, HookError> {
    /// Enough for what this process sends in the meantime.
    const RING: u32 = 64 << 10;

    // No socket hook is attached; this one needs the smallest maps.
    let options = Options { watch: Watch::default(), ring: RING, hook: SocketHook::SysEnter };
    let mut ebpf = load(&options)?;
    scope::set_policy(&mut ebpf, &options.watch)?;
    scope::put_in_scope(&mut ebpf, [std::process::id()])?;
    let failed = |source| HookError::Program { name: "for TLS libraries", source };
    let rejected = follow::load(&mut ebpf).map_err(failed)?;
    let offset =
        probed_offset().map_err(|source| HookError::Read { path: "/proc/self/maps", source })?;
    for name in ["ssl_write_return", "ssl_write"] {
        follow::uprobe(&mut ebpf, name)
            .and_then(|probe| probe.attach(offset, "/proc/self/exe", UProbeScope::AllProcesses))
            .map_err(failed)?;
    }
    let mut reader = RingReader::new(&mut ebpf)?;
    let mark = random()?.to_ne_bytes();
    let write: Write = black_box(fake_ssl_write);
    write(mark.as_ptr(), mark.as_ptr(), mark.len() as i32);
    let mut records = 0;
    while let Some(entry) = reader.entry() {
        if let Ok(RingEntry::Record(record)) = entry
            && record.hook == Hook::SslWrite
            && record.payload == mark[..]
        {
            records += 1;
        }
    }
    match records {
        1 => Ok(rejected),
        _ => Err(HookError::WrongRecords { test: "a call of a probed function", records }),
    }
}

/// A function with the signature of `SSL_write`.
type Write = extern "C" fn(*const u8, *const u8, i32) -> i32;

/// Returns `len`, as `SSL_write` does when it accepts all bytes.
#[inline(never)]
extern "C" fn fake_ssl_write(object: *const u8, bytes: *const u8, len: i32) -> i32 {
    black_box((object, bytes));
    black_box(len)
}

/// Returns the offset of [`fake_ssl_write`] in the file of tracer's executable.
fn probed_offset() -> io::Result<u64> {
    let write: Write = fake_ssl_write;
    let address = write as usize as u64;
    proc::mappings(std::process::id())?
        .iter()
        .find_map(|mapping| mapping.file_offset(address))
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_offset_of_the_probed_function() {
        assert!(probed_offset().is_ok());
    }
}
