//! What people see of texts that anybody may have written: records, file names, settings, other programs' errors.

use std::borrow::Cow;
use std::fmt::Write;

/// A text of one line as a terminal or a log may get it: a character that would steer a terminal, begin a line or turn
/// the direction of writing is shown by its number, `\u001b`, or as `\n`, `\r`, `\t`. In JSON the text stays JSON.
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// As [`shown`], for a text of several lines: their ends and tabs stay.
pub fn shown_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |sign| matches!(sign, '\n' | '\t'))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_odd = |sign: char| steers(sign) && !stays(sign);
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for sign in text.chars() {
        match sign {
            _ if !is_odd(sign) => escaped.push(sign),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            // All of them lie below 65536. Writing to a String cannot fail.
            _ => drop(write!(escaped, "\\u{:04x}", u32::from(sign))),
        }
    }
    Cow::Owned(escaped)
}

/// Controls (C0, delete, C1), line and paragraph separators, and Unicode's marks, embeddings, overrides and isolates of
/// writing direction.
fn steers(sign: char) -> bool {
    sign.is_control()
        || matches!(sign, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_by_its_number() {
        let hostile = "a\u{1b}[31mb\u{7}\r\n\u{9b}2J\u{202e}txt.\u{2066}\u{7f}";
        let safe = r"a\u001b[31mb\u0007\r\n\u009b2J\u202etxt.\u2066\u007f";
        assert_eq!(shown(hostile), safe);
        assert_eq!(shown_lines("a\n\tb\r"), "a\n\tb\\r");
        let plain = r"C:\new ü 日本 👩‍👧 %20";
        assert!(matches!(shown(plain), Cow::Borrowed(same) if same == plain));
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "raw": "\u{9b}\u{202e}\u{1b}é\n" });
        let text = value.to_string();
        let safe = shown(&text);
        assert!(safe.contains(r"\u009b\u202e"));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&safe).unwrap(),
            value
        );
    }
}
