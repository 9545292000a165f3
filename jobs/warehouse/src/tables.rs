//! The four tables that a run produces: the one place that defines their columns.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

/// A published table of the warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// Whom each user engages with most.
    ClosestConnections,
    /// How good each author's messages are.
    ReputationScores,
    /// Whom each user should follow.
    Recommendations,
    /// Why each recommendation was made.
    RecReasons,
}

/// A column of a published table. No column is ever null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name, as in SQL.
    pub name: &'static str,
    /// Arrow type.
    pub data_type: DataType,
    /// What the column holds, for data dictionaries and the Delta schema.
    pub comment: &'static str,
}

const fn column(name: &'static str, data_type: DataType, comment: &'static str) -> Column {
    Column {
        name,
        data_type,
        comment,
    }
}

/// Of weights and scores.
const DECIMAL: DataType = DataType::Decimal128(18, 8);

static CLOSEST_CONNECTIONS: [Column; 4] = [
    column("user_id", DataType::Int32, "The user"),
    column(
        "closest_connection",
        DataType::Int32,
        "Another user, whom the user engages with",
    ),
    column(
        "weight",
        DECIMAL,
        "Sum over the engagements of how recent each is: 1 at as-of, 0 at the end of the look-back",
    ),
    column(
        "rank",
        DataType::Int32,
        "Position among the user's connections, from 1 by falling weight, ties by the smaller id",
    ),
];

static REPUTATION_SCORES: [Column; 3] = [
    column("user_id", DataType::Int32, "The author"),
    column(
        "pred",
        DataType::Float64,
        "Mean over the weekly documents of the probability of a good author, 0 to 1, 6 decimals",
    ),
    column("weeks", DataType::Int32, "Number of weekly documents"),
];

static RECOMMENDATIONS: [Column; 4] = [
    column("user_id", DataType::Int32, "The user"),
    column("rec_id", DataType::Int32, "The user recommended to them"),
    column(
        "rank",
        DataType::Int32,
        "Position among the user's recommendations, from 1 by falling score, ties by the smaller id",
    ),
    column(
        "score",
        DECIMAL,
        "Reputation of the recommended user times the sum of the weights of the reasons",
    ),
];

static REC_REASONS: [Column; 4] = [
    column("user_id", DataType::Int32, "The user"),
    column("rec_id", DataType::Int32, "The user recommended to them"),
    column(
        "reason_id",
        DataType::Int32,
        "A closest connection of the user that has rec_id among its own closest connections",
    ),
    column(
        "weight",
        DECIMAL,
        "Weight of the connection from reason_id to rec_id",
    ),
];

impl Table {
    /// Every table, in the order in which a publication commits them.
    pub const ALL: [Self; 4] = [
        Self::ClosestConnections,
        Self::ReputationScores,
        Self::Recommendations,
        Self::RecReasons,
    ];

    /// Name in SQL, and of the table's folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClosestConnections => "closest_connections",
            Self::ReputationScores => "reputation_scores",
            Self::Recommendations => "recommendations",
            Self::RecReasons => "rec_reasons",
        }
    }

    /// One sentence about the table.
    pub const fn comment(self) -> &'static str {
        match self {
            Self::ClosestConnections => "Whom each user engages with most, one row a pair",
            Self::ReputationScores => "How good each author's messages are, one row an author",
            Self::Recommendations => "Whom each user should follow, one row a recommendation",
            Self::RecReasons => "Why each recommendation was made, one row a reason",
        }
    }

    /// The columns in their order.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::ClosestConnections => &CLOSEST_CONNECTIONS,
            Self::ReputationScores => &REPUTATION_SCORES,
            Self::Recommendations => &RECOMMENDATIONS,
            Self::RecReasons => &REC_REASONS,
        }
    }

    /// Arrow schema, all columns not null, without metadata.
    pub fn schema(self) -> SchemaRef {
        Arc::new(Schema::new(self.fields().collect::<Vec<_>>()))
    }

    /// The same with the comments in the fields' metadata, as Delta has them.
    pub(super) fn described_schema(self) -> Schema {
        let comments = self.columns().iter().map(|column| column.comment);
        let fields = self.fields().zip(comments).map(|(field, comment)| {
            field.with_metadata(HashMap::from([("comment".to_owned(), comment.to_owned())]))
        });
        Schema::new(fields.collect::<Vec<_>>())
    }

    fn fields(self) -> impl Iterator<Item = Field> {
        let columns = self.columns().iter();
        columns.map(|column| Field::new(column.name, column.data_type.clone(), false))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value for each table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerTable<T> {
    /// Of closest_connections.
    pub closest_connections: T,
    /// Of reputation_scores.
    pub reputation_scores: T,
    /// Of recommendations.
    pub recommendations: T,
    /// Of rec_reasons.
    pub rec_reasons: T,
}

impl<T> PerTable<T> {
    /// Makes the value of each table; the first error ends it.
    pub fn try_from_fn<E>(mut make: impl FnMut(Table) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            closest_connections: make(Table::ClosestConnections)?,
            reputation_scores: make(Table::ReputationScores)?,
            recommendations: make(Table::Recommendations)?,
            rec_reasons: make(Table::RecReasons)?,
        })
    }

    /// The value of a table.
    pub fn get(&self, table: Table) -> &T {
        match table {
            Table::ClosestConnections => &self.closest_connections,
            Table::ReputationScores => &self.reputation_scores,
            Table::Recommendations => &self.recommendations,
            Table::RecReasons => &self.rec_reasons,
        }
    }

    /// The value of a table, to change it.
    pub fn get_mut(&mut self, table: Table) -> &mut T {
        match table {
            Table::ClosestConnections => &mut self.closest_connections,
            Table::ReputationScores => &mut self.reputation_scores,
            Table::Recommendations => &mut self.recommendations,
            Table::RecReasons => &mut self.rec_reasons,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_in_sql_and_serde() {
        for table in Table::ALL {
            let json = serde_json::to_value(table).unwrap();
            assert_eq!(json, serde_json::json!(table.name()));
        }
    }

    #[test]
    fn no_column_is_nullable_and_each_is_described() {
        for table in Table::ALL {
            assert!(table.schema().fields().iter().all(|f| !f.is_nullable()));
            assert!(table.columns().iter().all(|c| !c.comment.is_empty()));
        }
    }

    #[test]
    fn per_table_keeps_tables_apart() {
        let mut names = PerTable::try_from_fn(|t| Ok::<_, ()>(t.name().to_owned())).unwrap();
        for table in Table::ALL {
            assert_eq!(names.get(table), table.name());
            names.get_mut(table).push('!');
            assert_eq!(names.get(table), &format!("{table}!"));
        }
    }
}
