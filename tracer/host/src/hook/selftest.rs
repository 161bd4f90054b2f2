//! Chooses the hook: the first that loads, attaches and fires. An attached program
//! is not necessarily run by the kernel.
//!
//! The test makes a few sends on loopback. Only this process is in the scope of the
//! programs that are loaded for it.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use aya::Ebpf;

use super::{
    HookError, Options, SocketHook, Watch, load, random, reader::RingEntry, reader::RingReader,
    scope,
};
use tracer_core::record::Transport;

/// The result of choosing a hook.
#[derive(Debug)]
pub struct Choice {
    /// The hook that works.
    pub hook: SocketHook,
    /// Hooks that were tried before it, and the reasons for which they do not work.
    pub rejected: Vec<(SocketHook, HookError)>,
}

/// Programs that passed the test. They are attached, and this process is in scope.
pub(super) struct Tested {
    pub(super) ebpf: Ebpf,
    pub(super) reader: RingReader,
}

/// Returns the first of `hooks` that works on this machine, with its programs.
pub(super) fn first(
    hooks: &[SocketHook],
    options: impl Fn(SocketHook) -> Options,
) -> Result<(Tested, Choice), HookError> {
    let mut rejected = Vec::new();
    for &hook in hooks {
        match load_and_test(&options(hook)) {
            Ok(tested) => return Ok((tested, Choice { hook, rejected })),
            // These errors do not depend on the hook.
            Err(
                err @ (HookError::NotPermitted
                | HookError::NoPrograms
                | HookError::Offsets(_)
                | HookError::Load(_)
                | HookError::Random(_)
                | HookError::Read { .. }),
            ) => return Err(err),
            Err(err) => rejected.push((hook, err)),
        }
    }
    Err(HookError::NoHook(rejected))
}

/// Tests whether a hook works on this machine.
pub fn test_hook(hook: SocketHook) -> Result<(), HookError> {
    /// Enough for some hundred sends, including others by this process.
    const RING: u32 = 64 << 10;

    load_and_test(&Options { watch: Watch::default(), ring: RING, hook }).map(drop)
}

fn load_and_test(options: &Options) -> Result<Tested, HookError> {
    let mut ebpf = load(options)?;
    scope::set_policy(&mut ebpf, &options.watch)?;
    scope::put_in_scope(&mut ebpf, [std::process::id()])?;
    options.hook.attach(&mut ebpf)?;
    let mut reader = RingReader::new(&mut ebpf)?;
    for send in [TestSend::Tcp, TestSend::UdpV4, TestSend::UdpV6] {
        let mark = random()?.to_ne_bytes();
        // If loopback is not available, successful attachment has to be enough.
        let Ok(destination) = send.send(&mark) else {
            continue;
        };
        let mut records = 0;
        while let Some(entry) = reader.entry() {
            if let Ok(RingEntry::Record(record)) = entry
                && record.payload == mark[..]
                && record.connection.remote == Some(destination)
                && record.connection.transport == send.transport()
            {
                records += 1;
            }
        }
        if records != 1 {
            return Err(HookError::WrongRecords { test: send.name(), records });
        }
    }
    Ok(Tested { ebpf, reader })
}

/// A send by this process to itself.
#[derive(Clone, Copy)]
enum TestSend {
    Tcp,
    UdpV4,
    UdpV6,
}

impl TestSend {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "a TCP send on loopback",
            Self::UdpV4 => "a UDP send over IPv4 on loopback",
            Self::UdpV6 => "a UDP send over IPv6 on loopback",
        }
    }

    fn transport(self) -> Transport {
        match self {
            Self::Tcp => Transport::Tcp,
            Self::UdpV4 | Self::UdpV6 => Transport::Udp,
        }
    }

    /// Sends `bytes` and returns the destination.
    fn send(self, bytes: &[u8]) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let destination = listener.local_addr()?;
                TcpStream::connect(destination)?.write_all(bytes)?;
                Ok(destination)
            }
            Self::UdpV4 => send_udp(Ipv4Addr::LOCALHOST.into(), bytes),
            Self::UdpV6 => send_udp(Ipv6Addr::LOCALHOST.into(), bytes),
        }
    }
}

fn send_udp(loopback: IpAddr, bytes: &[u8]) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind((loopback, 0))?;
    let destination = socket.local_addr()?;
    socket.send_to(bytes, destination)?;
    Ok(destination)
}
