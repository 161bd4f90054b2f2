//! The senders of disclosures (parts of a browser), and the names that it looked up.

use serde::{Deserialize, Serialize};

use super::DisclosureReport;
use crate::{canary::Extent, phase::Phase};
use tracer_core::finding::{Recipient, Sender};

/// A part of the browser that disclosed something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SenderReport {
    /// The part.
    pub sender: Sender,
    /// Its name in words: `the extension "Example" (id)`.
    pub name: String,
    /// The application.
    pub application: String,
    /// Number of disclosing requests.
    pub requests: u64,
    /// Number of pages that it disclosed.
    pub visits: u64,
    /// The most that it disclosed of one.
    pub scope: Option<Extent>,
    /// Number of identifiers that it sent.
    pub identifiers: u64,
    /// Recipients of these requests.
    pub recipients: Vec<String>,
}

/// A name that was looked up over DNS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupReport {
    /// The name.
    pub name: String,
    /// Number of queries for it.
    pub queries: u64,
    /// Phases in which it was looked up.
    pub phases: Vec<Phase>,
}

impl DisclosureReport {
    /// Names the part of the browser that made the request, as far as it is known.
    pub fn sender_in_words(&self) -> String {
        match self.sender {
            Sender::Browser => "the browser itself".to_owned(),
            Sender::Extension => self.extension_in_words(),
            // Of the requests of pages to others, a report has only those that mention an audit's
            // page, which itself contacts no other host.
            Sender::Page if !matches!(self.who, Recipient::Maker { .. }) => {
                "a script in the page that is not the page's: an extension's or the browser's"
                    .to_owned()
            }
            Sender::Page => "a page".to_owned(),
            Sender::Navigation => "a navigation".to_owned(),
            Sender::Unknown => "an unknown part of the browser".to_owned(),
        }
    }

    fn extension_in_words(&self) -> String {
        let id = self.extension_addon.as_ref().or(self.extension.as_ref());
        match (&self.extension_name, id) {
            (Some(name), Some(id)) => format!("the extension \"{name}\" ({id})"),
            (_, Some(id)) => format!("the extension {id}"),
            (_, None) => "an extension".to_owned(),
        }
    }
}
