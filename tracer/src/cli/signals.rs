//! The signals of a run.
//!
//! A thread of its own takes them, so that they act at once whatever the other threads do.
//!
//! | signal | effect |
//! |---|---|
//! | SIGINT, SIGTERM | stops the capture; what was captured is decoded |
//! | the same again | ends tracer, whatever still waits |
//! | SIGHUP | loads the rules again; if the terminal was closed, stops the capture |
//! | SIGXFSZ | nothing: the write fails, and the output is named |

use std::{
    io::{self, IsTerminal as _},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::terminal;

/// Time in which the other threads may end after the second signal.
const GRACE: Duration = Duration::from_millis(150);

/// Exit code of a process that was interrupted, as shells report it.
const INTERRUPTED: i32 = 130;

/// SIGXFSZ (signal(7)), whose number is the same on all architectures that tracer supports: a file
/// has reached the limit of the process.
pub(super) const FILE_TOO_LARGE: i32 = 25;

/// An order of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Stop the capture, and decode what was captured.
    Stop,
    /// End now. If that takes long, the process is ended.
    Force,
    /// Load the rules again.
    Reload,
}

/// The signals of a run.
pub(super) struct Signals {
    orders: UnboundedReceiver<Order>,
}

impl Signals {
    /// Starts to take signals.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, orders) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ready, is_ready) = sync_channel(1);
        let had_terminal = has_terminal();
        thread::Builder::new().name("tracer-signals".into()).spawn(move || {
            runtime.block_on(async {
                // By default, it would end the process.
                let _beyond_limit = signal(SignalKind::from_raw(FILE_TOO_LARGE));
                let kinds =
                    [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
                let [interrupt, terminate, hangup] = kinds.map(signal);
                let (mut interrupt, mut terminate, mut hangup) =
                    match (interrupt, terminate, hangup) {
                        (Ok(interrupt), Ok(terminate), Ok(hangup)) => {
                            let _ = ready.send(Ok(()));
                            (interrupt, terminate, hangup)
                        }
                        (Err(err), ..) | (_, Err(err), _) | (.., Err(err)) => {
                            let _ = ready.send(Err(err));
                            return;
                        }
                    };
                let mut end = Order::Stop;
                loop {
                    let order = tokio::select! {
                        _ = interrupt.recv() => std::mem::replace(&mut end, Order::Force),
                        _ = terminate.recv() => std::mem::replace(&mut end, Order::Force),
                        _ = hangup.recv() => match had_terminal && !has_terminal() {
                            true => std::mem::replace(&mut end, Order::Force),
                            false => Order::Reload,
                        },
                    };
                    // The run may have ended by itself.
                    let _ = sender.send(order);
                    if order == Order::Force {
                        thread::sleep(GRACE);
                        message!("ended by a second signal, without a summary");
                        exit();
                    }
                }
            });
        })?;
        is_ready.recv().unwrap_or_else(|err| Err(io::Error::other(err)))?;
        Ok(Self { orders })
    }

    /// Waits for the next order.
    pub(super) async fn next(&mut self) -> Order {
        match self.orders.recv().await {
            Some(order) => order,
            // The thread only ends with the process.
            None => std::future::pending().await,
        }
    }
}

/// Reports whether one of the standard streams is an open terminal. One that was closed answers no
/// questions.
fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

fn exit() -> ! {
    terminal::finish(Duration::from_millis(40));
    std::process::exit(INTERRUPTED);
}
