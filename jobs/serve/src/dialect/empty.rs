//! Queries over catalog tables that have no rows.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, JoinOperator, Query, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, Value, Visit, Visitor,
};

use super::{column_name, null, words};
use crate::describe::EMPTY;

/// Whether a query can have no rows, because it reads a catalog table that has none.
pub fn reads_nothing(select: &Select) -> bool {
    select.from.iter().any(joins_nothing)
}

fn joins_nothing(from: &TableWithJoins) -> bool {
    let mut empty = is_empty(&from.relation);
    for join in &from.joins {
        let joined = is_empty(&join.relation);
        empty = match join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                empty || joined
            }
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => empty,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => joined,
            JoinOperator::FullOuter(_) => empty && joined,
            _ => false,
        };
    }
    empty
}

fn is_empty(relation: &TableFactor) -> bool {
    match relation {
        TableFactor::Table { name, .. } => {
            let words = words(name);
            let table = match words.as_slice() {
                [table] => table,
                [schema, table] if schema == "pg_catalog" => table,
                _ => return false,
            };
            EMPTY.iter().any(|(empty, _)| empty == table)
        }
        TableFactor::NestedJoin {
            table_with_joins, ..
        } => joins_nothing(table_with_joins),
        TableFactor::Derived { subquery, .. } => match subquery.body.as_ref() {
            SetExpr::Select(select) => reads_nothing(select) && !aggregates(select),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a select has one row even of nothing.
pub fn aggregates(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(columns, _) => !columns.is_empty(),
        GroupByExpr::All(_) => true,
    };
    !grouped
        && (select.having.is_some()
            || select
                .projection
                .iter()
                .any(|item| item.visit(&mut Aggregates { depth: 0 }).is_break()))
}

/// Looks for an aggregate function of the select itself: those of the queries within it are theirs.
struct Aggregates {
    depth: usize,
}

impl Visitor for Aggregates {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        const AGGREGATES: [&str; 10] = [
            "count",
            "sum",
            "min",
            "max",
            "avg",
            "string_agg",
            "array_agg",
            "bool_or",
            "bool_and",
            "json_agg",
        ];
        match expr {
            Expr::Function(function)
                if self.depth == 0
                    && function.over.is_none()
                    && words(&function.name)
                        .last()
                        .is_some_and(|word| AGGREGATES.contains(&word.as_str())) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The same columns, no rows; nothing when the columns cannot be told.
pub fn without_rows(select: &Select) -> Option<Select> {
    let mut empty = select.clone();
    let mut seen = HashSet::new();
    for (place, item) in empty.projection.iter_mut().enumerate() {
        let mut alias = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
            SelectItem::UnnamedExpr(expr) => column_name(expr, place),
            _ => return None,
        };
        if !seen.insert(alias.value.clone()) {
            alias = Ident::with_quote('"', format!("{}_{place}", alias.value));
        }
        // Without a type: so it fits whatever it is compared with.
        *item = SelectItem::ExprWithAlias {
            expr: null(),
            alias,
        };
    }
    empty.from.clear();
    empty.distinct = None;
    empty.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
    empty.having = None;
    empty.selection = Some(Expr::value(Value::Boolean(false)));
    Some(empty)
}
