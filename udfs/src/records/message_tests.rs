use super::*;

/// A line with these members after the needed ones, which the last of a name overrides.
fn with(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(
        r#"{{"id":7,"body":"Hi","created_at":"1970-01-01T00:00:05Z","user_id":3{comma}{members}}}"#
    )
}

const PLAIN: Message<'_> = Message {
    id: 7,
    user_id: 3,
    created_at: 5,
    recommended: false,
    body: "Hi",
    link_description: "",
};

/// Reads the line and checks what comes out.
fn check(line: &str, expected: Result<Message<'_>, Reason>) {
    assert_eq!(
        MessageParser::new().parse(line.as_bytes()),
        expected,
        "{line}"
    );
}

#[test]
fn reads_messages() {
    check(&with(""), Ok(PLAIN));
    check(&format!(" {}\t\r\n", with("")), Ok(PLAIN));
    check(
        &with(r#""recommended":true"#),
        Ok(Message {
            recommended: true,
            ..PLAIN
        }),
    );
    for other in [
        r#""recommended":"true""#,
        r#""recommended":1"#,
        r#""recommended":null"#,
    ] {
        check(&with(other), Ok(PLAIN));
    }
    check(
        &with(r#""id":-9223372036854775808"#),
        Ok(Message {
            id: i64::MIN,
            ..PLAIN
        }),
    );
    check(&with(r#""body":"""#), Ok(Message { body: "", ..PLAIN }));
    check(
        &with(r#""a":[1,-2.5e+3,{"id":9,"body":[]}],"b":{"links":[{"description":"x"}]}"#),
        Ok(PLAIN),
    );
}

#[test]
fn reads_the_first_link() {
    for (links, expected) in [
        (r#"[{"description":"d"}]"#, "d"),
        (
            r#"[{"url":"u","description":"d","x":{"description":"y"}},{"description":"e"}]"#,
            "d",
        ),
        (r#"[{"description":"c","description":"d"}]"#, "d"),
        (r#"[{"description":"c","description":null}]"#, ""),
        (r#"[{"description":5}]"#, ""),
        (r#"[{},{"description":"e"}]"#, ""),
        (r#"[null,{"description":"e"}]"#, ""),
        (r#"[[{"description":"e"}]]"#, ""),
        ("[]", ""),
        ("null", ""),
        (r#"{"description":"d"}"#, ""),
        (r#"[{"description":"d"}],"links":[]"#, ""),
    ] {
        let message = Message {
            link_description: expected,
            ..PLAIN
        };
        check(&with(&format!(r#""links":{links}"#)), Ok(message));
    }
}

#[test]
fn user_id_goes_before_the_users_id() {
    let line = |members: &str| {
        format!(r#"{{"id":7,"body":"Hi","created_at":"1970-01-01 00:00:05",{members}}}"#)
    };
    check(&line(r#""user":{"name":"x","id":3}"#), Ok(PLAIN));
    check(&line(r#""user":{"id":3},"user_id":null"#), Ok(PLAIN));
    check(&line(r#""user_id":3,"user":{"id":4}"#), Ok(PLAIN));
    check(&line(r#""user":{"id":4,"id":3}"#), Ok(PLAIN));
    check(
        &line(r#""user":{"id":4},"user":{}"#),
        Err(Reason::MissingField),
    );
    check(&line(r#""user":{"id":null}"#), Err(Reason::MissingField));
    check(&line(r#""user":[{"id":4}]"#), Err(Reason::MissingField));
    check(&line(r#""user":{"id":"4"}"#), Err(Reason::WrongType));
    check(
        &line(r#""user":{"id":3},"user_id":"3""#),
        Err(Reason::WrongType),
    );
}

#[test]
fn the_last_of_a_name_counts() {
    check(&with(r#""id":"x","id":8"#), Ok(Message { id: 8, ..PLAIN }));
    check(&with(r#""id":"x""#), Err(Reason::WrongType));
    check(
        &with(r#""\u0062o\u0064y":"escaped name""#),
        Ok(Message {
            body: "escaped name",
            ..PLAIN
        }),
    );
    check(
        &with(r#""links":[{"\u0064escription":"d"}]"#),
        Ok(Message {
            link_description: "d",
            ..PLAIN
        }),
    );
}

#[test]
fn decodes_strings() {
    for (raw, expected) in [
        (r"caf\u00E9 \u2191", "caf\u{e9} \u{2191}"),
        (r#"\"\\\/\b\f\n\r\t\u0000"#, "\"\\/\u{8}\u{c}\n\r\t\0"),
        (r"\ud83d\ude80!", "\u{1f680}!"),
        (r"\uDBFF\uDFFF", "\u{10ffff}"),
        (r"@\ud83d", "@\u{fffd}"),
        (r"\ud83d\ud83d\ude80", "\u{fffd}\u{1f680}"),
        (r"\ude80\ud83d", "\u{fffd}\u{fffd}"),
        (r"\ud83dx\ude80", "\u{fffd}x\u{fffd}"),
        (r"\ud83d\n\u0041", "\u{fffd}\nA"),
        (r"\\u0041", r"\u0041"),
        ("caf\u{e9}\u{7f}\u{1f680}", "caf\u{e9}\u{7f}\u{1f680}"),
    ] {
        check(
            &with(&format!(r#""body":"{raw}""#)),
            Ok(Message {
                body: expected,
                ..PLAIN
            }),
        );
        let links = format!(r#""links":[{{"description":"{raw}"}}]"#);
        check(
            &with(&links),
            Ok(Message {
                link_description: expected,
                ..PLAIN
            }),
        );
    }
    check(
        &with(r#""created_at":"1970\u002d01-01 00:00:05""#),
        Ok(PLAIN),
    );
}

#[test]
fn buffers_do_not_leak_from_line_to_line() {
    let mut parser = MessageParser::new();
    let first = with(r#""body":"a long \u0041 body","links":[{"description":"\u0042"}]"#);
    assert_eq!(
        parser.parse(first.as_bytes()).unwrap().body,
        "a long A body"
    );
    assert_eq!(
        parser
            .parse(with(r#""body":"\n""#).as_bytes())
            .unwrap()
            .body,
        "\n"
    );
    assert_eq!(parser.parse(with("").as_bytes()), Ok(PLAIN));
}

#[test]
fn values_that_come_again_are_checked_again() {
    let mut parser = MessageParser::new();
    for source in [1, 2, 3, 1, 2, 3, 4, 5, 6, 1] {
        let source = format!(r#"{{"id":{source},"tags":["x"]}}"#);
        let good = with(&format!(r#""source":{source},"list":[]"#));
        for line in [&good, &good] {
            assert_eq!(parser.parse(line.as_bytes()), Ok(PLAIN), "{line}");
        }
        for bad in [
            format!(r#""source":{source}}}"#),
            format!(r#""source":{source}]"#),
            format!(r#""source":{source}0"#),
            format!(r#""source":{}"#, &source[..source.len() - 1]),
            format!(r#""source":{source}"list":[]"#),
        ] {
            let line = with(&bad);
            assert_eq!(
                parser.parse(line.as_bytes()),
                Err(Reason::NotJson),
                "{line}"
            );
        }
    }
}

#[test]
fn lines_are_read_alike_whatever_was_read_before() {
    let mut lines: Vec<String> = [
        "",
        " ",
        r#""recommended":true"#,
        r#""recommended":false"#,
        r#""recommended":"true""#,
        r#""recommended":true,"recommended":1"#,
        r#""id":8"#,
        r#""id":"8""#,
        r#""id":null"#,
        r#""id":[8]"#,
        r#""id":08"#,
        r#""id":8.0"#,
        r#""user_id":null"#,
        r#""user_id":4"#,
        r#""user_id":"4""#,
        r#""user_id":null,"user":{"id":5}"#,
        r#""user_id":null,"user":{"id":5,"id":6}"#,
        r#""user_id":null,"user":{"id":5,"id":null}"#,
        r#""user_id":null,"user":{"id":5},"user":{}"#,
        r#""user":{"id":5}"#,
        r#""user":{"id":"5"}"#,
        r#""b\u006fdy":"other""#,
        r#""body":5"#,
        r#""body":"\n\u00e9""#,
        r#""links":[]"#,
        r#""links":[{"description":"d"}]"#,
        r#""links":[{"description":5}]"#,
        r#""links":[{"description":null}]"#,
        r#""links":[{"description":"c","description":"d"}]"#,
        r#""links":[{"description":"c"}],"links":[{"description":"d"}]"#,
        r#""links":[{"description":"c"}],"links":[{"title":"d"}]"#,
        r#""links":[{"description":"c"}],"links":["d"]"#,
        r#""links":["c"]"#,
        r#""x":1"#,
        r#""x":1.5"#,
        r#""x":-"#,
        r#""x":"1""#,
        r#""x":true"#,
        r#""x":[1]"#,
        r#""x":[1,2]"#,
        r#""x":{"id":1}"#,
    ]
    .map(with)
    .to_vec();
    lines.extend([
        format!("{} ", with("")),
        with(r#""x":1"#).replace(':', ": "),
        with("").replace("\"user_id\":3", "\"user\":{\"id\":3}"),
        with("").replace("\"id\":7,", ""),
        with("").replace("Hi", "H\u{1}i"),
        with("").replace("Hi", "H\u{e9}"),
    ]);
    let mut after_all = MessageParser::new();
    let mut after_plain = MessageParser::new();
    for before in &lines {
        let _ = after_all.parse(before.as_bytes());
        let mut after_one = MessageParser::new();
        for line in &lines {
            let mut fresh = MessageParser::new();
            let expected = fresh.parse(line.as_bytes());
            for (end, after) in [("\n", 0), ("\n", 64), ("\r\n", 200), ("", 0)] {
                let bytes = format!("{line}{end}{}", "\"".repeat(after));
                let plain = after_plain.next_plain(bytes.as_bytes());
                match expected {
                    Ok(message) if after >= 64 => {
                        assert_eq!(plain, Some((message, line.len() + end.len())));
                    }
                    Ok(message) => assert!(plain.is_none_or(|plain| plain.0 == message)),
                    Err(_) => assert_eq!(plain, None),
                }
            }
            assert_eq!(after_all.parse(line.as_bytes()), expected, "{line}");
            let _ = after_one.parse(before.as_bytes());
            let read = after_one.parse(line.as_bytes());
            assert_eq!(read, expected, "{line} after {before}");
        }
    }
}

#[test]
fn gives_the_first_reason() {
    for (members, reason) in [
        (r#""id":null"#, Reason::MissingField),
        (r#""id":1.0"#, Reason::WrongType),
        (r#""id":1e3"#, Reason::WrongType),
        (r#""id":true"#, Reason::WrongType),
        (r#""id":9223372036854775808"#, Reason::OutOfRange),
        (r#""user_id":0"#, Reason::OutOfRange),
        (r#""user_id":-3"#, Reason::OutOfRange),
        (r#""user_id":2147483648"#, Reason::OutOfRange),
        (r#""user_id":"3""#, Reason::WrongType),
        (r#""created_at":"yesterday""#, Reason::NoSuchDate),
        (r#""created_at":"""#, Reason::MissingField),
        (r#""created_at":5"#, Reason::WrongType),
        (r#""body":null"#, Reason::MissingField),
        (r#""body":["Hi"]"#, Reason::WrongType),
        (r#""body":null,"id":"x""#, Reason::WrongType),
        (r#""body":null,"x":NaN"#, Reason::NotJson),
    ] {
        check(&with(members), Err(reason));
    }
    check(r#"{"id": 2}"#, Err(Reason::MissingField));
    check("{}", Err(Reason::MissingField));
    for json in ["[1,2]", "5", "null", "\"{}\""] {
        check(json, Err(Reason::WrongType));
    }
    assert_eq!(
        MessageParser::new().parse(b"{\"id\":\"\xff\xfe"),
        Err(Reason::NotUtf8)
    );
}

#[test]
fn refuses_what_is_not_json() {
    for value in [
        "",
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "-",
        "-01",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "1_0",
        "'a'",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u123\"",
        "\"\\u+123\"",
        "\"a\tb\"",
        "\"a\nb\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1",
        "[",
        "]",
        "[1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1",
        "{",
        "1}",
        "1,,",
        "\u{feff}1",
        "\u{a0}1",
        "/**/1",
        "1 // x",
    ] {
        check(&with(&format!(r#""x":{value}"#)), Err(Reason::NotJson));
        if value != "1,," {
            check(value, Err(Reason::NotJson));
        }
    }
    check(&format!("{} x", with("")), Err(Reason::NotJson));
    check(&format!("{}{}", with(""), with("")), Err(Reason::NotJson));
    check(&with("").replace("Hi", "H\u{1}i"), Err(Reason::NotJson));
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |levels: usize| {
            with(&format!(
                r#""x":{}1{}"#,
                open.repeat(levels),
                close.repeat(levels)
            ))
        };
        check(&nested(127), Ok(PLAIN));
        check(&nested(128), Err(Reason::NotJson));
        check(&nested(1_000_000), Err(Reason::NotJson));
        check(
            &with(&format!(r#""x":{}"#, open.repeat(1_000_000))),
            Err(Reason::NotJson),
        );
    }
    check(
        &with(&format!(r#""x":[{}1]"#, "[],".repeat(1000))),
        Ok(PLAIN),
    );
}

#[test]
fn columns_read_like_lines() {
    let fields = [
        Field::Integer(7),
        Field::Text("Hi"),
        Field::Time(5),
        Field::Text("3"),
        Field::Flag(true),
        Field::Text("d"),
    ];
    let message = Message {
        recommended: true,
        link_description: "d",
        ..PLAIN
    };
    assert_eq!(message_from_fields(&fields), Ok(message));
    let mut nulls = fields;
    (nulls[4], nulls[5]) = (Field::Null, Field::Null);
    assert_eq!(message_from_fields(&nulls), Ok(PLAIN));
    for (at, value, reason) in [
        (0, Field::Null, Reason::MissingField),
        (1, Field::Null, Reason::MissingField),
        (2, Field::Null, Reason::MissingField),
        (3, Field::Null, Reason::MissingField),
        (1, Field::Integer(1), Reason::WrongType),
        (4, Field::Unreadable(Reason::NotUtf8), Reason::NotUtf8),
        (5, Field::Unreadable(Reason::NotJson), Reason::NotJson),
    ] {
        let mut fields = fields;
        fields[at] = value;
        assert_eq!(message_from_fields(&fields), Err(reason), "{at} {value:?}");
    }
    assert_eq!(message_from_fields(&fields[..5]), Err(Reason::Ragged));
    // As of JSON, anything that is not true does not recommend.
    for (value, recommended) in [
        (Field::Integer(1), true),
        (Field::Text("1"), true),
        (Field::Text("true"), true),
        (Field::Integer(2), false),
        (Field::Text("yes"), false),
        (Field::Unreadable(Reason::NotANumber), false),
    ] {
        let mut fields = fields;
        fields[4] = value;
        let found = message_from_fields(&fields).unwrap();
        assert_eq!(found.recommended, recommended, "{value:?}");
    }
}

#[test]
fn links_of_a_column_read_like_a_member() {
    let mut description = "before".to_string();
    for (links, expected) in [
        (
            r#"[{"description": "d\u00e9", "url": "x"}, {"description": "e"}]"#,
            Some("d\u{e9}"),
        ),
        (r#" [ {"url": [1, {}], "description": "d"} ] "#, Some("d")),
        ("[{\"description\": null}]", None),
        ("[{\"description\": 5}]", None),
        ("[{}]", None),
        ("[]", None),
        ("null", None),
        ("{\"description\": \"d\"}", None),
    ] {
        let found = link_description_in(links, &mut description).unwrap();
        assert_eq!(found.then_some(description.as_str()), expected, "{links}");
        let line = format!(
            r#"{{"id": 7, "body": "Hi", "created_at": "1970-01-01T00:00:05", "user_id": 3, "links": {links}}}"#
        );
        let mut parser = MessageParser::new();
        let message = parser.parse(line.as_bytes()).unwrap();
        assert_eq!(message.link_description, expected.unwrap_or_default());
    }
    for bad in ["", "[", "[{'description': 'd'}]", "[] []", "[NaN]"] {
        let found = link_description_in(bad, &mut description);
        assert_eq!(found, Err(Reason::NotJson), "{bad}");
    }
}
