//! Reading arguments and states: typed, checked, and named in every error.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, ListArray, PrimitiveArray,
    StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::arrow;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::physical_expr::expressions::Literal;

/// The constant BIGINT that argument `at` must be.
pub(super) fn constant(args: &AccumulatorArgs, at: usize, name: &str) -> Result<i64> {
    let literal = args
        .exprs
        .get(at)
        .and_then(|expr| expr.downcast_ref::<Literal>());
    match literal.map(Literal::value) {
        Some(ScalarValue::Int64(Some(value))) => Ok(*value),
        _ => plan_err!("the argument {name} must be a constant whole number"),
    }
}

/// The constant `k` (how many to keep), at least 1.
pub(super) fn limit(args: &AccumulatorArgs, at: usize) -> Result<usize> {
    match usize::try_from(constant(args, at, "k")?) {
        Ok(k) if k > 0 => Ok(k),
        _ => plan_err!("the argument k must be at least 1"),
    }
}

/// Fails unless a call has `expected` arguments.
pub(super) fn check_count(function: &str, given: &[DataType], expected: usize) -> Result<()> {
    if given.len() != expected {
        return plan_err!("{function} takes {expected} arguments, not {}", given.len());
    }
    Ok(())
}

/// `wanted` where an argument of type `given` can be cast to it without surprise: whole numbers and null.
pub(super) fn whole_number(
    function: &str,
    name: &str,
    given: &DataType,
    wanted: DataType,
) -> Result<DataType> {
    if given.is_integer() || given.is_null() {
        return Ok(wanted);
    }
    plan_err!("{function}: the argument {name} must be a whole number, not {given}")
}

/// Column `at` as whole numbers of that type.
pub(super) fn numbers<'a, T: ArrowPrimitiveType>(
    columns: &'a [ArrayRef],
    at: usize,
    name: &str,
) -> Result<&'a PrimitiveArray<T>> {
    columns
        .get(at)
        .and_then(|column| column.as_primitive_opt::<T>())
        .ok_or_else(|| exec_datafusion_err!("{name} must be {}", T::DATA_TYPE))
}

/// Column `at` as lists.
pub(super) fn lists<'a>(columns: &'a [ArrayRef], at: usize, name: &str) -> Result<&'a ListArray> {
    columns
        .get(at)
        .and_then(|column| column.as_list_opt::<i32>())
        .ok_or_else(|| exec_datafusion_err!("{name} must be lists (List)"))
}

/// The elements of `list` as structs.
pub(super) fn structs<'a>(list: &'a ListArray, name: &str) -> Result<&'a StructArray> {
    let structs = list.values().as_struct_opt();
    structs.ok_or_else(|| exec_datafusion_err!("{name} must be lists of structs"))
}

/// Whether `filter` lets the row through.
pub(super) fn selected(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

/// Fails when a row that `filter` lets through is null.
pub(super) fn check_present(
    function: &str,
    name: &str,
    array: &dyn Array,
    filter: Option<&BooleanArray>,
) -> Result<()> {
    if array.null_count() > 0
        && (0..array.len()).any(|row| array.is_null(row) && selected(filter, row))
    {
        return exec_err!("{function}: the argument {name} must not be null");
    }
    Ok(())
}

/// A nullable field.
pub(super) fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// A list of `item`s.
pub(super) fn list_of(item: DataType) -> DataType {
    DataType::List(list_item(item))
}

fn list_item(item: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(item, true))
}

/// Lists over `values`, null where `nulls` says so.
pub(super) fn list_array(
    offsets: OffsetBuffer<i32>,
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ListArray> {
    let item = list_item(values.data_type().clone());
    Ok(ListArray::try_new(item, offsets, values, nulls)?)
}

/// Structs of those fields; `fields` and `columns` belong together.
pub(super) fn struct_array(fields: &Fields, columns: Vec<ArrayRef>) -> Result<StructArray> {
    Ok(StructArray::try_new(fields.clone(), columns, None)?)
}

/// One list per row: the row alone, or nothing where the filter does not let it through. The form in which single rows
/// become states.
pub(super) struct OneEach<'a> {
    filter: Option<&'a BooleanArray>,
    offsets: OffsetBuffer<i32>,
}

impl<'a> OneEach<'a> {
    /// For `rows` rows.
    pub(super) fn new(rows: usize, filter: Option<&'a BooleanArray>) -> Self {
        let offsets = match filter {
            None => OffsetBuffer::from_repeated_length(1, rows),
            Some(_) => {
                OffsetBuffer::from_lengths((0..rows).map(|row| usize::from(selected(filter, row))))
            }
        };
        Self { filter, offsets }
    }

    /// The rows of `column` that are in a list.
    pub(super) fn rows(&self, column: &dyn Array) -> Result<ArrayRef> {
        match self.filter {
            None => Ok(column.slice(0, column.len())),
            Some(filter) => Ok(compute::filter(column, filter)?),
        }
    }

    /// Lists of `values`, which [`Self::rows`] selected.
    pub(super) fn lists(&self, values: ArrayRef) -> Result<ListArray> {
        list_array(self.offsets.clone(), values, None)
    }
}

/// Builds list offsets while the elements are appended elsewhere.
pub(super) struct Offsets(Vec<i32>);

impl Offsets {
    /// For that many lists.
    pub(super) fn with_capacity(lists: usize) -> Self {
        let mut offsets = Vec::with_capacity(lists + 1);
        offsets.push(0);
        Self(offsets)
    }

    /// Ends a list where its elements end.
    pub(super) fn end_at(&mut self, elements: usize) -> Result<()> {
        let Ok(end) = i32::try_from(elements) else {
            return exec_err!(
                "a batch would hold more than {} elements: use more partitions or sorted input",
                i32::MAX
            );
        };
        self.0.push(end);
        Ok(())
    }

    /// The finished offsets.
    pub(super) fn finish(self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(self.0))
    }
}
