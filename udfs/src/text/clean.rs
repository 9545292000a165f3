//! `clean_text`: six substitutions of the reference notebook's `clean_twits`, done in one pass over the bytes.
//!
//! The reference applies to the whole text, one after the other:
//!
//! 1. remove mentions, `@\w+`
//! 2. replace links, `https?://[^\s]+`, by `http`
//! 3. remove ASCII punctuation
//! 4. remove non-ASCII characters
//! 5. remove digits
//! 6. lower-case
//!
//! Steps 3 to 6 look at single characters, so only the first two need thought. Links are looked for in what step 1
//! left, where the neighbours of a mention have become neighbours. But a mention takes all the word characters that
//! it can, so what follows it is none: no mention can lie inside `http` or `https`, only before each of `://` and
//! before the link's first character. A link's end is the next white space, which no mention contains. Therefore it
//! is enough to look for a link where an `@` or a `:` directly follows `http` or `https`.

use super::unicode_ranges::WORD;
#[cfg(target_arch = "x86_64")]
use super::vector;

/// What the pass does with a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Copied; letters are lower-cased at the end.
    Kept,
    /// Punctuation, digits, and every byte of a non-ASCII character.
    Dropped,
    /// `@` and `:`, dropped too, but a mention or the rest of a link may begin here.
    Mark,
}

const CLASS: [Class; 256] = {
    let mut table = [Class::Kept; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b == b'@' || b == b':' {
            table[byte] = Class::Mark;
        } else if b.is_ascii_punctuation() || b.is_ascii_digit() || !b.is_ascii() {
            table[byte] = Class::Dropped;
        }
        byte += 1;
    }
    table
};

/// Appends the cleaned `text` to `out`: ASCII without punctuation, digits and upper-case letters.
///
/// Equal to the reference notebook's Python function on any string, with `\w` and `\s` as Python's `re` has them.
/// The time is linear in the length of the text.
pub fn clean_text_into(text: &str, out: &mut String) {
    #[cfg(target_arch = "x86_64")]
    if vector::is_available() {
        // SAFETY: the processor has these instructions.
        unsafe { vector::clean_into(text, out) };
        return;
    }
    clean_bytewise_into(text, out);
}

/// As [`clean_text_into`], for any processor.
fn clean_bytewise_into(text: &str, out: &mut String) {
    let appended = out.len();
    out.reserve(text.len());

    let bytes = text.as_bytes();
    let mut kept = 0; // where the run begins that is not yet copied
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match CLASS[byte as usize] {
            Class::Kept => {
                at = run_end(bytes, at + 1, Class::Kept);
                continue;
            }
            Class::Dropped => {
                copy(text, kept, at, out);
                at = run_end(bytes, at + 1, Class::Dropped);
            }
            Class::Mark => {
                // Everything from `kept` to here is kept, so no mention and no other link reaches into it.
                let (end, superfluous) = after_mark(text, kept, at);
                copy(text, kept, at - superfluous, out);
                at = end;
            }
        }
        kept = at;
    }
    copy(text, kept, at, out);

    if let Some(cleaned) = out.get_mut(appended..) {
        cleaned.make_ascii_lowercase();
    }
}

/// Where the link or the mention ends that the `@` or `:` at `at` belongs to, else the position after it; and how many
/// bytes before it are to be taken away: the last of `https`. No mention and no other link reaches beyond `from`.
pub(super) fn after_mark(text: &str, from: usize, at: usize) -> (usize, usize) {
    let before = text.as_bytes().get(from..at).unwrap_or_default();
    let s = usize::from(before.ends_with(b"https"));
    let link = match s == 1 || before.ends_with(b"http") {
        true => link_end(text, at),
        false => None,
    };
    match link {
        Some(end) => (end, s),
        None => (mention_end(text, at).unwrap_or(at + 1), 0),
    }
}

/// Appends `text[from..to]`, which is ASCII.
fn copy(text: &str, from: usize, to: usize, out: &mut String) {
    out.push_str(text.get(from..to).unwrap_or_default());
}

/// The first position from `at` on whose byte is not of the class.
fn run_end(bytes: &[u8], at: usize, class: Class) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|&b| CLASS[b as usize] != class)
        .unwrap_or(rest.len())
}

/// Where the mention that begins at `at` ends; `None` when none does.
fn mention_end(text: &str, at: usize) -> Option<usize> {
    if text.as_bytes().get(at) != Some(&b'@') {
        return None;
    }
    let name = at + 1;
    let end = skip_while(text, name, is_word);
    (end > name).then_some(end)
}

/// Where the link ends whose `http` or `https` ends at `at`; `None` when what follows does not make it a link.
fn link_end(text: &str, mut at: usize) -> Option<usize> {
    for expected in b"://" {
        at = skip_mentions(text, at);
        if text.as_bytes().get(at) != Some(expected) {
            return None;
        }
        at += 1;
    }
    let target = skip_mentions(text, at);
    let end = skip_while(text, target, |c| !is_space(c));
    (end > target).then_some(end)
}

fn skip_mentions(text: &str, mut at: usize) -> usize {
    while let Some(end) = mention_end(text, at) {
        at = end;
    }
    at
}

/// The position of the first character from `at` on that is not `wanted`.
fn skip_while(text: &str, at: usize, wanted: impl Fn(char) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.find(|c| !wanted(c)).unwrap_or(rest.len())
}

/// Python's `\w` for str: `str.isalnum` or an underscore.
fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    let code = c as u32;
    let after = WORD.partition_point(|&(first, _)| first <= code);
    after
        .checked_sub(1)
        .and_then(|i| WORD.get(i))
        .is_some_and(|&(_, last)| code <= last)
}

/// Python's `\s` for str: `str.isspace`, which has the separators U+001C to U+001F too.
fn is_space(c: char) -> bool {
    matches!(c,
        '\t'..='\r' | '\u{1c}'..='\u{1f}' | ' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}'
        | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    fn clean(text: &str) -> String {
        let (mut out, mut bytewise) = (String::new(), String::new());
        clean_text_into(text, &mut out);
        clean_bytewise_into(text, &mut bytewise);
        assert_eq!(out, bytewise, "{text:?}");
        out
    }

    #[test]
    fn is_the_same_by_bytes_and_by_blocks() {
        const PARTS: [&str; 16] = [
            "http",
            "https",
            ":",
            "/",
            "//",
            "@",
            "bob",
            " ",
            "\t",
            "A1",
            "\u{e9}",
            "\u{1f680}",
            "\u{7f}",
            "\0",
            "Z[`{a",
            "a longer run of words, with 12 marks",
        ];
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..100_000 {
            let parts = random.random_range(0..30);
            let text: String = (0..parts)
                .map(|_| PARTS[random.random_range(0..PARTS.len())])
                .collect();
            clean(&text);
        }
    }

    /// Compares with the lines `{"in": …, "out": …}` of a file that CPython made.
    fn compare_with(path: &str) -> usize {
        let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
        let lines = std::fs::read_to_string(&path).unwrap();
        for line in lines.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let (text, expected) = (case["in"].as_str().unwrap(), case["out"].as_str().unwrap());
            assert_eq!(clean(text), expected, "{text:?}");
        }
        lines.lines().count()
    }

    #[test]
    fn equals_the_golden_cases() {
        assert!(compare_with("../tests/golden/clean_text.jsonl") > 500);
    }

    #[test]
    fn equals_cpython_where_shortcuts_would_differ() {
        assert!(compare_with("testdata/clean_text_hard.jsonl") > 200);
    }

    #[test]
    fn links_need_a_target() {
        for (text, expected) in [
            ("https://a.b/c?d=1 x", "http x"),
            ("https:// x", "https x"),
            ("https://", "https"),
            ("https://@bob x", "https x"),
            ("https://@bob. x", "http x"),
            ("https://@", "http"),
            ("HTTPS://A", "httpsa"),
            ("https@bob:@eve/@mal/@pat-x y", "http y"),
            ("@https://a", "a"),
            ("ht@bob tps://a", "ht tpsa"),
            ("xhttps://a", "xhttp"),
            ("https\u{301}://a", "httpsa"),
            ("https://a\u{1c}b", "http\u{1c}b"),
            ("https://a\u{200b}b", "http"),
            ("https://a\u{85}b", "httpb"),
            ("https://\u{85}b", "httpsb"),
            ("https1://b", "httpsb"),
            ("http:https://b c", "httphttp c"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn mentions_take_unicode_words() {
        for (text, expected) in [
            ("@Bob_1's", "s"),
            ("@@bob x", " x"),
            ("a@ b", "a b"),
            ("@caf\u{e9}s x", " x"),
            ("@cafe\u{301}s x", "s x"),
            ("@\u{4e2d}\u{6587}x", ""),
            ("@\u{b2}x", ""),
            ("@\u{203f}x", "x"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn appends() {
        let mut out = String::from("ABC@ ");
        clean_text_into("D\u{e9}F", &mut out);
        clean_text_into("", &mut out);
        assert_eq!(out, "ABC@ df");
    }

    #[test]
    fn ranges_ascend() {
        assert!(
            WORD.iter()
                .all(|(first, last)| first <= last && *first > 0x7f)
        );
        assert!(WORD.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
    }
}
