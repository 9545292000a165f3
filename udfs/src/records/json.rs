//! A validating scanner of JSON (RFC 8259) that decodes only what is asked for.
//!
//! It accepts what Python's `json.loads` accepts, but neither `NaN`, `Infinity` and `-Infinity` nor more than
//! [`MAX_DEPTH`] levels, which also bounds its recursion.

use std::borrow::Cow;

use memchr::memchr2;

/// Levels of arrays and objects in each other.
const MAX_DEPTH: u32 = 128;

/// The text is not JSON.
#[derive(Debug)]
pub(super) struct NotJson;

type Result<T> = std::result::Result<T, NotJson>;

/// A value, scanned and found valid.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Null,
    True,
    False,
    /// A number without fraction and exponent, as it is written.
    Integer(&'a str),
    /// Any other number.
    Float,
    String(JsonString<'a>),
    Array,
    Object,
}

/// A valid string as it is written between its quotes.
#[derive(Clone, Copy)]
pub(super) struct JsonString<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> JsonString<'a> {
    /// What the string says. Decoded into the buffer when it has escapes.
    ///
    /// Half a surrogate pair, which Python keeps and UTF-8 cannot hold, becomes U+FFFD.
    pub(super) fn decode<'b>(self, buffer: &'b mut String) -> &'b str
    where
        'a: 'b,
    {
        if !self.escaped {
            return self.raw;
        }
        buffer.clear();
        let mut rest = self.raw;
        while let Some((plain, escape)) = rest.split_once('\\') {
            buffer.push_str(plain);
            let (decoded, length) = decode_escape(escape);
            buffer.push(decoded);
            rest = escape.get(length..).unwrap_or_default();
        }
        buffer.push_str(rest);
        buffer
    }

    /// What the string says, for names: they hardly ever have escapes.
    pub(super) fn name(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut name = String::new();
        self.decode(&mut name);
        Cow::Owned(name)
    }
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

/// Where the first quote or backslash is. Names and most values are short: for these a search that is set up for long
/// texts costs more than it finds, so the first bytes are looked at eight at a time.
#[inline]
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    const BACKSLASHES: u64 = u64::from_ne_bytes([b'\\'; 8]);
    // The high bit of each byte that is zero, and of none below the first of these ("Bit Twiddling Hacks", haszero).
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let mut at = 0;
    while at < 32
        && let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>())
    {
        let word = u64::from_le_bytes(*eight);
        let found = zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    memchr2(b'"', b'\\', rest).map(|found| at + found)
}

/// Goes through one JSON text from front to back.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Whether any control character is in the text. If not, as is usual, strings need not be searched for them.
    controls: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        // Without an early exit, so that it is vectorised.
        let controls = text
            .bytes()
            .fold(false, |found, byte| found | (byte < 0x20));
        Self {
            text,
            at: 0,
            depth: 0,
            controls,
        }
    }

    /// The first byte of what comes next, white space passed over.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Checks that nothing but white space follows.
    pub(super) fn end(&mut self) -> Result<()> {
        self.peek().map_or(Ok(()), |_| Err(NotJson))
    }

    /// Scans one value of whatever type.
    pub(super) fn value(&mut self) -> Result<Value<'a>> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self
                .object(|scanner, _| scanner.value().map(drop))
                .map(|()| Value::Object),
            Some(b'[') => self
                .array(|scanner, _| scanner.value().map(drop))
                .map(|()| Value::Array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::True),
            Some(b'f') => self.literal("false", Value::False),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(NotJson),
        }
    }

    /// Scans an object. `member` is called with each name and must scan the value that comes next, and no more.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, JsonString<'a>) -> Result<()>,
    ) -> Result<()> {
        self.nested(b'{', b'}', |scanner, _| {
            if scanner.peek() != Some(b'"') {
                return Err(NotJson);
            }
            let name = scanner.string()?;
            if scanner.peek() != Some(b':') {
                return Err(NotJson);
            }
            scanner.at += 1;
            member(scanner, name)
        })
    }

    /// Scans an array. `element` is called with each index and must scan the value that comes next, and no more.
    pub(super) fn array(
        &mut self,
        element: impl FnMut(&mut Self, usize) -> Result<()>,
    ) -> Result<()> {
        self.nested(b'[', b']', element)
    }

    /// Scans items with commas between them.
    fn nested(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self, usize) -> Result<()>,
    ) -> Result<()> {
        if self.peek() != Some(open) || self.depth == MAX_DEPTH {
            return Err(NotJson);
        }
        self.depth += 1;
        self.at += 1;
        if self.peek() != Some(close) {
            for index in 0.. {
                item(self, index)?;
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(byte) if byte == close => break,
                    _ => return Err(NotJson),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn literal(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value<'a>> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let leading_zero = self.byte() == Some(b'0');
        let digits = self.digits()?;
        if leading_zero && digits > 1 {
            return Err(NotJson);
        }
        let mut integer = true;
        if self.byte() == Some(b'.') {
            integer = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        if !integer {
            return Ok(Value::Float);
        }
        self.text
            .get(start..self.at)
            .map(Value::Integer)
            .ok_or(NotJson)
    }

    /// Passes over digits, at least one, and says how many.
    fn digits(&mut self) -> Result<usize> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start {
            Err(NotJson)
        } else {
            Ok(self.at - start)
        }
    }

    /// Scans the string whose opening quote comes next.
    fn string(&mut self) -> Result<JsonString<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at += quote_or_backslash(bytes.get(at..).ok_or(NotJson)?).ok_or(NotJson)?;
            if bytes.get(at) == Some(&b'"') {
                break;
            }
            escaped = true;
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
        let raw = self.text.get(start..at).ok_or(NotJson)?;
        if self.controls && raw.bytes().any(|byte| byte < 0x20) {
            return Err(NotJson);
        }
        self.at = at + 1;
        Ok(JsonString { raw, escaped })
    }
}
