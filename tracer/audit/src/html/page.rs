//! The frame of a page: head, style, landmarks and sections.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::text::Shown;

const STYLE: &str = include_str!("style.css");

/// Content Security Policy: nothing is loaded, and no script runs. The style is in the file.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A section of a page, with an entry in the table of contents.
pub(crate) struct Section {
    /// Target of links.
    pub(crate) id: &'static str,
    /// Heading.
    pub(crate) title: &'static str,
    /// Content below the heading.
    pub(crate) body: Markup,
}

/// Builds a complete page.
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

/// Removes characters that could mislead from a title, which cannot contain markup.
fn plain(title: &str) -> String {
    const MAX_CHARS: usize = 120;
    let is_plain = |c: &char| c.is_alphanumeric() || c.is_ascii_graphic() || *c == ' ';
    title.chars().filter(is_plain).take(MAX_CHARS).collect()
}

/// Builds the caption of a table.
pub(crate) fn caption(text: &str) -> Markup {
    html! { caption { (text) } }
}

/// Builds a box with notes.
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
