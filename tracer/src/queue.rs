//! Outputs behind a bounded queue, so that nothing waits for a slow disk or for a terminal that is
//! not read.
//!
//! ```text
//! write, flush ──entry──▶ queue ──▶ a thread ──▶ file, pipe, terminal
//!                │
//!                └─ no room: dropped and counted
//! ```

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write},
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Maximum number of entries that wait.
const MAX_WAITING: usize = 1 << 14;

/// Maximum number of bytes that are written at once.
const MAX_BATCH: usize = 256 << 10;

/// Pause before a write that would have blocked is tried again.
const BLOCKED: Duration = Duration::from_millis(10);

/// An output whose entries a thread writes. An entry is what is written between two calls of
/// [`flush`](Write::flush); it is written as a whole or not at all.
#[derive(Debug)]
pub(crate) struct Queue {
    name: String,
    entry: Vec<u8>,
    max_bytes: usize,
    /// `None` once it is closed.
    entries: Option<SyncSender<Vec<u8>>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The failure that was reported last.
    reported: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    waiting: AtomicU64,
    lost: AtomicU64,
    closed: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Shared {
    fn failure(&self) -> MutexGuard<'_, Option<String>> {
        // A string is consistent at any time.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self, entries: &[Vec<u8>]) {
        let bytes = entries.iter().map(Vec::len).sum();
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.waiting.fetch_sub(entries.len() as u64, Ordering::Relaxed);
    }
}

/// The destination of a queue.
#[derive(Debug)]
enum Target {
    /// A regular file: an entry that could be written in part only is removed.
    Regular(File),
    /// Anything else. After such an entry, the next one begins on a new line.
    Stream { file: File, is_torn: bool },
}

impl Target {
    fn new(file: File, is_own: bool) -> Self {
        let is_regular = is_own && file.metadata().is_ok_and(|metadata| metadata.is_file());
        if is_regular { Self::Regular(file) } else { Self::Stream { file, is_torn: false } }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Regular(file) => {
                let end = file.seek(SeekFrom::End(0))?;
                write_all(file, bytes).map_err(|(_, err)| {
                    // If this fails too, the next write reports it.
                    let _ = file.set_len(end);
                    err
                })
            }
            Self::Stream { file, is_torn } => {
                if *is_torn {
                    write_all(file, b"\n").map_err(|(_, err)| err)?;
                    *is_torn = false;
                }
                write_all(file, bytes).map_err(|(written, err)| {
                    *is_torn = written > 0;
                    err
                })
            }
        }
    }
}

/// Writes everything. An error comes with the number of bytes that were written.
fn write_all(file: &mut File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(len) => written += len,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            // Standard output may be shared with a program that made it non-blocking.
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => thread::sleep(BLOCKED),
            Err(err) => return Err((written, err)),
        }
    }
    Ok(())
}

impl Queue {
    /// Starts the thread that writes to a file of tracer's own. `name` is for messages, and
    /// `max_bytes` may wait.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn to_file(name: &str, file: File, max_bytes: usize) -> io::Result<Self> {
        Self::start(name, Target::new(file, true), max_bytes)
    }

    /// Starts the thread that writes to a standard stream.
    ///
    /// # Errors
    /// If the stream is closed or the thread cannot be started.
    pub(crate) fn to_stream(name: &str, stream: impl AsFd, max_bytes: usize) -> io::Result<Self> {
        let file = File::from(stream.as_fd().try_clone_to_owned()?);
        Self::start(name, Target::new(file, false), max_bytes)
    }

    fn start(name: &str, target: Target, max_bytes: usize) -> io::Result<Self> {
        let (entries, waiting) = sync_channel(MAX_WAITING);
        let shared = Arc::new(Shared::default());
        let writer = Writer { target, entries: waiting, shared: Arc::clone(&shared) };
        let thread =
            thread::Builder::new().name("tracer-output".into()).spawn(move || writer.run())?;
        Ok(Self {
            name: name.to_owned(),
            entry: Vec::new(),
            max_bytes,
            entries: Some(entries),
            shared,
            thread: Some(thread),
            reported: None,
        })
    }

    /// Returns the name of the output.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of entries that were not written so far.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Returns the reason of a failure that has not been returned yet.
    pub(crate) fn failure(&mut self) -> Option<String> {
        let now = self.shared.failure().clone();
        if now == self.reported {
            return None;
        }
        self.reported.clone_from(&now);
        now
    }

    /// Reports whether the reader of the output has closed it. Nothing is written any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, but not longer than `patience`. What is not written then
    /// counts as lost.
    pub(crate) fn finish(&mut self, patience: Duration) {
        let _ = self.flush();
        self.entries = None;
        let deadline = Instant::now() + patience;
        let Some(thread) = self.thread.take() else {
            return;
        };
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                // The thread waits for the output, and ends with the process.
                let waiting = self.shared.waiting.load(Ordering::Relaxed);
                self.shared.lost.fetch_add(waiting, Ordering::Relaxed);
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.entry.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Queues the entry. Never blocks, and never fails: an entry without room is dropped.
    fn flush(&mut self) -> io::Result<()> {
        if self.entry.is_empty() {
            return Ok(());
        }
        let entry = std::mem::take(&mut self.entry);
        let size = entry.len();
        let shared = &self.shared;
        let before = shared.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        // One entry always has room, whatever its size.
        let has_room = before == 0 || before.saturating_add(size) <= self.max_bytes;
        let entries = self.entries.as_ref().filter(|_| has_room);
        if entries.is_none_or(|entries| entries.try_send(entry).is_err()) {
            shared.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            shared.waiting.fetch_sub(1, Ordering::Relaxed);
            shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

struct Writer {
    target: Target,
    entries: Receiver<Vec<u8>>,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(first) = self.entries.recv() {
            let mut size = first.len();
            let mut batch = vec![first];
            while size < MAX_BATCH
                && let Ok(entry) = self.entries.try_recv()
            {
                size += entry.len();
                batch.push(entry);
            }
            self.write(&batch);
            self.shared.written(&batch);
        }
    }

    fn write(&mut self, batch: &[Vec<u8>]) {
        let closed = &self.shared.closed;
        let all = if let [one] = batch { one } else { &batch.concat() };
        let result = match closed.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => self.target.write(all),
        };
        match result {
            Ok(()) => *self.shared.failure() = None,
            Err(err) => {
                self.shared.lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if err.kind() == io::ErrorKind::BrokenPipe {
                    closed.store(true, Ordering::Relaxed);
                }
                let reason = err.to_string();
                let mut failure = self.shared.failure();
                if failure.is_none() {
                    *failure = Some(reason);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        io::Read as _,
        os::unix::net::UnixStream,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn entry(queue: &mut Queue, text: &str) {
        queue.write_all(text.as_bytes()).unwrap();
        queue.flush().unwrap();
    }

    /// Waits until `done`.
    fn wait(mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn entries_are_written_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "before\n").unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let mut queue = Queue::to_file("a file", file, 1 << 20).unwrap();
        let lines: String = (0..1000).map(|i| format!("{i}\n")).collect();
        lines.split_inclusive('\n').for_each(|line| entry(&mut queue, line));
        queue.finish(PATIENCE);
        assert_eq!(fs::read_to_string(path).unwrap(), "before\n".to_owned() + &lines);
        assert_eq!((queue.lost(), queue.failure()), (0, None));
    }

    #[test]
    fn an_output_that_is_not_read_never_blocks() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut queue = Queue::to_stream("standard output", &here, 1 << 20).unwrap();
        let started = Instant::now();
        let line = "x".repeat(1023) + "\n";
        (0..5000).for_each(|_| entry(&mut queue, &line));
        queue.finish(Duration::from_millis(50));
        assert!(started.elapsed() < Duration::from_secs(5));
        let lost = queue.lost();
        assert!(lost > 3000, "{lost}");
        // What was not lost is whole once it is read, except for the batch that was being written.
        drop(here);
        there.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut read = Vec::new();
        let _ = there.read_to_end(&mut read);
        assert!(read.len() >= (5000 - lost as usize) * 1024);
    }

    #[test]
    fn a_full_disk_is_reported_once_and_loses_whole_entries() {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut queue = Queue::to_file("a file", file, 1 << 20).unwrap();
        entry(&mut queue, "one\n");
        let mut reason = None;
        wait(|| {
            reason = queue.failure();
            reason.is_some()
        });
        assert!(reason.unwrap().contains("No space left"));
        entry(&mut queue, "two\n");
        wait(|| queue.lost() == 2);
        assert_eq!(queue.failure(), None);
    }

    #[test]
    fn a_closed_reader_is_noticed() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut queue = Queue::to_stream("standard output", &here, 1 << 20).unwrap();
        drop(there);
        entry(&mut queue, "one\n");
        wait(|| queue.is_closed());
        queue.finish(PATIENCE);
        assert_eq!(queue.lost(), 1);
    }
}
