use super::Reason;
use super::csv::without_line_end;
use super::field::{Field, first_reason};
use super::json::{Kind, NotJson, Scanner, Value};
use super::number::{i64_in, user_id};
use super::quotes::Quotes;
use super::shapes::Shapes;
use super::timestamp::needed_timestamp;

/// A message, as far as it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message<'a> {
    /// The message's id.
    pub id: i64,
    /// Who wrote it.
    pub user_id: i32,
    /// When, in seconds since 1970-01-01 00:00:00 UTC.
    pub created_at: i64,
    /// Whether the site recommends it.
    pub recommended: bool,
    /// The text.
    pub body: &'a str,
    /// The description of its first link, empty when there is none.
    pub link_description: &'a str,
}

/// Reads messages from lines of JSON, into buffers that it uses again.
#[derive(Debug, Default)]
pub struct MessageParser {
    body: String,
    created_at: String,
    link_description: String,
    quotes: Quotes,
    shapes: Shapes,
}

impl MessageParser {
    /// A parser with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one line: a JSON object (RFC 8259, at most 128 levels deep, as strict as Python's `json.loads` and
    /// without its `NaN` and `Infinity`).
    ///
    /// Needed are `id` and `user_id` (integers), `body` and `created_at` (strings). Without a `user_id`, or with null,
    /// the `id` of an object `user` stands for it. `recommended` is said by `true` alone. The description is
    /// `links[0].description` where that is a string. Of members with one name the last counts, as in Python.
    /// Half a surrogate pair (`\ud83d` alone) becomes U+FFFD.
    ///
    /// # Errors
    /// The [`Reason`] why it cannot be read; a needed field that is null is a [`Reason::MissingField`].
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Message<'a>, Reason> {
        let line = without_line_end(line);
        self.quotes.index(line);
        self.parse_indexed(line)
    }

    /// The first message of some bytes and the length of its line. `None` where the line cannot be read or does not end
    /// well before the bytes do: [`next_record`](super::next_record) and [`parse`](Self::parse) tell.
    pub fn next_plain<'a>(&'a mut self, bytes: &'a [u8]) -> Option<(Message<'a>, usize)> {
        let length = self.quotes.index_first_line(bytes)?;
        let line = without_line_end(bytes.get(..=length)?);
        let message = self.parse_indexed(line).ok()?;
        Some((message, length + 1))
    }

    /// Reads a line whose quotes were just found.
    fn parse_indexed<'a>(&'a mut self, line: &'a [u8]) -> Result<Message<'a>, Reason> {
        let text = match self.quotes.ascii {
            // SAFETY: every byte was found to be ASCII.
            true => unsafe { std::str::from_utf8_unchecked(line) },
            false => std::str::from_utf8(line).map_err(|_| Reason::NotUtf8)?,
        };
        if u32::try_from(text.len()).is_err() {
            return Err(Reason::TooLong);
        }
        let scanner = Scanner::new(text, &self.quotes);
        let mut members = Members::default();
        let known = self.shapes.read(&scanner, &mut members);
        let recommended = match known {
            Some(recommended) => recommended,
            None => {
                members = Members::default();
                scan(&scanner, &mut members)?;
                members[RECOMMENDED].is_some_and(|value| value.kind == Kind::True)
            }
        };
        let id = integer(text, members[ID])?;
        let user = match members[USER_ID] {
            None
            | Some(Value {
                kind: Kind::Null, ..
            }) => integer(text, members[NESTED_USER_ID])?,
            given => integer(text, given)?,
        };
        let user_id = user_id(user)?;
        let created_at = needed_timestamp(
            string(members[CREATED_AT])?
                .decode(text, &mut self.created_at)
                .as_bytes(),
        )?;
        let body = string(members[BODY])?;
        if known.is_none() {
            self.shapes.learn(&scanner, &members, recommended);
        }
        Ok(Message {
            id,
            user_id,
            created_at,
            recommended,
            body: body.decode(text, &mut self.body),
            link_description: match string(members[LINK_DESCRIPTION]) {
                Ok(description) => description.decode(text, &mut self.link_description),
                Err(_) => "",
            },
        })
    }
}

/// The values of a message's members that are looked at, each at its place; at the last place is none of them.
type Members = [Option<Value>; 8];

const ID: usize = 0;
const USER_ID: usize = 1;
const NESTED_USER_ID: usize = 2;
const CREATED_AT: usize = 3;
const RECOMMENDED: usize = 4;
const BODY: usize = 5;
const LINK_DESCRIPTION: usize = 6;

/// Reads them from a line.
fn scan(scanner: &Scanner<'_>, members: &mut Members) -> Result<(), Reason> {
    let is_object = scanner.peek(0).1 == b'{';
    let scanned = match is_object {
        true => scanner.object(0, |scanner, name, at| read(scanner, name, at, members)),
        false => scanner.pass_over(0),
    };
    scanned
        .and_then(|at| scanner.end(at))
        .map_err(|NotJson| Reason::NotJson)?;
    match is_object {
        true => Ok(()),
        false => Err(Reason::WrongType),
    }
}

#[inline(always)]
fn read(
    scanner: &Scanner<'_>,
    name: Value,
    at: usize,
    members: &mut Members,
) -> Result<usize, NotJson> {
    let index = match scanner.name(name, &mut String::new()) {
        "id" => ID,
        "user_id" => USER_ID,
        "created_at" => CREATED_AT,
        "recommended" => RECOMMENDED,
        "body" => BODY,
        "user" => return member(scanner, at, "id", &mut members[NESTED_USER_ID]),
        "links" => return first_description(scanner, at, &mut members[LINK_DESCRIPTION]),
        _ => return scanner.pass_over(at),
    };
    let value = scanner.value(at)?;
    members[index] = Some(value);
    Ok(value.end())
}

/// Scans a value and finds the member of that name, if the value is an object that has one.
fn member(
    scanner: &Scanner<'_>,
    at: usize,
    wanted: &str,
    found: &mut Option<Value>,
) -> Result<usize, NotJson> {
    *found = None;
    if scanner.peek(at).1 != b'{' {
        return scanner.pass_over(at);
    }
    scanner.object(at, |scanner, name, at| {
        if scanner.name(name, &mut String::new()) != wanted {
            return scanner.pass_over(at);
        }
        let value = scanner.value(at)?;
        *found = Some(value);
        Ok(value.end())
    })
}

/// Scans the value of `links` and finds its first element's description, if there is one.
fn first_description(
    scanner: &Scanner<'_>,
    at: usize,
    description: &mut Option<Value>,
) -> Result<usize, NotJson> {
    *description = None;
    if scanner.peek(at).1 != b'[' {
        return scanner.pass_over(at);
    }
    scanner.array(at, |scanner, index, at| match index {
        0 => member(scanner, at, "description", description),
        _ => scanner.pass_over(at),
    })
}

fn integer(text: &str, value: Option<Value>) -> Result<i64, Reason> {
    let value = value.ok_or(Reason::MissingField)?;
    match value.kind {
        Kind::Null => Err(Reason::MissingField),
        Kind::Integer => i64_in(text.as_bytes(), value.start(), value.end()),
        _ => Err(Reason::WrongType),
    }
}

fn string(value: Option<Value>) -> Result<Value, Reason> {
    let value = value.ok_or(Reason::MissingField)?;
    match value.kind {
        Kind::Null => Err(Reason::MissingField),
        Kind::String | Kind::EscapedString => Ok(value),
        _ => Err(Reason::WrongType),
    }
}

/// A message from the columns id, body, created_at, user_id, recommended, link_description; what follows them is not
/// looked at. A null in link_description says that there is none; recommended is said by a flag that is set alone.
///
/// # Errors
/// The [`Reason`] why they are none; a null in one of the first four is a [`Reason::MissingField`].
pub fn message_from_fields<'a>(fields: &[Field<'a>]) -> Result<Message<'a>, Reason> {
    let [
        id,
        body,
        created_at,
        user_id,
        recommended,
        link_description,
        ..,
    ] = fields
    else {
        return Err(Reason::Ragged);
    };
    let read = || {
        Ok(Message {
            id: id.integer()?,
            user_id: user_id.user_id()?,
            created_at: created_at.time()?,
            body: body.text()?,
            recommended: match recommended.flag() {
                Err(Reason::NotUtf8) => return Err(Reason::NotUtf8),
                said => said == Ok(true),
            },
            link_description: match link_description {
                Field::Null => "",
                given => given.text()?,
            },
        })
    };
    read().map_err(|reason| first_reason(fields, reason))
}

/// Reads the JSON text of a column `links` as the member of that name is read: the description of the first link goes to
/// the buffer. Tells whether there is one.
///
/// # Errors
/// [`Reason::NotJson`], or [`Reason::TooLong`] for a text of 4 GiB.
pub fn link_description_in(links: &str, description: &mut String) -> Result<bool, Reason> {
    description.clear();
    if u32::try_from(links.len()).is_err() {
        return Err(Reason::TooLong);
    }
    let mut quotes = Quotes::default();
    quotes.index(links.as_bytes());
    let scanner = Scanner::new(links, &quotes);
    let mut found = None;
    first_description(&scanner, 0, &mut found)
        .and_then(|at| scanner.end(at))
        .map_err(|NotJson| Reason::NotJson)?;
    let Ok(value) = string(found) else {
        return Ok(false);
    };
    description.push_str(value.decode(links, &mut String::new()));
    Ok(true)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
