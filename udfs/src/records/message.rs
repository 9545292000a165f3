use super::Reason;
use super::csv::without_line_end;
use super::json::{JsonString, NotJson, Scanner, Value};
use super::number::{parse_i64, parse_user_id, user_id};
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
        let text = std::str::from_utf8(without_line_end(line)).map_err(|_| Reason::NotUtf8)?;
        let members = Members::scan(text)?;
        let id = integer(members.id)?;
        let user = match members.user_id {
            None | Some(Value::Null) => integer(members.nested_user_id)?,
            given => integer(given)?,
        };
        let user_id = user_id(user)?;
        let created_at = needed_timestamp(
            string(members.created_at)?
                .decode(&mut self.created_at)
                .as_bytes(),
        )?;
        Ok(Message {
            id,
            user_id,
            created_at,
            recommended: matches!(members.recommended, Some(Value::True)),
            body: string(members.body)?.decode(&mut self.body),
            link_description: match members.link_description {
                Some(Value::String(description)) => description.decode(&mut self.link_description),
                _ => "",
            },
        })
    }
}

/// The values of a message's members that are looked at.
#[derive(Default)]
struct Members<'a> {
    id: Option<Value<'a>>,
    user_id: Option<Value<'a>>,
    nested_user_id: Option<Value<'a>>,
    created_at: Option<Value<'a>>,
    recommended: Option<Value<'a>>,
    body: Option<Value<'a>>,
    link_description: Option<Value<'a>>,
}

impl<'a> Members<'a> {
    fn scan(text: &'a str) -> Result<Self, Reason> {
        let mut scanner = Scanner::new(text);
        let mut members = Self::default();
        let is_object = scanner.peek() == Some(b'{');
        let scanned = if is_object {
            scanner.object(|scanner, name| members.read(scanner, name))
        } else {
            scanner.value().map(drop)
        };
        scanned
            .and_then(|()| scanner.end())
            .map_err(|NotJson| Reason::NotJson)?;
        if is_object {
            Ok(members)
        } else {
            Err(Reason::WrongType)
        }
    }

    fn read(&mut self, scanner: &mut Scanner<'a>, name: JsonString<'a>) -> Result<(), NotJson> {
        match &*name.name() {
            "id" => self.id = Some(scanner.value()?),
            "user_id" => self.user_id = Some(scanner.value()?),
            "user" => self.nested_user_id = member(scanner, "id")?,
            "created_at" => self.created_at = Some(scanner.value()?),
            "recommended" => self.recommended = Some(scanner.value()?),
            "body" => self.body = Some(scanner.value()?),
            "links" => self.link_description = first_description(scanner)?,
            _ => drop(scanner.value()?),
        }
        Ok(())
    }
}

/// Scans a value and gives the member of that name, if the value is an object that has one.
fn member<'a>(scanner: &mut Scanner<'a>, wanted: &str) -> Result<Option<Value<'a>>, NotJson> {
    let mut found = None;
    if scanner.peek() != Some(b'{') {
        scanner.value()?;
        return Ok(found);
    }
    scanner.object(|scanner, name| {
        let value = scanner.value()?;
        if name.name() == wanted {
            found = Some(value);
        }
        Ok(())
    })?;
    Ok(found)
}

/// Scans the value of `links` and gives its first element's description, if there is one.
fn first_description<'a>(scanner: &mut Scanner<'a>) -> Result<Option<Value<'a>>, NotJson> {
    let mut description = None;
    if scanner.peek() != Some(b'[') {
        scanner.value()?;
        return Ok(description);
    }
    scanner.array(|scanner, index| {
        if index == 0 {
            description = member(scanner, "description")?;
        } else {
            scanner.value()?;
        }
        Ok(())
    })?;
    Ok(description)
}

fn integer(value: Option<Value<'_>>) -> Result<i64, Reason> {
    match value {
        None | Some(Value::Null) => Err(Reason::MissingField),
        Some(Value::Integer(digits)) => parse_i64(digits.as_bytes()),
        Some(_) => Err(Reason::WrongType),
    }
}

fn string(value: Option<Value<'_>>) -> Result<JsonString<'_>, Reason> {
    match value {
        None | Some(Value::Null) => Err(Reason::MissingField),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Reason::WrongType),
    }
}

/// A message from the columns id, body, created_at, user_id, recommended, link_description; what follows them is not
/// looked at. Values of other types come as the text that writes them; `true` alone recommends.
///
/// # Errors
/// The [`Reason`] why they are none; a null in one of the first four is a [`Reason::MissingField`].
pub fn message_from_fields<'a>(fields: &[Option<&'a str>]) -> Result<Message<'a>, Reason> {
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
    let bytes = |field: &Option<&'a str>| field.unwrap_or_default().as_bytes();
    Ok(Message {
        id: parse_i64(bytes(id))?,
        user_id: parse_user_id(bytes(user_id))?,
        created_at: needed_timestamp(bytes(created_at))?,
        recommended: *recommended == Some("true"),
        body: body.ok_or(Reason::MissingField)?,
        link_description: link_description.unwrap_or_default(),
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
