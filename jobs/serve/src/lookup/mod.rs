//! One user's rows of a published table without reading the table: its files are sorted by user, and their page index
//! says which page has a user. Decoded pages are kept in memory.

mod exec;
mod pages;
mod table;

pub use exec::{LookupExec, Parameters};
pub use pages::Pages;
pub use table::SortedTable;
