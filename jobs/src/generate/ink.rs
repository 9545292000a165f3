//! Numbers and JSON text as bytes, without the formatting machinery.

/// Every number under 100 in two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// The last two digits of a number.
pub(super) fn two_digits(number: u64) -> [u8; 2] {
    PAIRS[(number % 100) as usize]
}

/// Appends a number in decimal.
pub(super) fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while number >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&two_digits(number));
        number /= 100;
    }
    // One digit is left, or a zero that only a lone 0 needs.
    if number > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + number as u8;
    }
    bytes.extend_from_slice(&digits[at..]);
}

/// [`push_number`] into a text.
pub(super) fn push_digits(text: &mut String, number: u64) {
    let mut bytes = std::mem::take(text).into_bytes();
    push_number(&mut bytes, number);
    // Digits are ASCII, so the text stays one; a failure could only lose it.
    *text = String::from_utf8(bytes).unwrap_or_default();
}

/// Appends a text as a JSON string, with the HTML entities that the platform writes.
/// `ascii` escapes what is not ASCII.
pub(super) fn push_json_text(bytes: &mut Vec<u8>, text: &str, ascii: bool) {
    bytes.push(b'"');
    for c in text.chars() {
        match c {
            '\'' => bytes.extend_from_slice(b"&#39;"),
            '"' => bytes.extend_from_slice(b"&quot;"),
            '&' => bytes.extend_from_slice(b"&amp;"),
            '<' => bytes.extend_from_slice(b"&lt;"),
            '>' => bytes.extend_from_slice(b"&gt;"),
            '\n' => bytes.extend_from_slice(b"\\n"),
            '\\' => bytes.extend_from_slice(b"\\\\"),
            ' '..='~' => bytes.push(c as u8),
            _ if ascii || c.is_ascii_control() => push_escaped(bytes, c),
            _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes.push(b'"');
}

/// Appends a character as one or two `\uXXXX`.
fn push_escaped(bytes: &mut Vec<u8>, c: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for unit in c.encode_utf16(&mut [0; 2]) {
        bytes.extend_from_slice(b"\\u");
        for shift in [12, 8, 4, 0] {
            bytes.push(HEX[usize::from(*unit >> shift) & 15]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_standard_library_does() {
        for number in [
            0,
            1,
            9,
            10,
            11,
            99,
            100,
            101,
            999,
            1000,
            4_294_967_296,
            u64::MAX,
        ] {
            let mut bytes = b"x".to_vec();
            push_number(&mut bytes, number);
            assert_eq!(String::from_utf8(bytes).unwrap(), format!("x{number}"));
        }
        let mut text = String::from("a");
        push_digits(&mut text, 7);
        assert_eq!(text, "a7");
    }

    #[test]
    fn json_text_reads_back() {
        let text = "a\\b\n\t 🚀 é – \u{7f}";
        for ascii in [true, false] {
            let mut bytes = Vec::new();
            push_json_text(&mut bytes, text, ascii);
            assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
        }
        let mut bytes = Vec::new();
        push_json_text(&mut bytes, "S&P's \"high\" <é", true);
        assert_eq!(bytes, b"\"S&amp;P&#39;s &quot;high&quot; &lt;\\u00e9\"");
    }
}
