//! The SQL that runs in PostgreSQL: what makes the tables, what surrounds a publication, and the checks on what was loaded.

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

/// What every transaction begins with.
pub const SETTINGS: &str = include_str!("../postgres/settings.sql");

/// Whose transactions keep a publisher waiting.
pub const HOLDERS: &str = include_str!("../postgres/holders.sql");

/// Ends what publishers left at work.
pub const END_WORK: &str = include_str!("../postgres/end_work.sql");

/// What a user lacks to publish.
pub const RIGHTS: &str = include_str!("../postgres/rights.sql");

/// The checks on what was loaded, in the order in which they are reported. Each is a count that must be 0, as the
/// checks of the warehouse are.
pub const CHECKS: &[Plan] = plans![
    "postgres/checks" / "totals",
    "postgres/checks" / "no_nulls",
    "postgres/checks" / "updated_within_a_day",
];
