//! Texts: cleaning those of messages, [`clean_text_into`] and the SQL function [`CleanText`], and showing any to people,
//! [`shown`].

mod clean;
mod shown;
mod udf;
mod unicode_ranges;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use clean::clean_text_into;
pub use shown::{shown, shown_lines};
pub use udf::CleanText;
