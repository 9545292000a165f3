//! `weekly_document`: a user's messages of a week, joined into the document that the reputation model reads.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, LargeStringArray, StringArray,
    StringViewArray, StructArray,
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

use super::arena::{Arena, Texts};
use super::arguments::{
    Offsets, OneEach, check_count, check_present, field, list_array, list_of, lists, numbers,
    selected, struct_array, structs, whole_number,
};
use super::log::{Grouped, RowLog, emitted};
use super::single_group::SingleGroup;

const NAME: &str = "weekly_document";

/// `weekly_document(created_at BIGINT, id BIGINT, clean_body TEXT, clean_link_desc TEXT)`, grouped by user and week.
///
/// A row is one message. Of rows with the same `(created_at, id)` the one with the smallest `(clean_body,
/// clean_link_desc)` counts, by bytes. A null text counts as empty; the numbers may not be null. The texts are Utf8,
/// LargeUtf8 or Utf8View.
///
/// Gives `STRUCT<clean_body UTF8, clean_link_desc UTF8, messages BIGINT>`: the texts of the messages that count, empty
/// ones too, in order of `(created_at, id)`, with one space between them, and their number. Null for a group without
/// rows. Fails when the documents that are emitted together exceed 2 GiB.
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
        field("clean_body", DataType::LargeUtf8),
        field("clean_link_desc", DataType::LargeUtf8),
    ])
});

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection { include: true, label: "Graph Functions", description: None },
        "Joins the texts of a user's messages in the order of (created_at, id), one space between them.",
        "weekly_document(created_at, id, clean_body, clean_link_desc)",
    )
    .with_argument("created_at", "When the message was written (BIGINT)")
    .with_argument("id", "The message's id (BIGINT)")
    .with_argument("clean_body", "Its text; null counts as empty")
    .with_argument("clean_link_desc", "The description of its first link; null counts as empty")
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
        check_count(NAME, given, 4)?;
        let text = |at: usize, name: &str| match &given[at] {
            text @ (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => Ok(text.clone()),
            DataType::Null => Ok(DataType::Utf8),
            other => plan_err!("{NAME}: the argument {name} must be text, not {other}"),
        };
        Ok(vec![
            whole_number(NAME, "created_at", &given[0], DataType::Int64)?,
            whole_number(NAME, "id", &given[1], DataType::Int64)?,
            text(2, "clean_body")?,
            text(3, "clean_link_desc")?,
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

/// Text arguments of any of the three layouts.
enum TextColumn<'a> {
    Utf8(&'a StringArray),
    LargeUtf8(&'a LargeStringArray),
    Utf8View(&'a StringViewArray),
}

impl<'a> TextColumn<'a> {
    fn read(columns: &'a [ArrayRef], at: usize, name: &str) -> Result<Self> {
        columns
            .get(at)
            .and_then(|column| match column.data_type() {
                DataType::Utf8 => column.as_string_opt().map(Self::Utf8),
                DataType::LargeUtf8 => column.as_string_opt().map(Self::LargeUtf8),
                DataType::Utf8View => column.as_string_view_opt().map(Self::Utf8View),
                _ => None,
            })
            .ok_or_else(|| exec_datafusion_err!("{NAME}: {name} must be text"))
    }

    fn get(&self, row: usize) -> &'a str {
        match self {
            Self::Utf8(texts) if texts.is_valid(row) => texts.value(row),
            Self::LargeUtf8(texts) if texts.is_valid(row) => texts.value(row),
            Self::Utf8View(texts) if texts.is_valid(row) => texts.value(row),
            _ => "",
        }
    }
}

/// One logged row, 40 bytes.
#[derive(Clone, Copy, Debug)]
struct Message {
    created_at: i64,
    id: i64,
    /// Body and description.
    texts: Texts,
    local_group: u16,
}

impl Grouped for Message {
    fn local_group(&self) -> u16 {
        self.local_group
    }
}

/// The accumulator: a log of rows and an arena of their texts.
#[derive(Debug, Default)]
struct Documents {
    groups: usize,
    rows: RowLog<Message>,
    arena: Arena,
}

impl Documents {
    fn push(
        &mut self,
        group: usize,
        created_at: i64,
        id: i64,
        body: &str,
        desc: &str,
    ) -> Result<()> {
        let texts = self.arena.store(body, desc)?;
        self.rows.push(group, |local_group| Message {
            created_at,
            id,
            texts,
            local_group,
        });
        Ok(())
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
        let created_at = numbers::<Int64Type>(values, 0, "created_at")?;
        let ids = numbers::<Int64Type>(values, 1, "id")?;
        let (bodies, descs) = (
            TextColumn::read(values, 2, "clean_body")?,
            TextColumn::read(values, 3, "clean_link_desc")?,
        );
        check_present(NAME, "created_at", created_at, filter)?;
        check_present(NAME, "id", ids, filter)?;
        self.groups = self.groups.max(total_num_groups);
        self.rows.check_room(group_indices.len())?;
        for (row, &group) in group_indices.iter().enumerate() {
            if selected(filter, row) {
                self.push(
                    group,
                    created_at.value(row),
                    ids.value(row),
                    bodies.get(row),
                    descs.get(row),
                )?;
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        let lists = lists(values, 0, "the state of weekly_document")?;
        let columns = structs(lists, "the state of weekly_document")?.columns();
        let created_at = numbers::<Int64Type>(columns, 0, "created_at")?;
        let ids = numbers::<Int64Type>(columns, 1, "id")?;
        let (bodies, descs) = (
            TextColumn::read(columns, 2, "clean_body")?,
            TextColumn::read(columns, 3, "clean_link_desc")?,
        );
        for (list, &group) in group_indices
            .iter()
            .enumerate()
            .filter(|(list, _)| lists.is_valid(*list))
        {
            let rows =
                lists.value_offsets()[list] as usize..lists.value_offsets()[list + 1] as usize;
            self.rows.check_room(rows.len())?;
            for row in rows {
                self.push(
                    group,
                    created_at.value(row),
                    ids.value(row),
                    bodies.get(row),
                    descs.get(row),
                )?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emitted(emit_to, self.groups);
        let mut by_group = self.rows.by_group();
        let mut bodies = Column::with_capacity(groups);
        let mut descs = Column::with_capacity(groups);
        let mut counts = Vec::with_capacity(groups);
        let mut messages: Vec<Message> = Vec::new();
        for group in 0..groups {
            messages.clear();
            messages.extend(by_group.rows(group));
            messages.sort_unstable_by(|a, b| {
                (a.created_at, a.id)
                    .cmp(&(b.created_at, b.id))
                    .then_with(|| self.arena.get(a.texts).cmp(&self.arena.get(b.texts)))
            });
            messages.dedup_by_key(|message| (message.created_at, message.id));
            for (at, message) in messages.iter().enumerate() {
                let (body, desc) = self.arena.get(message.texts);
                if at > 0 {
                    bodies.bytes.push(b' ');
                    descs.bytes.push(b' ');
                }
                bodies.bytes.extend_from_slice(body);
                descs.bytes.extend_from_slice(desc);
            }
            bodies.offsets.end_at(bodies.bytes.len())?;
            descs.offsets.end_at(descs.bytes.len())?;
            counts.push(messages.len() as i64);
        }
        self.forget(groups);
        let present: Vec<bool> = counts.iter().map(|&count| count > 0).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(bodies.finish()?),
            Arc::new(descs.finish()?),
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
        let mut offsets = Offsets::with_capacity(groups);
        for group in 0..groups {
            for message in by_group.rows(group) {
                let (body, desc) = self.arena.get(message.texts);
                created_at.push(message.created_at);
                ids.push(message.id);
                bodies.push(body);
                descs.push(desc);
            }
            offsets.end_at(ids.len())?;
        }
        self.forget(groups);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(created_at)),
            Arc::new(Int64Array::from(ids)),
            Arc::new(bodies.finish()?),
            Arc::new(descs.finish()?),
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
        let text = |at: usize, name: &str| match values.get(at) {
            Some(texts) => each.rows(&compute::cast(texts, &DataType::LargeUtf8)?),
            None => exec_err!("{NAME}: {name} is missing"),
        };
        let columns = vec![
            each.rows(created_at)?,
            each.rows(ids)?,
            text(2, "clean_body")?,
            text(3, "clean_link_desc")?,
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
    bytes: Vec<u8>,
    offsets: Offsets,
}

impl Column {
    fn with_capacity(rows: usize) -> Self {
        Self {
            bytes: Vec::new(),
            offsets: Offsets::with_capacity(rows),
        }
    }

    fn finish(self) -> Result<StringArray> {
        Ok(StringArray::try_new(
            self.offsets.finish(),
            Buffer::from_vec(self.bytes),
            None,
        )?)
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

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
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
