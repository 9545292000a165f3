//! Timestamps and `clean_text`: as plainer ways read them.

use chrono::{NaiveDate, NaiveTime};
use graph_recs_udfs::records::parse_timestamp;
use graph_recs_udfs::text::clean_text_into;
use regex::Regex;

use super::driver::{fuzz, kind, must};

#[test]
fn timestamps() {
    let form = Regex::new(
        r"(?-u)\A([0-9]{4})-([0-9]{2})-([0-9]{2})[ T]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?Z?\z",
    );
    let form = form.unwrap();
    let words = [
        "-", ":", " ", "T", "Z", ".5", "0000", "9999", "02-29", "12-31", "24:00:00", "23:59:60",
        "+00:00",
    ];
    fuzz("timestamps", &words, |input| {
        let expected = || {
            let found = form.captures(std::str::from_utf8(input).ok()?)?;
            let number = |group: usize| found[group].parse::<u32>().ok();
            let date = NaiveDate::from_ymd_opt(number(1)? as i32, number(2)?, number(3)?);
            let time = NaiveTime::from_hms_opt(number(4)?, number(5)?, number(6)?)?;
            let moment = date?.and_time(time).and_utc().timestamp();
            (number(1)? > 0).then_some(moment)
        };
        let (found, expected) = (parse_timestamp(input), expected());
        must(found == expected, || {
            format!("{found:?} and not {expected:?}")
        })?;
        kind(found.map(|seconds| seconds.div_euclid(86_400 * 3_652)))
    });
}

/// The six steps of the reference one after the other.
#[test]
fn clean_text() {
    // Python's \w and \s; and characters that Python's tables and ours both know.
    let mention = Regex::new(r"@[\p{L}\p{N}_]+").unwrap();
    let space = r"\t-\r\x1c-\x1f \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}";
    let link = Regex::new(&format!("https?://[^{space}]+")).unwrap();
    let unknown = Regex::new(r"\P{Age=12.1}").unwrap();
    let words = [
        "http",
        "https",
        "://",
        "http://",
        "https://a",
        "@",
        "@bob",
        ":",
        "/",
        "$AAPL ",
        " ",
        "\u{85}",
        "\u{e9}",
        "\u{301}",
        "\u{1f680}",
        "\u{4e2d}",
        "\u{b2}",
        "\x1c",
        "101.25%",
        "a longer run of words, with 12 marks",
    ];
    fuzz("clean_text", &words, |input| {
        let text = String::from_utf8_lossy(input);
        let text = unknown.replace_all(&text, "");
        let without_mentions = mention.replace_all(&text, "");
        let with_links = link.replace_all(&without_mentions, "http");
        let expected: String = with_links
            .chars()
            .filter(|c| c.is_ascii() && !c.is_ascii_punctuation() && !c.is_ascii_digit())
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let mut found = String::new();
        clean_text_into(&text, &mut found);
        must(found == expected, || {
            format!("{found:?} and not {expected:?}")
        })?;
        let mut again = String::new();
        clean_text_into(&found, &mut again);
        must(again == found, || format!("{again:?} the second time"))?;
        kind((found.len() / 8, found.contains("http"), text.len() / 16))
    });
}
