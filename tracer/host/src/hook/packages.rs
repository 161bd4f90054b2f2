//! Puts applications of Android in scope by their packages.
//!
//! ```text
//! packages.list ──▶ PackageList ──▶ ids in scope ──▶ SCOPE_APP
//!   ▲ replaced       (pure)              │
//!   │ by rename                          └─▶ their processes ──▶ Follower
//! inotify on its folder
//! ```
//!
//! A thread of its own waits for the list to be replaced, so that a browser that
//! is installed later is watched before it is started. An id that is a wanted
//! package's no more is out of scope: the next package may get it.

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
    scope::{SLOT, named, owned},
};
use tracer_core::packages::{PackageList, id_of, ids_of};

/// The most that is read of a list. A phone's has 100 KiB.
const MAX_LIST: u64 = 8 << 20;

/// News that may wait. The list changes when the user installs something.
const WAITING: usize = 1024;

/// What became of the packages that are to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageNews {
    /// An application is in scope.
    Watched {
        /// Its id.
        app: u32,
        /// All packages of that id. Those that were not asked for are watched
        /// as well: nothing that they send tells them apart.
        names: Vec<String>,
    },
    /// An application is out of scope: none of its packages is to be watched, or
    /// they are gone.
    Gone {
        /// Its id.
        app: u32,
    },
    /// Packages that are not installed. They are waited for.
    Awaited(Vec<String>),
    /// Parts of the list were not understood: so many lines.
    Malformed(usize),
    /// The list cannot be read, or the scope not be written; the reason.
    Failed(String),
}

/// The thread that follows the list. It ends when this is dropped.
pub struct Packages {
    news: mpsc::Receiver<PackageNews>,
    /// Closed to end the thread.
    _stop: PipeWriter,
}

impl Packages {
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
        // Before the list is read: no replacement is missed.
        let changes = watch(folder).map_err(|errno| HookError::Packages {
            folder: folder.to_owned(),
            source: errno.into(),
        })?;
        let (stopped, stop) = io::pipe().map_err(HookError::Thread)?;
        let (tell, news) = mpsc::channel(WAITING);
        let mut work = Work {
            ebpf,
            wanted: wanted.iter().cloned().collect(),
            list: list.to_owned(),
            watched: Vec::new(),
            awaited: Vec::new(),
            malformed: 0,
            processes,
            news: tell,
        };
        work.update();
        thread::Builder::new()
            .name("tracer-packages".into())
            .spawn(move || work.run(changes, &stopped))
            .map_err(HookError::Thread)?;
        Ok(Self { news, _stop: stop })
    }

    /// The next news; `None` when there will be none.
    pub async fn next(&mut self) -> Option<PackageNews> {
        self.news.recv().await
    }

    /// News that is there already.
    pub fn pending(&mut self) -> impl Iterator<Item = PackageNews> {
        std::iter::from_fn(|| self.news.try_recv().ok())
    }
}

/// Asks to be told of files that come to a folder, by rename or by writing.
fn watch(folder: &Path) -> Result<OwnedFd, Errno> {
    let changes = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let events = inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::CLOSE_WRITE
        | inotify::WatchFlags::DELETE
        | inotify::WatchFlags::ONLYDIR;
    inotify::add_watch(&changes, folder, events)?;
    Ok(changes)
}

struct Work {
    ebpf: Arc<Mutex<Ebpf>>,
    wanted: BTreeSet<String>,
    list: PathBuf,
    /// Those in scope, by id, with their packages.
    watched: Vec<(u32, Vec<String>)>,
    awaited: Vec<String>,
    malformed: usize,
    processes: Option<std::sync::mpsc::Sender<u32>>,
    news: mpsc::Sender<PackageNews>,
}

impl Work {
    fn run(mut self, changes: OwnedFd, stopped: &PipeReader) {
        /// Room for the events of a folder that is written to much.
        const ROOM: usize = 16 << 10;
        let mut room = vec![MaybeUninit::uninit(); ROOM];
        let mut events = inotify::Reader::new(&changes, &mut room);
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

    /// Whether an event may be about the list: all are that have no name (events
    /// were lost).
    fn is_list(&self, event: &inotify::Event<'_>) -> bool {
        let own = self.list.file_name().map(|name| name.as_encoded_bytes());
        event.file_name().is_none_or(|name| Some(name.to_bytes()) == own)
    }

    /// Reads the list, and brings the scope up to it.
    fn update(&mut self) {
        let list = match read(&self.list) {
            Ok(list) => list,
            // It is written when the first package is; until then there is none.
            Err(err) if err.kind() == io::ErrorKind::NotFound => PackageList::default(),
            Err(err) => {
                return self.fail(&format!("cannot read {}: {err}", self.list.display()));
            }
        };
        let unread = list.malformed() + list.left_out();
        if unread != self.malformed {
            self.malformed = unread;
            self.tell(PackageNews::Malformed(unread));
        }
        let ids: BTreeSet<u32> = self.wanted.iter().filter_map(|name| list.id(name)).collect();
        let watched: Vec<_> = ids.iter().map(|&id| (id, list.names(id).to_vec())).collect();
        if let Err(err) = self.scope(&ids) {
            return self.fail(&err.to_string());
        }
        let before = std::mem::replace(&mut self.watched, watched.clone());
        for (app, _) in before.iter().filter(|(app, _)| !ids.contains(app)) {
            self.tell(PackageNews::Gone { app: *app });
        }
        for (app, names) in watched.into_iter().filter(|entry| !before.contains(entry)) {
            self.follow(app);
            self.tell(PackageNews::Watched { app, names });
        }
        let missing = self.wanted.iter().filter(|name| list.id(name).is_none());
        let awaited: Vec<_> = missing.cloned().collect();
        if awaited != self.awaited {
            self.awaited.clone_from(&awaited);
            self.tell(PackageNews::Awaited(awaited));
        }
    }

    /// Writes those that come or go into the programs' map.
    fn scope(&self, ids: &BTreeSet<u32>) -> Result<(), HookError> {
        let map = |source: MapError| HookError::Map { name: "SCOPE_APP", source };
        let mut ebpf = self.ebpf.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slots: Array<_, u8> =
            Array::try_from(named(&mut ebpf, "SCOPE_APP")).map_err(map)?;
        let slot = u8::try_from(SLOT).expect("slots are bytes, like those of processes");
        let gone = self.watched.iter().map(|&(id, _)| id).filter(|id| !ids.contains(id));
        for (id, slot) in gone.map(|id| (id, 0)).chain(ids.iter().map(|&id| (id, slot))) {
            for id in ids_of(id) {
                slots.set(id, slot, 0).map_err(map)?;
            }
        }
        Ok(())
    }

    /// Has the processes looked into that an application has already.
    fn follow(&self, app: u32) {
        let Some(processes) = &self.processes else {
            return;
        };
        for tgid in owned(|uid| id_of(uid) == Some(app)) {
            // The follower ends last.
            let _ = processes.send(tgid);
        }
    }

    fn fail(&self, reason: &str) {
        self.tell(PackageNews::Failed(reason.to_owned()));
    }

    fn tell(&self, news: PackageNews) {
        // Full only if nobody has listened for a thousand changes.
        let _ = self.news.try_send(news);
    }
}

fn read(path: &Path) -> io::Result<PackageList> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_LIST).read_to_end(&mut text)?;
    Ok(PackageList::parse(&text))
}
