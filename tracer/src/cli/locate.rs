//! `tracer locate`: finds the TLS functions in files.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use tracer_host::locate::{Cache, Error, FileSource, Located, locate};

/// Find the TLS functions in programs, libraries and APKs.
///
/// These are the functions that take plaintext to encrypt. They are found in stripped programs that
/// contain BoringSSL too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracer locate /usr/lib/chromium/chromium
  tracer locate --json base.apk")]
pub(super) struct Args {
    /// Print one line of JSON for each file or library in an APK (see docs/reference/locate.md)
    #[arg(long)]
    json: bool,
    /// ELF files or APKs
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut cache = Cache::new();
    let mut out = io::stdout().lock();
    let mut failed = false;
    for path in &args.files {
        match file(path, &mut cache) {
            Ok(found) => {
                for located in found {
                    if args.json {
                        serde_json::to_writer(&mut out, &located)?;
                        writeln!(out)?;
                    } else {
                        writeln!(out, "{located}")?;
                    }
                }
            }
            Err(err) => {
                out.flush()?;
                let err = anyhow::Error::from(err);
                message!("{}: {err:#}", path.display());
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn file(path: &Path, cache: &mut Cache) -> Result<Vec<Located>, Error> {
    let source = FileSource::new(File::open(path)?)?;
    locate(&source, &path.to_string_lossy(), cache)
}
