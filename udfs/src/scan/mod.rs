//! Scans of the platform's raw exports.
//!
//! A scan reads one of the six sources of a day and gives every record exactly once, readable or not:
//! readable ones with their typed columns, unreadable ones with `reason`, `file`, `line` and `raw` instead.
//! So a bad record never stops a query, and the quarantine is a plain `WHERE reason IS NOT NULL`.
//!
//! Bytes are parsed once, straight into Arrow columns, and only into the columns that a plan asks for.
//! The scan is a `FileSource` under DataFusion's own `DataSourceExec`, not a leaf of our own: engines that
//! distribute plans know how to give each task its share of the files of such a node.

mod chunks;
mod columns;
mod decode;
mod format;
mod parquet;
mod reader;
mod source;
mod table;

pub use format::{Format, FormatError, SourceFile};
pub use source::{RecordSource, Source};
pub use table::{FoundUserForm, RecordTable, UserForm};
