//! The shapes of the lines read so far, by which the next ones are read faster.
//!
//! Programs write these lines, so most differ from an earlier one in their numbers and strings alone. Where everything
//! between these is the same, byte by byte, a line is JSON as that one was and has its members at the same places: only
//! the numbers and strings are scanned. Any other line is scanned as a whole, and its shape is remembered.

use super::json::{Scanner, Value};

/// So many bytes the shapes take at most; what comes later is not remembered.
const MOST_BYTES: usize = 1 << 18;
/// So many steps of one line are remembered at most: no line takes all the bytes, and the steps do not nest too deep.
const MOST_STEPS: usize = 256;
/// So many ways to go on from one place are remembered at most: they are tried one after the other.
const MOST_WAYS: usize = 8;
/// So many more lines may be unknown than known before they are scanned right away.
const MOST_CHANCES: u32 = 1000;

/// The shapes; those that begin alike share their first steps.
#[derive(Debug)]
pub(super) struct Shapes {
    first: Vec<Step>,
    bytes: usize,
    /// One less with each line that is unknown, one more with each that is known.
    chances: u32,
}

impl Default for Shapes {
    fn default() -> Self {
        Self {
            first: vec![],
            bytes: 0,
            chances: MOST_CHANCES,
        }
    }
}

/// What comes next in a line.
#[derive(Debug)]
struct Step {
    /// The bytes up to the next number, or string that is no name, or to the line's end.
    fixed: Box<[u8]>,
    then: Then,
}

#[derive(Debug)]
enum Then {
    /// A number or string, the value of that member, and what may follow it.
    Value(usize, Vec<Step>),
    /// The line's end; whether its message is recommended.
    End(bool),
}

impl Shapes {
    /// Reads a line if its shape is known: the values of its members, and whether it is recommended. Values that nobody
    /// looks at go to the last of the members.
    #[inline]
    pub(super) fn read<const N: usize>(
        &mut self,
        scanner: &Scanner<'_>,
        members: &mut [Option<Value>; N],
    ) -> Option<bool> {
        if self.chances == 0 {
            return None;
        }
        let known = self.follow(scanner, members);
        self.chances = match known {
            Some(_) => MOST_CHANCES.min(self.chances + 1),
            None => self.chances - 1,
        };
        known
    }

    #[inline(always)]
    fn follow<const N: usize>(
        &self,
        scanner: &Scanner<'_>,
        members: &mut [Option<Value>; N],
    ) -> Option<bool> {
        let (mut steps, mut at) = (&self.first, 0);
        loop {
            let rest = scanner.rest(at);
            let step = steps.iter().find(|step| begins_with(rest, &step.fixed))?;
            at += step.fixed.len();
            match &step.then {
                Then::Value(member, next) => {
                    let value = scanner.number_or_string(at).ok()?;
                    *members.get_mut(*member)? = Some(value);
                    at = value.end();
                    steps = next;
                }
                Then::End(recommended) => {
                    return (step.fixed.len() == rest.len()).then_some(*recommended);
                }
            }
        }
    }

    /// Remembers the shape of a line from which a message was read.
    #[cold]
    pub(super) fn learn<const N: usize>(
        &mut self,
        scanner: &Scanner<'_>,
        members: &[Option<Value>; N],
        recommended: bool,
    ) {
        if self.chances == 0 {
            return;
        }
        let (mut steps, mut at) = (&mut self.first, 0);
        for _ in 0..MOST_STEPS {
            let rest = scanner.rest(at);
            let value = scanner.next_number_or_string(at);
            let fixed = match value {
                Some(value) => rest.get(..value.start() - at).unwrap_or_default(),
                None => rest,
            };
            let is_value =
                |member: &Option<Value>| member.map(Value::start) == value.map(Value::start);
            let member = members.iter().position(is_value).unwrap_or(N - 1);
            let known = steps.iter().position(|step| *step.fixed == *fixed);
            // The longer of two that begin alike is tried first: where it fits, the other leads to no value.
            let shorter = || steps.iter().position(|step| fixed.starts_with(&step.fixed));
            let index = known.or_else(shorter).unwrap_or(steps.len());
            if known.is_none() {
                let bytes = self.bytes + size_of::<Step>() + fixed.len();
                if bytes > MOST_BYTES || steps.len() == MOST_WAYS {
                    return;
                }
                self.bytes = bytes;
                let then = match value {
                    Some(_) => Then::Value(member, vec![]),
                    None => Then::End(recommended),
                };
                let fixed = fixed.into();
                steps.insert(index, Step { fixed, then });
            }
            match (steps.get_mut(index).map(|step| &mut step.then), value) {
                // If names come twice, a value may count in one line and not in another: only the first is remembered.
                (Some(Then::Value(before, next)), Some(value)) if *before == member => {
                    at = value.end();
                    steps = next;
                }
                _ => return,
            }
        }
    }
}

/// Whether some bytes begin with others, which are few as a rule: without a call.
#[inline(always)]
fn begins_with(bytes: &[u8], others: &[u8]) -> bool {
    let Some(bytes) = bytes.get(..others.len()) else {
        return false;
    };
    match others.len() {
        16.. => same::<16>(bytes, others),
        8.. => same::<8>(bytes, others),
        _ => bytes.iter().eq(others),
    }
}

/// Compares `N` bytes at a time, of which the last overlap those before.
#[inline(always)]
fn same<const N: usize>(bytes: &[u8], others: &[u8]) -> bool {
    let chunks = bytes.as_chunks::<N>().0.iter();
    bytes.last_chunk::<N>() == others.last_chunk() && chunks.eq(others.as_chunks().0)
}

#[cfg(test)]
mod tests {
    use super::super::quotes::Quotes;
    use super::*;

    /// Whether the line's shape is known; with where its first string and what nobody looks at last are.
    fn read(shapes: &mut Shapes, line: &str) -> Option<(bool, [Option<usize>; 2])> {
        let mut quotes = Quotes::default();
        quotes.index(line.as_bytes());
        let mut members = [None; 2];
        let recommended = shapes.read(&Scanner::new(line, &quotes), &mut members)?;
        Some((recommended, members.map(|member| member.map(Value::start))))
    }

    fn learn(shapes: &mut Shapes, line: &str, recommended: bool) {
        let mut quotes = Quotes::default();
        quotes.index(line.as_bytes());
        let scanner = Scanner::new(line, &quotes);
        let mut at = 0;
        let values = std::iter::from_fn(|| {
            let value = scanner.next_number_or_string(at)?;
            at = value.end();
            Some(value)
        });
        let first = values
            .into_iter()
            .find(|value| value.raw(line).len() + 2 == value.end() - value.start());
        shapes.learn(&scanner, &[first, None], recommended);
    }

    #[test]
    fn lines_differ_in_numbers_and_strings() {
        let mut shapes = Shapes::default();
        assert_eq!(read(&mut shapes, r#"{"a": "x", "b": [1]}"#), None);
        learn(&mut shapes, r#"{"a": "x", "b": [1]}"#, true);
        learn(&mut shapes, r#"{"a": "x", "b": null}"#, false);
        learn(&mut shapes, r#"{"a": "x", "b": }"#, false);
        for (line, expected) in [
            (r#"{"a": "x", "b": [1]}"#, Some((true, [6, 17]))),
            (r#"{"a": "\"\u0041", "b": [-1.5e3]}"#, Some((true, [6, 24]))),
            (r#"{"a": 7, "b": ["x"]}"#, Some((true, [6, 15]))),
            (r#"{"a": "x", "b": null}"#, Some((false, [6, 6]))),
            (r#"{"a": "x", "b": [1]} "#, None),
            (r#"{"a": "x", "b": [1]"#, None),
            (r#"{"a": "x", "b": [01]}"#, None),
            (r#"{"a": "x", "b": [1.]}"#, None),
            (r#"{"a": "x", "b": [true]}"#, None),
            (r#"{"a": "\x", "b": [1]}"#, None),
            ("{\"a\": \"\t\", \"b\": [1]}", None),
            (r#"{"a": "x", "c": [1]}"#, None),
            (r#"{"a":"x", "b": [1]}"#, None),
            (r#"{"a": "x", "b": nul}"#, None),
            (r#"{"a": "x"#, None),
            ("", None),
        ] {
            let read = read(&mut shapes, line);
            assert_eq!(read.is_some(), expected.is_some(), "{line}");
            if let (Some((recommended, [first, last])), Some((expected, [at, last_at]))) =
                (read, expected)
            {
                assert_eq!((recommended, first), (expected, Some(at)), "{line}");
                // Without another value, there is none that nobody looks at.
                assert_eq!(
                    last,
                    Some(last_at).filter(|last_at| *last_at != at),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut shapes = Shapes::default();
        for way in 0..2 * MOST_WAYS {
            learn(&mut shapes, &format!(r#"{{"{way}": "x"}}"#), false);
        }
        assert_eq!(shapes.first.len(), MOST_WAYS);
        let known = r#"{"0": "y"}"#;
        assert!(read(&mut shapes, known).is_some());
        let long = format!(r#"{{"0": [{}1]}}"#, "1,".repeat(MOST_BYTES));
        learn(&mut shapes, &long, false);
        assert!(shapes.bytes < MOST_BYTES / 2);
        for length in 0..MOST_STEPS {
            let blanks = " ".repeat(MOST_BYTES / 64);
            let line = format!(r#"{{"0": "x"{}}}"#, format!(",{blanks}1").repeat(length));
            learn(&mut shapes, &line, false);
        }
        assert!(shapes.bytes <= MOST_BYTES);
        // Where most lines are unknown, none is looked for.
        assert!(read(&mut shapes, known).is_some());
        for _ in 0..MOST_CHANCES {
            assert_eq!(read(&mut shapes, "{}"), None);
        }
        assert_eq!(read(&mut shapes, known), None);
    }

    #[test]
    fn bytes_begin_with_others() {
        let bytes: Vec<u8> = (0..100).collect();
        for length in 0..=bytes.len() {
            assert!(begins_with(&bytes, &bytes[..length]));
            assert!(length == 0 || !begins_with(&bytes[..length - 1], &bytes[..length]));
            for at in 0..length {
                let mut others = bytes[..length].to_vec();
                others[at] ^= 1;
                assert!(!begins_with(&bytes, &others), "{at} of {length}");
            }
        }
    }
}
