//! `candidates_by_user`: what each user passes on to those who are close to them, as one value.

use std::sync::LazyLock;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, FieldRef, Fields, Int32Type, Int64Type};
use datafusion::arrow;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, DocSection, Documentation, Signature, Volatility,
};

use super::super::arguments::{
    check_count, check_present, field, lists, numbers, structs, whole_number,
};
use super::super::words::{
    first_place, lower, pair, upper, words_of_states, words_state, words_state_fields, words_type,
    words_value,
};
use crate::prefetch::prefetch;

pub(super) const NAME: &str = "candidates_by_user";

/// An element of a list of candidates.
pub(in super::super) static CANDIDATE: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("id", DataType::Int32),
        field("weight", DataType::Int64),
        field("standing", DataType::Int32),
    ])
});

/// `candidates_by_user(user_id INT, candidates LIST<STRUCT<id INT, weight BIGINT, standing INT>>)`: the lists of all users as
/// one value, for `second_degree`. A user occurs once; ids of users are positive. The fields of a candidate count by
/// position. Nothing but a list may be null, which says as much as an empty one.
///
/// Gives `LIST VIEW<BIGINT>`: all candidates, an open-addressing table of where each user's are, and the size of that.
/// Joined to rows it is shared by them, not copied.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CandidatesByUser {
    signature: Signature,
}

impl Default for CandidatesByUser {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection {
            include: true,
            label: "Graph Functions",
            description: None,
        },
        "The candidates of all users as one value, for second_degree.",
        "candidates_by_user(user_id, candidates)",
    )
    .with_argument("user_id", "A user, once (INT)")
    .with_argument(
        "candidates",
        "Its own connections: LIST<STRUCT<id INT, weight BIGINT, standing INT>>",
    )
    .build()
});

impl AggregateUDFImpl for CandidatesByUser {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, given, 2)?;
        let user_id = whole_number(NAME, "user_id", &given[0], DataType::Int32)?;
        if let DataType::List(item) = &given[1]
            && let DataType::Struct(fields) = item.data_type()
            && fields.len() == CANDIDATE.len()
            && fields
                .iter()
                .zip(CANDIDATE.iter())
                .all(|(given, wanted)| given.data_type() == wanted.data_type())
        {
            return Ok(vec![user_id, given[1].clone()]);
        }
        plan_err!(
            "{NAME}: the argument candidates must be a List of Struct(id Int32, weight Int64, standing Int32), not {}",
            given[1]
        )
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(words_type())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(words_state_fields(&args))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Builder::default()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// A candidate as ranking reads it: in one place, since lists lie anywhere in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Listed(pub(super) [i64; 2]);

impl Listed {
    pub(super) fn new(id: i32, standing: i32, weight: i64) -> Self {
        Self([pair(id, standing), weight])
    }

    pub(super) fn id(&self) -> i32 {
        upper(self.0[0])
    }

    /// Its reputation in millionths, or -1 without one, or less when suspended.
    pub(super) fn standing(&self) -> i32 {
        lower(self.0[0])
    }

    pub(super) fn weight(&self) -> i64 {
        self.0[1]
    }
}

/// Where a user's candidates are: the user and how many they are, and the place of the first. Zeros for nobody.
type Entry = [i64; 2];

fn user_of(entry: &Entry) -> i32 {
    upper(entry[0])
}

/// The candidates, and the entries that follow them, of a value or a state.
fn split(words: &[i64]) -> Option<(&[[i64; 2]], &[Entry])> {
    let (&entries, words) = words.split_last()?;
    let (pairs, []) = words.as_chunks::<2>() else {
        return None;
    };
    pairs.split_at_checked(pairs.len().checked_sub(usize::try_from(entries).ok()?)?)
}

/// How many slots the table of so many users has: at most half are taken.
fn slots_for(users: usize) -> usize {
    (2 * users).next_power_of_two().max(2)
}

/// The value under construction.
#[derive(Debug, Default)]
struct Builder {
    candidates: Vec<[i64; 2]>,
    users: Vec<Entry>,
    /// States of others, as they came: they are copied once, when it is known how many there are.
    others: Vec<ScalarBuffer<i64>>,
}

/// Room for so many candidates is taken at once. Room that is not used takes no memory, but memory that is given up for
/// more has to be cleared for the next.
const ROOM: usize = 1 << 22;

impl Builder {
    fn add(
        &mut self,
        user_id: i32,
        candidates: impl ExactSizeIterator<Item = [i64; 2]>,
    ) -> Result<()> {
        if user_id <= 0 {
            return exec_err!("{NAME}: a user's id must be positive, not {user_id}");
        }
        let Ok(count) = i32::try_from(candidates.len()) else {
            return exec_err!("{NAME}: user {user_id} has more than 2^31 candidates");
        };
        if self.candidates.capacity() == 0 {
            self.candidates.reserve_exact(ROOM);
        }
        let first = self.candidates.len() as i64;
        self.users.push([pair(user_id, count), first]);
        self.candidates.extend(candidates);
        Ok(())
    }

    /// Takes the states of others in, with room for the table of all users.
    fn put_together(&mut self) -> Result<()> {
        let others = std::mem::take(&mut self.others);
        let others = others.iter().map(|words| {
            split(words).ok_or_else(|| exec_datafusion_err!("{NAME}: no state of it"))
        });
        let others: Vec<_> = others.collect::<Result<_>>()?;
        let users: usize = others.iter().map(|(_, users)| users.len()).sum();
        let more: usize = others.iter().map(|(candidates, _)| candidates.len()).sum();
        let slots = slots_for(self.users.len() + users);
        self.candidates.reserve_exact(more + slots + 1);
        self.users.reserve_exact(users);
        for (candidates, users) in others {
            let before = self.candidates.len() as i64;
            self.candidates.extend_from_slice(candidates);
            let moved = users.iter().map(|&[user, first]| [user, first + before]);
            self.users.extend(moved);
        }
        Ok(())
    }

    /// The candidates, which are given away, `entries`, and their number.
    fn words(&mut self, entries: &[Entry]) -> Result<Vec<i64>> {
        let words = 2 * (self.candidates.len() + entries.len()) + 1;
        if i32::try_from(words).is_err() {
            return exec_err!("{NAME}: more than 2^30 candidates in one value");
        }
        let mut all = std::mem::take(&mut self.candidates).into_flattened();
        all.extend_from_slice(entries.as_flattened());
        all.push(entries.len() as i64);
        all.shrink_to_fit();
        Ok(all)
    }

    /// The entries in an open-addressing table of which at most half is taken.
    fn slots(&self) -> Result<Vec<Entry>> {
        let size = slots_for(self.users.len());
        let mut slots = vec![[0; 2]; size];
        for user in &self.users {
            let mut place = first_place(size, user_of(user));
            while slots[place] != [0; 2] {
                if user_of(&slots[place]) == user_of(user) {
                    return exec_err!("{NAME}: user {} occurs twice", user_of(user));
                }
                place = (place + 1) & (size - 1);
            }
            slots[place] = *user;
        }
        Ok(slots)
    }
}

impl Accumulator for Builder {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let user_ids = numbers::<Int32Type>(values, 0, "user_id")?;
        check_present(NAME, "user_id", user_ids, None)?;
        let lists: &ListArray = lists(values, 1, "candidates")?;
        let elements = structs(lists, "candidates")?;
        let columns = elements.columns();
        let ids = numbers::<Int32Type>(columns, 0, "candidates.id")?;
        let weights = numbers::<Int64Type>(columns, 1, "candidates.weight")?;
        let standings = numbers::<Int32Type>(columns, 2, "candidates.standing")?;
        let offsets = lists.value_offsets();
        for (row, &user_id) in user_ids.values().iter().enumerate() {
            if lists.is_null(row) {
                continue;
            }
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            let arrays: [&dyn Array; 4] = [elements, ids, weights, standings];
            let missing = |array: &&dyn Array| {
                array.null_count() > 0 && range.clone().any(|at| array.is_null(at))
            };
            if arrays.iter().any(missing) {
                return exec_err!("{NAME}: a candidate's id, weight and standing must not be null");
            }
            let packed = ids.values()[range.clone()]
                .iter()
                .zip(&standings.values()[range.clone()])
                .zip(&weights.values()[range])
                .map(|((&id, &standing), &weight)| Listed::new(id, standing, weight).0);
            self.add(user_id, packed)?;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.others.extend(words_of_states(states)?);
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.put_together()?;
        let users = std::mem::take(&mut self.users);
        words_state(self.words(&users)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.put_together()?;
        let slots = self.slots()?;
        words_value(self.words(&slots)?)
    }

    fn size(&self) -> usize {
        size_of_val(self)
            + self.candidates.len() * size_of::<[i64; 2]>()
            + self.users.capacity() * size_of::<Entry>()
            + self
                .others
                .iter()
                .map(|words| size_of_val(&words[..]))
                .sum::<usize>()
    }
}

/// The lists of all users, as [`CandidatesByUser`] made them.
#[derive(Clone, Copy)]
pub(super) struct Candidates<'a> {
    candidates: &'a [[i64; 2]],
    slots: &'a [Entry],
}

impl<'a> Candidates<'a> {
    /// Reads a value.
    pub(super) fn read(words: &'a [i64]) -> Result<Self> {
        match split(words) {
            Some((candidates, slots)) if slots.len().is_power_of_two() => {
                Ok(Self { candidates, slots })
            }
            _ => exec_err!("second_degree: the candidates must come from {NAME}"),
        }
    }

    /// Asks for what tells where the user's list is to be brought into the caches.
    pub(super) fn prefetch_place(&self, user_id: i32) {
        let place = first_place(self.slots.len(), user_id);
        prefetch(&self.slots[place..=place]);
    }

    /// The candidates of a user; none of somebody unknown.
    pub(super) fn of(&self, user_id: i32) -> CandidateList<'a> {
        let mut place = first_place(self.slots.len(), user_id);
        // A full table, and one that points elsewhere, is none of ours; but any statement may bring one, and must end.
        for _ in 0..self.slots.len() {
            let entry = &self.slots[place];
            if *entry == [0; 2] || user_id <= 0 {
                break;
            }
            if user_of(entry) == user_id {
                let (first, count) = (usize::try_from(entry[1]), entry[0] as u32 as usize);
                let rest = first.ok().and_then(|first| self.candidates.get(first..));
                return CandidateList(rest.and_then(|rest| rest.get(..count)).unwrap_or_default());
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
        CandidateList(&[])
    }
}

/// One list of candidates.
#[derive(Clone, Copy)]
pub(super) struct CandidateList<'a>(pub(super) &'a [[i64; 2]]);

impl<'a> CandidateList<'a> {
    /// Asks for it to be brought into the caches: ranking would wait for lists more than it computes.
    pub(super) fn prefetch(&self) {
        prefetch(self.0);
        // A list begins anywhere in a line, and may end in one more.
        if let [.., last] = self.0 {
            prefetch(std::slice::from_ref(last));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The candidate at that place.
    pub(super) fn get(&self, place: usize) -> Listed {
        Listed(self.0[place])
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Listed> + 'a {
        self.0.iter().map(|&words| Listed(words))
    }
}
