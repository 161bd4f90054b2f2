//! The phases of an audit, in their order.

use serde::{Deserialize, Serialize};

/// A phase of an audit. Each one starts with the browser in the state in which the previous one left
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// First start of a new installation, before any consent.
    Fresh,
    /// Everything that the browser asks for is declined.
    Declined,
    /// The browser is left alone.
    Idle,
    /// Pages are opened, after consent is given if the scenario has a command for it.
    Pages,
    /// Pages that differ in one part at a time are opened several times, in random order.
    Experiment,
    /// An address and a search are typed.
    Typed,
    /// The browser is restarted, and pages are opened.
    Restart,
    /// Pages are opened in private windows.
    Private,
    /// The experiment is repeated in private windows.
    PrivateExperiment,
    /// The browser is restarted, and pages are opened in private windows.
    PrivateRestart,
    /// The browser's data is cleared, and pages are opened.
    Cleared,
    /// The browser is removed and installed again, and pages are opened.
    Reinstalled,
}

impl Phase {
    /// All phases, in their order.
    pub const ALL: [Self; 12] = [
        Self::Fresh,
        Self::Declined,
        Self::Idle,
        Self::Pages,
        Self::Experiment,
        Self::Typed,
        Self::Restart,
        Self::Private,
        Self::PrivateExperiment,
        Self::PrivateRestart,
        Self::Cleared,
        Self::Reinstalled,
    ];

    /// Returns the phases before this one.
    pub fn before(self) -> &'static [Self] {
        const ALL: &[Phase] = &Phase::ALL;
        let until = ALL.iter().position(|phase| *phase == self);
        &ALL[..until.unwrap_or_default()]
    }

    /// Returns its name in scenarios and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Declined => "declined",
            Self::Idle => "idle",
            Self::Pages => "pages",
            Self::Experiment => "experiment",
            Self::Typed => "typed",
            Self::Restart => "restart",
            Self::Private => "private",
            Self::PrivateExperiment => "private_experiment",
            Self::PrivateRestart => "private_restart",
            Self::Cleared => "cleared",
            Self::Reinstalled => "reinstalled",
        }
    }

    /// Returns its name in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Fresh => "fresh start, before consent",
            Self::Declined => "consent declined",
            Self::Idle => "idle",
            Self::Pages => "pages opened",
            Self::Experiment => "experiment",
            Self::Typed => "address and search typed",
            Self::Restart => "after a restart",
            Self::Private => "private mode",
            Self::PrivateExperiment => "experiment in private mode",
            Self::PrivateRestart => "private mode after a restart",
            Self::Cleared => "data cleared",
            Self::Reinstalled => "reinstalled",
        }
    }

    /// Reports whether its pages are opened in private windows.
    pub fn is_private(self) -> bool {
        matches!(self, Self::Private | Self::PrivateExperiment | Self::PrivateRestart)
    }

    /// Reports whether the phase is an experiment: its pages are designed, and opened several times.
    pub fn is_experiment(self) -> bool {
        matches!(self, Self::Experiment | Self::PrivateExperiment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_serialized_ones() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
        assert!(Phase::ALL.is_sorted());
        assert_eq!(Phase::Fresh.before(), []);
        assert_eq!(Phase::Restart.before().last(), Some(&Phase::Typed));
    }
}
