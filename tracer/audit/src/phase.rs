//! The phases of an audit: what is done to the browser, in which order.

use serde::{Deserialize, Serialize};

/// A phase. Their order is that of the experiment: each begins where the one
/// before has left the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The first start of a new installation, before anything is agreed to.
    Fresh,
    /// What the browser asks to be allowed was declined.
    Declined,
    /// It is left alone.
    Idle,
    /// Pages are opened. Where the scenario has a way to agree, it is taken
    /// before.
    Pages,
    /// An address and a search are typed.
    Typed,
    /// It is stopped and started, and pages are opened.
    Restart,
    /// Pages are opened in private windows.
    Private,
    /// The same, once more, after it was stopped and started.
    PrivateRestart,
    /// Its data was cleared; it is started, and pages are opened.
    Cleared,
    /// It was removed and installed again; it is started, and pages are opened.
    Reinstalled,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 10] = [
        Self::Fresh,
        Self::Declined,
        Self::Idle,
        Self::Pages,
        Self::Typed,
        Self::Restart,
        Self::Private,
        Self::PrivateRestart,
        Self::Cleared,
        Self::Reinstalled,
    ];

    /// Those before this one.
    pub fn before(self) -> &'static [Self] {
        const ALL: &[Phase] = &Phase::ALL;
        let until = ALL.iter().position(|phase| *phase == self);
        &ALL[..until.unwrap_or_default()]
    }

    /// What it is called in scenarios and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Declined => "declined",
            Self::Idle => "idle",
            Self::Pages => "pages",
            Self::Typed => "typed",
            Self::Restart => "restart",
            Self::Private => "private",
            Self::PrivateRestart => "private_restart",
            Self::Cleared => "cleared",
            Self::Reinstalled => "reinstalled",
        }
    }

    /// What it is called for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Fresh => "fresh start, before consent",
            Self::Declined => "consent declined",
            Self::Idle => "idle",
            Self::Pages => "pages opened",
            Self::Typed => "address and search typed",
            Self::Restart => "after a restart",
            Self::Private => "private mode",
            Self::PrivateRestart => "private mode after a restart",
            Self::Cleared => "data cleared",
            Self::Reinstalled => "reinstalled",
        }
    }

    /// Whether it is about private windows.
    pub fn is_private(self) -> bool {
        matches!(self, Self::Private | Self::PrivateRestart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
        assert!(Phase::ALL.is_sorted());
        assert_eq!(Phase::Fresh.before(), []);
        assert_eq!(Phase::Restart.before().last(), Some(&Phase::Typed));
    }
}
