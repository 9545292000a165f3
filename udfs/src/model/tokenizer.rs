//! From a cleaned document to the ids of its known words.

use super::error::ModelError;
use hashbrown::HashTable;

/// The model's words; a word's id is its line in `vocabulary.txt`, counted from 0.
#[derive(Clone)]
pub struct Vocabulary {
    /// All words, one after the other.
    bytes: Vec<u8>,
    /// Where each word ends in `bytes`.
    ends: Vec<u32>,
    /// Words that fit into a key, with their ids: looked up without a look at `bytes`.
    short: HashTable<(Key, u32)>,
    /// Ids of all others.
    long: HashTable<u32>,
}

/// A word of up to 15 bytes; its length is the last byte.
type Key = [u64; 2];

impl Vocabulary {
    /// Reads `vocabulary.txt`: one word a line, most frequent first.
    ///
    /// # Errors
    /// A line that is empty, holds white space or is there twice.
    pub fn parse(text: &[u8]) -> Result<Self, ModelError> {
        let mut vocabulary = Self {
            bytes: Vec::with_capacity(text.len()),
            ends: Vec::new(),
            short: HashTable::new(),
            long: HashTable::new(),
        };
        let lines = text.strip_suffix(b"\n").unwrap_or(text);
        if lines.is_empty() {
            return Ok(vocabulary);
        }
        for (number, word) in lines.split(|&byte| byte == b'\n').enumerate() {
            let refuse = |reason| ModelError::Word {
                line: number + 1,
                word: String::from_utf8_lossy(word).chars().take(100).collect(),
                reason,
            };
            if word.is_empty() {
                return Err(refuse("is an empty line; remove it"));
            }
            if !word.is_ascii() || word.iter().any(|&byte| is_space(byte)) {
                return Err(refuse(
                    "is not a word of cleaned text: those are ASCII without white space",
                ));
            }
            if vocabulary.id(word).is_some() {
                return Err(refuse("is there a second time; each word has one line"));
            }
            vocabulary.push(word);
        }
        Ok(vocabulary)
    }

    fn push(&mut self, word: &[u8]) {
        // Files are bounded far below 4 GiB, so neither cast can wrap.
        let id = self.ends.len() as u32;
        self.bytes.extend_from_slice(word);
        self.ends.push(self.bytes.len() as u32);
        match key(word) {
            Some(key) => {
                let entry = (key, id);
                self.short
                    .insert_unique(hash_key(key), entry, |&(key, _)| hash_key(key));
            }
            None => {
                let (bytes, ends) = (&self.bytes, &self.ends);
                self.long
                    .insert_unique(hash(word), id, |&id| hash(slice(bytes, ends, id)));
            }
        }
    }

    /// Number of words.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no word.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A word's id, if it is known.
    #[inline]
    #[must_use]
    pub fn id(&self, word: &[u8]) -> Option<u32> {
        self.id_at(word, word.len())
    }

    /// The id of the word of that length that a text begins with.
    #[inline(always)]
    fn id_at(&self, text: &[u8], length: usize) -> Option<u32> {
        let word = text.get(..length)?;
        let key = match text.first_chunk() {
            Some(chunk) if length < chunk.len() => Some(key_within(chunk, length)),
            _ => key(word),
        };
        match key {
            Some(key) => {
                let entry = self.short.find(hash_key(key), |&(known, _)| known == key);
                entry.map(|&(_, id)| id)
            }
            None => {
                let is = |&id: &u32| slice(&self.bytes, &self.ends, id) == word;
                self.long.find(hash(word), is).copied()
            }
        }
    }

    /// The word of an id; empty when there is no such id.
    #[must_use]
    pub fn word(&self, id: u32) -> &str {
        std::str::from_utf8(slice(&self.bytes, &self.ends, id)).unwrap_or("")
    }
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Vocabulary({} words)", self.len())
    }
}

fn slice<'a>(bytes: &'a [u8], ends: &[u32], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = match id.checked_sub(1) {
        Some(before) => ends.get(before).copied().unwrap_or(0),
        None => 0,
    };
    let end = ends.get(id).copied().unwrap_or(start);
    bytes.get(start as usize..end as usize).unwrap_or(&[])
}

/// The key of a word that is short enough for one; from four bytes on by two reads, which may overlap.
#[inline(always)]
fn key(word: &[u8]) -> Option<Key> {
    let length = word.len();
    let (first, rest) = if length > 15 {
        return None;
    } else if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
        // Of the last eight bytes those after the eighth, which are none when there are eight in all.
        let rest = u64::from_le_bytes(*last) >> (8 * (15 - length)) >> 8;
        (u64::from_le_bytes(*first), rest)
    } else if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last)) << (8 * (length - 4));
        (u64::from(u32::from_le_bytes(*first)) | last, 0)
    } else {
        let byte = |bytes: u64, (at, &byte): (usize, &u8)| bytes | u64::from(byte) << (8 * at);
        (word.iter().enumerate().fold(0, byte), 0)
    };
    Some([first, rest | (length as u64) << 56])
}

/// As [`key`], of a word within more text, whatever its length.
#[inline(always)]
fn key_within(text: &[u8; 16], length: usize) -> Key {
    let word = u128::from_le_bytes(*text) & ((1 << (8 * length)) - 1);
    [word as u64, (word >> 64) as u64 | (length as u64) << 56]
}

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const SEED: u64 = 0x2d35_8dcc_aa6c_78a5;

/// The halves of a 128-bit product, one over the other. The tables that this hashes for are fixed once loaded, so nobody
/// can fill them with collisions.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

#[inline(always)]
fn hash_key([first, rest]: Key) -> u64 {
    fold(first ^ FACTOR, rest ^ SEED)
}

/// A hash for words of any length, eight bytes at a time.
fn hash(word: &[u8]) -> u64 {
    let mut state = word.len() as u64 ^ SEED;
    for chunk in word.chunks(8) {
        let mut eight = [0; 8];
        for (to, from) in eight.iter_mut().zip(chunk) {
            *to = *from;
        }
        state = fold(state ^ u64::from_le_bytes(eight), FACTOR);
    }
    state
}

/// White space as Python's `str.split` has it, within ASCII.
#[inline]
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13 | 28..=31)
}

/// The words of a cleaned text.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| is_space(byte))
        .filter(|word| !word.is_empty())
}

/// The words of a cleaned text, and the white space between them that is not a single blank: the text from where each
/// begins, and its length.
#[inline(always)]
fn marked(text: &[u8], mut emit: impl FnMut(&[u8], usize)) {
    let mut rest = text;
    while !rest.is_empty() {
        let end = word_end(rest);
        if end > 0 {
            emit(rest, end);
        }
        let after = rest.get(end..).unwrap_or_default();
        let end = match after {
            // A single blank.
            [b' ', next, ..] if *next > b' ' => 1,
            _ => {
                let end = after.iter().position(|&byte| !is_space(byte));
                end.unwrap_or(after.len())
            }
        };
        let (gap, after) = after.split_at(end);
        match gap {
            [] | [b' '] => {}
            [_] => emit(b"_1", 2),
            [_, _] => emit(b"_2", 2),
            _ => emit(b"_3", 2),
        }
        rest = after;
    }
}

/// The position of the first white space, or the length when there is none.
#[inline(always)]
fn word_end(text: &[u8]) -> usize {
    const EACH: u128 = u128::MAX / 255;
    let mut at = 0;
    if let Some(chunk) = text.first_chunk() {
        // The highest bit of each byte stays where the byte is not below 33; all white space is.
        let bytes = u128::from_le_bytes(*chunk) | (0x80 * EACH);
        let below = !(bytes - 33 * EACH) & (0x80 * EACH);
        at = below.trailing_zeros() as usize / 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    let end = rest.iter().position(|&byte| is_space(byte));
    at + end.unwrap_or(rest.len())
}

/// Whether a token stands for white space.
fn is_mark(token: &[u8]) -> bool {
    matches!(token, [.., b'_', b'1'..=b'3'])
}

/// How a document becomes token ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tokenizer {
    /// The white-space separated words of `clean_body`, then those of `clean_link_desc`; unknown words are dropped.
    Plain,
    /// As `plain`, but words of `clean_link_desc` begin with `d:`, and white space other than a single blank is a
    /// token too: `_2` for two characters, `_3` for more, `_1` for one. It is where cleaning took away a number, a
    /// mention or a symbol. Neither `:` nor `_` is left in cleaned text, so no word looks like these.
    Marked,
}

/// Before words of a link's description.
const LINK_DESC: &[u8] = b"d:";

impl Tokenizer {
    /// Calls `emit` for every token of a document that the tokenizer sees, known or not, in order.
    pub fn for_each_token(
        self,
        clean_body: &[u8],
        clean_link_desc: &[u8],
        mut emit: impl FnMut(&[u8]),
    ) {
        self.for_each_place(clean_body, clean_link_desc, |text, length| {
            emit(text.get(..length).unwrap_or_default());
        });
    }

    /// As [`Self::for_each_token`]: a text that begins with the token, and the token's length.
    #[inline(always)]
    fn for_each_place(
        self,
        clean_body: &[u8],
        clean_link_desc: &[u8],
        mut emit: impl FnMut(&[u8], usize),
    ) {
        match self {
            Self::Plain => words(clean_body)
                .chain(words(clean_link_desc))
                .for_each(|word| emit(word, word.len())),
            Self::Marked => {
                marked(clean_body, &mut emit);
                let mut token = LINK_DESC.to_vec();
                marked(clean_link_desc, |text, length| {
                    token.truncate(LINK_DESC.len());
                    token.extend_from_slice(text.get(..length).unwrap_or_default());
                    emit(&token, token.len());
                });
            }
        }
    }

    /// Appends a document's token ids to `tokens`: of the known ones the last `max_tokens`, and none when no word is
    /// among them.
    pub fn tokenize(
        self,
        vocabulary: &Vocabulary,
        max_tokens: usize,
        clean_body: &[u8],
        clean_link_desc: &[u8],
        tokens: &mut Vec<u32>,
    ) {
        let start = tokens.len();
        let mut knows_word = false;
        self.for_each_place(clean_body, clean_link_desc, |text, length| {
            if let Some(id) = vocabulary.id_at(text, length) {
                tokens.push(id);
                knows_word = knows_word || !text.get(..length).is_some_and(is_mark);
            }
        });
        if !knows_word {
            tokens.truncate(start);
        }
        let excess = (tokens.len() - start).saturating_sub(max_tokens);
        tokens.drain(start..start + excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenize(vocabulary: &Vocabulary, max_tokens: usize, body: &str, desc: &str) -> Vec<u32> {
        let mut tokens = vec![];
        Tokenizer::Plain.tokenize(
            vocabulary,
            max_tokens,
            body.as_bytes(),
            desc.as_bytes(),
            &mut tokens,
        );
        tokens
    }

    #[test]
    fn ids_are_lines() {
        let vocabulary = Vocabulary::parse(b"the\nspy\ninternationalisation\n").unwrap();
        assert_eq!(vocabulary.len(), 3);
        assert_eq!(vocabulary.id(b"spy"), Some(1));
        assert_eq!(vocabulary.id(b"internationalisation"), Some(2));
        assert_eq!(vocabulary.id(b"sp"), None);
        assert_eq!(vocabulary.id(b""), None);
        assert_eq!(vocabulary.word(2), "internationalisation");
        assert_eq!(vocabulary.word(3), "");
        assert!(Vocabulary::parse(b"").unwrap().is_empty());
    }

    #[test]
    fn words_of_every_length_are_told_apart() {
        let words: Vec<String> = (1..40)
            .flat_map(|length| {
                let word: String = ('a'..='z').cycle().take(length).collect();
                (0..length).map(move |at| {
                    let mut word = word.clone();
                    word.replace_range(at..=at, "-");
                    word
                })
            })
            .collect();
        let vocabulary = Vocabulary::parse(words.join("\n").as_bytes()).unwrap();
        for (id, word) in words.iter().enumerate() {
            assert_eq!(vocabulary.id(word.as_bytes()), Some(id as u32), "{word}");
            assert_eq!(
                vocabulary.id(format!("{word}\0").as_bytes()),
                None,
                "{word}"
            );
        }
    }

    #[test]
    fn words_that_are_none_are_refused() {
        for (text, line) in [
            (&b"a\n\nb"[..], 2),
            (b"a\nb\na\n", 3),
            (b"a b\n", 1),
            (b"a\nb\r\n", 2),
            ("caf\u{e9}\n".as_bytes(), 1),
            (b"\n\n", 1),
        ] {
            match Vocabulary::parse(text) {
                Err(ModelError::Word { line: found, .. }) => assert_eq!(found, line, "{text:?}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn text_is_split_as_python_does_and_unknown_words_are_dropped() {
        let vocabulary = Vocabulary::parse(b"a\nb\nc\n").unwrap();
        let body = "  a\tb\x0bnew\x1cc\x1f\x0c\r\nb\x00 ";
        // NUL is no white space: the last word is "b\0", which is unknown.
        assert_eq!(tokenize(&vocabulary, 9, body, " c  a"), [0, 1, 2, 2, 0]);
        assert!(tokenize(&vocabulary, 9, " new ", "").is_empty());
    }

    #[test]
    fn marks_tell_descriptions_and_gaps() {
        let mut tokens = vec![];
        let (body, desc) = (b" up  on\taapl \n\x1c by b ", b"the   inc\x00 ");
        Tokenizer::Marked.for_each_token(body, desc, |token| {
            tokens.push(String::from_utf8_lossy(token).into_owned());
        });
        let expected = [
            "up", "_2", "on", "_1", "aapl", "_3", "by", "b", "d:the", "d:_3", "d:inc\0",
        ];
        assert_eq!(tokens, expected);
        let vocabulary = Vocabulary::parse(b"up\n_2\nd:up\n").unwrap();
        let mut ids = vec![];
        Tokenizer::Marked.tokenize(&vocabulary, 9, b"up  up on", b"up on  up", &mut ids);
        assert_eq!(ids, [0, 1, 0, 2, 2]);
        Tokenizer::Marked.tokenize(&vocabulary, 9, b"  on  ", b"", &mut ids);
        assert_eq!(ids.len(), 5, "marks alone are no text");
        let json = serde_json::to_string(&Tokenizer::Marked).unwrap();
        assert_eq!(json, r#""marked""#);
    }

    #[test]
    fn the_last_tokens_are_kept() {
        let vocabulary = Vocabulary::parse(b"a\nb\nc\n").unwrap();
        assert_eq!(tokenize(&vocabulary, 3, "a a b x b", "c c y"), [1, 2, 2]);
        let mut tokens = vec![7];
        Tokenizer::Plain.tokenize(&vocabulary, 1, b"a b", b"", &mut tokens);
        assert_eq!(tokens, [7, 1]);
    }

    #[test]
    fn many_words_are_found_again() {
        let text: String = (0..50_000).map(|n| format!("w{n:x}\n")).collect();
        let vocabulary = Vocabulary::parse(text.as_bytes()).unwrap();
        for n in (0..50_000).step_by(17) {
            assert_eq!(vocabulary.id(format!("w{n:x}").as_bytes()), Some(n));
        }
    }
}
