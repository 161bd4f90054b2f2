//! Looks up users.

use std::fs;

use super::Usage;

/// Parses a UID, or looks up a name in `/etc/passwd`.
pub(super) fn uid(text: &str) -> Result<u32, Usage> {
    const PASSWD: &str = "/etc/passwd";
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
    find(&passwd, text).ok_or_else(|| {
        Usage(format!(
            "{PASSWD} has no user {text}; give the UID, which `id -u {text}` prints, or on Android \
             `dumpsys package NAME | grep userId`"
        ))
    })
}

/// Finds the UID of a name in lines of `name:password:UID:…` (passwd(5)).
fn find(passwd: &str, name: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Looks up a user in `/etc/passwd`.
pub(super) fn by_name(name: &str) -> Result<User, Usage> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    parse(&passwd, name).ok_or_else(|| Usage(format!("/etc/passwd has no user {name}")))
}

/// Finds a user in lines of `name:password:UID:GID:comment:home:shell`.
fn parse(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [known, _, uid, gid, _, home, ..] = fields[..] else {
            return None;
        };
        (known == name).then_some(())?;
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(User { name: name.to_owned(), uid, gid, home: home.to_owned() })
    })
}

/// A user to run programs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
        assert_eq!(find(passwd, "nobody"), Some(65534));
        assert_eq!(find(passwd, "nobod"), None);
        assert_eq!(uid("12345").unwrap(), 12345);
        assert!(uid("no such user").is_err());
        let nobody = parse(passwd, "nobody").unwrap();
        assert_eq!((nobody.uid, nobody.gid, &nobody.home[..]), (65534, 65534, "/"));
    }
}
