//! Single phrases of PostgreSQL's, said in DataFusion's way.

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Select,
    SelectItem, TableFactor, Value,
};

use super::{call, words};
use crate::describe::is_flag;

/// Whether a query reads nothing but catalog tables.
pub fn reads_catalog(select: &Select) -> bool {
    let catalog = |relation: &TableFactor| match relation {
        TableFactor::Table { name, .. } => {
            matches!(words(name).as_slice(), [table] | [_, table] if table.starts_with("pg_"))
        }
        _ => false,
    };
    let mut from = select.from.iter();
    !select.from.is_empty()
        && from.all(|from| {
            catalog(&from.relation) && from.joins.iter().all(|join| catalog(&join.relation))
        })
}

/// Says that a look-up by a key has one row, which DataFusion wants to be told: `max` of one value is that value.
pub fn one_row(select: &mut Select) {
    if let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
        select.projection.as_mut_slice()
    {
        *expr = call("max", vec![expr.clone()]);
    }
}

/// Turns PostgreSQL's format of a time into that of DataFusion.
pub fn read_format(to_timestamp: &mut Function) {
    const PARTS: [(&str, &str); 9] = [
        ("SS.US", "%S%.f"),
        ("SS.MS", "%S%.f"),
        ("YYYY", "%Y"),
        ("HH24", "%H"),
        ("MM", "%m"),
        ("DD", "%d"),
        ("MI", "%M"),
        ("SS", "%S"),
        ("\"T\"", "T"),
    ];
    if let FunctionArguments::List(list) = &mut to_timestamp.args
        && let [
            _,
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(format))),
        ] = list.args.as_mut_slice()
        && let Value::SingleQuotedString(format) = &mut format.value
        && format.contains("YYYY")
    {
        for (part, sign) in PARTS {
            *format = format.replace(part, sign);
        }
    }
}

pub fn last_word(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(word) => Some(word),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    }
}

/// A type's functions are names here, not oids: `pg_proc.oid = typreceive` joins by name.
pub fn join_by_name(function: &Expr, oid: &mut Expr) {
    const FUNCTIONS: [&str; 4] = ["typinput", "typoutput", "typreceive", "typsend"];
    let is_function =
        last_word(function).is_some_and(|word| FUNCTIONS.contains(&word.value.as_str()));
    if let (true, Expr::CompoundIdentifier(parts)) = (is_function, oid)
        && let Some(last) = parts.last_mut()
        && last.value == "oid"
    {
        *last = Ident::new("proname");
    }
}

/// `'t'` and `'f'` beside a column of truth values.
pub fn read_flag(column: &Expr, value: &mut Expr) {
    if let (Some(word), Expr::Value(literal)) = (last_word(column), &value)
        && is_flag(&word.value)
        && let Value::SingleQuotedString(sign) = &literal.value
        && ["t", "f", "true", "false"].contains(&sign.as_str())
    {
        *value = Expr::value(Value::Boolean(sign.starts_with('t')));
    }
}

/// Whether it is said to be an interval: `INTERVAL '1 day'`, `'1 day'::interval`.
pub fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Interval(_) => true,
        Expr::Nested(inner) => is_interval(inner),
        Expr::Cast { data_type, .. } => matches!(data_type, DataType::Interval { .. }),
        _ => false,
    }
}
