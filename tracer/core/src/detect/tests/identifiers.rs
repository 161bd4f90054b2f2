//! ValueOwner identifier a value is, and how long it lasts.

use super::*;

/// A second UUID, of the same form as [`UUID`].
const OTHER: &str = "0b6c9e11-2a10-4c57-8f7e-9b1e7f3c5d0a";

/// Returns the class and the lifetime of each identifier in a body. `ID` stands for
/// [`UUID`].
fn classes(body: &str) -> Vec<String> {
    let found = find_in_body(&body.replace("ID", UUID)).list.into_iter();
    let identifiers = found.filter(|it| it.kind == Kind::Identifier);
    identifiers
        .map(|it| {
            format!("{} {:?}", it.class.unwrap_or_default(), it.lifetime.expect("a lifetime"))
        })
        .collect()
}

#[test]
fn a_bare_id_belongs_to_the_object_that_holds_it() {
    for (body, expected) in [
        // Messages, views and sessions.
        (r#"{"RumEvents":[{"id":"ID"}]}"#, "request_id Request"),
        (r#"{"event":{"id":"ID"}}"#, "request_id Request"),
        (r#"{"events":[{"data":{"id":"ID"}}]}"#, "request_id Request"),
        (r#"{"error":{"id":"ID"}}"#, "request_id Request"),
        (r#"{"spans":[{"id":"ID"}]}"#, "request_id Request"),
        (r#"{"traces":[{"uuid":"ID"}]}"#, "request_id Request"),
        (r#"{"impression":{"_id":"ID"}}"#, "request_id Request"),
        (r#"{"messages":[{"guid":"ID"}]}"#, "request_id Request"),
        (r#"{"httpRequest":{"id":"ID"}}"#, "request_id Request"),
        (r#"{"type":"event","id":"ID"}"#, "request_id Request"),
        (r#"{"user":{"events":[{"id":"ID"}]}}"#, "request_id Request"),
        (r#"{"view":{"id":"ID","url":"/x"}}"#, "session_id Session"),
        (r#"{"session":{"id":"ID"}}"#, "session_id Session"),
        // People and devices.
        (r#"{"usr":{"id":"ID"}}"#, "user_id Lasting"),
        (r#"{"person":{"id":"ID"}}"#, "user_id Lasting"),
        (r#"{"userDetails":{"id":"ID"}}"#, "user_id Lasting"),
        (r#"{"account_holder":{"id":"ID"}}"#, "user_id Lasting"),
        (r#"{"user":{"data":{"attributes":{"id":"ID"}}}}"#, "user_id Lasting"),
        (r#"{"user":"{\"id\":\"ID\"}"}"#, "user_id Lasting"),
        (r#"{"kind":"user","key":"ID"}"#, "user_id Lasting"),
        (r#"{"kind":"multi","device":{"key":"ID"}}"#, "device_id Lasting"),
        (r#"{"deviceInfo":{"uuid":"ID"}}"#, "device_id Lasting"),
        (r#"{"device":{"id":"ID"}}"#, "device_id Lasting"),
        (r#"{"ext":{"device":{"localId":"c:ID"}}}"#, "device_id Lasting"),
        (r#"{"visitors":[{"id":"ID"}]}"#, "visitor_id Lasting"),
        (r#"{"client":{"id":"ID"}}"#, "client_id Lasting"),
        (r#"{"profile":{"_id":"ID"}}"#, "client_id Lasting"),
        (r#"{"identityMap":{"ecid":[{"id":"ID"}]}}"#, "visitor_id Lasting"),
        ("a=1&usr[id]=ID", "user_id Lasting"),
        ("a=1&context.device.info.id=ID", "device_id Lasting"),
        ("_id=ID&idsite=1", "visitor_id Lasting"),
        // Nothing says whose it is.
        (r#"{"id":"ID"}"#, "uuid Unknown"),
        (r#"{"_id":"ID"}"#, "uuid Unknown"),
        (r#"{"data":[{"id":"ID"}]}"#, "uuid Unknown"),
        (r#"{"userPost":{"id":"ID"}}"#, "uuid Unknown"),
        (r#"{"author":{"id":"ID"}}"#, "uuid Unknown"),
        (r#"{"account":{"id":"ID"}}"#, "uuid Unknown"),
    ] {
        assert_eq!(classes(body), [expected], "{body}");
    }
    // A view counts its events.
    assert!(classes(r#"{"events":[{"id":"17"}],"event":{"id":"page_view"}}"#).is_empty());
}

#[test]
fn a_known_name_counts_behind_the_prefix_of_a_vendor() {
    for (name, expected) in [
        ("td_client_id", "client_id Lasting"),
        ("td_global_id", "client_id Lasting"),
        ("named_user_id", "user_id Lasting"),
        ("usr_id", "user_id Lasting"),
        ("usrId", "user_id Lasting"),
        ("mp_distinct_id", "distinct_id Lasting"),
        ("bnc_device_id", "device_id Lasting"),
        ("optimizelyEndUserId", "user_id Lasting"),
        ("gio_idfa", "advertising_id Lasting"),
        ("rum_session_id", "session_id Session"),
        ("vendor_event_id", "request_id Request"),
        ("cwr_view_id", "session_id Session"),
        ("user_post_id", "uuid Unknown"),
        ("author_user_id", "uuid Unknown"),
        ("oauth_client_id", "uuid Unknown"),
        ("target_device_id", "uuid Unknown"),
    ] {
        assert_eq!(classes(&format!(r#"{{"{name}":"ID"}}"#)), [expected], "{name}");
    }
    let header = |name: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{name}: {UUID}\r\n\r\n");
        lines(&find(request.as_bytes()))
    };
    for (name, class) in [
        ("X-UA-Channel-ID", "installation_id lasting"),
        ("X-Acme-Device-Id", "device_id lasting"),
        ("X-Amzn-RequestId", "request_id request"),
    ] {
        assert_eq!(header(name), [format!("identifier {class} {UUID}")], "{name}");
    }
}

#[test]
fn tenants_and_keys_identify_nobody() {
    for body in [
        r#"{"AppMonitorDetails":{"id":"ID"}}"#,
        r#"{"application":{"id":"ID"}}"#,
        r#"{"app_info":{"id":"ID"}}"#,
        r#"{"project":{"id":"ID"},"organization":{"id":"ID"},"tenant":{"uuid":"ID"}}"#,
        r#"{"write_key":"ID","api_key":"ID","my_app_id":"ID","acme_project_id":"ID"}"#,
        r#"{"measurement_id":"ID","org_id":"ID","groupId":"ID"}"#,
    ] {
        assert!(classes(body).is_empty(), "{body}: {:?}", classes(body));
    }
    let found = find_in_body(r#"{"account_id":"1887578053","project_id":"7205579439"}"#);
    assert!(found.list.is_empty(), "{found:?}");
    let found = lines(&find_in_body(r##"{"#account_id":"anna7"}"##));
    assert_eq!(found, ["personal_detail account_id anna7"]);
}

#[test]
fn a_serial_number_is_the_devices_only_if_its_owner_is_a_device() {
    let serial = "R58N12ABCDE";
    for body in [
        r#"{"device":{"serialNumber":"@"}}"#,
        r#"{"device_info":{"serial":"@"}}"#,
        r#"{"phone":{"sn":"@"}}"#,
        r#"{"hardware":{"serialno":"@"}}"#,
        r#"{"deviceSerial":"@"}"#,
        r#"{"phone_serial_number":"@"}"#,
        r#"{"bios":{"serial_number":"@"}}"#,
        r#"{"build":{"serial":"@"}}"#,
        "device[serial]=@&x=1",
    ] {
        let found = lines(&find_in_body(&body.replace('@', serial)));
        assert!(found.contains(&format!("personal_detail serial {serial}")), "{body}: {found:?}");
    }
    for body in [
        r#"{"serialnumber":1234567890123456}"#,
        r#"{"mastertoken":{"serialnumber":1234567890123456}}"#,
        r#"{"certificate":{"serialNumber":"04A1B2C3D4"}}"#,
        r#"{"order":{"serial":"A-2026-77"},"licence":{"serial_number":"XK12-99"}}"#,
        r#"{"crl":[{"serial":"0f12ab"}],"voucher_serial":"G7H8"}"#,
    ] {
        let found = find_in_body(body);
        assert!(found.list.iter().all(|it| it.kind != Kind::PersonalDetail), "{body}: {found:?}");
    }
}

#[test]
fn entries_of_maps_have_the_name_beside_them() {
    for (body, expected) in [
        (r#"[{"key":"user_id","value":"anna7"}]"#, "identifier user_id lasting anna7"),
        (r#"[{"name":"td_client_id","value":"ID"}]"#, "identifier client_id lasting ID"),
        (
            r#"[{"key":"user.id","type":"string","value":"anna7"}]"#,
            "identifier user_id lasting anna7",
        ),
        (
            r#"[{"key":"enduser.id","vType":"STRING","vStr":"anna7"}]"#,
            "identifier user_id lasting anna7",
        ),
        (r#"[{"type":"idfa","id":"ID"}]"#, "identifier advertising_id lasting ID"),
        (r#"[{"namespace":"ecid","id":"ID"}]"#, "identifier visitor_id lasting ID"),
        (r#"[{"n":"device_id","v":"SM-7f3c"}]"#, "identifier device_id lasting SM-7f3c"),
    ] {
        assert_lines(&body.replace("ID", UUID), &[&expected.replace("ID", UUID)]);
    }
    for body in [
        r#"[{"key":"user_id"},{"value":"anna7"}]"#,
        r#"[{"type":"query","id":"weather"}]"#,
        r#"["user_id","device_id"]"#,
    ] {
        assert_lines(body, &[]);
    }
}

#[test]
fn entries_of_protobuf_maps_have_the_name_beside_them() {
    let field = |number: u8, text: &[u8]| {
        let len = u8::try_from(text.len()).expect("a short text");
        [&[number << 3 | 2, len][..], text].concat()
    };
    let map =
        |name: &str, value: &[u8]| field(1, &[field(1, name.as_bytes()), field(2, value)].concat());
    let request = |body: &[u8]| {
        let head = format!(
            "POST /v1 HTTP/1.1\r\nHost: c.test\r\nContent-Type: application/x-protobuf\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        lines(&find(&[head.as_bytes(), body].concat()))
    };
    let body = [map("user_id", b"anna-7f3c"), map("color", b"dark-blue")].concat();
    assert_eq!(request(&body), ["identifier user_id lasting anna-7f3c"]);
    let nested = map("device.id", &field(3, b"SM-7f3c22"));
    assert_eq!(request(&nested), ["identifier device_id lasting SM-7f3c22"]);
    let reversed = field(1, &[field(2, b"anna-7f3c"), field(1, b"user_id")].concat());
    assert_eq!(request(&reversed), [""; 0]);
}

#[test]
fn finds_identifiers_within_values() {
    let google = "1234567890.1699999999";
    for (body, expected) in [
        ("uid=ID^1^^^&x=1", vec![("unique_id lasting", UUID)]),
        ("device_id=ID|1|2&x=1", vec![("device_id lasting", UUID)]),
        ("thing=ID^1^^^&x=1", vec![("uuid unknown", UUID)]),
        ("thing=ID,OTHER&x=1", vec![("uuid unknown", UUID), ("uuid unknown", OTHER)]),
        ("user_ids=ID;OTHER&x=1", vec![("user_id lasting", UUID), ("user_id lasting", OTHER)]),
        ("_sp_id=ID.1699999999.3.1699999999&x=1", vec![("visitor_id lasting", UUID)]),
        ("cid=GA1.2.1234567890.1699999999&x=1", vec![("client_id lasting", google)]),
        ("did=$device:ID&x=1", vec![("unique_id lasting", UUID)]),
        ("thing=ID.jpg&y=see ID&x=1", vec![("uuid unknown", UUID)]),
        ("device_id=c:ID&x=1", vec![("device_id lasting", UUID)]),
        ("thing=dev:ID:v3&x=1", vec![("uuid unknown", UUID)]),
        ("thing=/items/a:ID:v3&x=1", vec![]),
        ("device_id=browser&x=1", vec![]),
        ("file=7f3c2a109b1e4c57.jpg&x=1", vec![]),
    ] {
        let body = body.replace("ID", UUID).replace("OTHER", OTHER);
        let expected: Vec<_> =
            expected.iter().map(|(class, value)| format!("identifier {class} {value}")).collect();
        assert_eq!(lines(&find_in_body(&body)), expected, "{body}");
    }
}

#[test]
fn finds_uuids_in_text_among_other_bytes() {
    let body =
        [&b"\x01\xff\x0c\x00\x0buser.id\x80\x00\x00"[..], b"$", UUID.as_bytes(), b"\x80\xfe"]
            .concat();
    let head =
        format!("POST /v1 HTTP/1.1\r\nHost: c.test\r\nContent-Length: {}\r\n\r\n", body.len());
    let request = [head.as_bytes(), &body].concat();
    let found = find(&request).list;
    assert!(found.iter().any(|it| it.value == UUID), "{found:#?}");
    // Cut within the UUID, nothing is found.
    for cut in 1..UUID.len() {
        let found = find(&request[..request.len() - 2 - cut]).list;
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn a_lifetime_has_a_reason() {
    for body in [
        r#"{"user_id":"anna7","session_id":"ID","event_id":"ID","thing":"ID"}"#,
        r#"{"events":[{"id":"ID"}],"td_client_id":"ID"}"#,
    ] {
        let found = find_in_body(&body.replace("ID", UUID)).list;
        assert!(found.len() > 1, "{found:#?}");
        for it in found {
            assert!(it.lifetime_reason.is_some_and(|reason| reason.len() > 10), "{body}");
        }
    }
}
