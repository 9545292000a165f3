//! Completing words: tables, columns, functions, and SQL's own.

use datafusion::prelude::SessionContext;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

/// SQL's own words.
const WORDS: [&str; 40] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "OFFSET",
    "JOIN",
    "LEFT JOIN",
    "FULL JOIN",
    "CROSS JOIN",
    "ON",
    "USING",
    "AND",
    "OR",
    "NOT",
    "NULL",
    "IS NULL",
    "IS NOT NULL",
    "IN",
    "BETWEEN",
    "LIKE",
    "EXISTS",
    "DISTINCT",
    "AS",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "UNION ALL",
    "WITH",
    "OVER",
    "PARTITION BY",
    "DESC",
    "ASC",
    "EXPLAIN",
    "EXPLAIN ANALYZE",
    "SHOW TABLES",
];

/// Knows the words.
pub struct Words {
    words: Vec<String>,
}

impl Words {
    /// Those of a session.
    pub async fn of(context: &SessionContext) -> Self {
        let mut words: Vec<String> = WORDS.map(String::from).into();
        for catalog in context.catalog_names() {
            let Some(provider) = context.catalog(&catalog) else {
                continue;
            };
            for name in provider.schema_names() {
                let Some(schema) = provider.schema(&name) else {
                    continue;
                };
                // Past runs are many, and have the columns of the current one.
                if catalog == "runs" {
                    words.push(format!("runs.\"{name}\""));
                    continue;
                }
                for table in schema.table_names() {
                    if let Ok(Some(provider)) = schema.table(&table).await {
                        let columns = provider.schema();
                        words.extend(columns.fields().iter().map(|field| field.name().clone()));
                    }
                    words.push(match name.as_str() {
                        "public" => table,
                        _ => format!("{name}.{table}"),
                    });
                }
            }
        }
        let state = context.state();
        let functions = state.scalar_functions().keys();
        let functions = functions.chain(state.aggregate_functions().keys());
        let functions = functions.chain(state.window_functions().keys());
        let functions = functions.chain(state.table_functions().keys());
        words.extend(functions.map(|name| format!("{name}(")));
        words.sort_unstable();
        words.dedup();
        Self { words }
    }

    /// Where the word before `place` begins, and what it may become.
    fn complete_word(&self, line: &str, place: usize) -> (usize, Vec<String>) {
        let before = line.get(..place).unwrap_or_default();
        let part = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '.' | '"');
        let start = before
            .char_indices()
            .rev()
            .find(|(_, sign)| !part(*sign))
            .map_or(0, |(index, sign)| index + sign.len_utf8());
        let word = before.get(start..).unwrap_or_default().to_lowercase();
        if word.is_empty() {
            return (start, Vec::new());
        }
        let fits = |known: &&String| known.to_lowercase().starts_with(&word);
        (start, self.words.iter().filter(fits).cloned().collect())
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        place: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.complete_word(line, place))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn completes_words_of_the_session() {
        let context = SessionContext::new();
        context
            .sql("CREATE TABLE likes (liked_id INT)")
            .await
            .unwrap();
        let words = Words::of(&context).await;
        let line = "SELECT lik";
        let (start, found) = words.complete_word(line, line.len());
        assert_eq!(start, 7);
        assert!(
            ["LIKE", "likes", "liked_id"]
                .iter()
                .all(|word| found.contains(&(*word).to_string())),
            "{found:?}"
        );
        let (_, found) = words.complete_word("SELECT array_ag", 15);
        assert!(found.contains(&"array_agg(".to_string()));
        assert_eq!(words.complete_word("SELECT ", 7).1, Vec::<String>::new());
    }
}
