"""JSON texts that break naive readers. Texts, not values: some of them no encoder would write."""

from __future__ import annotations

from typing import Final

SURROGATES: Final = ('"\\ud83e"', '"\\udd16"', '"\\udd16\\ud83e"', '"a\\ud83e b"', '"\ud83e"', '"\udd16"')
NUMBERS: Final = (
    *("0", "-0", "1", "-1", "1.5", "1.0", "1e2", "-1e-400", "1e308", "1e309", "-1e999", "1E400"),
    *("9007199254740991", "9007199254740992", "9223372036854775807", "9223372036854775808", "18446744073709551616"),
    *("NaN", "Infinity", "-Infinity", "+1", "01", "0x10", "1_000", ".5", "1.", "9" * 309, "1" * 1_500, "-" + "8" * 800),
)
STRINGS: Final = (
    *('""', '" "', '"\\n\\t"', '"\\u0000"', '"a\\u0000b"', '"\x00"', '"\x7f"', '"\\u2028"', '"\ufeff"', '"\uffff"'),
    *('"\u202e"', '"e\u0301"', '"🤖"', '"\\ud83e\\udd16"', '"ﬁ"', '"../../etc/passwd"', '"\' OR 1=1 --"', '"%00"'),
    *('"${jndi:ldap://x}"', '"<script>"', '"\\x41"', '"\\u12"', '"tab\there"', '"unended', '"\\"'),
    *(f'"{"x" * length}"' for length in (127, 128, 129, 1023, 1024, 1025)),
    *(f'"{"ä" * 512}"', f'"{"ä" * 513}"', f'"{"🤖" * 256}"', f'"{"🤖" * 257}"'),
    '"' + "\\u0041" * 300 + '"',
)
NESTED: Final = (
    *("[" * depth + "]" * depth for depth in (2, 63, 64, 65, 66, 400, 1_500)),
    *('{"a":' * depth + "1" + "}" * depth for depth in (2, 63, 64, 65, 66, 500)),
    *("[" * 1_900, '{"a":' * 600, '[{"a":[' * 33 + "0" + "]}]" * 33),
    *('{"a":1,"a":2}', '{"":{}}', '{"__proto__":{"x":1}}', '{"\\u0000":1}', '{"\\ud800":1}', "{1:2}", "{,}", "[,]"),
)
BLOCKS: Final = (
    *("[]", "[{}]", "[null]", "[[]]", '["text"]', '[{"type":"text"}]', '[{"type":null,"text":"a"}]', '[{"type":7}]'),
    *('[{"type":"text","text":""}]', '[{"type":"text","text":" "},{"type":"text","text":"\\n"}]'),
    *('[{"type":"text","text":7}]', '[{"type":"text","text":"hi"}]', '[{"type":"text","text":"\\u0000"}]'),
    *('[{"type":"image","file_id":"nope"}]', '[{"type":"image","file_id":7}]', '[{"type":"file","file_id":null}]'),
    *('[{"type":"image","file_id":""}]', f'[{{"type":"image","file_id":"{"f" * 900}"}}]', '[{"type":"\\ud800"}]'),
    '[{"type":"text","text":"hi"},{"type":"tool_use","id":"x","input":{"a":[1,2,{"b":null}]}}]',
)
LITERALS: Final = ("null", "true", "false", "nul", "True", "None", "undefined", "", " ", "//", "/**/")
VALUES: Final = (*SURROGATES, *NUMBERS, *STRINGS, *NESTED, *BLOCKS, *LITERALS)

NAMES: Final = (
    *('"\\u0074ype"', '"type\\u0000"', '"\\ud800"', "type", "'type'", "7", '"unended', '""', '"__proto__"', '"ключ"'),
    *('"type"', '"requestId"', '"content"', '"threadId"', '"whenBusy"', '"replaces"', '"interruptId"', '"value"'),
    *('"cursor"', '"Type"', '"request_id"', '"attempt"', '"seq"', '"duplicate"', '"userId"', f'"{"x" * 300}"'),
)
TYPES: Final = (
    *('"message"', '"respond"', '"cancel"', '"ack"', '"Message"', '"message "', '"accepted"', '"final"', '"token"'),
    *('"\\u006dessage"', '"ping"', '"run.start"', '""', "7", "null", '"ack\\u0000"', f'"{"t" * 200}"', '["message"]'),
)
SNIPPETS: Final = (
    *("{", "}", "[", "]", '"', "\\", ",", ":", "\x00", "\ud800", "\ufeff", "\\u", "\\ud800", "null", "1e999", "\u2028"),
    *(" " * 50, "{}", '{"type":', "//", "\r\n", "é", "🤖"),
)
WHOLE: Final = (
    *("", " ", "{}", "[]", "null", "0", '""', "{", "[" * 2_000, '{"type":"ack"}', "\ufeff{}", "ack", "\x00", "\ud800"),
    *('{"type":"ack","cursor":0}{"type":"ack","cursor":0}', '[{"type":"ack","cursor":0}]', "x" * 4_096, "x" * 4_097),
    *(
        "ä" * 2_049,
        "🤖" * 1_025,
        '{"type":"ack","cursor":0' + " " * 4_072 + "}",
        "{" * 1_000,
        '{"a":' * 700,
        "9" * 4_000,
    ),
)
RAW: Final = (
    b"",
    b"{}",
    b'{"type":"ack","cursor":0}',
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xf5" * 50,
    bytes(range(256)),
)
