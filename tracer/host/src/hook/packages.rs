//! Puts Android applications in scope by their packages.
//!
//! ```text
//! packages.list ──▶ PackageList ──▶ ids in scope ──▶ SCOPE_APP
//!   ▲ replaced       (pure)              │
//!   │ by rename                          └─▶ their processes ──▶ Follower
//! inotify on its folder
//! ```
//!
//! A separate thread waits until the list is replaced, so that a browser that is
//! installed later is watched before it starts. An id that no longer belongs to a watched
//! package leaves the scope, since another package may be assigned it.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, PipeReader, PipeWriter, Read as _},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use aya::{
    Ebpf,
    maps::{Array, MapError},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify,
    io::Errno,
};
use tokio::sync::mpsc;

use super::{
    HookError,
    scope::{SLOT, named, with_uid},
};
use tracer_core::packages::{PackageList, id_of, ids_of};

/// Maximum number of bytes read of a list. That of a phone has about 100 KiB.
const MAX_LIST: u64 = 8 << 20;

/// Maximum number of events that wait. The list changes when the user installs something.
const WAITING: usize = 1024;

/// A change in the scope of Android applications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageEvent {
    /// An application came into scope.
    Watched {
        /// Id of the application.
        app: u32,
        /// All packages with that id. Those that were not requested are watched as well:
        /// their sends cannot be distinguished.
        names: Vec<String>,
    },
    /// An application left the scope because its watched packages were removed.
    Gone {
        /// Id of the application.
        app: u32,
    },
    /// Watched packages that are not installed yet.
    Awaited(Vec<String>),
    /// Number of lines in the list that could not be read.
    Malformed(usize),
    /// The list could not be read or the scope could not be written, with the reason.
    Failed(String),
}

/// The thread that follows the list of packages. It ends when this is dropped.
pub struct PackageWatcher {
    events: mpsc::Receiver<PackageEvent>,
    /// Closed on drop, which ends the thread.
    _stop: PipeWriter,
}

impl PackageWatcher {
    pub(super) fn start(
        ebpf: Arc<Mutex<Ebpf>>,
        wanted: &[String],
        list: &Path,
        processes: Option<std::sync::mpsc::Sender<u32>>,
    ) -> Result<Self, HookError> {
        let folder = match list.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Start watching before reading the list, so that no replacement is missed.
        let changes = watch(folder).map_err(|errno| HookError::Packages {
            folder: folder.to_owned(),
            source: errno.into(),
        })?;
        let (stopped, stop) = io::pipe().map_err(HookError::Thread)?;
        let (sender, events) = mpsc::channel(WAITING);
        let mut worker = Worker {
            ebpf,
            wanted: wanted.iter().cloned().collect(),
            list: list.to_owned(),
            watched: Vec::new(),
            awaited: Vec::new(),
            malformed: 0,
            processes,
            events: sender,
        };
        worker.update();
        thread::Builder::new()
            .name("tracer-packages".into())
            .spawn(move || worker.run(changes, &stopped))
            .map_err(HookError::Thread)?;
        Ok(Self { events, _stop: stop })
    }

    /// Waits for the next change; returns `None` when the thread has ended.
    pub async fn next(&mut self) -> Option<PackageEvent> {
        self.events.recv().await
    }

    /// Returns the changes that are already available.
    pub fn pending(&mut self) -> impl Iterator<Item = PackageEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok())
    }
}

/// Subscribes to files that appear in a folder, by a rename or by writing.
fn watch(folder: &Path) -> Result<OwnedFd, Errno> {
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let events = inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::CLOSE_WRITE
        | inotify::WatchFlags::DELETE
        | inotify::WatchFlags::ONLYDIR;
    inotify::add_watch(&changes, folder, events)?;
    Ok(changes)
}

struct Worker {
    ebpf: Arc<Mutex<Ebpf>>,
    wanted: BTreeSet<String>,
    list: PathBuf,
    /// Ids in scope, with their packages.
    watched: Vec<(u32, Vec<String>)>,
    awaited: Vec<String>,
    malformed: usize,
    processes: Option<std::sync::mpsc::Sender<u32>>,
    events: mpsc::Sender<PackageEvent>,
}

impl Worker {
    fn run(mut self, changes: OwnedFd, stopped: &PipeReader) {
        /// Size of the buffer for inotify events, enough for a busy folder.
        const BUFFER: usize = 16 << 10;
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut events = inotify::Reader::new(&changes, &mut buffer);
        loop {
            let mut ready =
                [PollFd::new(&changes, PollFlags::IN), PollFd::new(stopped, PollFlags::empty())];
            match poll(&mut ready, None) {
                Ok(_) if !ready[1].revents().is_empty() => return,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return self.fail(&format!("cannot wait for changes: {errno}")),
            }
            let mut changed = false;
            loop {
                match events.next() {
                    Ok(event) => changed |= self.is_list(&event),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    Err(errno) => return self.fail(&format!("cannot read changes: {errno}")),
                }
            }
            if changed {
                self.update();
            }
        }
    }

    /// Reports whether an event can concern the list. An event without a name means that
    /// events were lost.
    fn is_list(&self, event: &inotify::Event<'_>) -> bool {
        let own = self.list.file_name().map(|name| name.as_encoded_bytes());
        event.file_name().is_none_or(|name| Some(name.to_bytes()) == own)
    }

    /// Reads the list and updates the scope.
    fn update(&mut self) {
        let list = match read(&self.list) {
            Ok(list) => list,
            // The system writes the list when the first package is installed.
            Err(err) if err.kind() == io::ErrorKind::NotFound => PackageList::default(),
            Err(err) => {
                return self.fail(&format!("cannot read {}: {err}", self.list.display()));
            }
        };
        let unread = list.malformed() + list.left_out();
        if unread != self.malformed {
            self.malformed = unread;
            self.send(PackageEvent::Malformed(unread));
        }
        let ids: BTreeSet<u32> = self.wanted.iter().filter_map(|name| list.id(name)).collect();
        let watched: Vec<_> = ids.iter().map(|&id| (id, list.names(id).to_vec())).collect();
        if let Err(err) = self.write_scope(&ids) {
            return self.fail(&err.to_string());
        }
        let before = std::mem::replace(&mut self.watched, watched.clone());
        for (app, _) in before.iter().filter(|(app, _)| !ids.contains(app)) {
            self.send(PackageEvent::Gone { app: *app });
        }
        for (app, names) in watched.into_iter().filter(|entry| !before.contains(entry)) {
            self.follow(app);
            self.send(PackageEvent::Watched { app, names });
        }
        let missing = self.wanted.iter().filter(|name| list.id(name).is_none());
        let awaited: Vec<_> = missing.cloned().collect();
        if awaited != self.awaited {
            self.awaited.clone_from(&awaited);
            self.send(PackageEvent::Awaited(awaited));
        }
    }

    /// Writes the ids that entered or left the scope into the programs' map.
    fn write_scope(&self, ids: &BTreeSet<u32>) -> Result<(), HookError> {
        let map = |source: MapError| HookError::Map { name: "SCOPE_APP", source };
        let mut ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slots: Array<_, u8> =
            Array::try_from(named(&mut ebpf, "SCOPE_APP")).map_err(map)?;
        let slot = u8::try_from(SLOT).expect("policy slots fit in a byte");
        let gone = self.watched.iter().map(|&(id, _)| id).filter(|id| !ids.contains(id));
        for (id, slot) in gone.map(|id| (id, 0)).chain(ids.iter().map(|&id| (id, slot))) {
            for id in ids_of(id) {
                slots.set(id, slot, 0).map_err(map)?;
            }
        }
        Ok(())
    }

    /// Passes the running processes of an application to the follower.
    fn follow(&self, app: u32) {
        let Some(processes) = &self.processes else {
            return;
        };
        for tgid in with_uid(|uid| id_of(uid) == Some(app)) {
            // The follower ends after this thread.
            let _ = processes.send(tgid);
        }
    }

    fn fail(&self, reason: &str) {
        self.send(PackageEvent::Failed(reason.to_owned()));
    }

    fn send(&self, event: PackageEvent) {
        // The channel is full only if the receiver ignored a thousand changes.
        let _ = self.events.try_send(event);
    }
}

fn read(path: &Path) -> io::Result<PackageList> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_LIST).read_to_end(&mut text)?;
    Ok(PackageList::parse(&text))
}
