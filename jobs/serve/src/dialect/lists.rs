//! Lists: of literals, and of a query's rows.

use datafusion::sql::sqlparser::ast::{
    Array, ArrayElemTypeDef, DataType, Distinct, DuplicateTreatment, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, GroupByExpr,
    Ident, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement, TableFactor,
    Value,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::empty::{aggregates, reads_nothing};
use super::phrases::last_word;
use super::{call, cast, text, words};

/// The items of `'{a,b}'` and `ARRAY['a', 'b']`, casts aside.
pub fn literal_list(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => literal_list(inner),
        Expr::Array(array) => Some(array.elem.clone()),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(list) => {
                let items = list.strip_prefix('{')?.strip_suffix('}')?;
                if items.is_empty() {
                    return Some(Vec::new());
                }
                let items = items
                    .split(',')
                    .map(|item| text(item.trim().trim_matches('"')));
                Some(items.collect())
            }
            _ => None,
        },
        _ => None,
    }
}

fn empty_list() -> Expr {
    Expr::Array(Array {
        elem: Vec::new(),
        named: true,
    })
}

/// `ARRAY(SELECT …)`: a query's only column as a list, in the query's order; an empty one of no rows.
///
/// Nothing where the order cannot be kept, or there are several columns: DataFusion then says that it knows no `ARRAY`.
pub fn array_of(query: &Query) -> Option<Expr> {
    if let SetExpr::Select(select) = query.body.as_ref()
        && !aggregates(select)
        && (reads_nothing(select) || reads_options(select))
    {
        let item = ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None);
        return Some(cast(empty_list(), DataType::Array(item)));
    }
    let listed = collected(query).or_else(|| collected_from(query))?;
    let listed = Expr::Subquery(Box::new(listed));
    Some(call("coalesce", vec![listed, empty_list()]))
}

/// Columns of pg_catalog with lists of options.
const OPTIONS: [&str; 4] = ["reloptions", "attoptions", "attfdwoptions", "spcoptions"];

/// Whether it takes apart a catalog table's list of options, which none here has.
fn reads_options(select: &Select) -> bool {
    let [from] = select.from.as_slice() else {
        return false;
    };
    let TableFactor::Table {
        name,
        args: Some(arguments),
        ..
    } = &from.relation
    else {
        return false;
    };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] = arguments.args.as_slice() else {
        return false;
    };
    words(name).last().is_some_and(|word| word == "unnest")
        && last_word(list).is_some_and(|word| OPTIONS.contains(&word.value.as_str()))
}

/// A plain select: its rows added up where they are.
fn collected(query: &Query) -> Option<Query> {
    let mut query = query.clone();
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    let grouped =
        !matches!(&select.group_by, GroupByExpr::Expressions(columns, _) if columns.is_empty());
    if grouped
        || select.having.is_some()
        || query.limit_clause.is_some()
        || query.fetch.is_some()
        || aggregates(select)
    {
        return None;
    }
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    let alias = match &select.projection[0] {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
        _ => None,
    };
    let item = item.clone();
    let distinct = match select.distinct.take() {
        None | Some(Distinct::All) => None,
        Some(Distinct::Distinct) => Some(DuplicateTreatment::Distinct),
        Some(Distinct::On(_)) => return None,
    };
    let order = match query.order_by.take() {
        None => Vec::new(),
        Some(order) => match order.kind {
            OrderByKind::Expressions(order) => order,
            OrderByKind::All(_) => return None,
        },
    };
    let order = order
        .into_iter()
        .map(|by| by_item(by, alias.as_ref(), &item));
    let order: Vec<OrderByExpr> = order.collect();
    let mut listed = call("array_agg", vec![item.clone()]);
    if let Expr::Function(Function {
        args:
            FunctionArguments::List(FunctionArgumentList {
                duplicate_treatment,
                clauses,
                ..
            }),
        ..
    }) = &mut listed
    {
        *duplicate_treatment = distinct;
        if !order.is_empty() {
            clauses.push(FunctionArgumentClause::OrderBy(order));
        }
    }
    select.projection = vec![SelectItem::UnnamedExpr(listed)];
    Some(query)
}

/// An order by the only column's place or name is one by what it says.
fn by_item(mut by: OrderByExpr, alias: Option<&Ident>, item: &Expr) -> OrderByExpr {
    let is_item = match &by.expr {
        Expr::Value(value) => matches!(&value.value, Value::Number(place, _) if place == "1"),
        Expr::Identifier(name) => Some(name) == alias,
        _ => false,
    };
    if is_item {
        by.expr = item.clone();
    }
    by
}

/// Any other query without an order: its rows added up as a table's.
fn collected_from(query: &Query) -> Option<Query> {
    if query.order_by.is_some() {
        return None;
    }
    let around = format!("SELECT array_agg(item) FROM ({query}) AS items (item)");
    match Parser::parse_sql(&PostgreSqlDialect {}, &around)
        .ok()?
        .pop()?
    {
        Statement::Query(query) => Some(*query),
        _ => None,
    }
}
