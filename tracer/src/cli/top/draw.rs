//! The threads that read keys and draw. They never hold up the capture: a terminal that is not
//! read delays only its own picture.

use std::{
    io::{self, Read as _, Stdout},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use crossterm::event::Event;
use ratatui::{Terminal, TerminalOptions, Viewport, backend::CrosstermBackend};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::terminal;
use crate::top::{
    model::Model,
    ui::{Action, Ui},
    view::{self, Look},
};

/// Time between two pictures, while no key is pressed.
const FRAME: Duration = Duration::from_millis(100);

/// Pause after an error of the terminal.
const PAUSE: Duration = Duration::from_millis(100);

/// Number of errors after which reading keys is given up.
const MAX_ERRORS: u32 = 50;

/// The state that decoding and drawing share.
#[derive(Clone)]
pub(super) struct Shared {
    model: Arc<Mutex<Model>>,
    paused: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn new(model: Model) -> Self {
        Self { model: Arc::new(Mutex::new(model)), paused: Arc::default() }
    }

    /// Returns the model, to be changed or drawn.
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        // Each change leaves it consistent.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports whether a recording is held.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }
}

/// The reason for which the view ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The user wishes it, or the first process.
    Wanted,
    /// The terminal fails, or a thread.
    Terminal,
}

/// Reports that a thread has ended, also if it panics.
struct Ended(UnboundedSender<End>);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.send(End::Terminal);
    }
}

/// Starts the threads. The receiver gets the reason for the end.
///
/// # Errors
/// If they cannot be started.
pub(super) fn start(
    shared: Shared,
    look: Look,
    mut control: UnixStream,
) -> io::Result<UnboundedReceiver<End>> {
    let (end, ends) = unbounded_channel();
    let (keys, pressed) = channel();
    let ended = Ended(end.clone());
    thread::Builder::new().name("tracer-keys".into()).spawn(move || {
        let _ = ended.0.send(read_keys(&keys));
    })?;
    let ended = end.clone();
    thread::Builder::new().name("tracer-control".into()).spawn(move || {
        // The first process sends nothing; it closes the socket.
        while control.read(&mut [0]).is_ok_and(|length| length > 0) {}
        let _ = ended.send(End::Wanted);
    })?;
    let ended = Ended(end);
    thread::Builder::new().name("tracer-draw".into()).spawn(move || {
        if run(&shared, &look, &pressed).is_ok() {
            let _ = ended.0.send(End::Wanted);
        }
    })?;
    Ok(ends)
}

fn read_keys(keys: &Sender<Event>) -> End {
    let mut errors = 0;
    loop {
        match crossterm::event::read() {
            Ok(event) => {
                errors = 0;
                if keys.send(event).is_err() {
                    return End::Wanted;
                }
            }
            // For example, a size that cannot be asked for after a change.
            Err(_) if errors < MAX_ERRORS => {
                errors += 1;
                thread::sleep(PAUSE);
            }
            Err(_) => return End::Terminal,
        }
    }
}

/// Draws until the user ends it.
fn run(shared: &Shared, look: &Look, pressed: &Receiver<Event>) -> io::Result<()> {
    let mut screen = Screen::new()?;
    let mut ui = Ui::default();
    loop {
        let mut events = Vec::new();
        match pressed.recv_timeout(FRAME) {
            Ok(event) => events.push(event),
            Err(RecvTimeoutError::Timeout) => {}
            // The other thread has said why.
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        events.extend(pressed.try_iter());
        let model = shared.model();
        for event in &events {
            match ui.event(event, &model) {
                Action::None => {}
                Action::Pause => {
                    shared.paused.fetch_xor(true, Ordering::Relaxed);
                }
                Action::Quit => return Ok(()),
            }
        }
        screen.draw(model, &mut ui, look, !events.is_empty())?;
    }
}

/// The screen, and what it shows.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    size: ratatui::layout::Rect,
    /// Version of the model.
    version: Option<u64>,
}

impl Screen {
    fn new() -> io::Result<Self> {
        let size = terminal::size();
        let backend = CrosstermBackend::new(io::stdout());
        // A fixed size: to ask for it, the backend would open the terminal once more.
        let options = TerminalOptions { viewport: Viewport::Fixed(size) };
        Ok(Self { terminal: Terminal::with_options(backend, options)?, size, version: None })
    }

    /// Draws if something changed.
    fn draw(
        &mut self,
        model: MutexGuard<'_, Model>,
        ui: &mut Ui,
        look: &Look,
        is_new: bool,
    ) -> io::Result<()> {
        let size = terminal::size();
        let is_resized = size != self.size;
        if is_resized {
            self.size = size;
            self.terminal.resize(size)?;
        }
        if !is_new && !is_resized && self.version == Some(model.version()) {
            return Ok(());
        }
        self.version = Some(model.version());
        // The picture is complete before anything is written, which can take long.
        let mut frame = self.terminal.get_frame();
        let area = frame.area();
        view::draw(&model, ui, look, area, frame.buffer_mut());
        drop(model);
        self.terminal.flush()?;
        self.terminal.swap_buffers();
        ratatui::backend::Backend::flush(self.terminal.backend_mut())
    }
}
