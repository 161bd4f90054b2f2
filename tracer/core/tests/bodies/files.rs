//! Files of this machine's packages: images, sound, fonts and texts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::random::Random;

/// Files that are read of each kind.
const MAX_FILES: usize = 3000;

/// The longest file, in bytes.
const MAX_LEN: usize = 64 << 10;

const MEDIA: [&str; 16] = [
    "png", "jpg", "jpeg", "gif", "webp", "ico", "bmp", "avif", "woff", "woff2", "ttf", "otf",
    "ogg", "wav", "mp3", "icc",
];

const TEXT: [&str; 12] =
    ["txt", "md", "rst", "py", "rs", "c", "h", "js", "css", "svg", "copyright", "po"];

/// The files that bodies are made of.
pub(crate) struct Files {
    media: Vec<Vec<u8>>,
    /// Those without addresses in their metadata, of which a piece does not show that it is
    /// metadata.
    plain_media: Vec<Vec<u8>>,
    text: Vec<String>,
}

impl Files {
    /// Uses files of this repository alone, which are the same everywhere.
    pub(crate) fn of_repository() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Self::in_folders(&[root.join("docs/images"), root.join("tracer-ebpf/src")])
    }

    /// Uses files of the packages that are installed.
    pub(crate) fn of_machine() -> Self {
        Self::in_folders(&["/usr/share".into(), "/usr/lib".into(), "/usr/include".into()])
    }

    fn in_folders(folders: &[PathBuf]) -> Self {
        let mut files = Self { media: Vec::new(), plain_media: Vec::new(), text: Vec::new() };
        for folder in folders {
            files.add(folder);
        }
        assert!(!files.media.is_empty() && !files.text.is_empty(), "files in {folders:?}");
        files
    }

    fn add(&mut self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_symlink() {
            } else if path.is_dir() {
                self.add(&path);
            } else if let Some(extension) = path.extension().and_then(|it| it.to_str()) {
                let (media, text) = (MEDIA.contains(&extension), TEXT.contains(&extension));
                if media && self.media.len() < MAX_FILES || text && self.text.len() < MAX_FILES {
                    let mut bytes = fs::read(&path).unwrap_or_default();
                    bytes.truncate(MAX_LEN);
                    if media {
                        let has_address = bytes.windows(3).any(|part| part == b"://");
                        if bytes.len() > 64 && !has_address {
                            self.plain_media.push(bytes.clone());
                        }
                        self.media.extend(Some(bytes).filter(|bytes| bytes.len() > 64));
                    } else {
                        let text = without_findings(&String::from_utf8_lossy(&bytes));
                        self.text.extend(Some(text).filter(|text| text.len() > 64));
                    }
                }
            }
        }
    }

    pub(crate) fn media(&self, random: &mut Random) -> &[u8] {
        &self.media[random.below(self.media.len())]
    }

    pub(crate) fn plain_media(&self, random: &mut Random) -> &[u8] {
        &self.plain_media[random.below(self.plain_media.len())]
    }

    pub(crate) fn text(&self, random: &mut Random) -> &str {
        &self.text[random.below(self.text.len())]
    }
}

/// Leaves out lines that are findings wherever they are: with addresses of pages and of people,
/// with the name of a visited site, and with a title in JSON, as a report has it.
fn without_findings(text: &str) -> String {
    let is_plain = |line: &&str| {
        !["://", "www.", "@", "example.", "\"title\":"].iter().any(|mark| line.contains(mark))
    };
    text.split_inclusive('\n').filter(is_plain).collect()
}
