-- A store of version 1, as it was written then. It is history: a later version
-- of the schema is a further step, and changes nothing here.
PRAGMA application_id = 0x74726163;
PRAGMA user_version = 1;

CREATE TABLE meta (
    key TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    began INTEGER NOT NULL,
    ended INTEGER,
    version TEXT NOT NULL,
    lost INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id),
    alert INTEGER,
    time INTEGER NOT NULL,
    severity TEXT,
    reason TEXT,
    application TEXT NOT NULL,
    uid INTEGER NOT NULL,
    browser TEXT,
    private INTEGER,
    sender TEXT NOT NULL,
    recipient TEXT,
    host TEXT NOT NULL,
    sdk TEXT,
    count INTEGER NOT NULL DEFAULT 1,
    last INTEGER NOT NULL,
    json TEXT NOT NULL,
    left_out INTEGER NOT NULL DEFAULT 0,
    UNIQUE (run, alert)
) STRICT;
CREATE INDEX alerts_by_time ON alerts (time, id);
CREATE INDEX alerts_by_last ON alerts (last);

CREATE TABLE evidence (
    alert INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    piece INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (alert, piece)
) STRICT;

CREATE TABLE identifiers (
    value TEXT PRIMARY KEY NOT NULL,
    class TEXT,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    connections INTEGER NOT NULL,
    processes INTEGER NOT NULL,
    applications TEXT NOT NULL,
    recipients TEXT NOT NULL
) STRICT;
CREATE INDEX identifiers_by_last ON identifiers (last);

INSERT INTO meta VALUES ('redaction_key', x'30313233343536373839616263646566');
INSERT INTO runs VALUES (1, 1795341600000000000, 1795341660000000000, '0.1.0', 0);
INSERT INTO alerts VALUES (
    1, 1, 1, 1795341600000000000, 'high', 'the browser told another site about a URL',
    'browser', 7, NULL, NULL, 'browser', 'third_party', 'collector.example', NULL,
    3, 1795341600000000000,
    '{"schema":2,"type":"alert","alert":1,"time":"2026-11-22T10:00:00.000Z","severity":"high","reason":"the browser told another site about a URL","application":"browser","process":{"uid":7,"pid":8,"tid":9,"comm":"net","exe":"/opt/browser"},"hook":"sys_enter","connection":{"transport":"tcp","local":null,"remote":null},"browser":null,"private":null,"sender":"browser","recipient":{"kind":"third_party"},"sdk":null,"request":{"protocol":"http/1.1","method":"POST","authority":"collector.example","path":"/v1"},"initiator":"browser","complete":true,"unread_bytes":0,"findings":[{"kind":"url","class":null,"value":"https://news.example.org/story?q=private","chain":"body > json.url","truncated":false,"scope":"full","visited":{"kind":"page","url":"https://news.example.org/story?q=private","ago_ms":2000},"identification":null,"confidence":{"level":"high","reason":"it stands there"},"severity":"high","reason":"the browser told another site about a URL"}],"findings_uncounted":0}',
    0
);
INSERT INTO evidence VALUES (1, 0, CAST('POST / HTTP/1.1' || char(13, 10, 13, 10) AS BLOB));
INSERT INTO identifiers VALUES (
    '0123456789abcdef', 'uuid', 1, 7, 4, 3, 2,
    '["browser","launcher"]', '["collector.example"]'
);
