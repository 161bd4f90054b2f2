//! Recognition of SDKs, tested with at least one request for each form. The
//! requests were written after the sources that `rules/sdks.toml` cites.

use std::sync::Arc;

use super::*;
use crate::{
    content::Limits,
    rules::{Fields, Identifiers, Roles, RulesFile, Sdks},
};

/// Requests: the SDK, the head without the protocol version, and the body.
const REQUESTS: &[(&str, &str, &str)] = &[
    (
        "Sensors Analytics",
        "POST /sa?project=p",
        r#"[{"distinct_id":"d1","lib":{"$lib":"Android","$lib_version":"6.8"},"event":"e"}]"#,
    ),
    // `crc` is the checksum of the `data_list` text.
    ("Sensors Analytics", "POST /sa", "crc=96354&gzip=9&data_list=abc&instant_event=true"),
    (
        "Sensors Analytics",
        "POST /sa",
        r#"{"ekey":"EC:a1","pkv":1,"payloads":["a0","b1"],"flush_time":1}"#,
    ),
    (
        "RudderStack",
        "POST /v1/batch",
        r#"{"sentAt":"t","batch":[{"messageId":"m","channel":"mobile","anonymousId":"a",
           "context":{"library":{"name":"com.rudderstack.android.sdk.core"}}}]}"#,
    ),
    (
        "RudderStack",
        "POST /v1/page\nAnonymousId: YQ==",
        r#"{"channel":"web","context":{"library":{"name":"RudderLabs JavaScript SDK"}},
           "messageId":"m","anonymousId":"a","sentAt":"t","type":"page"}"#,
    ),
    (
        "Segment",
        "POST /v1/p",
        r#"{"type":"page","context":{"library":{"name":"analytics.js","version":"1"}},
           "messageId":"m","anonymousId":"a","writeKey":"w","sentAt":"t"}"#,
    ),
    (
        "Segment",
        "POST /v1/import",
        r#"{"batch":[{"messageId":"m","context":{"library":{"name":"analytics-android"}}}],
           "sentAt":"t"}"#,
    ),
    (
        "Segment",
        "POST /v1/batch",
        r#"{"batch":[{"messageId":"m","context":{"library":{"name":"@segment/analytics-node"}}}],
           "sentAt":"t"}"#,
    ),
    (
        "PostHog",
        "POST /batch",
        r#"{"api_key":"k","batch":[{"event":"e","distinct_id":"d","properties":
           {"$lib":"posthog-android"}}],"sent_at":"t"}"#,
    ),
    (
        "PostHog",
        "POST /e/?ip=1",
        r#"{"event":"$pageview","properties":{"$lib":"web","token":"t","distinct_id":"d",
           "$session_id":"s","$window_id":"w"},"timestamp":"t"}"#,
    ),
    (
        "Mixpanel",
        "POST /track",
        "data=%5B%7B%22event%22%3A%22e%22%2C%22properties%22%3A%7B%22mp_lib%22%3A%22android%22%2C\
         %22token%22%3A%22t%22%2C%22distinct_id%22%3A%22d%22%7D%7D%5D",
    ),
    ("Mixpanel", "POST /engage", r#"[{"$set":{"a":1},"$token":"t","$distinct_id":"d"}]"#),
    (
        "Amplitude",
        "POST /2/httpapi",
        r#"{"api_key":"k","events":[{"device_id":"d","event_type":"e","insert_id":"i"}]}"#,
    ),
    ("Amplitude", "POST /", "v=2&client=k&e=%5B%7B%22event_type%22%3A%22e%22%7D%5D&upload_time=1"),
    ("Google Analytics 4", "POST /g/collect?v=2&tid=G-AB12&cid=1.2", "en=page_view&dl=a"),
    (
        "Google Analytics 4 Measurement Protocol",
        "POST /mp/collect?measurement_id=G-1&api_secret=s",
        "{}",
    ),
    (
        "Google Analytics 4 Measurement Protocol",
        "POST /mp/collect?firebase_app_id=1&api_secret=s",
        "{}",
    ),
    ("Universal Analytics", "GET /collect?v=1&tid=UA-1-1&cid=1.2&t=pageview", ""),
    (
        "Firebase Installations",
        "POST /v1/projects/p/installations",
        r#"{"fid":"f","appId":"1:2:android:3","authVersion":"FIS_v2","sdkVersion":"a:17"}"#,
    ),
    (
        "Firebase Remote Config",
        "POST /v1/projects/1/namespaces/firebase:fetch",
        r#"{"appInstanceId":"f","appInstanceIdToken":"t","appId":"a","sdkVersion":"21"}"#,
    ),
    (
        "Google Data Transport",
        "POST /v1/firelog/legacy/batchlog",
        r#"{"logRequest":[{"requestTimeMs":1,"clientInfo":{"clientType":"ANDROID_FIREBASE",
           "androidClientInfo":{"sdkVersion":30}},"logEvent":[{"eventTimeMs":"1"}]}]}"#,
    ),
    ("Matomo", "GET /matomo.php?idsite=1&rec=1&url=a", ""),
    (
        "Matomo",
        "POST /matomo.php",
        r#"{"requests":["?idsite=1&url=http://a.example.org&rec=1"],"send_image":"0"}"#,
    ),
    ("Parse.ly", "GET /plogger/?rand=1&plid=2&idsite=a.test&url=b&action=pageview", ""),
    ("Snowplow", "GET /i?e=pv&tv=js-3&eid=e&p=web&dtm=1", ""),
    (
        "Snowplow",
        "POST /com.snowplowanalytics.snowplow/tp2",
        r#"{"schema":"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4",
           "data":[{"e":"pv"}]}"#,
    ),
    ("Sentry", "POST /api/1/envelope/\nX-Sentry-Auth: Sentry sentry_version=7,sentry_key=k", "x"),
    ("Sentry", "POST /api/1/envelope/?sentry_key=k&sentry_version=7", "x"),
    (
        "Sentry",
        "POST /tunnel",
        "{\"sent_at\":\"t\",\"sdk\":{\"name\":\"sentry.javascript.browser\"}}\n\
         {\"type\":\"session\"}\n{\"sid\":\"s\"}",
    ),
    ("Sentry", "POST /tunnel", r#"{"event_id":"e","sdk":{"name":"sentry.java.android"}}"#),
    ("OpenTelemetry", "POST /v1/traces\nContent-Type: application/x-protobuf", "\n\u{1}a"),
    ("OpenTelemetry", "POST /otlp/v1/metrics\nContent-Type: application/x-protobuf", "\n\u{1}a"),
    ("OpenTelemetry", "POST /v1/logs\nContent-Type: application/x-protobuf", "\n\u{1}a"),
    (
        "OpenTelemetry",
        "POST /t",
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"t","spanId":"s",
           "startTimeUnixNano":"1"}]}]}]}"#,
    ),
    (
        "OpenTelemetry",
        "POST /t",
        r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1"}]}]}]}"#,
    ),
    (
        "OpenTelemetry",
        "POST /t",
        r#"{"sum":{"dataPoints":[{"startTimeUnixNano":"1","timeUnixNano":"2"}]}}"#,
    ),
    (
        "AppsFlyer",
        "POST /api/v6/androidevent?app_id=a",
        r#"{"appsflyerKey":"k","af_timestamp":"1","uid":"1-2","eventName":"e"}"#,
    ),
    ("AppsFlyer", "POST /r", r#"{"af_key":"k","launch_counter":1,"af_timestamp":"1","uid":"1-2"}"#),
    (
        "AppsFlyer",
        "POST /inappevent/a",
        r#"{"appsflyer_id":"1-2","eventName":"e","eventValue":"v","eventTime":"t"}"#,
    ),
    (
        "Adjust",
        "POST /session\nClient-SDK: android5.0",
        "environment=production&gps_adid=g&app_token=t&android_uuid=u&needs_response_details=1",
    ),
    (
        "Branch",
        "POST /v1/open",
        r#"{"branch_key":"key_live_a","randomized_device_token":"1",
           "randomized_bundle_token":"2","hardware_id":"h"}"#,
    ),
    (
        "Branch",
        "POST /v1/open",
        "browser_fingerprint_id=1&branch_key=key_live_a&device_fingerprint_id=2",
    ),
    (
        "Kochava",
        "POST /track/json",
        r#"{"action":"event","kochava_app_id":"a","kochava_device_id":"KA1","sdk_protocol":"12"}"#,
    ),
    (
        "Singular",
        "GET /api/v1/event?a=k&n=e&sdk=Singular/12&singular_install_id=u&event_index=3",
        "",
    ),
    (
        "Leanplum",
        "POST /api?x",
        "appId=a&clientKey=k&client=android&data=%7B%7D&sdkVersion=7.0&action=multi&time=1",
    ),
    ("Umeng", "POST /unify_logs\nX-Umeng-UTC: 1\nX-Umeng-Sdk: a\nMsg-Type: envelope", "\u{1}"),
    ("Umeng (CNZZ)", "GET /stat.htm?id=1&lg=en&ntime=none&cnzz_eid=1-2-&showp=1x1&p=a", ""),
    (
        "Tencent Beacon",
        "POST /analytics/v2_upload?appkey=0",
        r#"{"sdkId":"js","mainAppKey":"0","common":{"A2":"a"},
           "events":[{"eventCode":"e","eventTime":"1"}]}"#,
    ),
    ("Xiaomi OneTrack", "POST /track/v4\nOT_SID: s\nOT_ts: 1\nOT_protocol: 3.0", "\u{1}"),
    ("Xiaomi MiStat", "POST /mistats/v2", "app_id=1&app_key=2&device_id=d&mistatv=3&stat_value=a"),
    ("Huawei HiAnalytics", "POST /hmsmaindataup\nSdk-Name: hianalytics\nSdk-Ver: 2", "x"),
    ("Baidu Mobile Tongji", "POST /app.gif", r#"{"he":{"ss":1,"n":"a"},"pr":[],"ev":[],"ex":[]}"#),
    ("Alibaba Cloud Log Service", "POST /logstores/s/track\nx-log-apiversion: 0.6.0", "x"),
    ("Alibaba Cloud Log Service", "GET /logstores/s/track?APIVersion=0.6.0&a=b", ""),
    ("GrowingIO", "POST /v3/projects/a1/collect?stm=1\nX-Compress-Codec: 2", "\u{1}"),
    ("Microsoft 1DS", "POST /OneCollector/1.0/", r#"{"name":"e","ver":"4.0","iKey":"o:a"}"#),
    ("Microsoft 1DS", "POST /OneCollector/1.0/\nclient-id: NO_AUTH\napikey: a", "x"),
    ("Microsoft 1DS", "POST /OneCollector/1.0/?cors=true&client-id=NO_AUTH&apikey=a", "x"),
    ("Microsoft 1DS", "POST /c?sdk-version=1DS-Web-JS-3", "x"),
    ("Microsoft 1DS", "POST /c\nsdk-version: 1DS-Web-JS-3", "x"),
    (
        "Application Insights",
        "POST /v2/track",
        r#"[{"iKey":"k","name":"n","tags":{"ai.internal.sdkVersion":"javascript:3"},
           "data":{"baseType":"PageviewData"}}]"#,
    ),
    ("Countly", "GET /i?app_key=k&device_id=d&sdk_version=1&sdk_name=java-native-android", ""),
    ("Braze", "POST /api/v3/data\nX-Braze-Api-Key: k", "{}"),
    (
        "Meta App Events",
        "POST /v16.0/1/activities",
        "event=CUSTOM_APP_EVENTS&anon_id=a&advertiser_tracking_enabled=1",
    ),
    (
        "Meta App Events",
        "POST /v16.0/1/activities",
        "event=MOBILE_APP_INSTALL&anon_id=a&advertiser_tracking_enabled=1",
    ),
    ("Meta Pixel", "GET /tr/?id=1&ev=PageView&dl=a", ""),
    ("Meta Pixel", "GET /tr?id=1&ev=PageView&dl=a", ""),
    ("Meta Pixel", "GET /tr/?id=1&ev=PageView&noscript=1", ""),
    ("Meta Pixel", "GET /tr?id=1&ev=PageView&noscript=1", ""),
    ("AppMetrica", "POST /report?deviceid=d&app_platform=android&api_key_128=k", "\u{1}"),
    (
        "AppMetrica",
        "GET /analytics/startup?deviceid=&app_platform=android&analytics_sdk_version_name=7.0",
        "",
    ),
    ("Yandex Metrica", "POST /watch/1?page-url=a&charset=utf-8&browser-info=pv%3A1%3Aen%3Aa", ""),
    ("Baidu Tongji", "GET /hm.gif?cc=1&cl=24-bit&ds=1x1&rnd=1&si=s&v=1", ""),
    ("Baidu Tongji", "GET /hm.gif?si=s&et=0&nv=0&st=4&v=pixel-1.0&rnd=1", ""),
    (
        "Glean",
        "POST /submit/a/b/1/c",
        r#"{"client_info":{"telemetry_sdk_build":"60"},"ping_info":{"seq":1,"start_time":"t"}}"#,
    ),
    (
        "Firefox Telemetry",
        "POST /submit/telemetry/a",
        r#"{"type":"main","application":{"buildId":"2026","xpcomAbi":"x86_64-gcc3"}}"#,
    ),
    ("Chrome UMA", "POST /uma/v2\nX-Chrome-UMA-Log-SHA1: 0", "x"),
    ("Chrome UMA", "POST /uma/v2\nX-Chrome-UMA-Log-HMAC-SHA256: 0", "x"),
    ("New Relic", "POST /mobile/v4/data\nX-App-License-Key: k", "[]"),
    ("New Relic", "POST /events/1/k?a=1&v=1&rst=1&ck=0", "bel.7"),
    ("New Relic", "POST /jserrors/1/k?a=1&v=1&rst=1&ck=0", "{}"),
    ("New Relic", "POST /ins/1/k?a=1&v=1&rst=1&ck=0", "{}"),
    ("New Relic", "POST /rum/1/k?a=1&v=1&rst=1&ck=0", "{}"),
    ("New Relic", "POST /browser/blobs?browser_monitoring_key=k&rst=1&ck=0", "{}"),
    ("Datadog RUM", "POST /api/v2/rum?ddsource=flutter&dd-api-key=pub1", "x"),
    ("Datadog RUM", "POST /p?ddforward=%2Fapi%2Fv2%2Frum%3Fddsource%3Db%26dd-api-key%3Dpub1", "x"),
    ("Datadog RUM", "POST /api/v2/rum\nDD-API-KEY: pub1\nDD-EVP-ORIGIN: android", "x"),
    (
        "Datadog RUM",
        "POST /p",
        r#"{"_dd":{"format_version":2},"application":{"id":"a"},"session":{"id":"s"}}"#,
    ),
    ("Bugsnag", "POST /\nBugsnag-Api-Key: k\nBugsnag-Payload-Version: 4.0", "{}"),
    ("Instabug", "POST /api/sdk/v3/bugs\nIBG-APP-TOKEN: k", "{}"),
    ("Flurry", "POST /v1/flr.do\nFM-Checksum: 1\nAccept: application/x-flurry;version=2", "x"),
    ("CleverTap", "POST /a1?os=Android\nX-CleverTap-Account-ID: k", "[]"),
    ("CleverTap", "GET /a?t=96&type=push&d=a&optOut=false&rn=1&i=1&sn=1", ""),
    ("MoEngage", "POST /v2/report/add\nMOE-APPKEY: k", "{}"),
    ("FullStory", "POST /rec/bundle?OrgId=o&UserId=1&SessionId=2&PageId=3&Seq=1", "{}"),
    ("Microsoft Clarity", "POST /collect\nAccept: application/x-clarity-gzip", "x"),
    ("Heap", "GET /h?a=1&u=2&v=3&s=4&b=web&tv=4.0&d=a.test", ""),
    ("Hotjar", "POST /api/v2/client/sites/1/visit-data?sv=6", r#"{"user_id":"u"}"#),
    ("Plausible", "POST /api/event", r#"{"n":"pageview","u":"a","d":"b.test","r":null}"#),
    ("Plausible", "POST /api/event", r#"{"name":"pageview","url":"a","domain":"b.test"}"#),
    ("Fathom", "GET /?h=https%3A%2F%2Fa.example.org&p=%2Fb&r=&sid=S&qs=%7B%7D&cid=1", ""),
    ("Fathom", "GET /collect?pid=&p=%2Fb&h=https%3A%2F%2Fa.example.org&r=&u=1&nv=1&ns=1&sid=S", ""),
    (
        "Umami",
        "POST /api/send",
        r#"{"type":"event","payload":{"website":"w","screen":"1x1","hostname":"a.test"}}"#,
    ),
    (
        "Cloudflare Web Analytics",
        "POST /cdn-cgi/rum",
        r#"{"referrer":"","versions":{"js":"1","timings":2},"pageloadId":"p","siteToken":"s",
           "timingsV2":{"nextHopProtocol":"h3"}}"#,
    ),
    ("Vercel Analytics", "POST /_vercel/insights/view", "{}"),
    ("Vercel Analytics", "POST /_vercel/insights/event", "{}"),
    ("Adobe Analytics", "GET /b/ss/a/1/JS-2/s1?AQB=1&ndh=1&pf=1&AQE=1", ""),
    ("comScore", "GET /b?c1=2&c2=1&cv=4.4&ns__t=1&ns_c=UTF-8", ""),
    ("comScore", "GET /p?c1=2&c2=1&c4=a&cv=1.3&cj=1", ""),
    ("LinkedIn Insight", "GET /collect?v=2&fmt=js&pid=1&time=1&url=a", ""),
    ("HubSpot", "GET /__ptq.gif?a=1&k=14&r=b", ""),
    // `{"a":1}` in zlib and base64.
    ("Pendo", "GET /data/ptm.gif/k?v=2&ct=1&jzb=eJyrVkpUsjKsBQAI-QJd", ""),
    (
        "TikTok Pixel",
        "POST /api/v2/pixel",
        r#"{"event":"Pageview","event_id":"e","context":{"pixel":{"code":"C"}}}"#,
    ),
    ("Aplus (Alibaba)", "GET /a.b.c?cache=1&gmkey=EXP&gokey=a%3D1%26b%3D2&cna=c", ""),
    ("Aplus (Alibaba)", "GET /tanx.1?cache=1&gmkey=EXP&gokey=&cna=c&isbeta=3&logtype=2", ""),
    ("Applog (ByteDance)", "POST /service/2/app_log/", r#"{"magic_tag":"ss_app_log","header":{}}"#),
    (
        "Applog (ByteDance)",
        "POST /list",
        r#"[{"events":[{"event":"e","local_time_ms":1}],"user":{"user_unique_id":"u",
           "web_id":"w"},"header":{"app_id":1},"local_time":1}]"#,
    ),
    (
        "ThinkingData",
        "POST /sync",
        r##"{"data":[{"#type":"track","#distinct_id":"d",
        "#event_name":"e"}],"#app_id":"a"}"##,
    ),
    ("Rollbar", "POST /api/1/item/", r#"{"data":{"notifier":{"name":"rollbar-browser-js"}}}"#),
    (
        "Airbrake",
        "POST /api/v3/projects/1/notices",
        r#"{"context":{"notifier":{"name":"airbrake-js/browser"}}}"#,
    ),
    ("Tealium", "POST /event", r#"{"tealium_account":"a","tealium_profile":"main"}"#),
    ("mParticle", "POST /v3/JS/k/events", r#"{"mpid":"1","mp_deviceid":"d","events":[]}"#),
    (
        "mParticle",
        "POST /v2/JS/k/Events",
        r#"{"n":"e","et":1,"dt":4,"sdk":"2","das":"d","mpid":"1"}"#,
    ),
    (
        "Optimizely",
        "POST /v1/events",
        r#"{"client_name":"node-sdk","client_version":"3","visitors":[{"visitor_id":"u"}]}"#,
    ),
    ("LaunchDarkly", "POST /bulk\nX-LaunchDarkly-Event-Schema: 4", "[]"),
    ("Statsig", "POST /v1/rgstr", r#"{"events":[],"statsigMetadata":{"sdkType":"js-client"}}"#),
    ("Statsig", "POST /v1/rgstr\nSTATSIG-API-KEY: k", "{}"),
    ("Statsig", "POST /v1/rgstr?k=client-a&st=js-client&sv=3&t=1&sid=s&ec=2&se=1", "=0nI"),
];

/// Encodes a request in HTTP/1.1.
fn wire(head: &str, body: &str) -> Vec<u8> {
    let (first, fields) = head.split_once('\n').unwrap_or((head, ""));
    let fields: String = fields.lines().map(|field| format!("{field}\r\n")).collect();
    let length = body.len();
    format!(
        "{first} HTTP/1.1\r\nHost: collect.vendor.test\r\n{fields}Content-Length: {length}\r\n\r\n\
         {body}"
    )
    .into_bytes()
}

fn embedded() -> Sdks {
    let text = include_str!("../../../../rules/sdks.toml");
    Sdks::parse(RulesFile { name: "sdks.toml", text }).unwrap()
}

/// Creates a detector with rules for these SDKs only.
fn detector(sdks: &Sdks) -> Detector {
    let lexicon =
        Lexicon::new(&Identifiers::default(), &Fields::default(), &Roles::default(), sdks).unwrap();
    Detector {
        rules: Arc::clone(&DETECTOR.rules),
        lexicon: Arc::new(lexicon),
        limits: Limits::default(),
    }
}

#[test]
fn recognises_the_sdk_of_each_request() {
    for (sdk, head, body) in REQUESTS {
        assert_eq!(find(&wire(head, body)).sdk.as_deref(), Some(*sdk), "{head}\n{body}");
    }
}

/// Guards against forms that no request can match, such as one whose sign names an
/// object instead of a value.
#[test]
fn each_form_matches_a_request() {
    for located in &embedded().0 {
        for form in &located.entry.forms {
            let mut only = located.clone();
            only.entry.forms = vec![form.clone()];
            let name = only.entry.name.to_string();
            let detector = detector(&Sdks(vec![only]));
            let is_matched =
                REQUESTS.iter().filter(|(sdk, ..)| *sdk == name).any(|(_, head, body)| {
                    let (requests, _) = parse_http1(&wire(head, body));
                    detector.find(&requests[0]).sdk.is_some()
                });
            assert!(is_matched, "{name}: {form:?}");
        }
    }
}

#[test]
fn recognises_no_other_sdk_in_a_truncated_request() {
    for (sdk, head, body) in REQUESTS {
        let request = wire(head, body);
        for end in 0..request.len() {
            let (requests, _) = parse_http1(&request[..end]);
            let known = requests.first().and_then(|request| DETECTOR.find(request).sdk);
            assert!(known.is_none() || known.as_deref() == Some(*sdk), "{head}: {end}: {known:?}");
        }
    }
}

/// Covers requests of pages, browsers and update services, and incomplete forms.
#[test]
fn recognises_no_sdk_in_similar_requests() {
    for (head, body) in [
        ("POST /e", r#"{"properties":{"token":"t","distinct_id":"d"}}"#),
        ("POST /e", r#"{"messageId":"m","library":{"name":"books"},"sentAt":"t"}"#),
        ("POST /e", r#"{"client":"c","upload_time":1,"checksum":"x","e":"[]"}"#),
        ("POST /e", r#"{"api_key":"k","device_id":"d","sdk_version":"1","events":[{"name":"a"}]}"#),
        ("POST /e", r#"{"event":"click","context":{"page":{"code":"a"}}}"#),
        ("POST /e", r#"{"notifier":{"name":"mail"},"payload":{"title":"a"}}"#),
        ("POST /e", r#"{"ekey":"a","payload":"b"}"#),
        ("GET /stores/1?APIVersion=1", ""),
        ("GET /v3/projects/1/issues?stm=1", ""),
        ("GET /tr/index?id=1&ev=a", ""),
        ("GET /h?a=1&b=2&s=3", ""),
        ("GET /app.gif?x=1", ""),
        ("GET /api/v2/client/sites/1", ""),
        ("GET /search?v=2&tid=G-1", ""),
        ("GET /item?k=client-a&sid=1", ""),
        ("GET /p?p=1&h=2&sid=3&cid=4", ""),
        (
            "POST /service/update2/json",
            r#"{"request":{"@os":"linux","acceptformat":"crx3","app":[{"appid":"a","cohort":"1",
               "ping":{"rd":1},"version":"1"}],"protocol":"3.1","requestid":"r","sessionid":"s",
               "dedup":"cr","hw":{"physmemory":8},"os":{"platform":"Linux"}}}"#,
        ),
        ("POST /v1/traces", r#"{"traces":[{"id":"a"}]}"#),
    ] {
        assert_eq!(find(&wire(head, body)).sdk, None, "{head}\n{body}");
    }
}
