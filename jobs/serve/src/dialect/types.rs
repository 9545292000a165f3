//! PostgreSQL's own types and operators.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, SelectItem, SetExpr, Statement,
};

use super::{SYSTEM, words};

/// The name of a type that only PostgreSQL has, or that is said to be in pg_catalog.
pub fn own_type(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Regclass => Some("regclass".into()),
        DataType::Custom(name, _) => {
            let mut words = words(name);
            let word = words.pop()?;
            match words.as_slice() {
                [] => Some(word),
                [schema] if SYSTEM.contains(&schema.as_str()) => Some(word),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What such a type is here.
pub fn plain_type(name: &str) -> DataType {
    match name {
        "oid" | "int4" | "integer" | "xid" | "cid" | "cardinal_number" => DataType::Int(None),
        "int8" | "bigint" => DataType::BigInt(None),
        "int2" | "smallint" => DataType::SmallInt(None),
        "float8" => DataType::DoublePrecision,
        "float4" => DataType::Real,
        "bool" | "boolean" => DataType::Boolean,
        // Names, "char", regproc, information_schema's own …: all are texts here.
        _ => DataType::Text,
    }
}

/// The operator of a sign.
pub fn operator(sign: &str) -> Option<BinaryOperator> {
    Some(match sign {
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "||" => BinaryOperator::StringConcat,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        _ => return None,
    })
}

/// Names of a query's columns as PostgreSQL gives them; nothing where they can't be told.
pub fn names(statement: &Statement) -> Option<Vec<String>> {
    let Statement::Query(query) = statement else {
        return None;
    };
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let items = select.projection.iter();
    items
        .map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            SelectItem::UnnamedExpr(expr) => Some(name_of(expr).unwrap_or("?column?".into())),
            _ => None,
        })
        .collect()
}

fn name_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| ident.value.clone()),
        Expr::Function(function) => words(&function.name).pop(),
        Expr::Cast {
            expr, data_type, ..
        } => Some(name_of(expr).unwrap_or_else(|| data_type.to_string().to_lowercase())),
        Expr::Nested(expr) => name_of(expr),
        Expr::Case { .. } => Some("case".into()),
        Expr::Extract { .. } => Some("extract".into()),
        Expr::Exists { .. } => Some("exists".into()),
        _ => None,
    }
}
