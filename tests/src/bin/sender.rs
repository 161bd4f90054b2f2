//! A process that sends what its arguments say.
//!
//! Each argument is a statement. `@FILE` or a path is replaced by the file's lines
//! (`#` begins a comment), so that the sender can be the interpreter of a script. A
//! statement works on the socket that was opened last.
//!
//! | statement | effect |
//! |---|---|
//! | `connect tcp\|udp ADDRESS` | opens a connected socket |
//! | `open udp4\|udp6` | opens an unconnected socket |
//! | `open unix` | opens a Unix socket |
//! | `open null` | opens `/dev/null` |
//! | `open raw` | opens a raw socket of UDP over IPv4 |
//! | `open packet` | opens a packet socket on the loopback device |
//! | `open xdp` | opens an XDP socket |
//! | `open ping` | opens a socket for echo requests, in a network of its own without a way out |
//! | `ping LEN` | sends LEN bytes as an echo request, which fails there |
//! | `user UID` | becomes this user |
//! | `send SIZE`, `sendmsg SIZE`, `sendmmsg SIZE…`, `write SIZE`, `writev SIZE`, `pwritev2 SIZE` | sends by that system call; SIZE is `LEN` or `LENxN` for N buffers; `sendmmsg` takes one SIZE for each message |
//! | `… to ADDRESS` | after one of the first three: sends to that address |
//! | `repeat N SEND` | sends N times |
//! | `both N SEND` | sends N times on each of two threads at once |
//! | `map [PATH]` | maps a file as executable (default: this program), for as long as the process runs |
//! | `int80 LEN` | sends by a 32-bit system call of a 64-bit process (x86-64) |
//! | `padding` | nothing; each further one makes the arguments longer |
//! | `lazy LEN TOUCHED` | sends LEN bytes of memory of which only the first TOUCHED are resident |
//! | `file PATH` | sends a file's contents in one write |
//! | `sendfile PATH` | sends a file's contents without reading it into memory |
//! | `uring SIZE` | sends by io_uring |
//! | `fastopen SIZE ADDRESS` | opens a TCP connection whose SYN carries the data |
//! | `aio SIZE` | sends by `io_submit` |
//! | `zerocopy SIZE` | sends with `MSG_ZEROCOPY`, after `SO_ZEROCOPY` |
//! | `wake` | sends nothing, as the owner of an XDP socket does to have its packets sent; may fail |
//! | `pipelined N` | sends N requests on a non-blocking socket, and retries what was not accepted |
//! | `say` | prints process ID, thread ID and local address |
//! | `await` | waits for a line on standard input, or for its end |
//! | `orphaned` | waits until the parent process has ended |
//! | `thread` | runs the rest on another thread |
//! | `exec\|run\|spawn [PROGRAM]` | runs the rest in PROGRAM (default: the sender): replaces this process, waits for it, or does not wait |

use std::{
    env, fs,
    io::{IoSlice, Write as _},
    net::{SocketAddr, TcpStream},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use io_uring::{IoUring, opcode, types};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, ReadWriteFlags},
    mm::{MapFlags, ProtFlags, mmap},
    net::{
        AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketType,
        addr::SocketAddrArg as _, getsockname, send, sendmmsg, sendmsg, sendmsg_addr, sendto,
        sockopt,
    },
};
use tracer_tests::payload::{payload, pipelined};

/// Environment variable with the ID of the process that `spawn`ed this one.
const PARENT: &str = "SENDER_PARENT";

fn main() -> Result<()> {
    let mut statements = Vec::new();
    for argument in env::args().skip(1) {
        match argument.strip_prefix('@').or(argument.starts_with('/').then_some(&*argument)) {
            Some(file) => {
                let text = fs::read_to_string(file).with_context(|| format!("read {file}"))?;
                statements
                    .extend(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned));
            }
            None => statements.push(argument),
        }
    }
    Sender { socket: None, other: None, sent: 0 }.run_statements(&statements)
}

/// If a test's peer has gone, the send should fail instead of killing the process.
const FLAGS: SendFlags = SendFlags::NOSIGNAL;

struct Sender {
    socket: Option<OwnedFd>,
    /// The other end of a socket pair.
    other: Option<OwnedFd>,
    /// Number of sends so far.
    sent: u32,
}

impl Sender {
    fn run_statements(mut self, statements: &[String]) -> Result<()> {
        for (i, statement) in statements.iter().enumerate() {
            let words: Vec<&str> = statement.split_whitespace().collect();
            let rest = &statements[i + 1..];
            match words[..] {
                [] => {}
                ["thread"] => {
                    let rest = rest.to_vec();
                    return thread::spawn(move || self.run_statements(&rest))
                        .join()
                        .expect("the thread does not panic");
                }
                [how @ ("exec" | "run" | "spawn"), ref program @ ..] => {
                    return run_in_program(how, program.first().copied(), rest);
                }
                _ => self.run_statement(&words).with_context(|| statement.clone())?,
            }
        }
        Ok(())
    }

    fn run_statement(&mut self, words: &[&str]) -> Result<()> {
        match *words {
            ["connect", "tcp", to] => self.socket = Some(TcpStream::connect(to)?.into()),
            ["connect", "udp", to] => {
                let to: SocketAddr = to.parse()?;
                self.socket = Some(unbound_udp_socket(to.is_ipv6())?);
                rustix::net::connect(self.socket()?, &to)?;
            }
            ["open", "udp4"] => self.socket = Some(unbound_udp_socket(false)?),
            ["open", "udp6"] => self.socket = Some(unbound_udp_socket(true)?),
            ["open", "unix"] => {
                let (one, other) = UnixStream::pair()?;
                self.socket = Some(one.into());
                self.other = Some(other.into());
            }
            ["open", "raw"] => self.socket = Some(socket(libc::AF_INET, libc::IPPROTO_UDP)?),
            ["open", "packet"] => self.socket = Some(packet_socket()?),
            ["open", "ping"] => self.socket = Some(ping_socket()?),
            ["ping", len] => {
                let to = SocketAddr::from(([127, 0, 0, 1], 0));
                let _refused = sendto(self.socket()?, &payload(8, len.parse()?), FLAGS, &to);
            }
            ["open", "xdp"] => self.socket = Some(socket(libc::AF_XDP, 0)?),
            ["user", uid] => become_user(uid.parse()?)?,
            ["open", "null"] => {
                self.socket = Some(fs::File::options().write(true).open("/dev/null")?.into());
            }
            ["repeat", times, ref what @ ..] => {
                for _ in 0..times.parse::<u32>()? {
                    self.run_statement(what)?;
                }
            }
            ["both", times, ref what @ ..] => {
                let times: u32 = times.parse()?;
                let socket = self.socket()?.try_clone()?;
                let mut other = Sender { socket: Some(socket), other: None, sent: self.sent };
                thread::scope(|scope| {
                    let other =
                        scope.spawn(move || (0..times).try_for_each(|_| other.run_statement(what)));
                    (0..times).try_for_each(|_| self.run_statement(what))?;
                    other.join().expect("the thread does not panic")
                })?;
            }
            ["map"] => map("/proc/self/exe")?,
            ["map", path] => map(path)?,
            ["int80", len] => self.int80(len.parse()?)?,
            ["padding"] => {}
            ["lazy", len, touched] => self.lazy(len.parse()?, touched.parse()?)?,
            ["file", path] => {
                let bytes = fs::read(path)?;
                check_complete(&bytes, rustix::io::write(self.socket()?, &bytes)?)?;
            }
            ["sendfile", path] => {
                let file = fs::File::open(path)?;
                let mut left = usize::try_from(file.metadata()?.len())?;
                while left > 0 {
                    left -= rustix::fs::sendfile(self.socket()?, &file, None, left)?;
                }
            }
            ["uring", size] => self.uring(size)?,
            ["fastopen", size, to] => self.fastopen(size, to.parse()?)?,
            ["aio", size] => self.aio(size)?,
            ["zerocopy", size] => self.zerocopy(size)?,
            // The socket has no memory for packets, so the kernel refuses.
            ["wake"] => drop(send(self.socket()?, &[], SendFlags::DONTWAIT)),
            ["pipelined", count] => self.pipelined(count.parse()?)?,
            ["say"] => self.say()?,
            ["await"] => drop(std::io::stdin().read_line(&mut String::new())?),
            ["orphaned"] => {
                let parent: u32 = env::var(PARENT)?.parse()?;
                while std::os::unix::process::parent_id() == parent {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            [call, ref sizes @ .., "to", to] => self.send(call, sizes, Some(to.parse()?))?,
            [call, ref sizes @ ..] => self.send(call, sizes, None)?,
            [] => {}
        }
        Ok(())
    }

    /// Sends by `write` of the 32-bit table, which any process can call.
    #[cfg(target_arch = "x86_64")]
    fn int80(&mut self, len: usize) -> Result<()> {
        const WRITE: usize = 4;
        let bytes = payload(self.sent, len);
        self.sent += 1;
        let socket = self.socket()?.as_raw_fd();
        let mut result = WRITE;
        // SAFETY: the kernel picks an unused address, and the mapping has room for the bytes. The
        // call reads them; it changes `rax` only, and the `rbx` that it needs is restored.
        unsafe {
            // Its addresses have 32 bits.
            let low = libc::mmap(
                std::ptr::null_mut(),
                bytes.len(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
                -1,
                0,
            );
            ensure!(low != libc::MAP_FAILED, "no memory");
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), low.cast::<u8>(), bytes.len());
            std::arch::asm!(
                "xchg rbx, {socket}",
                "int 0x80",
                "xchg rbx, {socket}",
                socket = inout(reg) i64::from(socket) => _,
                inout("rax") result,
                in("rcx") low,
                in("rdx") bytes.len(),
                // 64-bit processes lose these registers in older kernels.
                out("r8") _,
                out("r9") _,
                out("r10") _,
                out("r11") _,
            );
        }
        ensure!(result == bytes.len(), "the call returned {result}");
        Ok(())
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn int80(&mut self, _: usize) -> Result<()> {
        bail!("only x86-64 has this entry")
    }

    fn socket(&self) -> Result<&OwnedFd> {
        self.socket.as_ref().context("no socket is open")
    }

    fn send(&mut self, call: &str, sizes: &[&str], to: Option<SocketAddr>) -> Result<()> {
        let messages = sizes
            .iter()
            .map(|size| {
                self.sent += 1;
                Message::new(self.sent - 1, size)
            })
            .collect::<Result<Vec<_>>>()?;
        let fd = self.socket()?;
        if call == "sendmmsg" {
            return send_many(fd, &messages, to);
        }
        let [message] = &messages[..] else {
            bail!("exactly one size is required");
        };
        let (bytes, buffers) = (&message.bytes, message.buffers());
        let mut control = SendAncillaryBuffer::default();
        check_complete(
            bytes,
            match (call, to) {
                ("send", None) => send(fd, bytes, FLAGS)?,
                ("send", Some(to)) => sendto(fd, bytes, FLAGS, &to)?,
                ("sendmsg", None) => sendmsg(fd, &buffers, &mut control, FLAGS)?,
                ("sendmsg", Some(to)) => sendmsg_addr(fd, &to, &buffers, &mut control, FLAGS)?,
                ("write", None) => rustix::io::write(fd, bytes)?,
                ("writev", None) => rustix::io::writev(fd, &buffers)?,
                // Offset −1: sockets have no position.
                ("pwritev2", None) => {
                    rustix::io::pwritev2(fd, &buffers, u64::MAX, ReadWriteFlags::empty())?
                }
                _ => bail!("unknown statement"),
            },
        )
    }

    /// Sends memory that was allocated and never touched, so that its pages are
    /// missing until the kernel itself reads them.
    fn lazy(&mut self, len: usize, touched: usize) -> Result<()> {
        let mut bytes = vec![0; len];
        bytes[..touched].copy_from_slice(&payload(self.sent, touched));
        self.sent += 1;
        println!("page ends after {}", 4096 - (bytes.as_ptr().addr() & 4095));
        check_complete(&bytes, send(self.socket()?, &bytes, FLAGS)?)
    }

    fn uring(&mut self, size: &str) -> Result<()> {
        self.sent += 1;
        let message = Message::new(self.sent - 1, size)?;
        let Ok(mut ring) = IoUring::new(1) else {
            println!("no io_uring");
            return Ok(());
        };
        let (bytes, len) = (message.bytes.as_ptr(), u32::try_from(message.bytes.len())?);
        let send = opcode::Send::new(types::Fd(self.socket()?.as_raw_fd()), bytes, len);
        // SAFETY: the bytes and the socket live until the send has completed,
        // below.
        unsafe { ring.submission().push(&send.build()) }?;
        ring.submit_and_wait(1)?;
        let done = ring.completion().next().context("io_uring returned no completion")?;
        check_complete(&message.bytes, usize::try_from(done.result())?)
    }

    fn fastopen(&mut self, size: &str, to: SocketAddr) -> Result<()> {
        self.sent += 1;
        let message = Message::new(self.sent - 1, size)?;
        let family = if to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let fd = rustix::net::socket(family, SocketType::STREAM, None)?;
        // The server need not have sent a cookie before.
        let option = libc::TCP_FASTOPEN_NO_COOKIE;
        set_option(&fd, libc::IPPROTO_TCP, option, &1_i32.to_ne_bytes())?;
        let flags = FLAGS | SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned());
        let sent = sendto(&fd, &message.bytes, flags, &to)?;
        self.socket = Some(fd);
        check_complete(&message.bytes, sent)
    }

    /// Sends by asynchronous I/O, as files are read by it.
    fn aio(&mut self, size: &str) -> Result<()> {
        /// `struct iocb` (linux/aio_abi.h).
        #[repr(C)]
        #[derive(Default)]
        struct Iocb {
            data: u64,
            key: u64,
            opcode: u16,
            priority: i16,
            fd: u32,
            buf: u64,
            bytes: u64,
            offset: i64,
            reserved: u64,
            flags: u32,
            resfd: u32,
        }
        const PWRITE: u16 = 1;
        self.sent += 1;
        let message = Message::new(self.sent - 1, size)?;
        let mut block = Iocb {
            opcode: PWRITE,
            fd: self.socket()?.as_raw_fd().cast_unsigned(),
            buf: message.bytes.as_ptr().addr() as u64,
            bytes: message.bytes.len() as u64,
            ..Iocb::default()
        };
        let (mut context, mut event) = (0_u64, [0_i64; 4]);
        let list = [&raw mut block];
        // SAFETY: everything lives until the request has completed, which the last call waits for.
        let results = unsafe {
            [
                libc::syscall(libc::SYS_io_setup, 1, &raw mut context),
                libc::syscall(libc::SYS_io_submit, context, 1, list.as_ptr()),
                libc::syscall(libc::SYS_io_getevents, context, 1, 1, event.as_mut_ptr(), 0),
            ]
        };
        ensure!(results == [0, 1, 1], std::io::Error::last_os_error());
        check_complete(&message.bytes, usize::try_from(event[2])?)
    }

    fn zerocopy(&mut self, size: &str) -> Result<()> {
        self.sent += 1;
        let message = Message::new(self.sent - 1, size)?;
        let fd = self.socket()?;
        set_option(fd, libc::SOL_SOCKET, libc::SO_ZEROCOPY, &1_i32.to_ne_bytes())?;
        let flags = FLAGS | SendFlags::from_bits_retain(libc::MSG_ZEROCOPY.cast_unsigned());
        check_complete(&message.bytes, send(fd, &message.bytes, flags)?)
    }

    fn pipelined(&mut self, count: u32) -> Result<()> {
        let fd = self.socket()?;
        // About a tenth of the data.
        sockopt::set_socket_send_buffer_size(fd, 16 << 10)?;
        rustix::io::ioctl_fionbio(fd, true)?;
        let bytes = pipelined(count);
        let (mut at, mut writes) = (0, 0);
        while at < bytes.len() {
            writes += 1;
            match rustix::io::write(fd, &bytes[at..]) {
                Ok(taken) => at += taken,
                Err(Errno::AGAIN) => {
                    poll(&mut [PollFd::new(fd, PollFlags::OUT)], None)?;
                }
                Err(err) => return Err(err.into()),
            }
        }
        println!("{writes} writes");
        Ok(())
    }

    fn say(&self) -> Result<()> {
        let local = self.socket.as_ref().and_then(|fd| getsockname(fd).ok());
        let local = local.and_then(|addr| SocketAddr::try_from(addr).ok());
        let local = local.map_or_else(|| "nowhere".to_owned(), |local| local.to_string());
        let tid = rustix::thread::gettid().as_raw_nonzero();
        println!("I am {} {tid} {local}", std::process::id());
        Ok(std::io::stdout().flush()?)
    }
}

/// Opens a raw socket.
fn socket(family: i32, protocol: i32) -> Result<OwnedFd> {
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    ensure!(fd >= 0, std::io::Error::last_os_error());
    // SAFETY: the descriptor is new, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a socket for echo requests, as any user can where groups are permitted to (ping(8)).
fn ping_socket() -> Result<OwnedFd> {
    // SAFETY: the call takes numbers only.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    ensure!(result == 0, std::io::Error::last_os_error());
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")?;
    let family = AddressFamily::INET;
    Ok(rustix::net::socket(family, SocketType::DGRAM, Some(rustix::net::ipproto::ICMP))?)
}

/// Opens a packet socket that sends over the loopback device.
fn packet_socket() -> Result<OwnedFd> {
    let fd = socket(libc::AF_PACKET, 0)?;
    // SAFETY: all of its fields are integers.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    // SAFETY: the name is a string that ends.
    address.sll_ifindex = unsafe { libc::if_nametoindex(c"lo".as_ptr()) }.cast_signed();
    let len = u32::try_from(size_of_val(&address))?;
    // SAFETY: the address is valid for its length.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
    ensure!(bound == 0, std::io::Error::last_os_error());
    Ok(fd)
}

fn set_option(fd: &OwnedFd, level: i32, option: i32, value: &[u8]) -> Result<()> {
    let len = u32::try_from(value.len())?;
    // SAFETY: the value is valid for its length.
    let set =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value.as_ptr().cast(), len) };
    ensure!(set == 0, std::io::Error::last_os_error());
    Ok(())
}

fn become_user(uid: u32) -> Result<()> {
    // SAFETY: the call takes numbers only.
    let result = unsafe { libc::setresuid(uid, uid, uid) };
    ensure!(result == 0, std::io::Error::last_os_error());
    Ok(())
}

/// The data of one send, in buffers of equal length.
struct Message {
    bytes: Vec<u8>,
    buffer: usize,
}

impl Message {
    /// Creates the `n`th message, of a size in the notation of the statements.
    fn new(n: u32, size: &str) -> Result<Self> {
        let (buffer, count) = size.split_once('x').unwrap_or((size, "1"));
        let (buffer, count): (usize, usize) = (buffer.parse()?, count.parse()?);
        Ok(Self { bytes: payload(n, buffer * count), buffer })
    }

    fn buffers(&self) -> Vec<IoSlice<'_>> {
        self.bytes.chunks(self.buffer.max(1)).map(IoSlice::new).collect()
    }
}

fn send_many(fd: &OwnedFd, messages: &[Message], to: Option<SocketAddr>) -> Result<()> {
    let to = to.map(|to| to.as_any());
    let buffers: Vec<_> = messages.iter().map(Message::buffers).collect();
    let mut controls: Vec<_> = messages.iter().map(|_| SendAncillaryBuffer::default()).collect();
    let mut headers: Vec<_> = buffers
        .iter()
        .zip(&mut controls)
        .map(|(buffers, control)| match &to {
            Some(to) => MMsgHdr::new_with_addr(to, buffers, control),
            None => MMsgHdr::new(buffers, control),
        })
        .collect();
    let sent = sendmmsg(fd, &mut headers, FLAGS)?;
    ensure!(sent == messages.len(), "{sent} of {} messages were sent", messages.len());
    for (message, header) in messages.iter().zip(&headers) {
        check_complete(&message.bytes, header.bytes_sent())?;
    }
    Ok(())
}

/// Maps a file as executable, as the loader maps a library.
fn map(path: &str) -> Result<()> {
    let file = fs::File::open(path)?;
    let (how, flags) = (ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE);
    // SAFETY: the kernel picks an unused address, and the mapping is never
    // accessed.
    unsafe { mmap(std::ptr::null_mut(), 4096, how, flags, &file, 0) }?;
    Ok(())
}

/// Opens a UDP socket that is not bound. The standard library can only create bound
/// ones.
fn unbound_udp_socket(v6: bool) -> Result<OwnedFd> {
    let family = if v6 { AddressFamily::INET6 } else { AddressFamily::INET };
    Ok(rustix::net::socket(family, SocketType::DGRAM, None)?)
}

/// Checks that everything was sent. Otherwise the test would not know what was
/// sent.
fn check_complete(bytes: &[u8], sent: usize) -> Result<()> {
    ensure!(sent == bytes.len(), "{sent} of {} bytes were sent", bytes.len());
    Ok(())
}

/// Runs the remaining statements in another program.
fn run_in_program(how: &str, program: Option<&str>, rest: &[String]) -> Result<()> {
    let mut command = Command::new(program.unwrap_or("/proc/self/exe"));
    command.args(rest);
    match how {
        "exec" => Err(command.exec().into()),
        "run" => {
            let status = command.status()?;
            ensure!(status.success(), "the program failed: {status}");
            Ok(())
        }
        _ => {
            command.env(PARENT, std::process::id().to_string()).spawn()?;
            Ok(())
        }
    }
}
