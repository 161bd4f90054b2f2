//! The messages from an audit to the process that decodes for it.
//!
//! ```text
//! audit ──▶ decoder   framed messages, with the files of a report
//! audit ◀── decoder   answer: u8
//! ```
//!
//! The decoder may be under the control of whoever sends to it, so the audit accepts nothing from
//! it but these answers.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufReader, IoSlice, IoSliceMut, Read, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    super::{frame, rule_files::RuleTexts},
    output::REPORT_FILES,
};
use tracer_audit::journal::Journal;
use tracer_core::record::Event;

/// The files of a report, empty, in the order of [`REPORT_FILES`].
pub(super) type ReportFiles = [File; REPORT_FILES.len()];

/// The first message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) journal: Journal,
    pub(super) show_values: bool,
    /// [`RuleTexts`] as bytes.
    rules: Vec<u8>,
}

impl Start {
    pub(super) fn new(journal: Journal, rules: &RuleTexts, show_values: bool) -> Self {
        Self { journal, show_values, rules: rules.to_bytes() }
    }

    /// Returns the files of rules.
    pub(super) fn rules(&self) -> io::Result<RuleTexts> {
        RuleTexts::from_bytes(&self.rules)
    }
}

/// A message to the decoder.
pub(super) enum Message {
    Start(Box<Start>),
    /// The journal has changed.
    Journal(Box<Journal>),
    Events(Vec<Event>),
    /// Write an interim report.
    Report(ReportFiles),
    /// Write the final report, print the answers, and end.
    Finish(ReportFiles),
}

const START: u8 = 1;
const JOURNAL: u8 = 2;
const EVENTS: u8 = 3;
const REPORT: u8 = 4;
const FINISH: u8 = 5;

/// The result of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Answer {
    /// The files are complete.
    Written = b'w',
    /// They are not. The decoder has said why.
    Failed = b'f',
}

/// The audit's end of the socket.
pub(super) struct Sender(UnixStream);

impl Sender {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self(socket)
    }

    pub(super) fn start(&self, start: &Start) -> io::Result<()> {
        self.send(START, &serde_json::to_vec(start)?, &[])
    }

    pub(super) fn journal(&self, journal: &Journal) -> io::Result<()> {
        self.send(JOURNAL, &serde_json::to_vec(journal)?, &[])
    }

    /// Sends events in the form of entries of a trace.
    pub(super) fn events(&self, entries: &[u8]) -> io::Result<()> {
        self.send(EVENTS, entries, &[])
    }

    /// Asks for an interim report.
    pub(super) fn report(&self, files: &ReportFiles) -> io::Result<()> {
        self.send(REPORT, &[], files)
    }

    /// Asks for the final report.
    pub(super) fn finish(&self, files: &ReportFiles) -> io::Result<()> {
        self.send(FINISH, &[], files)
    }

    fn send(&self, kind: u8, contents: &[u8], files: &[File]) -> io::Result<()> {
        let head = frame::head(kind, contents.len());
        let files: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REPORT_FILES.len()))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&files));
        }
        let parts = [IoSlice::new(&head)];
        let sent = sendmsg(&self.0, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
        if sent != head.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        (&self.0).write_all(contents)
    }

    /// Waits for an answer. Returns `None` if the decoder has ended, or answers something else.
    pub(super) fn wait(&self) -> Option<Answer> {
        self.receive(RecvFlags::empty()).ok().flatten()
    }

    /// Returns the answer if it has arrived.
    ///
    /// # Errors
    /// If the decoder has ended, or answers something else.
    pub(super) fn poll(&self) -> io::Result<Option<Answer>> {
        match self.receive(RecvFlags::DONTWAIT) {
            Ok(Some(answer)) => Ok(Some(answer)),
            Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(Errno::AGAIN) => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    fn receive(&self, flags: RecvFlags) -> rustix::io::Result<Option<Answer>> {
        let mut byte = [0_u8];
        let (length, _) = rustix::io::retry_on_intr(|| recv(&self.0, &mut byte, flags))?;
        let answers = [Answer::Written, Answer::Failed];
        Ok(answers.into_iter().find(|answer| length == 1 && *answer as u8 == byte[0]))
    }
}

/// The decoder's end of the socket.
pub(super) struct Receiver(BufReader<Arrivals>);

/// What arrives: bytes, and files between them.
struct Arrivals {
    socket: UnixStream,
    files: VecDeque<File>,
}

impl Read for Arrivals {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REPORT_FILES.len()))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(buffer)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.socket, &mut buffers, &mut ancillary, flags)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files.map(File::from));
            }
        }
        Ok(received.bytes)
    }
}

impl Receiver {
    pub(super) fn new(socket: UnixStream) -> Self {
        const READ: usize = 256 << 10;
        Self(BufReader::with_capacity(READ, Arrivals { socket, files: VecDeque::new() }))
    }

    /// Waits for the next message. Returns `None` if the audit has ended.
    pub(super) fn next(&mut self) -> io::Result<Option<Message>> {
        let Some((kind, contents)) = frame::read(&mut self.0)? else {
            return Ok(None);
        };
        Ok(Some(match kind {
            START => Message::Start(serde_json::from_slice(&contents)?),
            JOURNAL => Message::Journal(serde_json::from_slice(&contents)?),
            EVENTS => Message::Events(frame::events(&contents)?),
            REPORT => Message::Report(self.files()?),
            FINISH => Message::Finish(self.files()?),
            kind => return Err(frame::invalid(&format!("a message of kind {kind}"))),
        }))
    }

    fn files(&mut self) -> io::Result<ReportFiles> {
        let arrived = &mut self.0.get_mut().files;
        let count = REPORT_FILES.len().min(arrived.len());
        let files: Vec<File> = arrived.drain(..count).collect();
        files.try_into().map_err(|_| io::Error::other("files of the report are missing"))
    }

    /// Returns an end for answers.
    pub(super) fn answers(&self) -> io::Result<Answers> {
        Ok(Answers(self.0.get_ref().socket.try_clone()?))
    }
}

/// Passes answers to the audit.
pub(super) struct Answers(UnixStream);

impl Answers {
    pub(super) fn send(&self, answer: Answer) -> io::Result<()> {
        (&self.0).write_all(&[answer as u8])
    }
}
