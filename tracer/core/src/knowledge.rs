//! Rules, joined with the lexicon that detection compiles from them.

use std::sync::Arc;

use crate::{
    detect::Lexicon,
    rules::{Rules, RulesError, RulesFile},
};

/// The rules and their lexicon. Clones share both.
#[derive(Debug, Clone)]
pub struct Knowledge {
    rules: Arc<Rules>,
    lexicon: Arc<Lexicon>,
}

impl Knowledge {
    /// Compiles the lexicon of these rules.
    ///
    /// # Errors
    /// Fails if a name has two meanings.
    pub fn new(rules: Rules) -> Result<Self, RulesError> {
        let lexicon =
            Lexicon::new(rules.identifiers(), rules.fields(), rules.roles(), rules.sdks())?;
        Ok(Self { rules: Arc::new(rules), lexicon: Arc::new(lexicon) })
    }

    /// Reads the embedded rules, overlaid with the entries of `files` in their
    /// order.
    ///
    /// # Errors
    /// Fails if the files have a mistake, alone or together.
    pub fn with_overrides(files: &[RulesFile<'_>]) -> Result<Self, RulesError> {
        Self::new(Rules::with_overrides(files)?)
    }

    /// Returns the rules.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Returns the lexicon.
    pub fn lexicon(&self) -> &Arc<Lexicon> {
        &self.lexicon
    }
}

impl Default for Knowledge {
    /// The embedded rules.
    fn default() -> Self {
        Self::new(Rules::default()).expect("a test reads the embedded rules")
    }
}
