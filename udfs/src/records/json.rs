//! A validating scanner of JSON (RFC 8259) that decodes only what is asked for.
//!
//! It accepts what Python's `json.loads` accepts, but neither `NaN`, `Infinity` and `-Infinity` nor more than
//! [`MAX_DEPTH`] levels, which also bounds its recursion. Integers may be of any length, where newer Pythons stop at 4,300
//! digits.

use memchr::memchr;

use super::number::leading_digits;
use super::quotes::Quotes;

/// Levels of arrays and objects in each other.
const MAX_DEPTH: u32 = 128;

/// The text is not JSON.
#[derive(Debug)]
pub(super) struct NotJson;

type Result<T> = std::result::Result<T, NotJson>;

/// A value, scanned and found valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) kind: Kind,
    /// Where it is in the text: the start, and above it the end. Two numbers in all are handed on in registers.
    span: u64,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    /// A number without fraction and exponent.
    Integer,
    /// Any other number.
    Float,
    String,
    /// A string with escapes.
    EscapedString,
    Array,
    Object,
}

impl Value {
    /// From positions in a text of less than 4 GiB.
    #[inline]
    fn between(kind: Kind, start: usize, end: usize) -> Self {
        let span = start as u64 | (end as u64) << 32;
        Self { kind, span }
    }

    /// The position of its first byte.
    #[inline]
    pub(super) fn start(self) -> usize {
        self.span as u32 as usize
    }

    /// The position after it.
    #[inline]
    pub(super) fn end(self) -> usize {
        (self.span >> 32) as usize
    }

    /// What it is written as in the text that it was scanned in; a string without its quotes.
    #[inline(always)]
    pub(super) fn raw(self, text: &str) -> &str {
        let (start, end) = (self.start(), self.end());
        let quote = usize::from(matches!(self.kind, Kind::String | Kind::EscapedString));
        text.get(start + quote..end - quote).unwrap_or_default()
    }

    /// What a string says. Decoded into the buffer when it has escapes.
    ///
    /// Half a surrogate pair, which Python keeps and UTF-8 cannot hold, becomes U+FFFD.
    #[inline(always)]
    pub(super) fn decode<'a>(self, text: &'a str, buffer: &'a mut String) -> &'a str {
        match self.kind {
            Kind::EscapedString => decode_escapes(self.raw(text), buffer),
            _ => self.raw(text),
        }
    }
}

#[cold]
fn decode_escapes<'a>(raw: &str, buffer: &'a mut String) -> &'a str {
    buffer.clear();
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        buffer.push_str(plain);
        let (decoded, length) = decode_escape(escape);
        buffer.push(decoded);
        rest = escape.get(length..).unwrap_or_default();
    }
    buffer.push_str(rest);
    buffer
}

/// The character that a valid escape stands for, and the escape's length without its first backslash.
fn decode_escape(escape: &str) -> (char, usize) {
    let decoded = match escape.as_bytes().first() {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let code = hex(escape, 1);
            if let (0xD800..0xDC00, Some("\\u")) = (code, escape.get(5..7))
                && let low @ 0xDC00..0xE000 = hex(escape, 7)
            {
                let code = 0x1_0000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                return (
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                    11,
                );
            }
            return (
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                5,
            );
        }
        // A quote, a slash or a backslash.
        other => other
            .copied()
            .map_or(char::REPLACEMENT_CHARACTER, char::from),
    };
    (decoded, 1)
}

/// The value of four hexadecimal digits.
fn hex(text: &str, at: usize) -> u32 {
    text.get(at..at + 4)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .unwrap_or_default()
}

/// Goes through one JSON text of less than 4 GiB. Each function takes the position where it begins and gives the one
/// where it ends: a position that is kept in memory would be waited for at every step.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    quotes: &'a Quotes,
    depth: u32,
}

impl<'a> Scanner<'a> {
    /// A scanner of a text and its quotes.
    pub(super) fn new(text: &'a str, quotes: &'a Quotes) -> Self {
        Self {
            text,
            quotes,
            depth: 0,
        }
    }

    /// Passes over white space: the position and the byte of what comes next. Zero, which is valid nowhere outside of
    /// strings, when nothing does.
    #[inline(always)]
    pub(super) fn peek(&self, mut at: usize) -> (usize, u8) {
        loop {
            match self.byte(at) {
                b' ' | b'\t' | b'\n' | b'\r' => at += 1,
                byte => return (at, byte),
            }
        }
    }

    /// What a name says.
    #[inline(always)]
    pub(super) fn name<'b>(&self, name: Value, buffer: &'b mut String) -> &'b str
    where
        'a: 'b,
    {
        name.decode(self.text, buffer)
    }

    /// The bytes from a position on.
    #[inline(always)]
    pub(super) fn rest(&self, at: usize) -> &'a [u8] {
        self.text.as_bytes().get(at..).unwrap_or_default()
    }

    /// The byte at a position; zero at the end.
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    /// Checks that nothing but white space follows.
    pub(super) fn end(&self, at: usize) -> Result<()> {
        match self.peek(at).0 == self.text.len() {
            true => Ok(()),
            false => Err(NotJson),
        }
    }

    /// Scans one value of whatever type.
    #[inline(always)]
    pub(super) fn value(&self, at: usize) -> Result<Value> {
        let (at, byte) = self.peek(at);
        match byte {
            b'"' => self.string(at),
            b'-' | b'0'..=b'9' => self.number(at),
            b't' => self.literal(at, b"true", Kind::True),
            b'f' => self.literal(at, b"false", Kind::False),
            b'n' => self.literal(at, b"null", Kind::Null),
            b'{' => Ok(Value::between(Kind::Object, at, self.pass_over(at)?)),
            b'[' => Ok(Value::between(Kind::Array, at, self.pass_over(at)?)),
            _ => Err(NotJson),
        }
    }

    /// Scans a number or a string.
    #[inline(always)]
    pub(super) fn number_or_string(&self, at: usize) -> Result<Value> {
        match self.byte(at) {
            b'"' => self.string(at),
            _ => self.number(at),
        }
    }

    /// The next number, or string that is no name, in a text that was found to be JSON.
    pub(super) fn next_number_or_string(&self, mut at: usize) -> Option<Value> {
        loop {
            match self.byte(at) {
                b'"' => {
                    let string = self.string(at).ok()?;
                    at = string.end();
                    if self.peek(at).1 != b':' {
                        return Some(string);
                    }
                }
                b'-' | b'0'..=b'9' => return self.number(at).ok(),
                // What is zero in JSON is its end.
                0 => return None,
                _ => at += 1,
            }
        }
    }

    /// Scans one value that nobody asked for.
    pub(super) fn pass_over(&self, at: usize) -> Result<usize> {
        let (at, byte) = self.peek(at);
        match byte {
            b'{' => self.object(at, |scanner, _, at| scanner.pass_over(at)),
            b'[' => self.array(at, |scanner, _, at| scanner.pass_over(at)),
            _ => self.value(at).map(Value::end),
        }
    }

    /// Scans an object. `member` is called with each name and the position of its value, which it must scan.
    #[inline(always)]
    pub(super) fn object(
        &self,
        at: usize,
        mut member: impl FnMut(&Self, Value, usize) -> Result<usize>,
    ) -> Result<usize> {
        self.nested(at, b'{', b'}', |scanner, _, at| {
            let (at, b'"') = scanner.peek(at) else {
                return Err(NotJson);
            };
            let name = scanner.string(at)?;
            let (at, b':') = scanner.peek(name.end()) else {
                return Err(NotJson);
            };
            member(scanner, name, at + 1)
        })
    }

    /// Scans an array. `element` is called with each index and the element's position, which it must scan.
    #[inline(always)]
    pub(super) fn array(
        &self,
        at: usize,
        element: impl FnMut(&Self, usize, usize) -> Result<usize>,
    ) -> Result<usize> {
        self.nested(at, b'[', b']', element)
    }

    /// Scans items with commas between them.
    #[inline(always)]
    fn nested(
        &self,
        at: usize,
        open: u8,
        close: u8,
        mut item: impl FnMut(&Self, usize, usize) -> Result<usize>,
    ) -> Result<usize> {
        let (at, byte) = self.peek(at);
        if byte != open || self.depth == MAX_DEPTH {
            return Err(NotJson);
        }
        let (mut at, mut byte) = self.peek(at + 1);
        if byte == close {
            return Ok(at + 1);
        }
        let inner = Self {
            depth: self.depth + 1,
            ..*self
        };
        for index in 0.. {
            (at, byte) = self.peek(item(&inner, index, at)?);
            if byte != b',' {
                break;
            }
            at += 1;
        }
        match byte == close {
            true => Ok(at + 1),
            false => Err(NotJson),
        }
    }

    #[inline(always)]
    fn literal<const N: usize>(&self, at: usize, word: &[u8; N], kind: Kind) -> Result<Value> {
        match self.text.as_bytes().get(at..at + N) {
            Some(found) if found == word => Ok(Value::between(kind, at, at + N)),
            _ => Err(NotJson),
        }
    }

    #[inline(always)]
    fn number(&self, start: usize) -> Result<Value> {
        let first = start + usize::from(self.byte(start) == b'-');
        let mut at = self.digits(first)?;
        if self.byte(first) == b'0' && at > first + 1 {
            return Err(NotJson);
        }
        let mut kind = Kind::Integer;
        if self.byte(at) == b'.' {
            kind = Kind::Float;
            at = self.digits(at + 1)?;
        }
        if let b'e' | b'E' = self.byte(at) {
            kind = Kind::Float;
            let signed = matches!(self.byte(at + 1), b'+' | b'-');
            at = self.digits(at + 1 + usize::from(signed))?;
        }
        Ok(Value::between(kind, start, at))
    }

    /// Passes over digits, at least one.
    #[inline(always)]
    fn digits(&self, start: usize) -> Result<usize> {
        let mut at = start;
        // Most are fewer than eight, and need no loop.
        if let Some(bytes) = self.rest(at).first_chunk() {
            at += leading_digits(*bytes);
        }
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        match at > start {
            true => Ok(at),
            false => Err(NotJson),
        }
    }

    /// Scans the string whose opening quote is there.
    #[inline(always)]
    fn string(&self, start: usize) -> Result<Value> {
        let end = self.quotes.next(start + 1).ok_or(NotJson)?;
        let raw = || self.text.get(start + 1..end).ok_or(NotJson);
        if self.quotes.controls && raw()?.bytes().any(|byte| byte < 0x20) {
            return Err(NotJson);
        }
        let kind = match self.quotes.backslashes && has_escapes(raw()?)? {
            true => Kind::EscapedString,
            false => Kind::String,
        };
        Ok(Value::between(kind, start, end + 1))
    }
}

/// Whether a string has escapes, all of which must be valid.
fn has_escapes(raw: &str) -> Result<bool> {
    let bytes = raw.as_bytes();
    let mut at = 0;
    while let Some(found) = memchr(b'\\', bytes.get(at..).ok_or(NotJson)?) {
        at += found;
        at += match bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => {
                let digits = bytes.get(at + 2..at + 6).ok_or(NotJson)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(NotJson);
                }
                6
            }
            _ => return Err(NotJson),
        };
    }
    Ok(at > 0)
}
