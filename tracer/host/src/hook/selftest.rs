//! Finds the hook to use: the first that loads, attaches, and fires. That a
//! program is attached does not mean that the kernel runs it.
//!
//! The test is a few sends on loopback by this process, which alone is in the
//! scope of programs loaded for it.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use super::{
    HookError, Options, SocketHook, Watch, load_for, random, reader::Entry, reader::Reader, scope,
};
use tracer_core::record::Transport;

/// What was chosen.
#[derive(Debug)]
pub struct Choice {
    /// The hook.
    pub hook: SocketHook,
    /// Those that were tried before, and why they do not work here.
    pub passed_over: Vec<(SocketHook, HookError)>,
}

/// Chooses the first of `hooks` that works here.
pub fn choose(hooks: &[SocketHook]) -> Result<Choice, HookError> {
    let mut passed_over = Vec::new();
    for &hook in hooks {
        match test(hook) {
            Ok(()) => return Ok(Choice { hook, passed_over }),
            // No other hook would help.
            Err(
                err @ (HookError::NotPermitted
                | HookError::NoPrograms
                | HookError::Offsets(_)
                | HookError::Load(_)
                | HookError::Read { .. }),
            ) => return Err(err),
            Err(err) => passed_over.push((hook, err)),
        }
    }
    Err(HookError::NoHook(passed_over))
}

/// Whether a hook works here.
pub fn test(hook: SocketHook) -> Result<(), HookError> {
    /// Room for some hundred sends, this process's others included.
    const RING: u32 = 64 << 10;

    let options = Options { watch: Watch::default(), ring: RING, hook };
    // Nobody has this process id: this process is not left out.
    let mut ebpf = load_for(&options, 0)?;
    scope::set_policy(&mut ebpf, &options.watch)?;
    scope::put_in_scope(&mut ebpf, [std::process::id()])?;
    hook.attach(&mut ebpf)?;
    let mut reader = Reader::new(&mut ebpf)?;
    for what in [What::Tcp, What::Udp(false), What::Udp(true)] {
        let mark = random().to_ne_bytes();
        // Where loopback cannot be used, attaching has to be enough.
        let Ok(to) = what.send(&mark) else {
            continue;
        };
        let mut records = 0;
        while let Some(entry) = reader.entry() {
            if let Ok(Entry::Sent(record)) = entry
                && record.payload == mark[..]
                && record.connection.remote == Some(to)
                && record.connection.transport == what.transport()
            {
                records += 1;
            }
        }
        if records != 1 {
            return Err(HookError::Silent { what: what.name(), records });
        }
    }
    Ok(())
}

/// A send to this process itself.
#[derive(Clone, Copy)]
enum What {
    Tcp,
    /// Over IPv6 or not.
    Udp(bool),
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp(false) => "UDP over IPv4",
            Self::Udp(true) => "UDP over IPv6",
        }
    }

    fn transport(self) -> Transport {
        match self {
            Self::Tcp => Transport::Tcp,
            Self::Udp(_) => Transport::Udp,
        }
    }

    /// Sends, and says where to.
    fn send(self, bytes: &[u8]) -> io::Result<SocketAddr> {
        let loopback = |ip: IpAddr| SocketAddr::new(ip, 0);
        match self {
            Self::Tcp => {
                let listener = TcpListener::bind(loopback(Ipv4Addr::LOCALHOST.into()))?;
                let to = listener.local_addr()?;
                TcpStream::connect(to)?.write_all(bytes)?;
                Ok(to)
            }
            Self::Udp(v6) => {
                let ip = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
                let socket = UdpSocket::bind(loopback(ip))?;
                let to = socket.local_addr()?;
                socket.send_to(bytes, to)?;
                Ok(to)
            }
        }
    }
}
