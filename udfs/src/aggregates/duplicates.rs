//! `duplicates`: the messages whose id is not their own.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, ListArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int32Type, Int64Type};
use datafusion::arrow;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, DocSection, Documentation, EmitTo, GroupsAccumulator, Signature,
    Volatility,
};

use super::arguments::{
    Offsets, OneEach, check_count, check_present, field, list_array, list_of, lists, numbers,
    selected, struct_array, structs, whole_number,
};
use super::log::{Grouped, RowLog, emitted};
use super::single_group::SingleGroup;

const NAME: &str = "duplicates";

/// `duplicates(id BIGINT, created_at BIGINT, user_id INT)`, grouped by anything that equal ids share.
///
/// A row is one message; nothing may be null. Gives `LIST<STRUCT<id BIGINT, created_at BIGINT, user_id INT>>`: the
/// group's rows whose id others of the group have too, sorted. Groups are best of some hundred rows, such as those with
/// one remainder of their ids: each is sorted by itself.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Duplicates {
    signature: Signature,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

static MESSAGE: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("id", DataType::Int64),
        field("created_at", DataType::Int64),
        field("user_id", DataType::Int32),
    ])
});

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection {
            include: true,
            label: "Graph Functions",
            description: None,
        },
        "Lists the messages whose id other messages of the group have too.",
        "duplicates(id, created_at, user_id)",
    )
    .with_argument("id", "The message's id (BIGINT)")
    .with_argument("created_at", "When it was written (BIGINT)")
    .with_argument("user_id", "Who wrote it (INT)")
    .build()
});

impl AggregateUDFImpl for Duplicates {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, given, 3)?;
        Ok(vec![
            whole_number(NAME, "id", &given[0], DataType::Int64)?,
            whole_number(NAME, "created_at", &given[1], DataType::Int64)?,
            whole_number(NAME, "user_id", &given[2], DataType::Int32)?,
        ])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list_of(DataType::Struct(MESSAGE.clone())))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(
            format_state_name(args.name, "rows"),
            list_of(DataType::Struct(MESSAGE.clone())),
            true,
        ))])
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(SingleGroup::new(Messages {
            groups: 1,
            ..Messages::default()
        })))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Messages::default()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// One logged row, 24 bytes.
#[derive(Clone, Copy, Debug)]
struct Message {
    id: i64,
    created_at: i64,
    user_id: i32,
    local_group: u16,
}

impl Grouped for Message {
    fn local_group(&self) -> u16 {
        self.local_group
    }
}

/// The accumulator: a log of rows.
#[derive(Debug, Default)]
struct Messages {
    groups: usize,
    rows: RowLog<Message>,
}

impl Messages {
    fn extend(
        &mut self,
        columns: &[ArrayRef],
        rows: impl ExactSizeIterator<Item = (usize, usize)>,
    ) -> Result<()> {
        let ids = numbers::<Int64Type>(columns, 0, "id")?;
        let created_at = numbers::<Int64Type>(columns, 1, "created_at")?;
        let user_ids = numbers::<Int32Type>(columns, 2, "user_id")?;
        self.rows.check_room(rows.len())?;
        for (row, group) in rows {
            self.rows.push(group, |local_group| Message {
                id: ids.value(row),
                created_at: created_at.value(row),
                user_id: user_ids.value(row),
                local_group,
            });
        }
        Ok(())
    }

    /// Lists of the rows of each of the first groups, which `choose` puts in place of the last list, and forgets them.
    fn emit(
        &mut self,
        emit_to: EmitTo,
        mut choose: impl FnMut(&mut dyn Iterator<Item = Message>, &mut Vec<Message>),
    ) -> Result<ListArray> {
        let groups = emitted(emit_to, self.groups);
        let mut offsets = Offsets::with_capacity(groups);
        let mut columns = (Vec::new(), Vec::new(), Vec::new());
        let mut messages = Vec::new();
        let mut by_group = self.rows.by_group();
        for group in 0..groups {
            messages.clear();
            choose(&mut by_group.rows(group).copied(), &mut messages);
            for message in &messages {
                columns.0.push(message.id);
                columns.1.push(message.created_at);
                columns.2.push(message.user_id);
            }
            offsets.end_at(columns.0.len())?;
        }
        self.groups -= groups;
        match self.groups {
            0 => self.rows = RowLog::default(),
            _ => self.rows.remove_groups(groups, |_| ()),
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(columns.0)),
            Arc::new(Int64Array::from(columns.1)),
            Arc::new(Int32Array::from(columns.2)),
        ];
        let messages = Arc::new(struct_array(&MESSAGE, columns)?);
        list_array(offsets.finish(), messages, None)
    }
}

impl GroupsAccumulator for Messages {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        check_given(values, filter)?;
        self.groups = self.groups.max(total_num_groups);
        let rows = group_indices.iter().copied().enumerate();
        match filter {
            None => self.extend(values, rows),
            Some(_) => {
                let rows: Vec<_> = rows.filter(|(row, _)| selected(filter, *row)).collect();
                self.extend(values, rows.into_iter())
            }
        }
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        let lists = lists(values, 0, "the state of duplicates")?;
        let messages = structs(lists, "the state of duplicates")?.columns();
        let offsets = lists.value_offsets();
        for (list, &group) in group_indices
            .iter()
            .enumerate()
            .filter(|(list, _)| lists.is_valid(*list))
        {
            let rows = offsets[list] as usize..offsets[list + 1] as usize;
            self.extend(messages, rows.map(|row| (row, group)))?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let mut ids: Vec<i64> = Vec::new();
        let lists = self.emit(emit_to, |rows, messages| {
            messages.extend(rows);
            ids.clear();
            ids.extend(messages.iter().map(|message| message.id));
            // Of most groups no id repeats, which the ids alone tell.
            ids.sort_unstable();
            let mut before = None;
            ids.retain(|&id| before.replace(id) == Some(id));
            messages.retain(|message| ids.binary_search(&message.id).is_ok());
            messages
                .sort_unstable_by_key(|message| (message.id, message.created_at, message.user_id));
        })?;
        Ok(Arc::new(lists))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let lists = self.emit(emit_to, |rows, messages| messages.extend(rows))?;
        Ok(vec![Arc::new(lists)])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let [ids, created_at, user_ids] = check_given(values, filter)?;
        let each = OneEach::new(ids.len(), filter);
        let columns = vec![
            each.rows(ids)?,
            each.rows(created_at)?,
            each.rows(user_ids)?,
        ];
        Ok(vec![Arc::new(
            each.lists(Arc::new(struct_array(&MESSAGE, columns)?))?,
        )])
    }

    fn size(&self) -> usize {
        self.rows.size()
    }
}

/// The arguments, none of which may be null.
fn check_given<'a>(
    values: &'a [ArrayRef],
    filter: Option<&BooleanArray>,
) -> Result<[&'a ArrayRef; 3]> {
    let [ids, created_at, user_ids] = values else {
        return Err(exec_datafusion_err!("{NAME} takes 3 arguments"));
    };
    for (name, column) in [
        ("id", ids),
        ("created_at", created_at),
        ("user_id", user_ids),
    ] {
        check_present(NAME, name, column, filter)?;
    }
    Ok([ids, created_at, user_ids])
}
