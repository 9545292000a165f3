//! What is refused, before anything runs: too much text, and plans that do anything but read the catalog.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, ObjectName, Query, Select, SetExpr, Statement, Visit, Visitor,
};

use super::refusal::{Kind, Refusal};

/// Brackets within brackets.
const MAX_DEPTH: usize = 200;
/// Columns of a result, PostgreSQL's limit.
pub const MAX_COLUMNS: usize = 1664;
/// Operators and items: a chain of so many is as deep when it is parsed.
const MAX_TOKENS: usize = 30_000;
/// Steps of a plan.
const MAX_STEPS: usize = 2_000;
/// Queries within a statement, those of UNION among them.
const MAX_QUERIES: usize = 500;

/// Looks at a text before it is parsed.
///
/// # Errors
/// [`Kind::Limit`] when it is too long, too deep, or of too many parts.
pub fn check_text(text: &str, max_bytes: u64) -> Result<(), Refusal> {
    if text.len() as u64 > max_bytes {
        return Err(limit(format!(
            "the statement has {} bytes, more than the {max_bytes} that are allowed",
            text.len()
        )));
    }
    let (mut depth, mut deepest, mut parts) = (0_usize, 0, 0);
    let mut quote = None;
    let mut in_word = false;
    for byte in text.bytes() {
        if let Some(open) = quote {
            if byte == open {
                quote = None;
            }
            continue;
        }
        let word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
        let goes_on = word && in_word;
        if !byte.is_ascii_whitespace() && !goes_on {
            parts += 1;
        }
        in_word = word;
        match byte {
            b'\'' | b'"' => quote = Some(byte),
            b'(' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if deepest > MAX_DEPTH {
        return Err(limit(format!(
            "the statement is nested {deepest} deep, more than the {MAX_DEPTH} that are allowed"
        )));
    }
    if parts > MAX_TOKENS {
        return Err(limit(format!(
            "the statement has {parts} words and signs, more than the {MAX_TOKENS} that are allowed"
        )));
    }
    Ok(())
}

fn limit(text: String) -> Refusal {
    Refusal::new(Kind::Limit, text)
}

/// Looks at a statement before it is planned.
///
/// # Errors
/// [`Kind::Limit`] for too many columns or queries; [`Kind::Permission`] for a schema that is not the user's.
pub fn check_statement(
    statement: &Statement,
    own: &BTreeSet<String>,
    all: &[&str],
) -> Result<(), Refusal> {
    let mut look = Look {
        own,
        all,
        queries: 0,
    };
    match statement.visit(&mut look) {
        ControlFlow::Break(refusal) => Err(refusal),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Look<'a> {
    own: &'a BTreeSet<String>,
    all: &'a [&'a str],
    queries: usize,
}

impl Look<'_> {
    fn check_select(&mut self, select: &Select) -> Option<Refusal> {
        self.queries += 1;
        if self.queries > MAX_QUERIES {
            return Some(limit(format!(
                "the statement has more than {MAX_QUERIES} queries in it"
            )));
        }
        let grouped = match &select.group_by {
            GroupByExpr::Expressions(columns, _) => columns.len(),
            GroupByExpr::All(_) => 0,
        };
        let columns = select.projection.len().max(grouped);
        (columns > MAX_COLUMNS).then(|| too_many_columns(columns))
    }

    fn check_set(&mut self, body: &SetExpr) -> Option<Refusal> {
        match body {
            SetExpr::Select(select) => self.check_select(select),
            SetExpr::Values(values) => {
                let widest = values.rows.iter().map(|row| row.len()).max();
                let widest = widest.unwrap_or_default();
                (widest > MAX_COLUMNS).then(|| too_many_columns(widest))
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.check_set(left).or_else(|| self.check_set(right))
            }
            _ => None,
        }
    }
}

/// Says so.
pub fn too_many_columns(columns: usize) -> Refusal {
    limit(format!(
        "{columns} columns are more than the {MAX_COLUMNS} that a result can have"
    ))
}

impl Visitor for Look<'_> {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Refusal> {
        match self.check_set(&query.body) {
            Some(refusal) => ControlFlow::Break(refusal),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Refusal> {
        let parts: Vec<String> = relation
            .0
            .iter()
            .filter_map(|part| part.as_ident())
            .map(|ident| match ident.quote_style {
                Some(_) => ident.value.clone(),
                None => ident.value.to_lowercase(),
            })
            .collect();
        let schema = match parts.as_slice() {
            [.., schema, _] => schema.as_str(),
            _ => super::catalog::CURRENT,
        };
        if self.all.contains(&schema) && !self.own.contains(schema) {
            let text = format!("permission denied for schema {schema}");
            return ControlFlow::Break(Refusal::new(Kind::Permission, text));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Refusal> {
        if let Expr::InList { list, .. } = expr
            && list.len() > 10 * MAX_COLUMNS
        {
            let text = format!("a list of {} values is too long", list.len());
            return ControlFlow::Break(limit(text));
        }
        ControlFlow::Continue(())
    }
}

/// Looks at a plan before it runs: it only reads. Nothing is let through that is not named here.
///
/// # Errors
/// [`Kind::ReadOnly`] when it would change something, [`Kind::Unsupported`] for what is not offered.
pub fn check_plan(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut refusal = None;
    let mut steps = 0;
    let look = plan.apply_with_subqueries(|node| {
        steps += 1;
        refusal = check_step(node);
        if steps > MAX_STEPS {
            refusal = Some(limit(format!(
                "the statement's plan has more than {MAX_STEPS} steps"
            )));
        }
        Ok(match refusal {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    match (refusal, look) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(_)) => Ok(()),
    }
}

/// `DropTable` as `DROP TABLE`.
fn spelled(name: &str) -> String {
    let mut spelled = String::new();
    for (place, sign) in name.char_indices() {
        let starts = sign.is_uppercase() && !spelled.ends_with(|last: char| last.is_uppercase());
        if place > 0 && starts {
            spelled.push(' ');
        }
        spelled.push(sign);
    }
    spelled.to_uppercase()
}

fn check_step(step: &LogicalPlan) -> Option<Refusal> {
    if step.schema().fields().len() > 4 * MAX_COLUMNS {
        return Some(too_many_columns(step.schema().fields().len()));
    }
    let writes = |what: &str| {
        let text = format!(
            "cannot execute {}: statements only read here",
            spelled(what)
        );
        Some(Refusal::new(Kind::ReadOnly, text))
    };
    match step {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => None,
        LogicalPlan::Dml(dml) => writes(dml.name()),
        LogicalPlan::Ddl(ddl) => writes(ddl.name()),
        LogicalPlan::Copy(_) => writes("COPY"),
        LogicalPlan::Statement(statement) => Some(Refusal::new(
            Kind::Unsupported,
            format!("{} is not offered here", statement.name()),
        )),
        LogicalPlan::Extension(_) => Some(Refusal::new(
            Kind::Unsupported,
            "the statement needs a step that is not offered here",
        )),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    #[test]
    fn texts_have_limits() {
        assert!(check_text("SELECT 1", 8).is_ok());
        assert!(check_text("SELECT 1", 7).is_err());
        let deep = format!("SELECT {}1{}", "(".repeat(300), ")".repeat(300));
        assert!(check_text(&deep, 1 << 20).is_err());
        let quoted = format!("SELECT '{}'", "(".repeat(300));
        assert!(check_text(&quoted, 1 << 20).is_ok());
        let chain = format!("SELECT 1{}", "+1".repeat(20_000));
        assert!(check_text(&chain, 1 << 20).is_err());
    }

    #[test]
    fn statements_keep_to_their_schemas_and_columns() {
        let own = BTreeSet::from(["graph_recs".to_string()]);
        let all = ["graph_recs", "raw"];
        let check = |text: &str| {
            let statement = Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap();
            check_statement(&statement[0], &own, &all).map_err(|refusal| refusal.kind)
        };
        assert_eq!(check("SELECT * FROM recommendations"), Ok(()));
        assert_eq!(check("SELECT * FROM other.x"), Ok(()));
        for text in [
            "SELECT * FROM raw.messages",
            "SELECT * FROM graph_recs.RAW.messages",
            "SELECT (SELECT count(*) FROM raw.messages)",
            "WITH a AS (SELECT * FROM raw.users) SELECT * FROM a",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM \"raw\".users)",
        ] {
            assert_eq!(check(text), Err(Kind::Permission), "{text}");
        }
        let wide = vec!["1"; 10_000].join(", ");
        assert_eq!(check(&format!("SELECT {wide}")), Err(Kind::Limit));
        assert_eq!(check(&format!("VALUES ({wide})")), Err(Kind::Limit));
    }

    #[tokio::test]
    async fn plans_only_read() {
        let context = SessionContext::new();
        let state = context.state();
        for text in ["SELECT 1", "EXPLAIN SELECT 1", "VALUES (1)"] {
            check_plan(&state.create_logical_plan(text).await.unwrap()).unwrap();
        }
        for text in [
            "CREATE TABLE t (a INT)",
            "CREATE VIEW v AS SELECT 1",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
            "DROP TABLE IF EXISTS t",
            "COPY (SELECT 1) TO '/tmp/x.csv'",
            "CREATE SCHEMA s",
            "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/x.csv'",
        ] {
            let plan = state.create_logical_plan(text).await.unwrap();
            let refusal = check_plan(&plan).unwrap_err();
            assert_eq!(refusal.kind, Kind::ReadOnly, "{text}: {refusal}");
        }
        for text in [
            "SET datafusion.execution.batch_size = 1",
            "PREPARE p AS SELECT 1",
        ] {
            let plan = state.create_logical_plan(text).await.unwrap();
            assert_eq!(check_plan(&plan).unwrap_err().kind, Kind::Unsupported);
        }
    }
}
