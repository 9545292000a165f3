//! `sql`: the warehouse and a day's raw exports, asked in SQL.

mod complete;
mod converse;
mod output;
mod session;

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result};
use datafusion::common::DataFusionError;
use datafusion::prelude::SessionContext;

use crate::cli::{Format, SqlOptions};
use converse::Shell;
use graph_recs_serve::refusal::Refusal;

/// Answers the statements of the command line, a file, standard input, or a person.
pub async fn run(options: SqlOptions) -> Result<()> {
    let context = session::build(&options).await?;
    let text = match (&options.command, &options.file) {
        (Some(sql), _) => Some(sql.clone()),
        (None, Some(file)) => Some(
            std::fs::read_to_string(file)
                .with_context(|| format!("{} cannot be read", file.display()))?,
        ),
        (None, None) if !std::io::stdin().is_terminal() => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            Some(text)
        }
        (None, None) => None,
    };
    match text {
        Some(text) => {
            let mut shell = Shell::new(&context, options.format, false);
            for statement in statements(&text) {
                if !statement.starts_with('\\') {
                    answer(&context, &statement, shell.format).await?;
                } else if shell.command(&statement).await.is_break() {
                    break;
                }
            }
            Ok(())
        }
        None => converse::run(&context, options.format).await,
    }
}

/// Answers one statement on standard output.
async fn answer(context: &SessionContext, sql: &str, format: Format) -> Result<()> {
    let frame = context
        .sql(sql)
        .await
        .map_err(|error| pointed(error, sql))?;
    output::write_rows(frame, format).await
}

/// An error of planning that shows the place in the statement, when it is known.
fn pointed(error: DataFusionError, sql: &str) -> anyhow::Error {
    let refusal = Refusal::from(error);
    match refusal.place.and_then(|place| excerpt(sql, place)) {
        Some(excerpt) => anyhow::anyhow!("{}\n{excerpt}", refusal.message),
        None => refusal.into(),
    }
}

/// The line of a place, and a mark below it.
fn excerpt(sql: &str, (line, column): (u64, u64)) -> Option<String> {
    let text = sql
        .lines()
        .nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    let before = usize::try_from(column).ok()?.checked_sub(1)?;
    // Tabs stay tabs, so that the mark is below its place.
    let space: String = text
        .chars()
        .take(before)
        .map(|sign| if sign == '\t' { '\t' } else { ' ' })
        .collect();
    Some(format!("{text}\n{space}^"))
}

/// Cuts a text into statements at semicolons outside of quotes and comments. A line that begins with a backslash where a
/// statement could begin is a command to the shell, and stands for itself.
fn statements(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut characters = text.chars().peekable();
    let mut quote: Option<char> = None;
    let mut comment = false;
    while let Some(character) = characters.next() {
        match (quote, character) {
            _ if comment => comment = character != '\n',
            (Some(open), _) if character == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '-') if characters.peek() == Some(&'-') => comment = true,
            (None, ';') => {
                found.push(String::new());
                continue;
            }
            (None, '\\') if found.last().is_some_and(|last| blank(last)) => {
                let line: String =
                    std::iter::from_fn(|| characters.next_if(|next| *next != '\n')).collect();
                found.pop();
                found.push(format!("\\{}", line.trim_end()));
                found.push(String::new());
                continue;
            }
            (None, _) => {}
        }
        if let Some(statement) = found.last_mut() {
            statement.push(character);
        }
    }
    found
        .into_iter()
        .filter(|statement| !blank(statement))
        .collect()
}

/// Whether there is nothing but comments in it.
fn blank(statement: &str) -> bool {
    let mut lines = statement.lines().map(str::trim_start);
    lines.all(|line| line.is_empty() || line.starts_with("--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_outside_of_quotes() {
        assert_eq!(
            statements("SELECT ';' ; SELECT \"a;b\"; -- last; one\n"),
            ["SELECT ';' ", " SELECT \"a;b\""]
        );
        assert_eq!(statements("  \n-- nothing\n"), Vec::<String>::new());
        assert_eq!(
            statements("\\d\n-- all\n\\format csv \nSELECT\n'\\d'; \\q"),
            ["\\d", "\\format csv", "\nSELECT\n'\\d'", "\\q"]
        );
    }

    #[test]
    fn a_mark_stands_below_the_place() {
        let shown = excerpt("SELECT 1,\n\trecid FROM t", (2, 2)).unwrap();
        assert_eq!(shown, "\trecid FROM t\n\t^");
        assert_eq!(excerpt("SELECT", (3, 1)), None);
    }
}
