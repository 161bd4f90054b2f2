//! The frame of a page: its head, style, landmarks and sections.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::text::Shown;

const STYLE: &str = include_str!("style.css");

/// Nothing is loaded, and nothing runs; the style stands in the file.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A part of a page, with an entry in its contents.
pub(crate) struct Section {
    /// What links name it by.
    pub(crate) id: &'static str,
    /// Its heading.
    pub(crate) title: &'static str,
    /// What stands below the heading.
    pub(crate) body: Markup,
}

/// A page that stands alone.
pub(crate) fn document(
    title: &str,
    header: &Markup,
    sections: &[Section],
    footer: &Markup,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { (plain(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                @if let [first, ..] = sections {
                    a.skip href={ "#" (first.id) } { "Skip to: " (first.title) }
                }
                header { (header) }
                @if sections.len() > 1 {
                    nav aria-label="Contents" {
                        ol {
                            @for section in sections {
                                li { a href={ "#" (section.id) } { (section.title) } }
                            }
                        }
                    }
                }
                main {
                    @for Section { id, title, body } in sections {
                        section id=(id) aria-labelledby={ (id) "-title" } {
                            h2 id={ (id) "-title" } { (title) }
                            (body)
                        }
                    }
                }
                footer { (footer) }
            }
        }
    }
}

/// A title has no markup: what would mislead in it is left out.
fn plain(title: &str) -> String {
    const MAX_CHARS: usize = 120;
    let is_plain = |c: &char| c.is_alphanumeric() || c.is_ascii_graphic() || *c == ' ';
    title.chars().filter(is_plain).take(MAX_CHARS).collect()
}

/// What a table is about, and how it is read.
pub(crate) fn caption(text: &str) -> Markup {
    html! { caption { (text) } }
}

/// Something out of the ordinary that has to be known, in a box.
pub(crate) fn note(title: &str, lines: &[&str]) -> Markup {
    html! {
        aside.note aria-label=(title) {
            p { strong { (title) } }
            @if !lines.is_empty() {
                ul { @for line in lines { li { (Shown(line)) } } }
            }
        }
    }
}
