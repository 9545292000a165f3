//! The SQL that runs in PostgreSQL: what makes the tables, and the checks on what was loaded.

use crate::plans::{Plan, plans};

/// A numbered change of the database, and the way back.
#[derive(Debug)]
pub struct Migration {
    /// Counts from 1.
    pub version: i64,
    /// What it makes.
    pub name: &'static str,
    /// The statements that make it.
    pub up: &'static str,
    /// The statements that take it back.
    pub down: &'static str,
}

macro_rules! migrations {
    ($($version:literal $file:literal $name:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            up: include_str!(concat!("../postgres/migrations/", $file, ".up.sql")),
            down: include_str!(concat!("../postgres/migrations/", $file, ".down.sql")),
        }),*]
    };
}

/// The migrations, oldest first.
pub const MIGRATIONS: &[Migration] = migrations![
    1 "0001_tables" "tables",
    2 "0002_reader" "reader",
];

/// The checks on what was loaded, in the order in which they are reported. Each is a count that must be 0, as the
/// checks of the warehouse are.
pub const CHECKS: &[Plan] = plans![
    "postgres/checks" / "totals",
    "postgres/checks" / "no_nulls",
    "postgres/checks" / "updated_within_a_day",
];
