//! The tables of the warehouse that are in PostgreSQL.

use std::fmt;

use datafusion::arrow::datatypes::DataType;

use graph_recs_warehouse::Table;

/// A table in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// The same in the warehouse.
    pub table: Table,
    /// How many of its columns, from the second on, make the key together with the user.
    pub key: usize,
}

/// All of them.
pub(super) const STORED: [Stored; 3] = [
    Stored {
        table: Table::ClosestConnections,
        key: 1,
    },
    Stored {
        table: Table::Recommendations,
        key: 1,
    },
    Stored {
        table: Table::RecReasons,
        key: 2,
    },
];

/// One of the two places for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(pub i16);

impl Slot {
    /// The other one.
    pub(super) fn other(self) -> Self {
        Self(1 - self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Stored {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        self.table.name()
    }

    /// Where its rows lie.
    pub(super) fn place(self, slot: Slot) -> String {
        format!("graph_recs_store.{}_{slot}", self.name())
    }

    /// The table whose partitions are the slots.
    pub(super) fn parent(self) -> String {
        format!("graph_recs_store.{}", self.name())
    }

    /// The name of the index of the key in a slot.
    pub(super) fn index(self, slot: Slot) -> String {
        format!("{}_{slot}_key", self.name())
    }

    /// The columns of the key after the user.
    pub(super) fn key_columns(self) -> impl Iterator<Item = &'static str> {
        let columns = self.table.columns().iter().skip(1).take(self.key);
        columns.map(|column| column.name)
    }

    /// Whether a column is a decimal number; else it is an integer.
    pub(super) fn is_decimal(column: &DataType) -> bool {
        matches!(column, DataType::Decimal128(..))
    }
}

/// The places of all tables in a slot, for a list in SQL.
pub(super) fn places(slot: Slot) -> String {
    STORED.map(|stored| stored.place(slot)).join(", ")
}
