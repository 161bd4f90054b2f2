//! Users by name.

use std::fs;

use super::Usage;

/// A UID given as a number or as a name in `/etc/passwd`.
pub(super) fn uid(text: &str) -> Result<u32, Usage> {
    const PASSWD: &str = "/etc/passwd";
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
    find(&passwd, text).ok_or_else(|| {
        Usage(format!(
            "no user is named {text} in {PASSWD}; give the number (`id -u {text}` tells it where \
             users come from elsewhere; on Android, `dumpsys package NAME | grep userId`)"
        ))
    })
}

/// `name:password:UID:…`, a line each (passwd(5)).
fn find(passwd: &str, name: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// A user of `/etc/passwd`, as programs are run by him.
pub(super) fn entry(name: &str) -> Result<User, Usage> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    parse(&passwd, name).ok_or_else(|| Usage(format!("no user is named {name} in /etc/passwd")))
}

/// `name:password:UID:GID:comment:home:shell`.
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

/// Who programs are run by.
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
    fn users_have_numbers() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
        assert_eq!(find(passwd, "nobody"), Some(65534));
        assert_eq!(find(passwd, "nobod"), None);
        assert_eq!(uid("12345").unwrap(), 12345);
        assert!(uid("no such user").is_err());
        let nobody = parse(passwd, "nobody").unwrap();
        assert_eq!((nobody.uid, nobody.gid, &nobody.home[..]), (65534, 65534, "/"));
    }
}
