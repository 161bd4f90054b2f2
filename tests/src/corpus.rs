//! The recorded requests and their manifests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tracer_core::proto::Initiator;

/// A recorded request.
#[derive(Debug)]
pub struct Recorded {
    /// Name of the file.
    pub name: String,
    /// Path of the file.
    pub path: PathBuf,
    /// Contents of the file: one request.
    pub bytes: Vec<u8>,
    /// Initiator of the request, as the manifest names it.
    pub class: String,
    /// Chains by which the visited URL is found, as tracer writes them.
    pub url_chains: Vec<String>,
    /// Chains by which the identifier is found, as tracer writes them.
    pub identifier_chains: Vec<String>,
}

impl Recorded {
    /// Returns the initiator that tracer should report.
    ///
    /// # Panics
    /// Panics if the manifest names an unknown class.
    pub fn initiator(&self) -> Initiator {
        match self.class.as_str() {
            // An image of the new tab page, which Firefox treats like any other
            // page.
            _ if self.name.starts_with("firefox-044") => Initiator::Page,
            "navigation" => Initiator::Navigation,
            // Some services of browsers send no Fetch Metadata.
            "browser-internal" if !self.has_metadata() => Initiator::Unknown,
            "browser-internal" => Initiator::Browser,
            "extension" => Initiator::Extension,
            "process" => Initiator::Unknown,
            class if class.starts_with("page") => Initiator::Page,
            class => panic!("{}: unknown class {class}", self.name),
        }
    }

    fn has_metadata(&self) -> bool {
        self.bytes.to_ascii_lowercase().windows(15).any(|part| part == b"sec-fetch-site:")
    }
}

/// Returns the folder of the recorded requests.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/corpus")
}

/// Reads all recorded requests.
///
/// # Panics
/// Panics if files are missing or a manifest has an unexpected format.
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

/// Converts a manifest's chains to tracer's notation.
fn chains(listed: &str) -> Vec<String> {
    listed
        .split(" | ")
        .filter(|&chain| chain != "-")
        .map(|chain| chain.trim_end_matches(" (substring)").replace('>', " > "))
        .collect()
}
