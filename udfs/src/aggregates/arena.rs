//! The texts of logged rows, where they came in.

use arrow::array::{Array, ArrayRef, AsArray, GenericStringArray, OffsetSizeTrait};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::arrow;
use datafusion::common::{Result, exec_err};

use crate::prefetch::prefetch;

/// A column of texts; a null is empty.
pub(super) struct TextColumn {
    /// All texts, one after the other.
    texts: Buffer,
    /// Where each begins in `texts`, and its length.
    spans: Vec<(u32, u32)>,
    /// Bytes of all texts.
    bytes: usize,
}

impl TextColumn {
    /// Takes an array of any of the three layouts, which keeps its memory; fails for others, and for one of 4 GiB.
    pub(super) fn new(array: &ArrayRef) -> Result<Self> {
        match array.data_type() {
            DataType::Utf8 => Self::of(array.as_string::<i32>()),
            DataType::LargeUtf8 => Self::of(array.as_string::<i64>()),
            DataType::Utf8View => Self::of(cast(array, &DataType::LargeUtf8)?.as_string::<i64>()),
            other => exec_err!("a text must be a string, not {other}"),
        }
    }

    fn of<O: OffsetSizeTrait>(array: &GenericStringArray<O>) -> Result<Self> {
        let offsets = array.value_offsets();
        let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
            return exec_err!("an array without offsets");
        };
        // A slice of a larger array has its part of that one's texts.
        let (base, bytes) = (first.as_usize(), last.as_usize() - first.as_usize());
        if u32::try_from(bytes).is_err() {
            return exec_err!("{bytes} bytes of texts at once are too many");
        }
        let place = |offset: O| (offset.as_usize() - base) as u32;
        let span = |(row, ends): (usize, &[O])| match array.is_valid(row) {
            true => (place(ends[0]), place(ends[1]) - place(ends[0])),
            false => (0, 0),
        };
        Ok(Self {
            texts: array.values().slice_with_length(base, bytes),
            spans: offsets.windows(2).enumerate().map(span).collect(),
            bytes,
        })
    }
}

/// Pairs of texts in the arrays that they came in, which are kept until their last pair is released.
#[derive(Debug, Default)]
pub(super) struct Arena {
    blocks: Vec<Block>,
    /// Bytes that the blocks hold.
    held: usize,
    /// Bytes of the pairs' texts: of the first ones, and of the second ones.
    pub(super) lengths: (usize, usize),
}

/// The texts of a batch.
#[derive(Debug)]
struct Block {
    first: Buffer,
    second: Buffer,
    bytes: usize,
    /// Pairs that are here.
    pairs: usize,
}

/// Where a pair of texts lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts {
    block: u32,
    first_start: u32,
    first_len: u32,
    second_start: u32,
    second_len: u32,
}

impl Arena {
    /// Keeps two columns; gives the pair of each row that is asked for.
    pub(super) fn hold(
        &mut self,
        first: TextColumn,
        second: TextColumn,
        rows: impl Iterator<Item = usize>,
        mut pair: impl FnMut(usize, Texts) -> Result<()>,
    ) -> Result<()> {
        let Ok(block) = u32::try_from(self.blocks.len()) else {
            return exec_err!("too many batches of texts");
        };
        let mut pairs = 0;
        for row in rows {
            let (Some(&(first_start, first_len)), Some(&(second_start, second_len))) =
                (first.spans.get(row), second.spans.get(row))
            else {
                return exec_err!("row {row} has no text");
            };
            let texts = Texts {
                block,
                first_start,
                first_len,
                second_start,
                second_len,
            };
            pair(row, texts)?;
            pairs += 1;
            self.lengths.0 += first_len as usize;
            self.lengths.1 += second_len as usize;
        }
        if pairs > 0 {
            let bytes = first.bytes + second.bytes;
            self.held += bytes;
            self.blocks.push(Block {
                first: first.texts,
                second: second.texts,
                bytes,
                pairs,
            });
        }
        Ok(())
    }

    /// The two texts.
    pub(super) fn get(&self, texts: Texts) -> (&str, &str) {
        let block = &self.blocks[texts.block as usize];
        let text = |buffer: &'_ Buffer, start: u32, len: u32| -> *const [u8] {
            &raw const buffer.as_slice()[start as usize..][..len as usize]
        };
        let first = text(&block.first, texts.first_start, texts.first_len);
        let second = text(&block.second, texts.second_start, texts.second_len);
        // SAFETY: `Texts` are made by `hold` alone, of spans of strings in these very buffers, which `self` keeps.
        unsafe {
            (
                str::from_utf8_unchecked(&*first),
                str::from_utf8_unchecked(&*second),
            )
        }
    }

    /// Asks for the two texts, which will be needed soon.
    pub(super) fn prefetch(&self, texts: Texts) {
        let (first, second) = self.get(texts);
        prefetch(first.as_bytes());
        prefetch(second.as_bytes());
    }

    /// The pair is no longer needed.
    pub(super) fn release(&mut self, texts: Texts) {
        self.lengths.0 -= texts.first_len as usize;
        self.lengths.1 -= texts.second_len as usize;
        let block = &mut self.blocks[texts.block as usize];
        block.pairs -= 1;
        if block.pairs == 0 {
            self.held -= block.bytes;
            *block = Block {
                first: Buffer::default(),
                second: Buffer::default(),
                bytes: 0,
                pairs: 0,
            };
        }
    }

    /// Memory held, in bytes.
    pub(super) fn size(&self) -> usize {
        self.held + self.blocks.capacity() * size_of::<Block>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{LargeStringArray, StringArray, StringViewArray};

    use super::*;

    #[test]
    fn gives_back_what_is_held_until_it_is_released() {
        let long = "x".repeat(100 << 10);
        let first = vec![
            Some(""),
            Some("a"),
            None,
            Some(&long),
            Some("c"),
            Some("no"),
        ];
        let second = vec![None, Some(""), Some("é"), Some("b"), Some("d"), Some("no")];
        let layouts: [fn(Vec<Option<&str>>) -> ArrayRef; 3] = [
            |texts| Arc::new(StringArray::from(texts)),
            |texts| Arc::new(LargeStringArray::from(texts)),
            |texts| Arc::new(StringViewArray::from(texts)),
        ];
        let mut arena = Arena::default();
        let mut held = Vec::new();
        for layout in layouts {
            // Of an array's slice, whose texts do not begin where its buffer does.
            let column = |texts: &Vec<Option<&str>>| {
                let all = [vec![Some("before")], texts.clone()].concat();
                TextColumn::new(&layout(all).slice(1, 6)).unwrap()
            };
            let pair = |row: usize, texts| {
                held.push((row, texts));
                Ok(())
            };
            arena
                .hold(column(&first), column(&second), 0..5, pair)
                .unwrap();
        }
        assert_eq!(held.len(), 15);
        assert_eq!(arena.lengths, (3 * (long.len() + 2), 3 * 4));
        assert!(arena.size() > 3 * long.len());
        for (at, (row, texts)) in held.iter().enumerate() {
            let expected = (first[*row].unwrap_or(""), second[*row].unwrap_or(""));
            assert_eq!(arena.get(*texts), expected);
            if at >= 5 {
                arena.release(*texts);
            }
        }
        assert!(arena.size() < 2 * long.len(), "{}", arena.size());
        assert_eq!(arena.get(held[3].1), (long.as_str(), "b"));
    }

    #[test]
    fn batches_without_a_wanted_row_are_not_kept() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["text"; 9]));
        let column = || TextColumn::new(&texts).unwrap();
        let mut arena = Arena::default();
        arena
            .hold(column(), column(), std::iter::empty(), |_, _| Ok(()))
            .unwrap();
        assert_eq!(arena.size(), 0);
    }

    #[test]
    fn other_columns_are_refused() {
        let numbers: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![1]));
        assert!(TextColumn::new(&numbers).is_err());
    }
}
