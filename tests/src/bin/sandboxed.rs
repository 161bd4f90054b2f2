//! A process that enters the sandbox of tracer, and then tries what its arguments say.
//!
//! `sandboxed RIGHTS FOLDER ATTEMPT…`: RIGHTS is `free` (no sandbox), `capture` (the restriction of
//! the capturing process), or a list of `open`
//! (nothing but open descriptors), `folder`, `threads` and `sockets`, joined by `+`. For each
//! attempt, a line `ATTEMPT RESULT` is printed, where RESULT is `ok` or the name of an error.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::AsFd as _,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixDatagram, UnixStream},
        },
    },
    path::Path,
    process::Command,
    ptr, thread,
};

use tracer_host::sandbox::{self, Sandbox};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [rights, folder, attempts @ ..] = &arguments[..] else {
        panic!("usage: sandboxed RIGHTS FOLDER ATTEMPT…");
    };
    let opened = File::open(folder).expect("the folder");
    let (mut near, far) = UnixStream::pair().expect("a socket pair");
    if rights == "capture" {
        rustix::thread::set_no_new_privs(true).expect("no_new_privs");
        match sandbox::restrict_capture() {
            Ok(()) => println!("+seccomp ok"),
            Err(reason) => println!("-seccomp {reason}"),
        }
    } else if rights != "free" {
        let mut sandbox = Sandbox::new();
        for right in rights.split('+') {
            sandbox = match right {
                "open" => sandbox,
                "folder" => sandbox.with_folder(&opened),
                "threads" => sandbox.with_threads(),
                "sockets" => sandbox.with_sockets(),
                right => panic!("unknown right {right}"),
            };
        }
        let confinement = sandbox.enter().expect("a process without threads");
        for (mechanism, _) in confinement.active {
            println!("+{mechanism} ok");
        }
        for (mechanism, reason) in confinement.missing {
            println!("-{mechanism} {reason}");
        }
    }
    for attempt in attempts {
        let result = attempt_to(attempt, Path::new(folder), &mut near, &far);
        println!("{attempt} {}", result.map_or_else(|err| name(&err), |()| "ok".into()));
    }
}

fn name(err: &io::Error) -> String {
    match err.raw_os_error() {
        Some(libc::EPERM) => "EPERM".into(),
        Some(libc::EACCES) => "EACCES".into(),
        _ => format!("{err:?}").replace(' ', "_"),
    }
}

fn attempt_to(
    what: &str,
    folder: &Path,
    near: &mut UnixStream,
    far: &UnixStream,
) -> io::Result<()> {
    match what {
        "read-file" => File::open("/etc/passwd").map(drop),
        "read-environment" => File::open("/proc/1/environ").map(drop),
        "list-folder" => fs::read_dir("/proc").map(drop),
        "create-file" => File::create(env::temp_dir().join("sandboxed-escaped")).map(drop),
        "write-device" => OpenOptions::new().write(true).open("/dev/null").map(drop),
        "create-in-folder" => fs::write(folder.join("new"), "x"),
        "read-in-folder" => fs::read(folder.join("new")).map(drop),
        "rename-in-folder" => fs::rename(folder.join("new"), folder.join("newer")),
        "remove-in-folder" => fs::remove_file(folder.join("newer")),
        "leave-folder" => fs::write(folder.join("../sandboxed-escaped"), "x"),
        "unix-socket" => UnixDatagram::unbound().map(drop),
        "listen" => TcpListener::bind("127.0.0.1:0").map(drop),
        "connect" => TcpStream::connect("127.0.0.1:1").map(drop),
        "udp" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "use-socket" => {
            rustix::net::send(far.as_fd(), b"x", rustix::net::SendFlags::empty())?;
            let mut byte = [0];
            near.read_exact(&mut byte)
        }
        "thread" => {
            thread::Builder::new().spawn(|| ())?.join().map_err(|_| io::ErrorKind::Other.into())
        }
        "chmod" => fs::set_permissions(folder, fs::Permissions::from_mode(0o755)),
        "link" => fs::hard_link(folder.join("new"), folder.join("linked")),
        "execute" => Command::new("/bin/true").status().map(drop),
        "stdout" => io::stdout().write_all(b""),
        "allocate" => {
            let memory = vec![1_u8; 64 << 20];
            (memory.iter().map(|byte| u64::from(*byte)).sum::<u64>() == 64 << 20)
                .then_some(())
                .ok_or(io::ErrorKind::Other.into())
        }
        other => system_call(other),
    }
}

/// Makes a system call whose arguments are valid enough to get past the first checks.
fn system_call(name: &str) -> io::Result<()> {
    let none = ptr::null::<u8>();
    // Process 1 exists always.
    let other = 1;
    // SAFETY: the calls get null pointers and numbers, and either fail or change only this
    // process, which ends soon.
    let result = unsafe {
        match name {
            "bpf" => libc::syscall(libc::SYS_bpf, 0, none, 0),
            "perf" => libc::syscall(libc::SYS_perf_event_open, none, 0, -1, -1, 0),
            "ptrace" => libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, other, 0, 0),
            "read-process" => libc::syscall(libc::SYS_process_vm_readv, other, none, 0, none, 0, 0),
            "write-process" => {
                libc::syscall(libc::SYS_process_vm_writev, other, none, 0, none, 0, 0)
            }
            "pidfd" => libc::syscall(libc::SYS_pidfd_open, other, 0),
            "kill" => libc::syscall(libc::SYS_kill, other, 0),
            "execve" => libc::syscall(libc::SYS_execve, none, none, none),
            "execveat" => libc::syscall(libc::SYS_execveat, -1, none, none, none, 0),
            "fork" => {
                let child = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
                if child == 0 {
                    libc::_exit(0);
                }
                child
            }
            "unshare" => libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUTS),
            "mount" => libc::syscall(libc::SYS_mount, none, none, none, 0, none),
            "chroot" => libc::syscall(libc::SYS_chroot, c"/".as_ptr()),
            "become-root" => libc::syscall(libc::SYS_setuid, 0),
            "keyring" => libc::syscall(libc::SYS_add_key, none, none, none, 0, 0),
            "userfault" => libc::syscall(libc::SYS_userfaultfd, 1),
            "io-uring" => libc::syscall(libc::SYS_io_uring_setup, 0, none),
            "memfd" => libc::syscall(libc::SYS_memfd_create, c"x".as_ptr(), 0),
            "type-into-terminal" => libc::syscall(libc::SYS_ioctl, 0, libc::TIOCSTI, none),
            "dumpable" => libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0),
            "executable-memory" => libc::syscall(
                libc::SYS_mmap,
                0,
                4096,
                libc::PROT_READ | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            ),
            "clone3" => libc::syscall(libc::SYS_clone3, none, 0),
            other => panic!("unknown attempt {other}"),
        }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
