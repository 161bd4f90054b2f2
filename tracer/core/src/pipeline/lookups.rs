//! Names that applications look up, which reach the owner of the domain: a visited host or
//! an encoded URL may be in their labels, also in those of several names in succession.
//!
//! ```text
//! 0.nb2hi4dthixs6.s7f.collector.example
//! 1.3fo5zs4zlymftw.s7f.collector.example   ─▶ nb2hi4dthixs63fo5zs4zlymftw.collector.example
//! ```

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;

use crate::{
    address::Site,
    application::Application,
    proto::{Request, dns_names},
    record::BootTime,
};

/// Names that are remembered of one application.
const MAX_NAMES: usize = 64;

/// Applications whose names are remembered.
const MAX_APPLICATIONS: usize = 64;

/// Maximum number of names that are joined. Together they hold 2 KiB.
const MAX_JOINED: usize = 16;

/// Longest time between the first and the last name of a message.
const WINDOW: Duration = Duration::from_secs(30);

/// The shortest label that may be a piece of a message.
const MIN_PIECE: usize = 4;

/// The last lookups of each application.
#[derive(Debug, Default)]
pub(super) struct Lookups(HashMap<Arc<Application>, VecDeque<Lookup>>);

#[derive(Debug)]
struct Lookup {
    site: Site,
    name: String,
    time: BootTime,
}

impl Lookups {
    /// Adds a name. Returns the names to search: the name itself, then those that it forms
    /// with the names before it. Returns nothing if the name was looked up just before, as
    /// for addresses of another family.
    pub(super) fn add(
        &mut self,
        application: &Arc<Application>,
        name: &str,
        time: BootTime,
    ) -> Vec<String> {
        let Some(site) = Site::from_host(name).filter(|site| site.as_str().len() < name.len())
        else {
            return Vec::new();
        };
        if self.0.len() == MAX_APPLICATIONS && !self.0.contains_key(application) {
            self.0.clear();
        }
        let known = self.0.entry(Arc::clone(application)).or_default();
        known.retain(|it| time.since(it.time) <= WINDOW);
        if known.iter().any(|it| it.name == name) {
            return Vec::new();
        }
        if known.len() == MAX_NAMES {
            known.pop_front();
        }
        known.push_back(Lookup { site: site.clone(), name: name.to_owned(), time });
        let same = known.iter().filter(|it| it.site == site);
        let names: Vec<&str> = same.map(|it| &*it.name).collect();
        let last = &names[names.len().saturating_sub(MAX_JOINED)..];
        let joined =
            (0..last.len().saturating_sub(1)).filter_map(|from| join(&last[from..], &site));
        std::iter::once(name.to_owned()).chain(joined).collect()
    }
}

/// Joins the labels of names in which they differ. Returns `None` if they hold no pieces.
fn join(names: &[&str], site: &Site) -> Option<String> {
    let labels: Vec<Vec<&str>> = names
        .iter()
        .map(|name| {
            let rest = name.strip_suffix(site.as_str()).unwrap_or(name);
            rest.split('.').filter(|label| !label.is_empty()).collect()
        })
        .collect();
    let is_constant = |label: &&str| labels.iter().all(|other| other.contains(label));
    let mut text = String::new();
    for own in &labels {
        let before = text.len();
        for label in own.iter().filter(|label| !is_constant(label)) {
            let piece = without_number(label);
            if piece.len() >= MIN_PIECE {
                text.push_str(piece);
            }
        }
        if text.len() == before {
            return None;
        }
    }
    Some(format!("{text}.{}", site.as_str()))
}

/// Removes the number that orders the pieces of a message: `3-mfrgg` or `mfrgg-3`.
fn without_number(label: &str) -> &str {
    let is_number = |text: &str| text.len() <= 3 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match (label.split_once(['-', '_']), label.rsplit_once(['-', '_'])) {
        (Some((number, piece)), _) if is_number(number) => piece,
        (_, Some((piece, number))) if is_number(number) => piece,
        _ => label,
    }
}

/// Returns the names that a request of DNS over HTTPS asks for (RFC 8484).
pub(super) fn over_https(request: &Request) -> Vec<String> {
    const MESSAGE: &[u8] = b"application/dns-message";
    let is = |field| request.header(field).is_some_and(|value| value.starts_with(MESSAGE));
    if is("content-type") {
        return dns_names(request.body.prefix());
    }
    // The path of most servers, whose clients may leave the field out.
    let is_query = |path: &str| is("accept") || path.ends_with("/dns-query");
    let query = request.target().split_once('?').filter(|(path, _)| is_query(path));
    query
        .into_iter()
        .flat_map(|(_, query)| query.split('&'))
        .filter_map(|pair| BASE64URL_NOPAD.decode(pair.strip_prefix("dns=")?.as_bytes()).ok())
        .flat_map(|message| dns_names(&message))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application() -> Arc<Application> {
        Arc::new(Application::new(1000, None, "browser"))
    }

    fn joined(names: &[&str]) -> Vec<String> {
        let mut lookups = Lookups::default();
        let mut last = Vec::new();
        for (at, name) in names.iter().enumerate() {
            last = lookups.add(&application(), name, BootTime(at as u64));
        }
        last
    }

    #[test]
    fn pieces_of_successive_names_are_joined() {
        for names in [
            ["0.mfrggzdf.s7f.collector.example", "1.mztwq2lk.s7f.collector.example"],
            ["0-mfrggzdf.collector.example", "1-mztwq2lk.collector.example"],
            ["mfrg.gzdf.collector.example", "mztw.q2lk.collector.example"],
        ] {
            let found = joined(&names);
            assert_eq!(found, [names[1], "mfrggzdfmztwq2lk.collector.example"], "{names:?}");
        }
    }

    #[test]
    fn names_of_other_sites_and_repetitions_are_left_out() {
        let found = joined(&[
            "mfrggzdf.collector.example",
            "www.news.example",
            "mfrggzdf.collector.example",
            "mztwq2lk.collector.example",
        ]);
        assert_eq!(found, ["mztwq2lk.collector.example", "mfrggzdfmztwq2lk.collector.example"]);
        assert!(joined(&["a.collector.example", "a.collector.example"]).is_empty());
        assert!(joined(&["collector.example"]).is_empty());
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut lookups = Lookups::default();
        for n in 0..1000 {
            let name = format!("piece{n}.collector.example");
            assert!(lookups.add(&application(), &name, BootTime(n)).len() <= MAX_JOINED);
        }
        assert!(lookups.0.values().all(|known| known.len() <= MAX_NAMES));
    }
}
