//! `second_degree`: the connections of a user's connections, ranked into recommendations with their reasons.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, ListArray};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::arrow;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{check_count, list_of, lists, numbers, structs, whole_number};
use super::words::{Words, check_words};

mod candidates;
mod ranking;
mod result;
mod table;

pub(super) use candidates::CANDIDATE;
pub use candidates::CandidatesByUser;
use candidates::{Candidates, NAME as CANDIDATES_BY_USER};
use ranking::{Paths, Ranking};
use result::{RESULT, ResultBuilder};

const NAME: &str = "second_degree";

/// `second_degree(user_id INT, connections LIST<STRUCT<id INT, …>>, followed LIST<INT>, candidates, k BIGINT, min_pred
/// BIGINT)`.
///
/// A row is a user with its closest connections, each once, in any order, and whom it follows, which may list somebody
/// twice, or be null. `candidates` is a value of [`CandidatesByUser`], with each
/// connection's own connections: their `weight` in seconds, and as `standing` their reputation in millionths, or -1 without one,
/// or -2 when suspended. `k` and `min_pred` (millionths) are constants.
///
/// Gives `STRUCT<recommendations LIST<STRUCT<rec_id INT, score DECIMAL(38,0)>>, reasons LIST<STRUCT<rec_id INT, reason_id
/// INT, weight BIGINT>>, tallies STRUCT<candidates, self, followed, suspended, without_score, low_reputation, beyond_limit,
/// recommended, paths>>` (tallies are BIGINT). Each distinct candidate is dropped, and counted, for the first that applies
/// of: it is the user itself, followed, suspended, without score, under `min_pred`. The others score their reputation times
/// the sum of their weights; the `k` highest are recommended, ties by the smaller id. Reasons are the connections that lead
/// to the recommended, in their order, then by weight downwards and then by id. Null for a user that is null.
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

impl ScalarUDFImpl for SecondDegree {
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
            connections_type(&given[1])?,
            followed_type(&given[2])?,
            check_words(NAME, CANDIDATES_BY_USER, &given[3])?,
            whole_number(NAME, "k", &given[4], DataType::Int64)?,
            whole_number(NAME, "min_pred", &given[5], DataType::Int64)?,
        ])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(RESULT.clone()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [user_ids, connections, followed, candidates, k, min_pred] = args.args.as_slice()
        else {
            return exec_err!("{NAME} takes 6 arguments");
        };
        let rows = args.number_rows;
        let [user_ids, connections, followed] =
            [user_ids, connections, followed].map(|argument| argument.to_array(rows));
        let (user_ids, connections, followed) = (user_ids?, connections?, followed?);
        let users = Users::read(&user_ids, &connections, &followed)?;
        let k = match usize::try_from(constant(k, "k")?) {
            Ok(k) if k > 0 => k,
            _ => return exec_err!("{NAME}: the argument k must be at least 1"),
        };
        let min_pred = constant(min_pred, "min_pred")?;
        let words = Words::read(candidates)?;
        let recommended = users.recommend(|row| words.get(row), k, min_pred)?;
        Ok(ColumnarValue::Array(recommended))
    }
}

/// The constant that argument `name` must be.
fn constant(value: &ColumnarValue, name: &str) -> Result<i64> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(value))) => Ok(*value),
        _ => exec_err!("{NAME}: the argument {name} must be a constant whole number"),
    }
}

/// The type of `connections`, if it will do.
fn connections_type(given: &DataType) -> Result<DataType> {
    if let DataType::List(item) = given
        && let DataType::Struct(fields) = item.data_type()
        && fields
            .first()
            .is_some_and(|id| id.data_type() == &DataType::Int32)
    {
        return Ok(given.clone());
    }
    plan_err!(
        "{NAME}: the argument connections must be a List of Struct(id Int32, ...), not {given}"
    )
}

/// The type of `followed`, unchanged if it will do.
fn followed_type(given: &DataType) -> Result<DataType> {
    match given {
        DataType::List(item) if item.data_type() == &DataType::Int32 => Ok(given.clone()),
        DataType::List(item) if item.data_type().is_integer() => Ok(list_of(DataType::Int32)),
        DataType::Null => Ok(list_of(DataType::Int32)),
        other => plan_err!("{NAME}: the argument followed must be a List of Int32, not {other}"),
    }
}

/// The rows' lists of ids.
struct IdLists<'a> {
    lists: &'a ListArray,
    ids: &'a Int32Array,
}

impl<'a> IdLists<'a> {
    fn new(lists: &'a ListArray, ids: &'a Int32Array) -> Self {
        Self { lists, ids }
    }

    /// The ids of one list; empty for null.
    fn get(&self, list: usize) -> &'a [i32] {
        let offsets = self.lists.value_offsets();
        match self.lists.is_valid(list) {
            true => &self.ids.values()[offsets[list] as usize..offsets[list + 1] as usize],
            false => &[],
        }
    }

    /// Fails where an id in use is null.
    fn check(&self, name: &str) -> Result<()> {
        let offsets = self.lists.value_offsets();
        let in_use = |list: &usize| self.lists.is_valid(*list);
        let missing = |list| {
            (offsets[list] as usize..offsets[list + 1] as usize).any(|at| self.ids.is_null(at))
        };
        if self.ids.null_count() > 0 && (0..self.lists.len()).filter(in_use).any(missing) {
            return exec_err!("{NAME}: {name} must not be null");
        }
        Ok(())
    }
}

/// The rows.
struct Users<'a> {
    user_ids: &'a Int32Array,
    connections: IdLists<'a>,
    followed: IdLists<'a>,
}

impl<'a> Users<'a> {
    fn read(
        user_ids: &'a ArrayRef,
        connections: &'a ArrayRef,
        followed: &'a ArrayRef,
    ) -> Result<Self> {
        use std::slice::from_ref;
        let connections = lists(from_ref(connections), 0, "connections")?;
        let columns = structs(connections, "connections")?.columns();
        let followed = lists(from_ref(followed), 0, "followed")?;
        let this = Self {
            user_ids: numbers::<Int32Type>(from_ref(user_ids), 0, "user_id")?,
            connections: IdLists::new(
                connections,
                numbers::<Int32Type>(columns, 0, "connections.id")?,
            ),
            followed: IdLists::new(
                followed,
                numbers::<Int32Type>(from_ref(followed.values()), 0, "followed")?,
            ),
        };
        this.connections.check("a connection's id")?;
        this.followed.check("a followed id")?;
        Ok(this)
    }

    /// The result column; `words` are the candidates of a row, nearly always the same.
    fn recommend<'b>(
        &self,
        words: impl Fn(usize) -> &'b [i64],
        k: usize,
        min_pred: i64,
    ) -> Result<ArrayRef> {
        let rows = self.user_ids.len();
        let mut ranking = Ranking::default();
        let mut result = ResultBuilder::with_capacity(rows);
        // The paths of the row and of the next one, whose lists come into the caches meanwhile.
        let (mut paths, mut next): (Vec<Paths>, Vec<Paths>) = (Vec::new(), Vec::new());
        let locate = |row: usize, paths: &mut Vec<Paths<'b>>| -> Result<()> {
            paths.clear();
            if row >= rows || self.user_ids.is_null(row) {
                return Ok(());
            }
            let candidates = Candidates::read(words(row))?;
            if row + 1 < rows {
                for &id in self.connections.get(row + 1) {
                    candidates.prefetch_place(id);
                }
            }
            for &reason_id in self.connections.get(row) {
                let candidates = candidates.of(reason_id);
                candidates.prefetch();
                paths.push(Paths {
                    reason_id,
                    candidates,
                });
            }
            Ok(())
        };
        locate(0, &mut next)?;
        for row in 0..rows {
            std::mem::swap(&mut paths, &mut next);
            locate(row + 1, &mut next)?;
            if self.user_ids.is_null(row) {
                result.append_null()?;
                continue;
            }
            let user_id = self.user_ids.value(row);
            ranking.rank(user_id, &paths, self.followed.get(row), k, min_pred)?;
            result.append(&ranking)?;
        }
        Ok(Arc::new(result.finish()?))
    }
}
