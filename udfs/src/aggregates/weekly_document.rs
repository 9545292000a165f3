//! `weekly_document`: a user's messages of a week, cleaned and joined into the document that the reputation model reads.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, LargeStringArray, StringArray, StructArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use datafusion::arrow;
use datafusion::common::{Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, DocSection, Documentation, EmitTo, GroupsAccumulator, Signature,
    Volatility,
};

use super::arena::{Arena, TextColumn, Texts};
use super::arguments::{
    Offsets, OneEach, check_count, check_present, field, list_array, list_of, lists, numbers,
    selected, struct_array, structs, whole_number,
};
use super::log::{Grouped, RowLog, emitted};
use super::single_group::SingleGroup;
use crate::text::clean_text_into;

const NAME: &str = "weekly_document";

/// `weekly_document(created_at BIGINT, id BIGINT, body TEXT, link_description TEXT, superseded BOOLEAN)`, grouped by
/// user and week.
///
/// A row is one message. Of rows with the same `(created_at, id)` the one with the smallest body counts, by bytes, and
/// of several such the one with the smallest description when cleaned; none counts when any of them is superseded. A
/// null text counts as empty, null does not supersede, the numbers may not be null. The texts are Utf8, LargeUtf8 or
/// Utf8View.
///
/// Gives `STRUCT<clean_body UTF8, clean_link_desc UTF8, messages BIGINT>`: the texts of the messages that count, empty
/// ones too, each cleaned by [`clean_text_into`], in order of `(created_at, id)`, with one space between them, and their
/// number. Null for a group in which no message counts. Fails when the documents that are emitted together exceed 2 GiB.
///
/// That a message is superseded may so be known after the message itself, and be a row without its texts.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct WeeklyDocument {
    signature: Signature,
}

impl Default for WeeklyDocument {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

static RESULT: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("clean_body", DataType::Utf8),
        field("clean_link_desc", DataType::Utf8),
        field("messages", DataType::Int64),
    ])
});

/// A row as part of a state. A state holds all groups at once, so its texts may exceed 2 GiB.
static MESSAGE: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("created_at", DataType::Int64),
        field("id", DataType::Int64),
        field("body", DataType::LargeUtf8),
        field("link_description", DataType::LargeUtf8),
        field("superseded", DataType::Boolean),
    ])
});

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection { include: true, label: "Graph Functions", description: None },
        "Joins the cleaned texts of a user's messages in the order of (created_at, id), one space between them.",
        "weekly_document(created_at, id, body, link_description, superseded)",
    )
    .with_argument("created_at", "When the message was written (BIGINT)")
    .with_argument("id", "The message's id (BIGINT)")
    .with_argument("body", "Its text; null counts as empty")
    .with_argument("link_description", "The description of its first link; null counts as empty")
    .with_argument("superseded", "Whether no message of that (created_at, id) counts (BOOLEAN)")
    .build()
});

impl AggregateUDFImpl for WeeklyDocument {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, given, 5)?;
        let text = |at: usize, name: &str| match &given[at] {
            text @ (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => Ok(text.clone()),
            DataType::Null => Ok(DataType::Utf8),
            other => plan_err!("{NAME}: the argument {name} must be text, not {other}"),
        };
        Ok(vec![
            whole_number(NAME, "created_at", &given[0], DataType::Int64)?,
            whole_number(NAME, "id", &given[1], DataType::Int64)?,
            text(2, "body")?,
            text(3, "link_description")?,
            match &given[4] {
                DataType::Boolean | DataType::Null => DataType::Boolean,
                other => {
                    return plan_err!(
                        "{NAME}: the argument superseded must be true or false, not {other}"
                    );
                }
            },
        ])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(RESULT.clone()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let rows = list_of(DataType::Struct(MESSAGE.clone()));
        Ok(vec![Arc::new(Field::new(
            format_state_name(args.name, "rows"),
            rows,
            true,
        ))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(SingleGroup::new(Documents {
            groups: 1,
            ..Documents::default()
        })))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Documents::default()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// The columns of messages, given or of a state.
struct Rows<'a> {
    created_at: &'a Int64Array,
    ids: &'a Int64Array,
    bodies: TextColumn,
    descriptions: TextColumn,
    superseded: &'a BooleanArray,
}

impl<'a> Rows<'a> {
    fn read(columns: &'a [ArrayRef]) -> Result<Self> {
        let superseded = columns.get(4).and_then(|column| column.as_boolean_opt());
        let text = |at: usize, name: &str| match columns.get(at) {
            Some(column) => {
                TextColumn::new(column).map_err(|error| error.context(format!("{NAME}: {name}")))
            }
            None => exec_err!("{NAME}: {name} is missing"),
        };
        Ok(Self {
            created_at: numbers::<Int64Type>(columns, 0, "created_at")?,
            ids: numbers::<Int64Type>(columns, 1, "id")?,
            bodies: text(2, "body")?,
            descriptions: text(3, "link_description")?,
            superseded: superseded
                .ok_or_else(|| exec_datafusion_err!("{NAME}: superseded must be true or false"))?,
        })
    }
}

/// One logged row, 40 bytes.
#[derive(Clone, Copy, Debug)]
struct Message {
    created_at: i64,
    id: i64,
    /// Body and description.
    texts: Texts,
    superseded: bool,
    local_group: u16,
}

impl Grouped for Message {
    fn local_group(&self) -> u16 {
        self.local_group
    }
}

/// The accumulator: a log of rows, and their texts.
#[derive(Debug, Default)]
struct Documents {
    groups: usize,
    rows: RowLog<Message>,
    arena: Arena,
}

impl Documents {
    /// Logs the rows, each with its group.
    fn push(
        &mut self,
        rows: Rows<'_>,
        wanted: impl Iterator<Item = (usize, usize)> + Clone,
    ) -> Result<()> {
        let mut groups = wanted.clone().map(|(_, group)| group);
        let log = &mut self.rows;
        let numbers = wanted.map(|(row, _)| row);
        self.arena
            .hold(rows.bodies, rows.descriptions, numbers, |row, texts| {
                log.check_room(1)?;
                log.push(groups.next().unwrap_or_default(), |local_group| Message {
                    created_at: rows.created_at.value(row),
                    id: rows.ids.value(row),
                    texts,
                    superseded: selected(Some(rows.superseded), row),
                    local_group,
                });
                Ok(())
            })
    }

    /// Leaves of a group's messages those that count, in order.
    fn choose(&self, messages: &mut Vec<Message>) {
        let cleaned = |text: &str| {
            let mut cleaned = String::new();
            clean_text_into(text, &mut cleaned);
            cleaned
        };
        messages.sort_unstable_by(|a, b| {
            (a.created_at, a.id, b.superseded)
                .cmp(&(b.created_at, b.id, a.superseded))
                .then_with(|| {
                    let (a, b) = (self.arena.get(a.texts), self.arena.get(b.texts));
                    a.0.cmp(b.0).then_with(|| cleaned(a.1).cmp(&cleaned(b.1)))
                })
        });
        messages.dedup_by_key(|message| (message.created_at, message.id));
        messages.retain(|message| !message.superseded);
    }

    /// Forgets the groups that were emitted.
    fn forget(&mut self, emitted: usize) {
        self.groups -= emitted;
        if self.groups == 0 {
            self.rows = RowLog::default();
            self.arena = Arena::default();
            return;
        }
        self.rows
            .remove_groups(emitted, |message| self.arena.release(message.texts));
        if self.rows.len() == 0 {
            self.arena = Arena::default();
        }
    }
}

impl GroupsAccumulator for Documents {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let rows = Rows::read(values)?;
        check_present(NAME, "created_at", rows.created_at, filter)?;
        check_present(NAME, "id", rows.ids, filter)?;
        self.groups = self.groups.max(total_num_groups);
        let wanted = group_indices.iter().copied().enumerate();
        self.push(rows, wanted.filter(|&(row, _)| selected(filter, row)))
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        let lists = lists(values, 0, "the state of weekly_document")?;
        let messages = Rows::read(structs(lists, "the state of weekly_document")?.columns())?;
        let offsets = lists.value_offsets();
        let wanted = group_indices.iter().copied().enumerate();
        let wanted = wanted.filter(|&(list, _)| lists.is_valid(list));
        self.push(
            messages,
            wanted.flat_map(|(list, group)| {
                let rows = offsets[list] as usize..offsets[list + 1] as usize;
                rows.map(move |row| (row, group))
            }),
        )
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emitted(emit_to, self.groups);
        let mut by_group = self.rows.by_group();
        // Cleaned texts are no longer than what they were; what is reserved and not used takes no memory.
        let all = usize::from(groups == self.groups);
        let (body_bytes, desc_bytes) = self.arena.lengths;
        let room = |bytes: usize| all * (bytes + self.rows.len());
        let mut bodies = Column::with_capacity(groups, room(body_bytes));
        let mut descs = Column::with_capacity(groups, room(desc_bytes));
        let mut counts = Vec::with_capacity(groups);
        let mut gather = |group: usize, messages: &mut Vec<Message>| {
            messages.clear();
            if group < groups {
                messages.extend(by_group.rows(group));
                for message in messages {
                    self.arena.prefetch(message.texts);
                }
            }
        };
        let (mut messages, mut next) = (Vec::new(), Vec::new());
        gather(0, &mut next);
        for group in 0..groups {
            std::mem::swap(&mut messages, &mut next);
            // Texts lie anywhere: the next group's arrive while this one's are put together.
            gather(group + 1, &mut next);
            self.choose(&mut messages);
            for (at, message) in messages.iter().enumerate() {
                let (body, desc) = self.arena.get(message.texts);
                if at > 0 {
                    bodies.text.push(' ');
                    descs.text.push(' ');
                }
                clean_text_into(body, &mut bodies.text);
                clean_text_into(desc, &mut descs.text);
            }
            bodies.offsets.end_at(bodies.text.len())?;
            descs.offsets.end_at(descs.text.len())?;
            counts.push(messages.len() as i64);
        }
        self.forget(groups);
        let present: Vec<bool> = counts.iter().map(|&count| count > 0).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(bodies.finish()),
            Arc::new(descs.finish()),
            Arc::new(Int64Array::from(counts)),
        ];
        Ok(Arc::new(StructArray::try_new(
            RESULT.clone(),
            columns,
            Some(NullBuffer::from(present)),
        )?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emitted(emit_to, self.groups);
        let mut by_group = self.rows.by_group();
        let capacity = if groups == self.groups {
            self.rows.len()
        } else {
            0
        };
        let mut created_at = Vec::with_capacity(capacity);
        let mut ids = Vec::with_capacity(capacity);
        let mut bodies = LargeColumn::with_capacity(capacity);
        let mut descs = LargeColumn::with_capacity(capacity);
        let mut superseded = Vec::with_capacity(capacity);
        let mut offsets = Offsets::with_capacity(groups);
        for group in 0..groups {
            for message in by_group.rows(group) {
                let (body, desc) = self.arena.get(message.texts);
                created_at.push(message.created_at);
                ids.push(message.id);
                bodies.push(body);
                descs.push(desc);
                superseded.push(message.superseded);
            }
            offsets.end_at(ids.len())?;
        }
        self.forget(groups);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(created_at)),
            Arc::new(Int64Array::from(ids)),
            Arc::new(bodies.finish()?),
            Arc::new(descs.finish()?),
            Arc::new(BooleanArray::from(superseded)),
        ];
        let rows = Arc::new(struct_array(&MESSAGE, columns)?);
        Ok(vec![Arc::new(list_array(offsets.finish(), rows, None)?)])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let created_at = numbers::<Int64Type>(values, 0, "created_at")?;
        let ids = numbers::<Int64Type>(values, 1, "id")?;
        check_present(NAME, "created_at", created_at, filter)?;
        check_present(NAME, "id", ids, filter)?;
        let each = OneEach::new(ids.len(), filter);
        let given = |at: usize, name: &str| {
            let column = values.get(at);
            column.ok_or_else(|| exec_datafusion_err!("{NAME}: {name} is missing"))
        };
        let text = |at: usize, name: &str| {
            each.rows(&compute::cast(given(at, name)?, &DataType::LargeUtf8)?)
        };
        let columns = vec![
            each.rows(created_at)?,
            each.rows(ids)?,
            text(2, "body")?,
            text(3, "link_description")?,
            each.rows(given(4, "superseded")?)?,
        ];
        Ok(vec![Arc::new(
            each.lists(Arc::new(struct_array(&MESSAGE, columns)?))?,
        )])
    }

    fn size(&self) -> usize {
        self.rows.size() + self.arena.size()
    }
}

/// A text column of the result under construction.
struct Column {
    text: String,
    offsets: Offsets,
}

impl Column {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            offsets: Offsets::with_capacity(rows),
        }
    }

    fn finish(self) -> StringArray {
        let (offsets, text) = (
            self.offsets.finish(),
            Buffer::from_vec(self.text.into_bytes()),
        );
        // SAFETY: the text is a String's, and the offsets were its lengths while it grew.
        unsafe { StringArray::new_unchecked(offsets, text, None) }
    }
}

/// A text column of a state under construction.
struct LargeColumn {
    bytes: Vec<u8>,
    offsets: Vec<i64>,
}

impl LargeColumn {
    fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            bytes: Vec::new(),
            offsets,
        }
    }

    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.offsets.push(self.bytes.len() as i64);
    }

    fn finish(self) -> Result<LargeStringArray> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Ok(LargeStringArray::try_new(
            offsets,
            Buffer::from_vec(self.bytes),
            None,
        )?)
    }
}
