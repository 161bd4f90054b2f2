//! The terminal: how it is taken and given back, and its size.

use std::io::{self, Write as _};

use ratatui::layout::Rect;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// To the second screen, without a cursor (xterm's control sequences).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[2J\x1b[?25l";

/// The buttons and the wheel of the mouse, in decimal form.
const MOUSE: &[u8] = b"\x1b[?1000h\x1b[?1006h";

/// No mouse, no attributes, with a cursor, to the first screen.
const LEAVE: &[u8] = b"\x1b[?1006l\x1b[?1000l\x1b[0m\x1b[?25h\x1b[?1049l";

/// Size of a terminal that does not know its own.
const DEFAULT: (u16, u16) = (80, 24);

/// Maximum size, which bounds the memory of a picture.
const MAX: (u16, u16) = (1000, 500);

/// The terminal, taken from the shell until this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    settings: Termios,
}

impl Taken {
    /// Takes the terminal: keys are not echoed and arrive at once.
    ///
    /// # Errors
    /// If standard input is not a terminal.
    pub(super) fn new(mouse: bool) -> io::Result<Self> {
        let settings = tcgetattr(io::stdin())?;
        let taken = Self { settings };
        let mut raw = taken.settings.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let mut out = io::stdout().lock();
        out.write_all(ENTER)?;
        if mouse {
            out.write_all(MOUSE)?;
        }
        out.flush()?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(LEAVE).and_then(|()| out.flush());
        // Keys that were typed after the end are not for the shell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.settings);
    }
}

/// Returns the size of the terminal.
pub(super) fn size() -> Rect {
    let size = tcgetwinsize(io::stdout()).ok();
    let (columns, rows) = size.map_or((0, 0), |size| (size.ws_col, size.ws_row));
    let columns = if columns == 0 { DEFAULT.0 } else { columns.min(MAX.0) };
    let rows = if rows == 0 { DEFAULT.1 } else { rows.min(MAX.1) };
    Rect::new(0, 0, columns, rows)
}
