//! Functions that make much of little: `repeat('x', 1000000000)` and its like, refused before they take the memory.
//!
//! Operators ask the memory pool, functions do not. So in every plan those that can give more than they get are put
//! behind a wall: what they would give is estimated first, and what is too much for one batch is computed a few rows
//! at a time, or refused when it is one row's.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::kernels::concat_elements::concat_elements_utf8;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::refusal::{Kind, Refusal};

/// Bytes that one call may give.
const MAX_BYTES: i64 = 64 << 20;

/// How many bytes a function gives at most, of the lengths and values of its arguments in one row.
type Estimate = fn(&Row<'_>) -> i64;

/// The functions that can give more than they get.
const FUNCTIONS: [(&str, Estimate); 18] = [
    ("repeat", |row| row.length(0).saturating_mul(row.value(1))),
    ("lpad", |row| row.value(1).saturating_mul(4)),
    ("rpad", |row| row.value(1).saturating_mul(4)),
    ("replace", |row| {
        let places = row.length(0) / row.length(1).max(1) + 1;
        row.length(0)
            .saturating_add(places.saturating_mul(row.length(2)))
    }),
    ("regexp_replace", |row| {
        (row.length(0) + 1).saturating_mul(row.length(2) + 1)
    }),
    ("concat", |row| row.all()),
    ("concat_ws", |row| {
        row.all()
            .saturating_add(row.length(0).saturating_mul(row.arguments()))
    }),
    ("array_repeat", |row| {
        row.size(0).saturating_mul(row.value(1))
    }),
    ("array_resize", |row| {
        row.value(1).saturating_mul(16).saturating_add(row.all())
    }),
    ("range", range),
    ("generate_series", range),
    ("array_concat", |row| row.all()),
    ("array_append", |row| row.all()),
    ("array_prepend", |row| row.all()),
    ("make_array", |row| row.all()),
    ("array_to_string", |row| {
        row.all()
            .saturating_add(row.size(0).saturating_mul(row.length(1) + 1))
    }),
    ("string_to_array", |row| row.length(0).saturating_mul(16)),
    ("translate", |row| row.length(0).saturating_mul(4)),
];

fn range(row: &Row<'_>) -> i64 {
    let (from, to) = match row.arguments() {
        1 => (0, row.value(0)),
        _ => (row.value(0), row.value(1)),
    };
    let step = match row.arguments() {
        3 => row.value(2).saturating_abs().max(1),
        _ => 1,
    };
    (to.saturating_sub(from).saturating_abs() / step).saturating_mul(8)
}

/// The plan with walls before its functions. Strings joined by `||` are too.
///
/// # Errors
/// Errors of DataFusion.
pub fn wall(plan: LogicalPlan) -> Result<LogicalPlan> {
    let walled = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let walled = expression.transform_up(wall_expression)?;
            Ok(walled.update_data(|expression| name.restore(expression)))
        })?;
        match node.transformed {
            true => node.map_data(LogicalPlan::recompute_schema),
            false => Ok(node),
        }
    })?;
    Ok(walled.data)
}

fn wall_expression(expression: Expr) -> Result<Transformed<Expr>> {
    let (inner, args) = match expression {
        Expr::ScalarFunction(function) => (Inner::Function(function.func), function.args),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::StringConcat,
            right,
        }) => (Inner::Join, vec![*left, *right]),
        other => return Ok(Transformed::no(other)),
    };
    let name = match &inner {
        Inner::Function(function) => function.name(),
        Inner::Join => "concat",
    };
    let known = FUNCTIONS.iter().find(|(known, _)| *known == name);
    let Some((name, estimate)) = known else {
        return Ok(Transformed::no(match inner {
            Inner::Function(func) => Expr::ScalarFunction(ScalarFunction { func, args }),
            Inner::Join => return datafusion::common::internal_err!("|| has no wall"),
        }));
    };
    let signature = match &inner {
        Inner::Function(function) => function.signature().clone(),
        Inner::Join => Signature::any(2, Volatility::Immutable),
    };
    let walled = Walled {
        name: match &inner {
            Inner::Function(_) => name,
            Inner::Join => "||",
        },
        inner,
        estimate: *estimate,
        signature,
    };
    let func = Arc::new(ScalarUDF::from(walled));
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction {
        func,
        args,
    })))
}

#[derive(Clone, Debug)]
enum Inner {
    Function(Arc<ScalarUDF>),
    /// The operator `||` for texts.
    Join,
}

/// A function behind a wall.
#[derive(Debug)]
struct Walled {
    name: &'static str,
    inner: Inner,
    estimate: Estimate,
    signature: Signature,
}

impl PartialEq for Walled {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Walled {}

impl Hash for Walled {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Walled {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match &self.inner {
            Inner::Function(function) => function.coerce_types(types),
            Inner::Join => Ok(types.to_vec()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match &self.inner {
            Inner::Function(function) => function.return_type(types),
            Inner::Join => Ok(DataType::Utf8),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match &self.inner {
            Inner::Function(function) => function.return_field_from_args(args),
            Inner::Join => {
                let field =
                    datafusion::arrow::datatypes::Field::new(self.name, DataType::Utf8, true);
                Ok(Arc::new(field))
            }
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arguments = args
            .args
            .iter()
            .map(Argument::new)
            .collect::<Result<Vec<_>>>()?;
        let constant = arguments.iter().all(|argument| argument.constant);
        let rows = if constant { 1 } else { args.number_rows };
        let mut total = 0_i64;
        let mut cuts = vec![0];
        for number in 0..rows {
            let bytes = (self.estimate)(&Row {
                arguments: &arguments,
                number,
            });
            if bytes > MAX_BYTES {
                let text = format!(
                    "{} would give {} MiB at once, more than the {} MiB that are allowed",
                    self.name,
                    bytes >> 20,
                    MAX_BYTES >> 20
                );
                return Err(Refusal::new(Kind::Limit, text).into());
            }
            total = total.saturating_add(bytes);
            if total > MAX_BYTES {
                cuts.push(number);
                total = bytes;
            }
        }
        cuts.dedup();
        if cuts.len() == 1 {
            return self.inner.invoke(args);
        }
        // Worst cases add up to too much: a few rows at a time, and what really comes of them counts.
        cuts.push(rows);
        let mut parts: Vec<ArrayRef> = Vec::new();
        let mut bytes = 0;
        for cut in cuts.windows(2) {
            let (from, rows) = (cut[0], cut[1] - cut[0]);
            let slice = |value: &ColumnarValue| match value {
                ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(from, rows)),
                scalar => scalar.clone(),
            };
            let part = self.inner.invoke(ScalarFunctionArgs {
                args: args.args.iter().map(slice).collect(),
                arg_fields: args.arg_fields.clone(),
                number_rows: rows,
                return_field: Arc::clone(&args.return_field),
                config_options: Arc::clone(&args.config_options),
            })?;
            let part = part.into_array(rows)?;
            bytes += part.get_array_memory_size();
            if bytes > 4 * MAX_BYTES as usize {
                let text = format!("{} gives too much at once: select fewer rows", self.name);
                return Err(Refusal::new(Kind::Limit, text).into());
            }
            parts.push(part);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&parts)?))
    }
}

impl Inner {
    fn invoke(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match self {
            Self::Function(function) => function.invoke_with_args(args),
            Self::Join => {
                let constant = args
                    .args
                    .iter()
                    .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
                let rows = if constant { 1 } else { args.number_rows };
                let text = |value: &ColumnarValue| -> Result<ArrayRef> {
                    Ok(cast(&value.to_array(rows)?, &DataType::Utf8)?)
                };
                let (left, right) = (text(&args.args[0])?, text(&args.args[1])?);
                let joined = concat_elements_utf8(left.as_string::<i32>(), right.as_string())?;
                match constant {
                    true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                        &joined, 0,
                    )?)),
                    false => Ok(ColumnarValue::Array(Arc::new(joined))),
                }
            }
        }
    }
}

/// An argument's lengths and values.
struct Argument {
    constant: bool,
    /// Bytes of texts, items of lists.
    lengths: Option<Int64Array>,
    values: Option<Int64Array>,
    /// Bytes of an item of a list, or of a value.
    width: i64,
}

impl Argument {
    fn new(value: &ColumnarValue) -> Result<Self> {
        let (array, constant) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let numbers = |array: &dyn Array| -> Result<Int64Array> {
            let numbers = cast(array, &DataType::Int64)?;
            Ok(numbers.as_primitive::<Int64Type>().clone())
        };
        let lengths = match length(&array) {
            Ok(lengths) => Some(numbers(&lengths)?),
            Err(_) => None,
        };
        let values = match array.data_type() {
            data_type if data_type.is_integer() => Some(numbers(&array)?),
            _ => None,
        };
        let is_text = matches!(
            array.data_type(),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        );
        let items = match &lengths {
            Some(lengths) if !is_text => lengths.iter().flatten().sum(),
            _ => array.len() as i64,
        };
        let width = match is_text {
            true => 1,
            false => array.get_array_memory_size() as i64 / items.max(1) + 1,
        };
        Ok(Self {
            constant,
            lengths,
            values,
            width,
        })
    }
}

/// The arguments of one row.
struct Row<'a> {
    arguments: &'a [Argument],
    number: usize,
}

impl Row<'_> {
    fn arguments(&self) -> i64 {
        self.arguments.len() as i64
    }

    fn at(&self, place: usize, numbers: fn(&Argument) -> Option<&Int64Array>) -> i64 {
        let Some(argument) = self.arguments.get(place) else {
            return 0;
        };
        let number = if argument.constant { 0 } else { self.number };
        match numbers(argument) {
            Some(numbers) if numbers.is_valid(number) => numbers.value(number),
            _ => 0,
        }
    }

    /// Bytes of a text, items of a list.
    fn length(&self, place: usize) -> i64 {
        self.at(place, |argument| argument.lengths.as_ref())
    }

    /// A number, at least 0.
    fn value(&self, place: usize) -> i64 {
        self.at(place, |argument| argument.values.as_ref()).max(0)
    }

    /// About how many bytes an argument has.
    fn size(&self, place: usize) -> i64 {
        let width = self
            .arguments
            .get(place)
            .map_or(0, |argument| argument.width);
        self.length(place).max(1).saturating_mul(width)
    }

    fn all(&self) -> i64 {
        let places = 0..self.arguments.len();
        places.fold(0, |sum: i64, place| sum.saturating_add(self.size(place)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn answer(text: &str) -> Result<String> {
        let context = SessionContext::new();
        let plan = context.state().create_logical_plan(text).await?;
        let frame = context.execute_logical_plan(wall(plan)?).await?;
        let rows = frame.collect().await?;
        Ok(datafusion::arrow::util::pretty::pretty_format_batches(&rows)?.to_string())
    }

    #[tokio::test]
    async fn what_is_too_much_is_refused() {
        for text in [
            "SELECT length(repeat('x', 1000000000))",
            "SELECT length(lpad('x', 1000000000, 'y'))",
            "SELECT length(replace(repeat('x', 100000), 'x', repeat('y', 100000)))",
            "SELECT array_length(range(0, 1000000000))",
            "SELECT array_length(array_repeat(1, 1000000000))",
            "SELECT repeat(a, 10000000) FROM (VALUES ('1234567890')) AS t (a)",
            "SELECT sum(length(repeat(cast(value as varchar), 100000))) FROM generate_series(1, 100000)",
        ] {
            let error = answer(text).await.unwrap_err().to_string();
            assert!(
                error.contains("would give") || error.contains("too much"),
                "{text}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_not_is_as_before() {
        for text in [
            "SELECT repeat('ab', 3) AS a, 'x' || 'y' || 1 AS b, NULL || 'x' AS c, concat('a', NULL, 'b') AS d",
            "SELECT lpad(a, 5, '-'), a || '!' FROM (VALUES ('x'), (NULL), ('longer text')) AS t (a) ORDER BY a",
            "SELECT range(1, 5), array_concat([1, 2], [3]), [1] || [2], replace('aXbX', 'X', 'YY')",
            "SELECT a || 'x' AS k, count(*) FROM (VALUES ('a'), ('b'), ('a')) AS t (a) GROUP BY a || 'x' ORDER BY k",
            "SELECT sum(length(repeat('x', 100000))) FROM generate_series(1, 2000)",
        ] {
            let context = SessionContext::new();
            let plain = context.sql(text).await.unwrap().collect().await.unwrap();
            let plain = datafusion::arrow::util::pretty::pretty_format_batches(&plain).unwrap();
            assert_eq!(answer(text).await.unwrap(), plain.to_string(), "{text}");
        }
    }
}
