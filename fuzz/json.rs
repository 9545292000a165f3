//! Messages: as serde_json reads them.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{Int32Type, Int64Type, TimestampSecondType};
use graph_recs_udfs::records::{
    Framing, MessageParser, Reason, is_blank, link_description_in, parse_timestamp,
};
use graph_recs_udfs::scan::Source;
use serde_json::Value;

use super::csv::{same_as_scanned, same_however_cut};
use super::driver::{fuzz, kind, must};

const WORDS: &[&str] = &[
    "\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\\"",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\ud83d",
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1e999",
    "1.5",
    "9223372036854775808",
    "\"id\"",
    "\"user_id\"",
    "\"user\"",
    "\"links\"",
    "\"description\"",
    "\"body\"",
    "\"created_at\"",
    "\"recommended\"",
    "{\"id\": 7}",
    "[{\"description\": \"d\"}]",
    "2019-10-02T00:00:00Z",
    "NaN",
    "\u{e9}",
];

/// What a message's members say.
type Members = (i64, i32, i64, bool, String, String);

#[test]
fn json_messages() {
    let mut lasting = MessageParser::new();
    fuzz("json_messages", WORDS, |input| {
        let records = same_however_cut(input, Framing::Line)?;
        let mut parsed = Vec::new();
        let mut rest = input;
        for (_, record) in &records {
            let members = members(&mut MessageParser::new(), record);
            // A parser that has read others reads the same, and so does the way for plain lines.
            let again = self::members(&mut lasting, record);
            must(again == members, || format!("{members:?}, then {again:?}"))?;
            if let Some((message, length)) = lasting.next_plain(rest) {
                must(
                    length == record.len()
                        && members
                            .as_ref()
                            .is_ok_and(|members| members.0 == message.id),
                    || {
                        format!(
                            "the plain way reads {message:?} of {length} bytes, the other {members:?}"
                        )
                    },
                )?;
            }
            if !is_blank(record) {
                as_serde_reads(record, &members)?;
            }
            rest = &rest[record.len()..];
            parsed.push(members);
        }
        let reasons: Vec<_> = parsed
            .iter()
            .map(|parsed| parsed.as_ref().err().copied())
            .collect();
        same_as_scanned(
            Source::Message,
            None,
            input,
            &records,
            &reasons,
            |batch, row, at| {
                let Ok(members) = &parsed[at] else {
                    return false;
                };
                members.0 == batch["id"].as_primitive::<Int64Type>().value(row)
                    && members.1 == batch["user_id"].as_primitive::<Int32Type>().value(row)
                    && members.2
                        == batch["created_at"]
                            .as_primitive::<TimestampSecondType>()
                            .value(row)
                    && members.3 == batch["recommended"].as_boolean().value(row)
                    && members.4 == batch["body"].as_string::<i32>().value(row)
                    && members.5 == batch["link_description"].as_string::<i32>().value(row)
            },
        )?;
        kind(reasons)
    });
}

fn members(parser: &mut MessageParser, record: &[u8]) -> Result<Members, Reason> {
    let message = parser.parse(record)?;
    Ok((
        message.id,
        message.user_id,
        message.created_at,
        message.recommended,
        message.body.to_string(),
        message.link_description.to_string(),
    ))
}

fn as_serde_reads(record: &[u8], members: &Result<Members, Reason>) -> Result<(), String> {
    let value = match serde_json::from_slice::<Value>(record) {
        Ok(value) => value,
        Err(error) => {
            let error = error.to_string();
            let refused = matches!(members, Err(Reason::NotJson | Reason::NotUtf8));
            // serde_json has no half characters, no numbers beyond 64 bits with exponent, and its own depth.
            let stricter = [
                "surrogate",
                "hex escape",
                "number out of range",
                "recursion limit",
            ];
            let stricter = stricter.iter().any(|known| error.contains(known));
            return must(refused || stricter, || {
                format!("{members:?}, but serde_json: {error}")
            });
        }
    };
    must(
        !matches!(members, Err(Reason::NotJson | Reason::NotUtf8)),
        || format!("{members:?}, but serde_json reads {value}"),
    )?;
    if let Some(links) = value.get("links") {
        let mut found = String::new();
        let text = links.to_string();
        let there = link_description_in(&text, &mut found)
            .map_err(|reason| format!("{reason} of {text}"))?;
        let expected = links
            .get(0)
            .and_then(|link| link.get("description")?.as_str());
        must(
            there == expected.is_some() && found == expected.unwrap_or_default(),
            || format!("{found:?} of {text}"),
        )?;
    }
    let integer = |value: &Value| value.as_i64();
    let user = match value.get("user_id") {
        None | Some(Value::Null) => value.get("user").and_then(|user| user.get("id")),
        given => given,
    };
    let expected = || {
        Some((
            integer(value.get("id")?)?,
            i32::try_from(integer(user?)?).ok().filter(|id| *id > 0)?,
            parse_timestamp(value.get("created_at")?.as_str()?.as_bytes())?,
            value.get("recommended") == Some(&Value::Bool(true)),
            value.get("body")?.as_str()?.to_string(),
            value
                .get("links")
                .and_then(|links| links.get(0)?.get("description")?.as_str())
                .unwrap_or_default()
                .to_string(),
        ))
    };
    // serde_json makes a floating-point number of an integer like -0.
    let minus_zero = record.windows(2).any(|bytes| bytes == b"-0");
    must(
        minus_zero || members.as_ref().ok() == expected().as_ref(),
        || format!("{members:?}, but serde_json reads {:?}", expected()),
    )
}
