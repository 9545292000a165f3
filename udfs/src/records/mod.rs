//! Records of the input files, read from their bytes: engagements, users and messages.
//!
//! Nothing here knows tables or files. A reader cuts its bytes with [`next_record`], passes over what [`is_blank`],
//! and hands each record to the parser of its kind. What cannot be read gives a [`Reason`] for the quarantine. No
//! input makes a parser panic, and a readable record costs no allocation.
//!
//! Rows that come in columns, as from Parquet, go through the `…_from_fields` functions and the same checks.
//!
//! A byte order mark at the beginning of a file is the reader's to pass over.

mod csv;
mod engagement;
mod field;
mod json;
mod message;
mod number;
mod quotes;
mod reason;
mod shapes;
mod timestamp;
mod user;

pub use csv::{
    Framing, MAX_QUOTED_RECORD, count_columns, is_blank, next_record, next_record_at_end,
};
pub use engagement::{
    Engagement, engagement_from_fields, next_plain_engagement, parse_engagement, parse_follow,
};
pub use field::Field;
pub use message::{Message, MessageParser, link_description_in, message_from_fields};
pub use reason::Reason;
pub use timestamp::parse_timestamp;
pub use user::{PlainUser, User, UserRecord, next_plain_user, parse_user, user_from_fields};

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod hostile_tests;
