//! The folder of an audit, and its reports.
//!
//! ```text
//! run.json         journal of the audit, rewritten at each step
//! trace            captured sends
//! report.json      answers
//! report.html      answers as a page
//! evidence.har     visits, and requests that disclose something, as sent
//! evidence.pcapng  their bytes
//! SHA256SUMS       checksums of the other files
//! ```

use std::{
    fs::{File, Permissions},
    io::{self, BufReader, BufWriter, Read as _, Write as _},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use data_encoding::HEXLOWER;
use rustix::{
    fs::{
        AtFlags, CWD, Dir, Gid, Mode, OFlags, Uid, chownat, fchown, mkdirat, openat, renameat,
        unlinkat,
    },
    io::Errno,
};
use sha2::{Digest as _, Sha256};

use super::{super::users::User, channel::ReportFiles};
use crate::files::{self, Existing};
use tracer_audit::{
    Gatherer, Observations, html,
    journal::{JOURNAL_SCHEMA, Journal},
    phase::Phase,
    report::Report,
};
use tracer_core::{
    alert::redact::{Key, Redactor},
    knowledge::Knowledge,
    record::trace::{self, TraceError},
};
use tracer_formats::{Evidence, har, pcapng};

const JOURNAL: &str = "run.json";
pub(super) const TRACE: &str = "trace";
const REPORT: &str = "report.json";
pub(super) const HTML: &str = "report.html";
const HAR: &str = "evidence.har";
const PCAPNG: &str = "evidence.pcapng";
const SUMS: &str = "SHA256SUMS";

/// The files of a report.
pub(super) const REPORT_FILES: [&str; 4] = [REPORT, HTML, HAR, PCAPNG];

/// Mode of a new folder. Its contents are private.
const OWNER_ONLY: u32 = 0o700;

/// The folder of an audit. It is held open, because a user who can write to its parent could
/// replace it by a link.
pub(in crate::cli) struct Folder {
    path: PathBuf,
    folder: File,
}

impl Folder {
    /// Creates a new one.
    pub(super) fn new(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot create {}", path.display());
        let (parent, name) = files::parent(path).with_context(cannot)?;
        match mkdirat(&parent, &name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(err) => return Err(io::Error::from(err)).with_context(cannot),
        }
        let cannot = || format!("cannot write to {}", path.display());
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(&parent, &name, flags, Mode::empty()).map_err(io::Error::from);
        let this = Self { path: path.to_owned(), folder: File::from(folder.with_context(cannot)?) };
        this.folder.metadata().and_then(|it| files::check_owner(&it)).with_context(cannot)?;
        anyhow::ensure!(
            this.names()?.is_empty(),
            "{} is not empty; name a new folder with --out",
            path.display()
        );
        this.folder.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
        Ok(this)
    }

    /// Opens the folder of an audit.
    pub(in crate::cli) fn open(path: &Path) -> anyhow::Result<Self> {
        // DIRECTORY, so that opening a FIFO does not block.
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            openat(CWD, path, flags, Mode::empty()).map(File::from).map_err(io::Error::from);
        let folder = match folder {
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                return Err(err).with_context(|| {
                    let path = path.display();
                    format!(
                        "cannot open {path}; it belongs to another user, so call this with sudo"
                    )
                });
            }
            other => other.with_context(|| format!("cannot open {}", path.display()))?,
        };
        let this = Self { path: path.to_owned(), folder };
        let journal = this.read(JOURNAL).and_then(|file| file.metadata());
        match journal {
            Ok(metadata) if metadata.is_file() => {}
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                return Err(err).with_context(|| {
                    format!(
                        "cannot read {}; it belongs to another user, so call this with sudo",
                        this.file(JOURNAL).display()
                    )
                });
            }
            _ => anyhow::bail!(
                "{} is not the folder of an audit: {JOURNAL} is missing",
                path.display()
            ),
        }
        Ok(this)
    }

    /// Gives the folder and its files to a user. Until then, that user could not change anything in it.
    pub(super) fn hand_over(&self, user: &User) -> anyhow::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)));
        let given = self.names().and_then(|names| {
            for name in names {
                chownat(&self.folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Ok(fchown(&self.folder, uid, gid)?)
        });
        given.with_context(|| {
            let path = self.path.display();
            format!("cannot give {path} to {}; it belongs to root", user.name)
        })
    }

    /// Creates a file, or empties an existing one.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        files::create_at(&self.folder, Path::new(name), Existing::Replace)
    }

    /// Opens a file for reading.
    fn read(&self, name: &str) -> io::Result<File> {
        // NONBLOCK, so that opening a FIFO does not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(openat(&self.folder, name, flags, Mode::empty())?.into())
    }

    /// Returns the names of the files.
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = Dir::read_from(&self.folder)?.collect::<rustix::io::Result<Vec<_>>>()?;
        let names = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter(|name| name != "." && name != "..").collect())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes the journal.
    pub(super) fn write_journal(&self, journal: &Journal) -> anyhow::Result<()> {
        self.replace(JOURNAL, |out| {
            serde_json::to_writer_pretty(&mut *out, journal)?;
            out.write_all(b"\n")
        })
    }

    /// Replaces a file atomically.
    fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let written = (|| {
            let mut out = BufWriter::new(self.create(&part(name))?);
            write(&mut out)?;
            out.into_inner()?;
            self.publish(name)
        })();
        written.with_context(|| format!("cannot write {}", self.file(name).display()))
    }

    /// Puts a file that was written beside its place there.
    fn publish(&self, name: &str) -> io::Result<()> {
        self.read(&part(name))?.sync_all()?;
        Ok(renameat(&self.folder, part(name), &self.folder, name)?)
    }

    /// Creates the files of a report beside their places.
    pub(super) fn begin_report(&self) -> anyhow::Result<ReportFiles> {
        let files = REPORT_FILES.map(|name| self.create(&part(name)));
        let files: Result<Vec<File>, io::Error> = files.into_iter().collect();
        let files = files.with_context(|| format!("cannot write to {}", self.path.display()))?;
        Ok(files.try_into().expect("one for each name"))
    }

    /// Puts the files of a report in their places.
    pub(super) fn publish_report(&self) -> anyhow::Result<()> {
        for name in REPORT_FILES {
            self.publish(name)
                .with_context(|| format!("cannot write {}", self.file(name).display()))?;
        }
        self.write_sums()
    }

    /// Removes the files of a report that was not finished.
    pub(super) fn discard_report(&self) {
        for name in REPORT_FILES {
            let _ = unlinkat(&self.folder, part(name), AtFlags::empty());
        }
    }

    /// Makes the observations again from journal and trace.
    fn gather(&self, knowledge: &Knowledge) -> anyhow::Result<Observations> {
        let mut text = Vec::new();
        self.read(JOURNAL)
            .and_then(|mut file| file.read_to_end(&mut text))
            .with_context(|| format!("cannot read {JOURNAL}"))?;
        let journal: Journal =
            serde_json::from_slice(&text).with_context(|| format!("cannot parse {JOURNAL}"))?;
        anyhow::ensure!(
            (1..=JOURNAL_SCHEMA).contains(&journal.schema),
            "{JOURNAL} has version {}, but this tracer reads versions up to {JOURNAL_SCHEMA}; use \
             the tracer that wrote it",
            journal.schema
        );
        let file = self.read(TRACE).with_context(|| format!("cannot read {TRACE}"))?;
        let mut gatherer = Gatherer::new(journal, knowledge);
        let mut reader = trace::Reader::new(BufReader::new(file))?;
        loop {
            match reader.event() {
                Ok(Some(event)) => gatherer.push(event),
                // It is still being written, or its writer was killed.
                Ok(None) | Err(TraceError::Cut) => break,
                Err(err) => return Err(err).with_context(|| format!("{TRACE} is damaged")),
            }
        }
        Ok(gatherer.finish())
    }

    /// Makes the report again from journal and trace.
    pub(in crate::cli) fn remake_report(
        &self,
        knowledge: &Knowledge,
        show_values: bool,
    ) -> anyhow::Result<Report> {
        let files = self.begin_report()?;
        let report = write_report(&self.gather(knowledge)?, show_values, &files)?;
        self.publish_report()?;
        Ok(report)
    }

    /// Writes the checksums of all other files, in the format of sha256sum(1).
    fn write_sums(&self) -> anyhow::Result<()> {
        let mut names = self.names()?;
        names.retain(|name| name != SUMS && !name.starts_with('.'));
        names.sort();
        let mut lines = String::new();
        for name in names {
            let mut digest = Sha256::new();
            let mut file = self.read(&name)?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    read => digest.update(&buffer[..read]),
                }
            }
            lines += &format!("{}  {name}\n", HEXLOWER.encode(&digest.finalize()));
        }
        self.replace(SUMS, |out| out.write_all(lines.as_bytes()))
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

/// Returns the name of a file that is being written.
fn part(name: &str) -> String {
    format!(".{name}.part")
}

/// Writes the report and the evidence to the files of a report.
pub(super) fn write_report(
    observations: &Observations,
    show_values: bool,
    files: &ReportFiles,
) -> anyhow::Result<Report> {
    let redactor = match show_values {
        true => Redactor::off(),
        false => Redactor::keyed(key(&observations.journal().redaction_key)?),
    };
    let report = Report::new(observations, &redactor);
    let entries: Vec<Evidence<'_>> = observations
        .evidence()
        .into_iter()
        .map(|(phase, decoded)| Evidence { decoded, phase: phase.map(Phase::name) })
        .collect();
    for (name, file) in REPORT_FILES.into_iter().zip(files) {
        let mut out = BufWriter::new(file);
        let written = match name {
            REPORT => serde_json::to_writer_pretty(&mut out, &report)
                .map_err(io::Error::from)
                .and_then(|()| out.write_all(b"\n")),
            HTML => html::write(&report, &mut out),
            // Evidence is exported as it was sent.
            HAR => har::write(&mut out, &entries, &Redactor::off()),
            _ => pcapng::write(&mut out, &entries),
        };
        written.and_then(|()| out.flush()).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(report)
}

/// Parses the key of the digests in a journal.
fn key(text: &str) -> anyhow::Result<Key> {
    let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Key).with_context(|| format!("{JOURNAL} has no valid key for digests"))
}
