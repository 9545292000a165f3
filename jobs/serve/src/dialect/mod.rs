//! PostgreSQL's ways of saying things, as DataFusion knows them.
//!
//! Mostly what clients say when they look around: names in pg_catalog, casts to `regclass` and other names of oids,
//! operators with a schema. Queries over catalog tables that have no rows (there are no indexes, triggers or policies)
//! are answered by no rows, whatever else they say.

mod empty;
mod functions;
mod lists;
mod phrases;
#[cfg(test)]
mod tests;
mod types;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select,
    SelectItem, SetExpr, Statement, TableFactor, Value, VisitMut, VisitorMut, visit_expressions,
};

use super::describe::Described;
pub use functions::register;

use empty::{aggregates, reads_nothing, without_rows};
use lists::{array_of, literal_list};
use phrases::{
    is_interval, join_by_name, last_word, one_row, read_flag, read_format, reads_catalog,
};
pub use types::names;
use types::{operator, own_type, plain_type};

/// Says a statement in DataFusion's way, for `user`.
pub fn rewrite(statement: &mut Statement, described: &Described, user: &str) {
    let mut rewriter = Rewriter { described, user };
    let _: ControlFlow<()> = statement.visit(&mut rewriter);
}

/// The highest number of a parameter `$1`, `$2`, ….
pub fn placeholders(statement: &Statement) -> usize {
    let mut highest = 0;
    let _: ControlFlow<()> = visit_expressions(statement, |expr| {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
            && let Some(Ok(number)) = name.strip_prefix('$').map(str::parse)
        {
            highest = usize::max(highest, number);
        }
        ControlFlow::Continue(())
    });
    highest
}

struct Rewriter<'a> {
    described: &'a Described,
    user: &'a str,
}

/// Schemas that functions, types and operators may be said to be in.
const SYSTEM: [&str; 2] = ["pg_catalog", "information_schema"];

fn words(name: &ObjectName) -> Vec<String> {
    let parts = name.0.iter().filter_map(ObjectNamePart::as_ident);
    parts
        .map(|ident| ident.value.to_ascii_lowercase())
        .collect()
}

fn name(words: &[&str]) -> ObjectName {
    ObjectName::from(
        words
            .iter()
            .map(|word| Ident::new(*word))
            .collect::<Vec<_>>(),
    )
}

fn text(value: impl Into<String>) -> Expr {
    Expr::value(text_value(value))
}

fn text_value(value: impl Into<String>) -> Value {
    Value::SingleQuotedString(value.into())
}

fn number(value: i32) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

fn null() -> Expr {
    Expr::value(Value::Null)
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expr),
        data_type,
        array: false,
        format: None,
    }
}

fn call(function: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter();
    let args = args.map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)));
    Expr::Function(Function {
        name: name(&[function]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn column_name(expr: &Expr, place: usize) -> Ident {
    match expr {
        Expr::Identifier(ident) => ident.clone(),
        Expr::CompoundIdentifier(parts) => parts
            .last()
            .cloned()
            .unwrap_or_else(|| Ident::new(format!("column{place}"))),
        Expr::Function(function) => Ident::new(
            words(&function.name)
                .pop()
                .map(|word| format!("{word}_{place}"))
                .unwrap_or_default(),
        ),
        _ => Ident::new(format!("column{place}")),
    }
}

impl Rewriter<'_> {
    /// Whether all of its selects were emptied.
    fn rewrite_set(&self, body: &mut SetExpr) -> bool {
        match body {
            SetExpr::Select(select) => {
                name_columns(select);
                if reads_nothing(select)
                    && !aggregates(select)
                    && let Some(empty) = without_rows(select)
                {
                    **select = empty;
                    return true;
                }
                false
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.rewrite_set(left) & self.rewrite_set(right)
            }
            _ => false,
        }
    }

    /// A cast to one of PostgreSQL's own types.
    fn rewrite_cast(&self, operand: &Expr, to: &str) -> Option<Expr> {
        let literal = match operand {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => Some(text.as_str()),
                _ => None,
            },
            _ => None,
        };
        match (to, literal) {
            ("regclass", Some(name)) if name.parse::<i32>().is_err() => {
                Some(self.described.relation_oid(name).map_or_else(null, number))
            }
            ("regclass", _) if matches!(operand, Expr::Value(value) if matches!(value.value, Value::Placeholder(_))) => {
                Some(call("pg_relation_oid", vec![operand.clone()]))
            }
            ("regclass", _) => Some(call("pg_relation_name", vec![operand.clone()])),
            // Back from a name that was looked up.
            ("oid", _) => match operand {
                Expr::Function(function) if words(&function.name) == ["pg_relation_name"] => {
                    let mut back = function.clone();
                    back.name = name(&["pg_relation_oid"]);
                    Some(Expr::Function(back))
                }
                _ => None,
            },
            ("regnamespace", Some(name)) if name.parse::<i32>().is_err() => {
                Some(Described::oid_of_schema(name).map_or_else(null, number))
            }
            ("regnamespace", _) => Some(call("pg_schema_name", vec![operand.clone()])),
            ("regtype", None) => Some(call("format_type", vec![operand.clone(), null()])),
            ("regrole", None) => Some(call("pg_get_userbyid", vec![operand.clone()])),
            _ => None,
        }
    }
}

/// DataFusion wants columns of a select to have names of their own; PostgreSQL does not.
fn name_columns(select: &mut Select) {
    let mut seen = std::collections::HashSet::new();
    let everything = select.projection.iter().any(|item| {
        matches!(
            item,
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
        )
    });
    for (place, item) in select.projection.iter_mut().enumerate() {
        if let SelectItem::UnnamedExpr(expr) = item
            && match expr {
                // Once by name, once among all.
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) if everything => true,
                _ => !seen.insert(expr.to_string()),
            }
        {
            let alias = column_name(expr, place);
            let alias = Ident::with_quote('"', format!("{}_{place}", alias.value));
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias,
            };
        }
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if self.rewrite_set(&mut query.body) {
            // It may order by what is not there any more.
            query.order_by = None;
        }
        // Nobody else writes: what is read is as good as locked.
        query.locks.clear();
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        let words = words(relation);
        if let [table] = words.as_slice()
            && table.starts_with("pg_")
        {
            *relation = name(&["pg_catalog", table]);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name: table, args, ..
        } = factor
            && args.is_some()
        {
            let words = words(table);
            match words
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .as_slice()
            {
                [.., "pg_get_keywords"] => {
                    *args = None;
                    *table = name(&["pg_catalog", "pg_get_keywords"]);
                }
                [schema, function]
                    if SYSTEM.contains(schema) || *schema == super::catalog::CURRENT =>
                {
                    *table = name(&[function]);
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            // A subquery of nothing gives null, and holds nothing.
            Expr::Subquery(query) => {
                let limited = query.order_by.is_some() || query.limit_clause.is_some();
                if let SetExpr::Select(select) = query.body.as_mut()
                    && !aggregates(select)
                {
                    if reads_nothing(select) {
                        *expr = null();
                    } else if !limited && reads_catalog(select) {
                        one_row(select);
                    }
                }
            }
            Expr::Function(function) if words(&function.name) == ["array"] => {
                if let FunctionArguments::Subquery(query) = &function.args
                    && let Some(list) = array_of(query)
                {
                    *expr = list;
                }
            }
            Expr::Like {
                pattern,
                escape_char,
                ..
            }
            | Expr::ILike {
                pattern,
                escape_char,
                ..
            } => {
                if let Some(escape) = escape_char.take() {
                    **pattern = call(
                        "like_escape",
                        vec![(**pattern).clone(), Expr::Value(escape)],
                    );
                }
            }
            // `(row).field`
            Expr::CompoundFieldAccess { root, access_chain } => {
                if let (Expr::Nested(row), [AccessExpr::Dot(field)]) =
                    (root.as_ref(), access_chain.as_slice())
                    && let Some(field) = last_word(field)
                {
                    let field = text(field.value.as_str());
                    *expr = call("get_field", vec![(**row).clone(), field]);
                }
            }
            // The schemas of the search path, as Grafana takes them apart.
            Expr::InSubquery {
                expr: operand,
                subquery,
                negated,
            } if subquery
                .to_string()
                .contains("current_setting('search_path')") =>
            {
                *expr = Expr::InList {
                    expr: operand.clone(),
                    list: vec![text(super::catalog::CURRENT)],
                    negated: *negated,
                };
            }
            Expr::Exists { subquery, negated } => {
                if let SetExpr::Select(select) = subquery.body.as_ref()
                    && reads_nothing(select)
                    && !aggregates(select)
                {
                    *expr = Expr::value(Value::Boolean(*negated));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => {
                let words = words(&function.name);
                let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
                if let [schema, word] = *words.as_slice()
                    && (SYSTEM.contains(&schema) || schema == super::catalog::CURRENT)
                {
                    function.name = name(&[word]);
                    words = vec![word];
                }
                match words.as_slice() {
                    ["current_user" | "session_user" | "user" | "current_role"] => {
                        *expr = text(self.user);
                    }
                    // Lists begin at 1. An empty one has no bounds.
                    [bound @ ("array_lower" | "array_upper")] => {
                        function.name = name(&["array_length"]);
                        let length = call("coalesce", vec![expr.clone(), number(0)]);
                        let bound = match *bound {
                            "array_lower" => call("least", vec![length, number(1)]),
                            _ => length,
                        };
                        let bound = call("nullif", vec![bound, number(0)]);
                        *expr = cast(bound, DataType::BigInt(None));
                    }
                    ["_pg_expandarray"] => {
                        function.name = name(&["pg_numbered"]);
                        *expr = call("unnest", vec![expr.clone()]);
                    }
                    // Nobody has granted anything.
                    ["aclexplode"] => *expr = null(),
                    ["to_timestamp"] => read_format(function),
                    _ => {}
                }
            }
            Expr::Cast {
                expr: operand,
                data_type,
                ..
            } => {
                if let Some(to) = own_type(data_type) {
                    match self.rewrite_cast(operand, &to) {
                        Some(rewritten) => *expr = rewritten,
                        None => *data_type = plain_type(&to),
                    }
                }
            }
            Expr::TypedString(typed)
                if matches!(typed.data_type, DataType::Timestamp(..))
                    && typed.value.value == text_value("epoch") =>
            {
                typed.value.value = text_value("1970-01-01 00:00:00");
            }
            Expr::Collate { expr: operand, .. } => *expr = (**operand).clone(),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Multiply,
                right,
            } if is_interval(left) || is_interval(right) => {
                let (number, interval) = match is_interval(left) {
                    true => (right, left),
                    false => (left, right),
                };
                let arguments = vec![(**number).clone(), (**interval).clone()];
                *expr = call("interval_times", arguments);
            }
            Expr::BinaryOp { left, op, right } => {
                join_by_name(left, right);
                join_by_name(right, left);
                read_flag(left, right);
                read_flag(right, left);
                // A type's functions are names here, not oids; none is `-`.
                if let (Expr::Identifier(column), Expr::Value(value)) = (&**left, &**right)
                    && ["typreceive", "typsend"].contains(&column.value.as_str())
                    && matches!(value.value, Value::Number(..))
                {
                    **right = text("-");
                }
                if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                    && let Some(plain) = parts.last().and_then(|sign| operator(sign))
                {
                    *op = plain;
                }
            }
            Expr::AnyOp {
                left,
                compare_op: BinaryOperator::Eq,
                right,
                ..
            } => {
                if let Some(list) = literal_list(right) {
                    *expr = Expr::InList {
                        expr: left.clone(),
                        list,
                        negated: false,
                    };
                }
            }
            Expr::AllOp {
                left,
                compare_op: BinaryOperator::NotEq,
                right,
            } => {
                if let Some(list) = literal_list(right) {
                    *expr = Expr::InList {
                        expr: left.clone(),
                        list,
                        negated: true,
                    };
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
