//! `second_degree`: the connections of a user's connections, ranked into recommendations with their reasons.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int32Type};
use datafusion::arrow;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, DocSection, Documentation, EmitTo, GroupsAccumulator, Signature,
    Volatility,
};

use super::arguments::{
    Offsets, OneEach, check_count, check_present, constant, field, limit, list_array, list_of,
    lists, numbers, selected, struct_array, structs, whole_number,
};
use super::log::emitted;
use super::single_group::SingleGroup;

mod lists;
mod ranking;
mod result;
mod table;

use lists::{CANDIDATE, CandidateLists, FollowedLists, Held};
use ranking::{Paths, Ranking};
use result::{RESULT, ResultBuilder};

const NAME: &str = "second_degree";

/// `second_degree(user_id INT, reason_id INT, candidates LIST<STRUCT<id INT, weight BIGINT, standing INT>>,
/// followed LIST<INT>, k BIGINT, min_pred BIGINT)`, grouped by `user_id`.
///
/// A row is a connection `reason_id` of the user, with its own connections as `candidates` (null or empty: none), or a
/// reference to them as `by_reference` makes it; it occurs once per user. The fields of a candidate count by position;
/// `weight` is in seconds, `standing` its reputation in millionths, or -1 without one, or -2 when it is suspended. The user
/// follows the union of all `followed` lists of its rows, or of those that these refer to; any may be null. `k` and
/// `min_pred` (millionths) are constants. Nothing else may be null.
///
/// Gives `STRUCT<recommendations LIST<STRUCT<rec_id INT, score DECIMAL(38,0)>>, reasons LIST<STRUCT<rec_id INT, reason_id
/// INT, weight BIGINT>>, tallies STRUCT<candidates, self, followed, suspended, without_score, low_reputation, beyond_limit,
/// recommended, paths>>` (tallies are BIGINT). Each distinct candidate is dropped, and counted, for the first that applies
/// of: it is the user itself, followed, suspended, without score, under `min_pred`. The others score their reputation times
/// the sum of their weights; the `k` highest are recommended, ties by the smaller id. Reasons are the connections that lead
/// to the recommended, in their order, then by weight downwards and then by id. Null for a group without rows.
///
/// Input arrays are kept, not copied, until their group is emitted: with input sorted by user little more than a batch.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SecondDegree {
    signature: Signature,
}

impl Default for SecondDegree {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

/// A row as part of a state.
static PATHS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("reason_id", DataType::Int32),
        field("candidates", list_of(DataType::Struct(CANDIDATE.clone()))),
    ])
});

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection { include: true, label: "Graph Functions", description: None },
        "The k best connections of a user's connections, with reasons, and counts of what was dropped and why.",
        "second_degree(user_id, reason_id, candidates, followed, k, min_pred)",
    )
    .with_argument("user_id", "The user, the same in the whole group (INT)")
    .with_argument("reason_id", "A connection of the user (INT)")
    .with_argument("candidates", "Its own connections: LIST<STRUCT<id INT, weight BIGINT, standing INT>>")
    .with_argument("followed", "Ids that the user follows, or null (LIST<INT>)")
    .with_argument("k", "How many to recommend, a constant (BIGINT)")
    .with_argument("min_pred", "The least reputation in millionths, a constant (BIGINT)")
    .build()
});

impl AggregateUDFImpl for SecondDegree {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, given, 6)?;
        Ok(vec![
            whole_number(NAME, "user_id", &given[0], DataType::Int32)?,
            whole_number(NAME, "reason_id", &given[1], DataType::Int32)?,
            candidates_type(&given[2])?,
            followed_type(&given[3])?,
            whole_number(NAME, "k", &given[4], DataType::Int64)?,
            whole_number(NAME, "min_pred", &given[5], DataType::Int64)?,
        ])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(RESULT.clone()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name: &str, data_type| {
            Arc::new(Field::new(
                format_state_name(args.name, name),
                data_type,
                true,
            ))
        };
        Ok(vec![
            field("user_id", DataType::Int32),
            field("paths", list_of(DataType::Struct(PATHS.clone()))),
            field("followed", list_of(DataType::Int32)),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(SingleGroup::new(Recommendations {
            users: vec![None],
            ..Recommendations::new(&args)?
        })))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Recommendations::new(&args)?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// The type of `candidates`, unchanged if it will do.
fn candidates_type(given: &DataType) -> Result<DataType> {
    let list = match given {
        DataType::Dictionary(_, list) => list.as_ref(),
        list => list,
    };
    if let DataType::List(item) = list
        && let DataType::Struct(fields) = item.data_type()
        && fields.len() == CANDIDATE.len()
        && fields
            .iter()
            .zip(CANDIDATE.iter())
            .all(|(given, wanted)| given.data_type() == wanted.data_type())
    {
        return Ok(given.clone());
    }
    plan_err!(
        "{NAME}: the argument candidates must be a List of Struct(id Int32, weight Int64, standing Int32), not {given}"
    )
}

/// The type of `followed`, unchanged if it will do.
fn followed_type(given: &DataType) -> Result<DataType> {
    match given {
        DataType::List(item) if item.data_type() == &DataType::Int32 => Ok(given.clone()),
        DataType::Dictionary(_, list) if matches!(list.as_ref(), DataType::List(item) if item.data_type() == &DataType::Int32) => {
            Ok(given.clone())
        }
        DataType::List(item) if item.data_type().is_integer() => Ok(list_of(DataType::Int32)),
        DataType::Null => Ok(list_of(DataType::Int32)),
        other => plan_err!("{NAME}: the argument followed must be a List of Int32, not {other}"),
    }
}

/// The accumulator: input arrays and references into them.
struct Recommendations {
    k: usize,
    min_pred: i64,
    /// Per group its user; none without rows.
    users: Vec<Option<i32>>,
    paths: Held<CandidateLists>,
    followed: Held<FollowedLists>,
    ranking: Ranking,
}

impl Recommendations {
    fn new(args: &AccumulatorArgs) -> Result<Self> {
        Ok(Self {
            k: limit(args, 4)?,
            min_pred: constant(args, 5, "min_pred")?,
            users: Vec::new(),
            paths: Held::default(),
            followed: Held::default(),
            ranking: Ranking::default(),
        })
    }

    /// Makes room for that many groups.
    fn grow(&mut self, groups: usize) {
        if self.users.len() < groups {
            self.users.resize(groups, None);
        }
    }

    fn set_user(&mut self, group: usize, user_id: i32) -> Result<()> {
        match self.users[group].replace(user_id) {
            Some(other) if other != user_id => {
                exec_err!(
                    "{NAME} needs GROUP BY user_id: one group has the users {other} and {user_id}"
                )
            }
            _ => Ok(()),
        }
    }

    /// Forgets the groups that were emitted.
    fn forget(&mut self, emitted: usize) {
        self.users.drain(..emitted);
        if self.users.is_empty() {
            self.users = Vec::new();
            self.paths = Held::default();
            self.followed = Held::default();
        } else {
            self.paths.remove_groups(emitted);
            self.followed.remove_groups(emitted);
        }
    }
}

/// The columns of the arguments, checked.
struct Arguments<'a> {
    user_ids: &'a Int32Array,
    reason_ids: &'a Int32Array,
    candidates: CandidateLists,
    followed: FollowedLists,
}

impl<'a> Arguments<'a> {
    fn read(values: &'a [ArrayRef], filter: Option<&BooleanArray>) -> Result<Self> {
        let user_ids = numbers::<Int32Type>(values, 0, "user_id")?;
        let reason_ids = numbers::<Int32Type>(values, 1, "reason_id")?;
        check_present(NAME, "user_id", user_ids, filter)?;
        check_present(NAME, "reason_id", reason_ids, filter)?;
        Ok(Self {
            user_ids,
            reason_ids,
            candidates: CandidateLists::read(values, 2, filter)?,
            followed: FollowedLists::read(values, 3, filter)?,
        })
    }
}

impl GroupsAccumulator for Recommendations {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let Arguments {
            user_ids,
            reason_ids,
            candidates,
            followed,
        } = Arguments::read(values, filter)?;
        self.grow(total_num_groups);
        let rows = || {
            group_indices
                .iter()
                .copied()
                .enumerate()
                .filter(|&(row, _)| selected(filter, row))
        };
        for (row, group) in rows() {
            self.set_user(group, user_ids.value(row))?;
        }
        self.paths.hold(
            candidates,
            rows().map(|(row, group)| (row, group, reason_ids.value(row))),
        )?;
        self.followed.hold(followed, rows())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        let user_ids = numbers::<Int32Type>(values, 0, "the state's user_id")?;
        let path_lists = lists(values, 1, "the state's paths")?;
        let columns = structs(path_lists, "the state's paths")?.columns();
        let reason_ids = numbers::<Int32Type>(columns, 0, "the state's reason_id")?;
        let candidates = CandidateLists::read(columns, 1, None)?;
        let followed = FollowedLists::read(values, 2, None)?;
        self.grow(total_num_groups);
        let states = || {
            group_indices
                .iter()
                .copied()
                .enumerate()
                .filter(|&(state, _)| user_ids.is_valid(state))
        };
        for (state, group) in states() {
            self.set_user(group, user_ids.value(state))?;
        }
        let offsets = path_lists.value_offsets();
        let paths = states().flat_map(|(state, group)| {
            let rows = offsets[state] as usize..offsets[state + 1] as usize;
            rows.map(move |row| (row, group, reason_ids.value(row)))
        });
        self.paths.hold(candidates, paths)?;
        self.followed.hold(followed, states())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emitted(emit_to, self.users.len());
        let mut path_rows = self.paths.rows.by_group();
        let mut followed_rows = self.followed.rows.by_group();
        let mut result = ResultBuilder::with_capacity(groups);
        let mut paths: Vec<Paths> = Vec::new();
        let mut followed: Vec<&[i32]> = Vec::new();
        for (group, user_id) in self.users[..groups].iter().enumerate() {
            let &Some(user_id) = user_id else {
                result.append_null()?;
                continue;
            };
            paths.clear();
            for row in path_rows.rows(group) {
                let candidates = self.paths.lists(row)?.get(row.row as usize);
                paths.push(Paths {
                    reason_id: row.reason_id,
                    candidates,
                });
            }
            followed.clear();
            for row in followed_rows.rows(group) {
                followed.push(self.followed.lists(row)?.get(row.row as usize));
            }
            self.ranking
                .rank(user_id, &paths, &followed, self.k, self.min_pred)?;
            result.append(&self.ranking)?;
        }
        self.forget(groups);
        Ok(Arc::new(result.finish()?))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emitted(emit_to, self.users.len());
        let mut states = StateBuilder::with_capacity(groups);
        let mut path_rows = self.paths.rows.by_group();
        let mut followed_rows = self.followed.rows.by_group();
        for group in 0..groups {
            for row in path_rows.rows(group) {
                let candidates = self.paths.lists(row)?.get(row.row as usize);
                states.append_paths(Paths {
                    reason_id: row.reason_id,
                    candidates,
                })?;
            }
            for row in followed_rows.rows(group) {
                states
                    .followed
                    .extend_from_slice(self.followed.lists(row)?.get(row.row as usize));
            }
            states.end_group()?;
        }
        let user_ids = Int32Array::from(self.users[..groups].to_vec());
        self.forget(groups);
        states.finish(user_ids)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let arguments = Arguments::read(values, filter)?;
        let rows = arguments.user_ids.len();
        let each = OneEach::new(rows, filter);
        let candidates = arguments.candidates.renamed()?;
        let paths = struct_array(
            &PATHS,
            vec![each.rows(arguments.reason_ids)?, each.rows(&candidates)?],
        )?;
        // A state without user is passed over.
        let user_ids: Int32Array = (0..rows)
            .map(|row| selected(filter, row).then(|| arguments.user_ids.value(row)))
            .collect();
        let followed = arguments.followed.owned()?;
        Ok(vec![
            Arc::new(user_ids),
            Arc::new(each.lists(Arc::new(paths))?),
            Arc::new(followed),
        ])
    }

    fn size(&self) -> usize {
        self.users.capacity() * size_of::<Option<i32>>()
            + self.paths.size()
            + self.followed.size()
            + self.ranking.size()
    }
}

/// States under construction, group by group.
struct StateBuilder {
    reason_ids: Vec<i32>,
    path_offsets: Offsets,
    ids: Vec<i32>,
    weights: Vec<i64>,
    standings: Vec<i32>,
    candidate_offsets: Offsets,
    followed: Vec<i32>,
    followed_offsets: Offsets,
}

impl StateBuilder {
    fn with_capacity(groups: usize) -> Self {
        Self {
            reason_ids: Vec::new(),
            path_offsets: Offsets::with_capacity(groups),
            ids: Vec::new(),
            weights: Vec::new(),
            standings: Vec::new(),
            candidate_offsets: Offsets::with_capacity(0),
            followed: Vec::new(),
            followed_offsets: Offsets::with_capacity(groups),
        }
    }

    fn append_paths(
        &mut self,
        Paths {
            reason_id,
            candidates,
        }: Paths,
    ) -> Result<()> {
        self.reason_ids.push(reason_id);
        self.ids.extend_from_slice(candidates.ids);
        self.weights.extend_from_slice(candidates.weights);
        self.standings.extend_from_slice(candidates.standings);
        self.candidate_offsets.end_at(self.ids.len())
    }

    fn end_group(&mut self) -> Result<()> {
        self.path_offsets.end_at(self.reason_ids.len())?;
        self.followed_offsets.end_at(self.followed.len())
    }

    fn finish(self, user_ids: Int32Array) -> Result<Vec<ArrayRef>> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(self.ids)),
            Arc::new(Int64Array::from(self.weights)),
            Arc::new(Int32Array::from(self.standings)),
        ];
        let candidates = list_array(
            self.candidate_offsets.finish(),
            Arc::new(struct_array(&CANDIDATE, columns)?),
            None,
        )?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(self.reason_ids)),
            Arc::new(candidates),
        ];
        let paths = list_array(
            self.path_offsets.finish(),
            Arc::new(struct_array(&PATHS, columns)?),
            None,
        )?;
        let followed = list_array(
            self.followed_offsets.finish(),
            Arc::new(Int32Array::from(self.followed)),
            None,
        )?;
        Ok(vec![
            Arc::new(user_ids),
            Arc::new(paths),
            Arc::new(followed),
        ])
    }
}
