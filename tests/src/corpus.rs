//! The recorded requests, and what their manifests say of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tracer_core::proto::Initiator;

/// A recorded request.
#[derive(Debug)]
pub struct Recorded {
    /// The file's name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What it holds: one request.
    pub bytes: Vec<u8>,
    /// Who made it, as the manifest has it.
    pub class: String,
    /// The chains by which the visited URL is found, as tracer writes them.
    pub url_chains: Vec<String>,
    /// The chains by which the identifier is found.
    pub identifier_chains: Vec<String>,
}

impl Recorded {
    /// Who made it, in tracer's terms.
    ///
    /// # Panics
    /// When the manifest has a class of its own.
    pub fn initiator(&self) -> Initiator {
        match self.class.as_str() {
            // An image of the new tab page, which to Firefox is a page like any.
            _ if self.name.starts_with("firefox-044") => Initiator::Page,
            "navigation" => Initiator::Navigation,
            "browser-internal" => Initiator::Browser,
            "extension" => Initiator::Extension,
            "process" => Initiator::Unknown,
            class if class.starts_with("page") => Initiator::Page,
            class => panic!("{}: the class {class}", self.name),
        }
    }
}

/// The folder of the recorded requests.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/corpus")
}

/// All recorded requests.
///
/// # Panics
/// When they are not there, or their manifests are not as expected.
pub fn recorded() -> Vec<Recorded> {
    let mut all = manifest(&folder(), "initiator");
    all.extend(manifest(&folder().join("browser"), "class"));
    assert!(all.len() > 50, "the recorded requests");
    all
}

fn manifest(folder: &Path, class: &str) -> Vec<Recorded> {
    let text = fs::read_to_string(folder.join("MANIFEST.tsv")).expect("a manifest");
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().expect("a header line");
    let column = |name| header.iter().position(|&field| field == name).expect("the column");
    let (file, class) = (column("file"), column(class));
    let (urls, identifiers) = (column("url_layers"), column("identifier_layers"));
    lines
        .map(|row| {
            let path = folder.join(row[file]);
            Recorded {
                name: row[file].to_owned(),
                bytes: fs::read(&path).expect("a recorded request"),
                path,
                class: row[class].to_owned(),
                url_chains: chains(row[urls]),
                identifier_chains: chains(row[identifiers]),
            }
        })
        .collect()
}

/// A manifest's chains, as tracer writes them.
fn chains(listed: &str) -> Vec<String> {
    listed
        .split(" | ")
        .filter(|&chain| chain != "-")
        .map(|chain| chain.trim_end_matches(" (substring)").replace('>', " > "))
        .collect()
}
