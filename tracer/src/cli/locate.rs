//! `tracer locate`: finds the TLS functions in files.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context as _;

use super::{confine, script};
use crate::files::{self, Input};
use tracer_host::{
    locate::{self, Cache, Error, FileSource, Located, Locator},
    sandbox::{self, Sandbox},
};

/// Find the TLS functions in programs, libraries and APKs.
///
/// These are the functions that take plaintext to encrypt. They are found in stripped programs that
/// contain BoringSSL, OpenSSL or GnuTLS too. Of a script, the program that it starts is analyzed;
/// of a bundle of APKs, each of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracer locate /usr/lib/chromium/chromium
  tracer locate --json base.apk")]
pub(super) struct Args {
    /// Print one line of JSON for each file or library in an APK (see docs/reference/locate.md)
    #[arg(long)]
    json: bool,
    /// ELF files, APKs, bundles of APKs, or scripts that start a program
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Arguments of the hidden subcommand that analyzes files for a run.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Start processes that analyze, and start them again if they die
    #[arg(long)]
    supervise: bool,
}

/// Hidden subcommand that analyzes the files at the other end of standard input.
const SERVE: &str = "locate-files";

/// Returns a locator that runs this program, without rights.
///
/// # Errors
/// If it cannot be started.
pub(super) fn locator() -> io::Result<Locator> {
    Locator::elsewhere(analyst().arg("--supervise"))
}

fn analyst() -> Command {
    let mut command = Command::new("/proc/self/exe");
    // Signals of the terminal are not for it.
    command.arg(SERVE).process_group(0);
    command
}

/// Analyzes files until standard input is closed.
pub(super) fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from)?;
    socket.peer_addr().context("standard input is not a socket; this command is internal")?;
    if args.supervise {
        sandbox::protect_memory()?;
        sandbox::keep_supervision_capabilities()?;
        locate::supervise(socket, analyst)?;
        return Ok(ExitCode::SUCCESS);
    }
    confine::enter(&Sandbox::new().with_sockets())?;
    locate::serve(socket)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    files::raise_limit();
    let inputs: Vec<_> = args.files.iter().map(|path| Named::open(path)).collect();
    confine::to_open_files()?;
    let mut cache = Cache::new();
    let mut out = io::stdout().lock();
    let mut failed = false;
    for Named { path, input, splits } in inputs {
        let found = input.map_err(Error::from).and_then(|input| file(input, &path, &mut cache));
        let hint = match found {
            Ok(found) => {
                for located in &found {
                    if args.json {
                        serde_json::to_writer(&mut out, located)?;
                        writeln!(out)?;
                    } else {
                        writeln!(out, "{located}")?;
                    }
                }
                unpack_hint(&found)
            }
            Err(Error::NoLibraries) if !splits.is_empty() => Some(format!(
                "no library was found in the archive; beside it are {}",
                list(&splits)
            )),
            Err(err) => Some(format!("{:#}", anyhow::Error::from(err))),
        };
        if let Some(hint) = hint {
            out.flush()?;
            message!("{}: {hint}", path.display());
            failed = true;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Maximum number of scripts that start one another.
const MAX_SCRIPTS: usize = 3;

/// A file to analyze. What is to be opened is opened before the process restricts itself.
struct Named {
    /// Its path: that of the program, if a script was named.
    path: PathBuf,
    input: io::Result<Input>,
    /// APKs in the same folder, if it is an APK.
    splits: Vec<PathBuf>,
}

impl Named {
    fn open(path: &Path) -> Self {
        let mut path = path.to_owned();
        for _ in 0..MAX_SCRIPTS {
            match script_target(&path) {
                Some(program) => {
                    message!("{}: a script that starts {}", path.display(), program.display());
                    path = program;
                }
                None => break,
            }
        }
        Self { input: Input::open(&path), splits: splits(&path), path }
    }
}

/// Returns the program that the file starts, if it is a script.
fn script_target(path: &Path) -> Option<PathBuf> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut script = Vec::new();
    let mut file = File::open(path).ok()?.take(2);
    file.read_to_end(&mut script).ok()?;
    if script != b"#!" {
        return None;
    }
    file.set_limit(script::MAX_SCRIPT);
    file.read_to_end(&mut script).ok()?;
    let path = path.canonicalize().ok()?;
    script::program(&String::from_utf8_lossy(&script), &path, &|file| file.is_file())
        .filter(|program| *program != path)
}

/// Returns the other APKs in the folder of an APK.
fn splits(path: &Path) -> Vec<PathBuf> {
    let is_apk = |path: &Path| path.extension().is_some_and(|extension| extension == "apk");
    let folder = path.parent().map(|folder| match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    });
    let Some(entries) = folder.filter(|_| is_apk(path)).and_then(|folder| folder.read_dir().ok())
    else {
        return Vec::new();
    };
    let others = entries.flatten().take(MAX_ENTRIES).map(|entry| entry.path());
    let mut splits: Vec<_> =
        others.filter(|other| is_apk(other) && other.file_name() != path.file_name()).collect();
    splits.sort();
    splits
}

/// Maximum number of files in a folder that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Returns the next step, if nothing in the file itself is mapped: parts of it are, once they are
/// installed.
fn unpack_hint(found: &[Located]) -> Option<String> {
    let mut parts: Vec<_> = found.iter().filter_map(|one| one.offsets_in.as_deref()).collect();
    parts.dedup();
    let all = !found.is_empty() && found.iter().all(|one| one.offsets_in.is_some());
    all.then(|| {
        format!(
            "a bundle or an archive of compressed libraries, which is unpacked when it is \
             installed; positions are those in {}",
            list(&parts)
        )
    })
}

/// Joins a few paths.
fn list<P: AsRef<Path>>(paths: &[P]) -> String {
    let shown = paths.iter().take(8).map(|path| path.as_ref().display().to_string());
    let more = paths.len().saturating_sub(8);
    let rest = (more > 0).then(|| format!("{more} more"));
    shown.chain(rest).collect::<Vec<_>>().join(", ")
}

fn file(input: Input, path: &Path, cache: &mut Cache) -> Result<Vec<Located>, Error> {
    let source = FileSource::new(input.into_file()?)?;
    locate::locate(&source, &path.to_string_lossy(), cache)
}
