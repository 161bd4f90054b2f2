//! Rules: what is known of vendors, as data.

mod file;

pub use self::file::{Located, Named, Place, RulesError, RulesFile, Text, TextError, overlay};
