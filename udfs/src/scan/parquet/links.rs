//! The description of a message's first link, in whatever way a column `links` holds links.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBufferBuilder, UInt64Array, new_null_array,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::Result;

use super::mapping::named;
use super::values::{Values, Wanted, bytes};
use crate::records::{Reason, link_description_in};

/// The member of a link that is read.
const DESCRIPTION: &str = "description";

/// The types of a column `links`.
pub(super) const TYPES: &str =
    "a list of structs with a text description, a list of maps from text to text, or JSON text";

/// Which leaves of a column `links` of this type are read, counted from its first; `None` if it holds no links.
pub(super) fn leaves(links: &DataType) -> Option<Vec<usize>> {
    let item = match links {
        DataType::List(item) => item.data_type(),
        // JSON text.
        DataType::Utf8 | DataType::Binary | DataType::Null => return Some(vec![0]),
        _ => return None,
    };
    match item {
        DataType::Struct(fields) => {
            // Without a description nothing is said of links, as in JSON.
            let Some(at) = named(
                fields.iter().map(|field| field.name().as_str()),
                DESCRIPTION,
            )
            .ok()?
            else {
                return Some(Vec::new());
            };
            let before = fields.iter().take(at).map(|field| leaf_count(field));
            let description = fields.get(at)?.data_type();
            let is_text = Wanted::Text.is_said_by(description);
            is_text.then(|| vec![before.sum()])
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(entry) => {
                let all_text = |field: &Arc<Field>| Wanted::Text.is_said_by(field.data_type());
                (entry.len() == 2 && entry.iter().all(all_text)).then(|| vec![0, 1])
            }
            _ => None,
        },
        DataType::Null => Some(Vec::new()),
        _ => None,
    }
}

/// How many leaves a field of a Parquet schema has.
pub(super) fn leaf_count(field: &Field) -> usize {
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().map(|field| leaf_count(field)).sum(),
        DataType::List(item) | DataType::Map(item, _) => leaf_count(item),
        _ => 1,
    }
}

/// The descriptions of a column that holds links, as far as its leaves were read.
pub(super) fn descriptions(links: &ArrayRef) -> Result<Values> {
    let none = || Values::Column(new_null_array(&DataType::Binary, links.len()));
    let DataType::List(item) = links.data_type() else {
        return Ok(match links.data_type() {
            DataType::Binary => in_json(links),
            _ => none(),
        });
    };
    let lists = links.as_list::<i32>();
    let items = lists.values();
    let first = lists
        .offsets()
        .windows(2)
        .enumerate()
        .map(|(row, ends)| match ends {
            [start, end] if lists.is_valid(row) && start < end => usize::try_from(*start).ok(),
            _ => None,
        });
    let first = first.map(|item| item.filter(|item| items.is_valid(*item)));
    Ok(match item.data_type() {
        DataType::Struct(_) => match items.as_struct().columns().first() {
            Some(descriptions) => Values::Column(taken(descriptions, first)?),
            None => none(),
        },
        DataType::Map(..) => {
            let maps = items.as_map();
            let (names, values) = (maps.keys(), maps.values());
            let value = |item: usize| {
                let offsets = maps.value_offsets();
                let (start, end) = (*offsets.get(item)?, *offsets.get(item + 1)?);
                let mut entries = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
                entries.rfind(|entry| bytes(names, *entry) == Some(DESCRIPTION.as_bytes()))
            };
            Values::Column(taken(values, first.map(|item| item.and_then(value)))?)
        }
        _ => none(),
    })
}

fn taken(values: &ArrayRef, rows: impl Iterator<Item = Option<usize>>) -> Result<ArrayRef> {
    let rows: UInt64Array = rows.map(|row| row.map(|row| row as u64)).collect();
    Ok(take(values, &rows, None)?)
}

/// The descriptions in JSON texts. Of a text that is none it is the text itself, and the value is unreadable.
fn in_json(links: &ArrayRef) -> Values {
    let mut descriptions = BinaryBuilder::new();
    let mut faulty = BooleanBufferBuilder::new(links.len());
    let mut description = String::new();
    for row in 0..links.len() {
        // Bytes that are no text are told from others later.
        let text = bytes(links, row);
        let found = match text.map(std::str::from_utf8) {
            Some(Ok(text)) if !text.trim().is_empty() => {
                match link_description_in(text, &mut description) {
                    Ok(true) => Ok(Some(description.as_bytes())),
                    Ok(false) => Ok(None),
                    Err(reason) => Err(reason),
                }
            }
            Some(Err(_)) => Ok(text),
            _ => Ok(None),
        };
        faulty.append(found.is_err());
        descriptions.append_option(found.unwrap_or(text));
    }
    let descriptions = Arc::new(descriptions.finish());
    Values::Faulty(descriptions, faulty.finish(), Reason::NotJson)
}
