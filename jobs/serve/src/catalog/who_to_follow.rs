//! The function `who_to_follow(user)`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::ViewTable;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Placeholder;

use super::Snapshot;
use crate::refusal::{Kind, Refusal};

/// Gives a user's recommendations with their reasons in words, from the statement's snapshot, which is an extension
/// of its session's configuration.
#[derive(Debug)]
pub struct WhoToFollow;

impl TableFunctionImpl for WhoToFollow {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let [user] = args.exprs() else {
            return Err(wrong("it takes one user id").into());
        };
        let user = match user {
            Expr::Literal(value, metadata) => {
                let id = value.cast_to(&DataType::Int32);
                let id = id.map_err(|_| wrong(&format!("{value} is not a user id")))?;
                if id == ScalarValue::Int32(None) {
                    return Err(wrong("null is not a user id").into());
                }
                Expr::Literal(id, metadata.clone())
            }
            Expr::Placeholder(parameter) => {
                let field = Arc::new(Field::new("user", DataType::Int32, true));
                Expr::Placeholder(Placeholder::new_with_field(
                    parameter.id.clone(),
                    Some(field),
                ))
            }
            _ => return Err(wrong("its argument is a number, or a parameter").into()),
        };
        let snapshot = args
            .session()
            .config()
            .get_extension::<Snapshot>()
            .ok_or_else(|| Refusal::new(Kind::Unsupported, "who_to_follow needs a warehouse"))?;
        let plan = snapshot.who_to_follow().clone();
        let plan = plan.transform_up_with_subqueries(|node| {
            node.map_expressions(|expression| {
                expression.transform_up(|expression| match &expression {
                    Expr::Placeholder(parameter) if parameter.id == "$user" => {
                        Ok(Transformed::yes(user.clone()))
                    }
                    _ => Ok(Transformed::no(expression)),
                })
            })
        })?;
        Ok(Arc::new(ViewTable::new(plan.data, None)))
    }
}

fn wrong(what: &str) -> Refusal {
    Refusal::new(
        Kind::Types,
        format!("who_to_follow: {what}, as in SELECT * FROM who_to_follow(7)"),
    )
}
