//! Version numbers of compilers, packages and tools.

use std::fmt;

/// The first three numbers of a version. The rest is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl Version {
    /// Parses `1.97.0-nightly`, `22.1.8` or `1.95`, and Debian's versions with epoch and
    /// revision (`4:12.2.0-3`, `1.96.0+dfsg1-1~deb12u2`).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let upstream = match text.split_once(':') {
            Some((epoch, rest)) if epoch.bytes().all(|b| b.is_ascii_digit()) => rest,
            _ => text,
        };
        let end =
            upstream.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(upstream.len());
        let mut numbers = upstream[..end].split('.').map(str::parse);
        let major = numbers.next()?.ok()?;
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self { major, minor: next(), patch: next() })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    fn version(major: u32, minor: u32, patch: u32) -> Option<Version> {
        Some(Version { major, minor, patch })
    }

    #[test]
    fn versions_of_tools_are_parsed() {
        assert_eq!(Version::parse("1.97.0-nightly"), version(1, 97, 0));
        assert_eq!(Version::parse("22.1.8"), version(22, 1, 8));
        assert_eq!(Version::parse("1.95"), version(1, 95, 0));
        assert_eq!(Version::parse("22"), version(22, 0, 0));
        assert_eq!(Version::parse("1.96.0+dfsg1-1~deb12u2"), version(1, 96, 0));
        assert_eq!(Version::parse("4:12.2.0-3"), version(12, 2, 0));
        assert_eq!(Version::parse("1:22.1.8-1~deb12u1"), version(22, 1, 8));
    }

    #[test]
    fn other_text_is_rejected() {
        for text in ["", "(none)", "nightly", ".1", "99999999999.0"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(Version::parse("1.100.0") > Version::parse("1.95.3"));
        assert!(Version::parse("1.85.0+dfsg3-1~deb12u3") < Version::parse("1.95"));
    }
}
