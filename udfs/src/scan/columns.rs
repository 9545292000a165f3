//! Collects parsed records into the projected columns of a batch.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayBuilder, ArrayRef, ArrowPrimitiveType, BooleanBuilder, Int32Builder, Int64Builder,
    PrimitiveBuilder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampSecondBuilder,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};

use super::Source;
use crate::records::{
    Engagement, Framing, Message, MessageParser, Reason, User, next_plain_engagement,
    next_plain_user, parse_engagement, parse_follow, parse_user,
};

/// A parsed record of any source.
pub(crate) enum Record<'a> {
    Engagement(Engagement),
    User(User),
    Message(Message<'a>),
}

/// The column, of users alone and in no table, that tells how many columns a record has.
pub(crate) const COLUMNS: &str = "columns";
/// Likewise, whether its flag of suspension says anything.
pub(crate) const HAS_FLAG: &str = "has_flag";
/// So many engagements go into the columns at once: few enough for the processor's nearest cache.
const ENGAGEMENTS: usize = 512;

/// One source's batch under construction. A builder exists only for a column that the plan asked for.
pub(crate) struct Columns {
    source: Source,
    schema: SchemaRef,
    file: String,
    parser: Option<MessageParser>,
    /// How many columns a user's record should have, where that is known.
    user_columns: Option<usize>,
    typed: Typed,
    /// Engagements on their way into the columns.
    engagements: Vec<Engagement>,
    /// The batch's unreadable records: row in the batch, line in the file, why, text.
    unreadable: Vec<Unreadable>,
    rows: usize,
}

/// The typed columns.
#[derive(Default)]
struct Typed {
    user_id: Option<Int32Builder>,
    engaged_with_user_id: Option<Int32Builder>,
    message_id: Option<Int64Builder>,
    timestamp: Option<TimestampSecondBuilder>,
    suspended: Option<BooleanBuilder>,
    columns: Option<Int64Builder>,
    has_flag: Option<BooleanBuilder>,
    recommended: Option<BooleanBuilder>,
    body: Option<StringBuilder>,
    link_description: Option<StringBuilder>,
}

struct Unreadable {
    row: usize,
    line: u64,
    reason: Reason,
    raw: String,
}

impl Columns {
    pub(crate) fn new(
        source: Source,
        schema: SchemaRef,
        file: String,
        user_columns: Option<usize>,
    ) -> Self {
        let mut typed = Typed::default();
        for field in schema.fields() {
            match field.name().as_str() {
                "user_id" => typed.user_id = Some(Int32Builder::new()),
                "engaged_with_user_id" => typed.engaged_with_user_id = Some(Int32Builder::new()),
                "message_id" | "id" => typed.message_id = Some(Int64Builder::new()),
                "timestamp" | "created_at" => typed.timestamp = Some(TimestampSecondBuilder::new()),
                "suspended" => typed.suspended = Some(BooleanBuilder::new()),
                COLUMNS => typed.columns = Some(Int64Builder::new()),
                HAS_FLAG => typed.has_flag = Some(BooleanBuilder::new()),
                "recommended" => typed.recommended = Some(BooleanBuilder::new()),
                "body" => typed.body = Some(StringBuilder::new()),
                "link_description" => typed.link_description = Some(StringBuilder::new()),
                _ => {}
            }
        }
        let parser = (source == Source::Message).then(MessageParser::new);
        Self {
            source,
            schema,
            file,
            parser,
            user_columns,
            typed,
            engagements: Vec::new(),
            unreadable: Vec::new(),
            rows: 0,
        }
    }

    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// How the source's records are told apart.
    pub(crate) fn framing(&self) -> Framing {
        match self.source {
            Source::User => Framing::QuotedCsv(self.user_columns),
            _ => Framing::Line,
        }
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether some record of the batch is unreadable, so that its line number matters.
    pub(crate) fn needs_lines(&self) -> bool {
        !self.unreadable.is_empty()
            && self
                .schema
                .fields()
                .iter()
                .any(|field| field.name() == "line")
    }

    /// Parses one record's bytes, without its line end, and adds it.
    pub(crate) fn push_bytes(&mut self, record: &[u8], line: u64) {
        let parsed = match self.source {
            Source::Follow => parse_follow(record).map(Record::Engagement),
            Source::Reply | Source::Mention | Source::Like => {
                parse_engagement(record).map(Record::Engagement)
            }
            Source::User => return self.push_user(record, line, None),
            Source::Message => match &mut self.parser {
                Some(parser) => match parser.parse(record) {
                    Ok(message) => {
                        self.typed.push(Record::Message(message));
                        self.rows += 1;
                        return;
                    }
                    Err(reason) => Err(reason),
                },
                None => Err(Reason::NotJson),
            },
        };
        match parsed {
            Ok(record) => self.push(record),
            Err(reason) => self.push_unreadable(reason, line, || escaped(record)),
        }
    }

    /// Adds a record that is longer than any is read, of which `beginning` is the first part.
    pub(crate) fn push_too_long(&mut self, beginning: &[u8], line: u64) {
        match self.source {
            Source::User => self.push_user(beginning, line, Some(Reason::TooLong)),
            _ => self.push_unreadable(Reason::TooLong, line, || escaped(beginning)),
        }
    }

    /// Adds a user's record, unreadable for `reason` if there is one.
    fn push_user(&mut self, record: &[u8], line: u64, reason: Option<Reason>) {
        let read = parse_user(record, self.user_columns);
        let columns = read.columns.filter(|_| reason.is_none());
        self.typed.push_form(columns, read.has_flag);
        match reason.map_or(read.user, Err) {
            Ok(user) => self.push(Record::User(user)),
            Err(reason) => {
                self.push_unreadable_user(reason, read.user_id, line, || escaped(record));
            }
        }
    }

    /// Adds records that some bytes begin with, if they are written plainly: at most `most`, only such as begin before
    /// `end`, and not always all. Tells how many bytes and lines they take.
    pub(crate) fn push_plain(&mut self, bytes: &[u8], end: usize, most: usize) -> (usize, u64) {
        match self.source {
            Source::Follow => self.push_plain_engagements::<true>(bytes, end, most),
            Source::Reply | Source::Mention | Source::Like => {
                self.push_plain_engagements::<false>(bytes, end, most)
            }
            Source::User => {
                let Some(plain) = next_plain_user(bytes, self.user_columns) else {
                    return (0, 0);
                };
                self.typed.push_form(Some(plain.columns), plain.has_flag);
                self.push(Record::User(plain.user));
                (plain.length, plain.lines)
            }
            Source::Message => {
                let parser = self.parser.as_mut();
                let Some((message, length)) = parser.and_then(|parser| parser.next_plain(bytes))
                else {
                    return (0, 0);
                };
                self.typed.push(Record::Message(message));
                self.rows += 1;
                (length, 1)
            }
        }
    }

    fn push_plain_engagements<const FOLLOW: bool>(
        &mut self,
        bytes: &[u8],
        end: usize,
        most: usize,
    ) -> (usize, u64) {
        self.engagements.clear();
        let most = most.min(ENGAGEMENTS);
        let mut at = 0;
        while at < end
            && self.engagements.len() < most
            && let Some(rest) = bytes.get(at..)
            && let Some((engagement, length)) = next_plain_engagement::<FOLLOW>(rest)
        {
            self.engagements.push(engagement);
            at += length;
        }
        self.typed.push_engagements(&self.engagements);
        self.rows += self.engagements.len();
        (at, self.engagements.len() as u64)
    }

    /// Adds a readable record.
    pub(crate) fn push(&mut self, record: Record<'_>) {
        self.typed.push(record);
        self.rows += 1;
    }

    /// Adds an unreadable record.
    pub(crate) fn push_unreadable(
        &mut self,
        reason: Reason,
        line: u64,
        raw: impl FnOnce() -> String,
    ) {
        self.typed.push_form(None, false);
        self.push_unreadable_user(reason, None, line, raw);
    }

    /// Adds an unreadable record of a user whose id may be known.
    pub(super) fn push_unreadable_user(
        &mut self,
        reason: Reason,
        user_id: Option<i32>,
        line: u64,
        raw: impl FnOnce() -> String,
    ) {
        self.typed.push_null(user_id);
        self.unreadable.push(Unreadable {
            row: self.rows,
            line,
            reason,
            raw: raw(),
        });
        self.rows += 1;
    }

    /// The batch so far; `first_line` is added to the lines of its unreadable records.
    pub(crate) fn finish(&mut self, first_line: u64) -> Result<RecordBatch> {
        let rows = std::mem::take(&mut self.rows);
        let unreadable = std::mem::take(&mut self.unreadable);
        let text = |value: &dyn Fn(&Unreadable) -> String| -> ArrayRef {
            let mut builder = StringBuilder::new();
            for record in &unreadable {
                builder.append_nulls(record.row - builder_len(&builder));
                builder.append_value(value(record));
            }
            builder.append_nulls(rows - builder_len(&builder));
            Arc::new(builder.finish())
        };
        let mut arrays = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let typed = &mut self.typed;
            let array: Option<ArrayRef> = match field.name().as_str() {
                "user_id" => finished(&mut typed.user_id),
                "engaged_with_user_id" => finished(&mut typed.engaged_with_user_id),
                "message_id" | "id" => finished(&mut typed.message_id),
                "timestamp" | "created_at" => finished(&mut typed.timestamp),
                "suspended" => finished(&mut typed.suspended),
                COLUMNS => finished(&mut typed.columns),
                HAS_FLAG => finished(&mut typed.has_flag),
                "recommended" => finished(&mut typed.recommended),
                "body" => finished(&mut typed.body),
                "link_description" => finished(&mut typed.link_description),
                "reason" => Some(text(&|record| record.reason.as_str().to_string())),
                "file" => Some(text(&|_| self.file.clone())),
                "raw" => Some(text(&|record| record.raw.clone())),
                "line" => {
                    let mut builder = Int64Builder::with_capacity(rows);
                    let mut filled = 0;
                    for record in &unreadable {
                        builder.append_nulls(record.row - filled);
                        builder.append_value((first_line + record.line) as i64);
                        filled = record.row + 1;
                    }
                    builder.append_nulls(rows - filled);
                    Some(Arc::new(builder.finish()))
                }
                _ => None,
            };
            match array {
                Some(array) => arrays.push(array),
                None => {
                    return internal_err!(
                        "the scan of {} has no column {}",
                        self.source.name(),
                        field.name()
                    );
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            arrays,
            &options,
        )?)
    }
}

fn builder_len(builder: &StringBuilder) -> usize {
    ArrayBuilder::len(builder)
}

/// The column that a builder made; it begins the next one with room for as much.
fn finished<B: Roomy>(builder: &mut Option<B>) -> Option<ArrayRef> {
    let builder = builder.as_mut()?;
    let next = builder.with_the_same_room();
    Some(ArrayBuilder::finish(&mut std::mem::replace(builder, next)))
}

/// A builder that tells how much room it needed.
trait Roomy: ArrayBuilder {
    /// An empty one with room for as much, or a little more where it varies.
    fn with_the_same_room(&self) -> Self;
}

impl<T: ArrowPrimitiveType> Roomy for PrimitiveBuilder<T> {
    fn with_the_same_room(&self) -> Self {
        Self::with_capacity(self.len())
    }
}

impl Roomy for BooleanBuilder {
    fn with_the_same_room(&self) -> Self {
        Self::with_capacity(self.len())
    }
}

impl Roomy for StringBuilder {
    fn with_the_same_room(&self) -> Self {
        let bytes = self.values_slice().len();
        Self::with_capacity(ArrayBuilder::len(self), bytes + bytes / 16)
    }
}

impl Typed {
    fn push(&mut self, record: Record<'_>) {
        match record {
            Record::Engagement(engagement) => {
                append(&mut self.user_id, |b| b.append_value(engagement.user_id));
                append(&mut self.engaged_with_user_id, |b| {
                    b.append_value(engagement.engaged_with_user_id)
                });
                append(&mut self.message_id, |b| {
                    b.append_value(engagement.message_id)
                });
                append(&mut self.timestamp, |b| {
                    b.append_value(engagement.timestamp)
                });
            }
            Record::User(user) => {
                append(&mut self.user_id, |b| b.append_value(user.user_id));
                append(&mut self.suspended, |b| b.append_value(user.suspended));
            }
            Record::Message(message) => {
                append(&mut self.message_id, |b| b.append_value(message.id));
                append(&mut self.user_id, |b| b.append_value(message.user_id));
                append(&mut self.timestamp, |b| b.append_value(message.created_at));
                append(&mut self.recommended, |b| {
                    b.append_value(message.recommended)
                });
                append(&mut self.body, |b| b.append_value(message.body));
                append(&mut self.link_description, |b| {
                    b.append_value(message.link_description)
                });
            }
        }
    }

    /// Adds engagements column by column.
    fn push_engagements(&mut self, all: &[Engagement]) {
        append_all(&mut self.user_id, all, |one| one.user_id);
        append_all(&mut self.engaged_with_user_id, all, |one| {
            one.engaged_with_user_id
        });
        append_all(&mut self.message_id, all, |one| one.message_id);
        append_all(&mut self.timestamp, all, |one| one.timestamp);
    }

    /// Adds what the form of a user's record tells.
    fn push_form(&mut self, columns: Option<usize>, has_flag: bool) {
        append(&mut self.columns, |b| {
            b.append_option(columns.map(|columns| columns as i64))
        });
        append(&mut self.has_flag, |b| b.append_value(has_flag));
    }

    fn push_null(&mut self, user_id: Option<i32>) {
        append(&mut self.user_id, |b| b.append_option(user_id));
        append(&mut self.engaged_with_user_id, |b| b.append_null());
        append(&mut self.message_id, |b| b.append_null());
        append(&mut self.timestamp, |b| b.append_null());
        append(&mut self.suspended, |b| b.append_null());
        append(&mut self.recommended, |b| b.append_null());
        append(&mut self.body, |b| b.append_null());
        append(&mut self.link_description, |b| b.append_null());
    }
}

#[inline]
fn append<B>(builder: &mut Option<B>, with: impl FnOnce(&mut B)) {
    if let Some(builder) = builder {
        with(builder);
    }
}

fn append_all<T: ArrowPrimitiveType>(
    builder: &mut Option<PrimitiveBuilder<T>>,
    engagements: &[Engagement],
    value: impl Fn(&Engagement) -> T::Native,
) {
    append(builder, |builder| {
        let before = builder.len();
        builder.append_value_n(T::Native::default(), engagements.len());
        let values = builder.values_slice_mut().iter_mut().skip(before);
        for (to, from) in values.zip(engagements) {
            *to = value(from);
        }
    });
}

/// A record's text for the quarantine: bytes that are not UTF-8 are written as `\xFF`, so that nothing is lost.
pub(super) fn escaped(record: &[u8]) -> String {
    let mut text = String::with_capacity(record.len());
    for chunk in record.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02X}"));
        }
    }
    text
}
