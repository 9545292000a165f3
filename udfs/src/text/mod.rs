//! Cleaning of message texts: [`clean_text_into`] and the SQL function [`CleanText`].

mod clean;
mod udf;
mod unicode_ranges;
#[cfg(target_arch = "x86_64")]
mod vector;

pub use clean::clean_text_into;
pub use udf::CleanText;
