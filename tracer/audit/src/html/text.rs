//! Formats values: untrusted text, bytes, times, numbers.

use maud::{Markup, Render, html};

/// Number of characters after which text is cut, more than most URLs have. `report.json` has the
/// complete text.
const MAX_CHARS: usize = 1000;

/// Untrusted text. Characters that are invisible, control the output or change the direction of text
/// are shown as their code point: `U+202E`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl Render for Shown<'_> {
    fn render_to(&self, page: &mut String) {
        let (shown, rest) = match self.0.char_indices().nth(MAX_CHARS) {
            Some((end, _)) => self.0.split_at(end),
            None => (self.0, ""),
        };
        for run in shown.split_inclusive(is_deceptive) {
            let mut chars = run.chars();
            match chars.next_back() {
                Some(last) if is_deceptive(last) => {
                    chars.as_str().render_to(page);
                    html! { span.control { (format!("U+{:04X}", u32::from(last))) } }
                        .render_to(page);
                }
                _ => run.render_to(page),
            }
        }
        if !rest.is_empty() {
            let more = format!("… and {} characters more", number(rest.chars().count() as u64));
            html! { span.more { (more) } }.render_to(page);
        }
    }
}

/// Reports whether a character can make text look like different text.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, Mongolian vowel separator, zero width space, word joiner and
            // invisible operators, byte order mark.
            '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            // Directional formatting (Unicode Annex 9).
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators; tags.
            | '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e007f}')
}

/// Formats a number with narrow no-break spaces: `12 345`.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() * 2);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push('\u{202f}');
        }
        shown.push(digit);
    }
    shown
}

/// Formats a number with its unit: `1 page`, `2 pages`.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{}\u{a0}{}", number(count), if count == 1 { one } else { many })
}

/// Formats an amount of bytes with three digits.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return counted(bytes, "byte", "bytes");
    }
    let mut amount = bytes as f64 / 1e3;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        // It would be rounded to 1000.
        if amount < 999.5 {
            break;
        }
        amount /= 1e3;
        unit = next;
    }
    let decimals = match amount {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{amount:.decimals$}\u{a0}{unit}")
}

/// Formats a time span: `340 ms`, `12.4 s`, `5 min 3 s`.
pub(super) fn span(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}\u{a0}ms"),
        1000..60_000 => format!("{}.{}\u{a0}s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{}\u{a0}min {}\u{a0}s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{}\u{a0}h {}\u{a0}min", number(ms / 3_600_000), ms % 3_600_000 / 60_000),
    }
}

/// Formats a time in RFC 3339 as `2026-11-22 10:00:00 UTC`. Other text is left as it is.
pub(crate) fn time(rfc3339: &str) -> Markup {
    let plain = rfc3339.strip_suffix('Z').and_then(|time| {
        let time = time.split_once('.').map_or(time, |(seconds, _)| seconds);
        let (date, clock) = time.split_once('T')?;
        let is_plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b"-:".contains(&b));
        (is_plain(date) && is_plain(clock)).then(|| format!("{date} {clock} UTC"))
    });
    match plain {
        Some(plain) => html! { time datetime=(rfc3339) { (plain) } },
        None => html! { (Shown(rfc3339)) },
    }
}

/// Formats a percentage, or `—` for `None`.
pub(super) fn percent(percent: Option<u8>) -> String {
    percent.map_or_else(|| "—".into(), |percent| format!("{percent}\u{a0}%"))
}

/// Lists up to `max` names, and the number of the others.
pub(super) fn names<'a>(names: &'a [String], max: usize) -> impl Render + use<'a> {
    html! {
        @for (i, name) in names.iter().take(max).enumerate() {
            @if i > 0 { ", " }
            bdi { (Shown(name)) }
        }
        @if names.len() > max { span.more { " and " (names.len() - max) " more" } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Shown(text).render().into_string()
    }

    #[test]
    fn markup_in_text_is_escaped() {
        assert_eq!(shown(r#"<script x="1">&amp;'"#), "&lt;script x=&quot;1&quot;&gt;&amp;amp;'");
    }

    #[test]
    fn deceptive_characters_are_shown_as_code_points() {
        let control = |number: &str| format!(r#"<span class="control">U+{number}</span>"#);
        assert_eq!(shown("a\u{202e}gpj.exe"), format!("a{}gpj.exe", control("202E")));
        assert_eq!(shown("\0\n\u{9b}"), ["0000", "000A", "009B"].map(control).concat());
        assert_eq!(shown("\u{e0041}<"), format!("{}&lt;", control("E0041")));
        assert_eq!(shown("naïve 漢字 👩\u{200d}💻 عربي"), "naïve 漢字 👩\u{200d}💻 عربي");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn long_text_is_cut_and_counted() {
        assert_eq!(shown(&"é".repeat(MAX_CHARS)), "é".repeat(MAX_CHARS));
        let more = shown(&"é".repeat(MAX_CHARS + 3));
        assert!(more.ends_with(r#"é<span class="more">… and 3 characters more</span>"#), "{more}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_becomes_markup(text in ".{0,40}") {
            let shown = shown(&text).replace(r#"<span class="control">"#, "").replace("</span>", "");
            proptest::prop_assert!(!shown.contains(['<', '>', '"']));
            proptest::prop_assert!(!shown.contains(is_deceptive));
        }
    }

    #[test]
    fn numbers_are_grouped() {
        let shown = [0, 999, 1000, 1_234_567].map(number);
        assert_eq!(shown, ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
        assert_eq!(counted(1, "page", "pages"), "1\u{a0}page");
    }

    #[test]
    fn amounts_have_a_unit() {
        let of = [0, 1, 999, 1000, 9_994, 9_996, 99_960, 999_499, 999_500, u64::MAX].map(bytes);
        let expected = [
            "0 bytes",
            "1 byte",
            "999 bytes",
            "1.00 kB",
            "9.99 kB",
            "10.0 kB",
            "100 kB",
            "999 kB",
            "1.00 MB",
            "18446744 TB",
        ];
        assert_eq!(of, expected.map(|shown| shown.replace(' ', "\u{a0}")));
        let of = [0, 999, 1000, 59_999, 60_000, 303_000, 3_660_000].map(span);
        let expected = ["0 ms", "999 ms", "1.0 s", "59.9 s", "1 min 0 s", "5 min 3 s", "1 h 1 min"];
        assert_eq!(of.map(|span| span.replace('\u{a0}', " ")), expected);
    }

    #[test]
    fn times_are_formatted() {
        let of = |rfc3339| time(rfc3339).into_string();
        let iso = "2026-11-22T10:00:00.123Z";
        assert_eq!(of(iso), format!(r#"<time datetime="{iso}">2026-11-22 10:00:00 UTC</time>"#));
        for other in ["", "Z", "<b>TZ", "2026-11-22T10:00:00+01:00"] {
            assert_eq!(of(other), shown(other));
        }
    }
}
