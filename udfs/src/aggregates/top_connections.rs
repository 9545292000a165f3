//! `top_connections`: whom a user engages with most, and how many of its engagements counted.

use std::cmp::Reverse;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, Int8Array, Int32Array, Int64Array, StructArray, UInt32Array};
use arrow::array::{AsArray, BooleanArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Int8Type, Int32Type, Int64Type, UInt32Type,
};
use datafusion::arrow;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, DocSection, Documentation, EmitTo, GroupsAccumulator, Signature,
    Volatility,
};

use super::arguments::{
    Offsets, OneEach, check_count, check_present, field, limit, list_array, list_of, lists,
    numbers, selected, struct_array, structs, whole_number,
};
use super::log::{GROUP_BITS, Grouped, RowLog, emitted};
use super::single_group::SingleGroup;

const NAME: &str = "top_connections";

/// The kinds of engagement: follow, reply, mention, like.
const SOURCES: usize = 4;

/// `top_connections(other INT, source TINYINT, message_id BIGINT, weight BIGINT, k BIGINT)`, grouped by user.
///
/// A row is one engagement; rows that are the same in all of `other`, `source`, `message_id` and `weight` count once.
/// `source` is 0 (follow), 1 (reply), 2 (mention) or 3 (like); `weight`, from 1 to 4294967295, is what the engagement's age
/// leaves of it, in seconds; `k` is a constant. No argument may be null.
///
/// Gives `STRUCT<connections LIST<STRUCT<id INT, weight BIGINT>>, used LIST<BIGINT>, duplicates LIST<BIGINT>>`: the `k`
/// others with the greatest sum of weights, ties by the smaller id, in that order; and per source the distinct rows and
/// the further copies. Null for a group without rows.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TopConnections {
    signature: Signature,
}

impl Default for TopConnections {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

static CONNECTION: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("id", DataType::Int32),
        field("weight", DataType::Int64),
    ])
});

static RESULT: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("connections", list_of(DataType::Struct(CONNECTION.clone()))),
        field("used", list_of(DataType::Int64)),
        field("duplicates", list_of(DataType::Int64)),
    ])
});

/// A row as part of a state.
static ENGAGEMENT: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("other", DataType::Int32),
        field("source", DataType::Int8),
        field("message_id", DataType::Int64),
        field("weight", DataType::UInt32),
    ])
});

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection { include: true, label: "Graph Functions", description: None },
        "The k others with the greatest sum of weights over distinct engagements, with counts per source.",
        "top_connections(other, source, message_id, weight, k)",
    )
    .with_argument("other", "The user engaged with (INT)")
    .with_argument("source", "0 follow, 1 reply, 2 mention, 3 like (TINYINT)")
    .with_argument("message_id", "The message engaged with; any constant where there is none (BIGINT)")
    .with_argument("weight", "The engagement's weight in seconds, 1 to 4294967295 (BIGINT)")
    .with_argument("k", "How many to keep, a constant (BIGINT)")
    .build()
});

impl AggregateUDFImpl for TopConnections {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, given, 5)?;
        let wanted = [
            ("other", DataType::Int32),
            ("source", DataType::Int8),
            ("message_id", DataType::Int64),
            ("weight", DataType::Int64),
            ("k", DataType::Int64),
        ];
        given
            .iter()
            .zip(wanted)
            .map(|(given, (name, wanted))| whole_number(NAME, name, given, wanted))
            .collect()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(RESULT.clone()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let rows = list_of(DataType::Struct(ENGAGEMENT.clone()));
        Ok(vec![Arc::new(Field::new(
            format_state_name(args.name, "rows"),
            rows,
            true,
        ))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(SingleGroup::new(Connections {
            groups: 1,
            ..Connections::new(&args)?
        })))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Connections::new(&args)?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// One logged row, packed to 18 bytes, since the log is all that is held. The order of the fields brings copies together,
/// and the rows of one other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C, packed(2))]
struct Engagement {
    /// The other's id in the upper half, the weight in the lower.
    other_and_weight: u64,
    message_id: i64,
    /// The source above the bits of the group.
    source_and_group: u16,
}

const _: () = assert!(SOURCES << GROUP_BITS <= 1 << 16);

impl Engagement {
    fn new(local_group: u16, other: i32, source: u8, message_id: i64, weight: u32) -> Self {
        let other_and_weight = (u64::from(other.cast_unsigned()) << 32) | u64::from(weight);
        Self {
            other_and_weight,
            message_id,
            source_and_group: u16::from(source) << GROUP_BITS | local_group,
        }
    }

    fn source(&self) -> u8 {
        (self.source_and_group >> GROUP_BITS) as u8
    }

    fn other(&self) -> i32 {
        ((self.other_and_weight >> 32) as u32).cast_signed()
    }

    fn weight(&self) -> u32 {
        self.other_and_weight as u32
    }
}

impl Grouped for Engagement {
    fn local_group(&self) -> u16 {
        self.source_and_group & ((1 << GROUP_BITS) - 1)
    }
}

fn checked_source(source: i8) -> Result<u8> {
    match u8::try_from(source) {
        Ok(source) if usize::from(source) < SOURCES => Ok(source),
        _ => exec_err!("{NAME}: the source must be 0, 1, 2 or 3, not {source}"),
    }
}

fn checked_weight(weight: i64) -> Result<u32> {
    match u32::try_from(weight) {
        Ok(weight) if weight > 0 => Ok(weight),
        _ => exec_err!(
            "{NAME}: the weight must be from 1 to {}, not {weight}",
            u32::MAX
        ),
    }
}

/// The four row columns of the arguments.
struct Arguments<'a> {
    others: &'a Int32Array,
    sources: &'a Int8Array,
    message_ids: &'a Int64Array,
    weights: &'a Int64Array,
}

impl<'a> Arguments<'a> {
    fn read(values: &'a [ArrayRef], filter: Option<&BooleanArray>) -> Result<Self> {
        let this = Self {
            others: numbers::<Int32Type>(values, 0, "other")?,
            sources: numbers::<Int8Type>(values, 1, "source")?,
            message_ids: numbers::<Int64Type>(values, 2, "message_id")?,
            weights: numbers::<Int64Type>(values, 3, "weight")?,
        };
        check_present(NAME, "other", this.others, filter)?;
        check_present(NAME, "source", this.sources, filter)?;
        check_present(NAME, "message_id", this.message_ids, filter)?;
        check_present(NAME, "weight", this.weights, filter)?;
        Ok(this)
    }
}

/// The accumulator: a log of rows.
struct Connections {
    k: usize,
    groups: usize,
    rows: RowLog<Engagement>,
}

impl Connections {
    fn new(args: &AccumulatorArgs) -> Result<Self> {
        Ok(Self {
            k: limit(args, 4)?,
            groups: 0,
            rows: RowLog::default(),
        })
    }

    /// Forgets the groups that were emitted.
    fn forget(&mut self, emitted: usize) {
        self.groups -= emitted;
        if self.groups == 0 {
            self.rows = RowLog::default();
        } else {
            self.rows.remove_groups(emitted, |_| ());
        }
    }
}

impl GroupsAccumulator for Connections {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let arguments = Arguments::read(values, filter)?;
        self.groups = self.groups.max(total_num_groups);
        self.rows.check_room(group_indices.len())?;
        let columns = (arguments.others.values().iter())
            .zip(arguments.sources.values())
            .zip(arguments.message_ids.values())
            .zip(arguments.weights.values());
        for (row, (&group, (((&other, &source), &message_id), &weight))) in
            group_indices.iter().zip(columns).enumerate()
        {
            if selected(filter, row) {
                let (source, weight) = (checked_source(source)?, checked_weight(weight)?);
                self.rows.push(group, |local| {
                    Engagement::new(local, other, source, message_id, weight)
                });
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
        let lists = lists(values, 0, "the state of top_connections")?;
        let columns = structs(lists, "the state of top_connections")?.columns();
        let others = numbers::<Int32Type>(columns, 0, "other")?.values();
        let sources = numbers::<Int8Type>(columns, 1, "source")?.values();
        let message_ids = numbers::<Int64Type>(columns, 2, "message_id")?.values();
        let weights = numbers::<UInt32Type>(columns, 3, "weight")?.values();
        for (list, &group) in group_indices
            .iter()
            .enumerate()
            .filter(|(list, _)| lists.is_valid(*list))
        {
            let rows =
                lists.value_offsets()[list] as usize..lists.value_offsets()[list + 1] as usize;
            self.rows.check_room(rows.len())?;
            for row in rows {
                let source = checked_source(sources[row])?;
                self.rows.push(group, |local| {
                    Engagement::new(local, others[row], source, message_ids[row], weights[row])
                });
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emitted(emit_to, self.groups);
        let mut by_group = self.rows.by_group();
        let most = self.rows.len().min(groups.saturating_mul(self.k));
        let mut result = ResultBuilder::with_capacity(groups, most);
        let mut rows: Vec<Engagement> = Vec::new();
        let mut connections: Vec<Connection> = Vec::new();
        for group in 0..groups {
            rows.clear();
            rows.extend(by_group.rows(group));
            rows.sort_unstable();
            connections.clear();
            let mut used = [0; SOURCES];
            let mut duplicates = [0; SOURCES];
            let mut last = None;
            for row in &rows {
                let source = usize::from(row.source());
                if last == Some(row) {
                    duplicates[source] += 1;
                    continue;
                }
                last = Some(row);
                used[source] += 1;
                // Fewer than 2^31 rows of less than 2^32: no sum overflows.
                let weight = i64::from(row.weight());
                match connections.last_mut() {
                    Some(connection) if connection.1 == row.other() => connection.0.0 += weight,
                    _ => connections.push((Reverse(weight), row.other())),
                }
            }
            if connections.len() > self.k {
                connections.select_nth_unstable(self.k);
                connections.truncate(self.k);
            }
            connections.sort_unstable();
            result.append(&connections, used, duplicates, !rows.is_empty())?;
        }
        self.forget(groups);
        Ok(Arc::new(result.finish()?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emitted(emit_to, self.groups);
        let mut by_group = self.rows.by_group();
        let capacity = if groups == self.groups {
            self.rows.len()
        } else {
            0
        };
        let mut others = Vec::with_capacity(capacity);
        let mut sources = Vec::with_capacity(capacity);
        let mut message_ids = Vec::with_capacity(capacity);
        let mut weights = Vec::with_capacity(capacity);
        let mut offsets = Offsets::with_capacity(groups);
        for group in 0..groups {
            for row in by_group.rows(group) {
                others.push(row.other());
                sources.push(row.source() as i8);
                message_ids.push(row.message_id);
                weights.push(row.weight());
            }
            offsets.end_at(others.len())?;
        }
        self.forget(groups);
        let rows = struct_array(
            &ENGAGEMENT,
            vec![
                Arc::new(Int32Array::from(others)),
                Arc::new(Int8Array::from(sources)),
                Arc::new(Int64Array::from(message_ids)),
                Arc::new(UInt32Array::from(weights)),
            ],
        )?;
        Ok(vec![Arc::new(list_array(
            offsets.finish(),
            Arc::new(rows),
            None,
        )?)])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let arguments = Arguments::read(values, filter)?;
        let each = OneEach::new(arguments.others.len(), filter);
        let weights = each.rows(arguments.weights)?;
        let weights = weights
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .map(|&weight| checked_weight(weight));
        let weights: Vec<u32> = weights.collect::<Result<_>>()?;
        let columns = vec![
            each.rows(arguments.others)?,
            each.rows(arguments.sources)?,
            each.rows(arguments.message_ids)?,
            Arc::new(UInt32Array::from(weights)),
        ];
        Ok(vec![Arc::new(
            each.lists(Arc::new(struct_array(&ENGAGEMENT, columns)?))?,
        )])
    }

    fn size(&self) -> usize {
        self.rows.size()
    }
}

/// A sum of weights and an id; the natural order is the ranking.
type Connection = (Reverse<i64>, i32);

struct ResultBuilder {
    ids: Vec<i32>,
    weights: Vec<i64>,
    offsets: Offsets,
    used: Vec<i64>,
    duplicates: Vec<i64>,
    present: Vec<bool>,
}

impl ResultBuilder {
    /// For that many groups and at most so many connections: room that is not used costs nothing, and growing does.
    fn with_capacity(groups: usize, connections: usize) -> Self {
        Self {
            ids: Vec::with_capacity(connections),
            weights: Vec::with_capacity(connections),
            offsets: Offsets::with_capacity(groups),
            used: Vec::with_capacity(groups * SOURCES),
            duplicates: Vec::with_capacity(groups * SOURCES),
            present: Vec::with_capacity(groups),
        }
    }

    fn append(
        &mut self,
        connections: &[Connection],
        used: [i64; SOURCES],
        duplicates: [i64; SOURCES],
        present: bool,
    ) -> Result<()> {
        self.ids.extend(connections.iter().map(|(_, id)| id));
        self.weights
            .extend(connections.iter().map(|(Reverse(weight), _)| weight));
        self.offsets.end_at(self.ids.len())?;
        self.used.extend(used);
        self.duplicates.extend(duplicates);
        self.present.push(present);
        Ok(())
    }

    fn finish(self) -> Result<StructArray> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(self.ids)),
            Arc::new(Int64Array::from(self.weights)),
        ];
        let connections = list_array(
            self.offsets.finish(),
            Arc::new(struct_array(&CONNECTION, columns)?),
            None,
        )?;
        let groups = self.present.len();
        let per_source = |counts: Vec<i64>| {
            let offsets = OffsetBuffer::from_repeated_length(SOURCES, groups);
            list_array(offsets, Arc::new(Int64Array::from(counts)), None)
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(connections),
            Arc::new(per_source(self.used)?),
            Arc::new(per_source(self.duplicates)?),
        ];
        Ok(StructArray::try_new(
            RESULT.clone(),
            columns,
            Some(NullBuffer::from(self.present)),
        )?)
    }
}
