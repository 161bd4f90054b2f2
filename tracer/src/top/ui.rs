//! The user's choices, and the keys that change them.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEventKind};

use super::model::{Entry, Model, Row, Who};

/// Number of rows that a page key or the wheel moves by.
const PAGE: usize = 10;
const WHEEL: usize = 3;

/// The choices of the user.
#[derive(Debug, Default)]
pub(crate) struct Ui {
    /// The list that the keys move in.
    pub(crate) pane: Pane,
    /// The chosen row of the table.
    pub(crate) row: usize,
    /// Number of the chosen request. `None` follows the latest one.
    pub(crate) request: Option<u64>,
    /// Set to show the chosen request in full.
    pub(crate) detail: bool,
    /// Number of lines of the detail that are above the screen.
    pub(crate) scroll: usize,
    /// Set to list alerts only.
    pub(crate) only_alerts: bool,
    /// Lists only requests of one application, or to one of its recipients.
    pub(crate) filter: Option<Filter>,
    /// Set to show the keys.
    pub(crate) help: bool,
}

/// A list on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pane {
    /// Applications and recipients.
    Applications,
    /// Requests.
    #[default]
    Requests,
}

/// A restriction of the list of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The application.
    pub(crate) who: Who,
    /// The recipient.
    pub(crate) host: Option<String>,
}

/// The effect of an event beyond the choices themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing.
    None,
    /// To end.
    Quit,
    /// To hold a recording, or to go on with it.
    Pause,
}

impl Ui {
    /// Takes a key, a turn of the wheel, or another event.
    pub(crate) fn event(&mut self, event: &Event, model: &Model) -> Action {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key, model),
            Event::Mouse(mouse) => {
                match mouse.kind {
                    MouseEventKind::ScrollUp => self.up(WHEEL, model),
                    MouseEventKind::ScrollDown => self.down(WHEEL, model),
                    _ => {}
                }
                Action::None
            }
            _ => Action::None,
        }
    }

    fn key(&mut self, key: &KeyEvent, model: &Model) -> Action {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return Action::Quit,
            _ if self.help => self.help = false,
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char(' ') => return Action::Pause,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('a') => self.only_alerts = !self.only_alerts,
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right if !self.detail => {
                self.pane = match self.pane {
                    Pane::Applications => Pane::Requests,
                    Pane::Requests => Pane::Applications,
                }
            }
            KeyCode::Enter => self.enter(model),
            KeyCode::Esc | KeyCode::Backspace => {
                if self.detail {
                    self.detail = false;
                } else if self.filter.take().is_none() {
                    self.request = None;
                }
            }
            KeyCode::Up | KeyCode::Char('k') => self.up(1, model),
            KeyCode::Down | KeyCode::Char('j') => self.down(1, model),
            KeyCode::PageUp => self.up(PAGE, model),
            KeyCode::PageDown => self.down(PAGE, model),
            KeyCode::Home | KeyCode::Char('g') => self.up(usize::MAX, model),
            KeyCode::End | KeyCode::Char('G') => self.down(usize::MAX, model),
            _ => {}
        }
        Action::None
    }

    /// Shows the chosen request in full, or restricts the list to the chosen row.
    fn enter(&mut self, model: &Model) {
        if self.detail {
            self.detail = false;
        } else if self.pane == Pane::Requests {
            let chosen = self.chosen(model).map(|entry| entry.number);
            self.request = chosen;
            (self.detail, self.scroll) = (chosen.is_some(), 0);
        } else {
            let rows = model.rows();
            self.filter = match rows.get(self.row) {
                Some(Row::Application(who, _)) => Some(Filter { who: (*who).clone(), host: None }),
                Some(Row::Recipient(who, host, _)) => {
                    Some(Filter { who: (*who).clone(), host: Some((*host).to_owned()) })
                }
                Some(Row::Others(_)) | None => None,
            };
            if self.filter.is_some() {
                (self.pane, self.request) = (Pane::Requests, None);
            }
        }
    }

    fn up(&mut self, by: usize, model: &Model) {
        if self.detail {
            self.scroll = self.scroll.saturating_sub(by);
        } else if self.pane == Pane::Applications {
            self.row = self.row.min(model.rows().len().saturating_sub(1)).saturating_sub(by);
        } else {
            let listed = self.listed(model);
            let at = self.position(&listed).unwrap_or_default().saturating_sub(by);
            self.request = listed.get(at).map(|entry| entry.number);
        }
    }

    fn down(&mut self, by: usize, model: &Model) {
        if self.detail {
            // The view limits it to the length of the text.
            self.scroll = self.scroll.saturating_add(by).min(u16::MAX.into());
        } else if self.pane == Pane::Applications {
            let last = model.rows().len().saturating_sub(1);
            self.row = self.row.saturating_add(by).min(last);
        } else {
            let listed = self.listed(model);
            let at = self.position(&listed).map(|at| at.saturating_add(by));
            // Beyond the last one, the list follows the latest request again.
            self.request = at.and_then(|at| listed.get(at)).map(|entry| entry.number);
        }
    }

    /// Returns the requests that are listed, the latest last.
    pub(crate) fn listed<'a>(&self, model: &'a Model) -> Vec<&'a Entry> {
        model.requests().iter().filter(|entry| self.lists(entry)).collect()
    }

    fn lists(&self, entry: &Entry) -> bool {
        let is_wanted = |filter: &Filter| {
            filter.who == entry.who && filter.host.as_ref().is_none_or(|host| *host == entry.host)
        };
        (!self.only_alerts || entry.alert.is_some()) && self.filter.as_ref().is_none_or(is_wanted)
    }

    /// Returns the position of the chosen request in a list: the latest one if none is chosen.
    pub(crate) fn position(&self, listed: &[&Entry]) -> Option<usize> {
        let last = listed.len().checked_sub(1)?;
        let Some(chosen) = self.request else {
            return Some(last);
        };
        // Numbers ascend. If it is not listed any more, the next one takes its place.
        Some(listed.iter().position(|entry| entry.number >= chosen).unwrap_or(last))
    }

    /// Returns the chosen request.
    pub(crate) fn chosen<'a>(&self, model: &'a Model) -> Option<&'a Entry> {
        let listed = self.listed(model);
        self.position(&listed).map(|at| listed[at])
    }
}
