//! Memory for the texts of logged rows.

use datafusion::common::{Result, exec_err};

use crate::prefetch::prefetch;

/// Pairs of texts in blocks, which never move and are freed with their last pair.
#[derive(Debug, Default)]
pub(super) struct Arena {
    blocks: Vec<Block>,
    /// Bytes that the blocks hold.
    allocated: usize,
    /// Bytes of the pairs' texts: of the first ones, and of the second ones.
    pub(super) lengths: (usize, usize),
}

#[derive(Debug, Default)]
struct Block {
    text: String,
    /// Pairs that are here.
    pairs: usize,
}

/// Where a pair of texts lies, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts {
    block: u32,
    start: u32,
    first_len: u32,
    second_len: u32,
}

impl Arena {
    const SMALLEST: usize = 4 << 10;
    const LARGEST: usize = 1 << 20;

    /// Stores two texts; fails when they are 4 GiB long.
    pub(super) fn store(&mut self, first: &str, second: &str) -> Result<Texts> {
        let (Ok(first_len), Ok(second_len)) =
            (u32::try_from(first.len()), u32::try_from(second.len()))
        else {
            return exec_err!(
                "a text is too long: {} and {} bytes",
                first.len(),
                second.len()
            );
        };
        let needed = first.len() + second.len();
        let fits = |block: &Block| block.text.capacity() - block.text.len() >= needed;
        if !self.blocks.last().is_some_and(fits) {
            // Blocks grow with the arena, so that a small one stays small.
            let size = self
                .allocated
                .clamp(Self::SMALLEST, Self::LARGEST)
                .max(needed);
            let text = String::with_capacity(size);
            self.allocated += text.capacity();
            self.blocks.push(Block { text, pairs: 0 });
        }
        let at = self.blocks.len() - 1;
        let block = &mut self.blocks[at];
        let (Ok(start), Ok(at)) = (u32::try_from(block.text.len()), u32::try_from(at)) else {
            return exec_err!("too many texts");
        };
        block.text.push_str(first);
        block.text.push_str(second);
        block.pairs += 1;
        self.lengths.0 += first.len();
        self.lengths.1 += second.len();
        Ok(Texts {
            block: at,
            start,
            first_len,
            second_len,
        })
    }

    /// The two texts.
    pub(super) fn get(&self, texts: Texts) -> (&str, &str) {
        let first_len = texts.first_len as usize;
        let start = texts.start as usize;
        let end = start + first_len + texts.second_len as usize;
        self.blocks[texts.block as usize].text[start..end].split_at(first_len)
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
            self.allocated -= block.text.capacity();
            block.text = String::new();
        }
    }

    /// Memory held, in bytes.
    pub(super) fn size(&self) -> usize {
        self.allocated + self.blocks.capacity() * size_of::<Block>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_stored_until_it_is_released() {
        let mut arena = Arena::default();
        let long = "x".repeat(100 << 10);
        let pairs = [
            ("", ""),
            ("a", ""),
            ("", "é"),
            (long.as_str(), "b"),
            ("c", "d"),
        ];
        let stored: Vec<Texts> = pairs
            .iter()
            .cycle()
            .take(500)
            .map(|(first, second)| arena.store(first, second).unwrap())
            .collect();
        for (at, (&texts, (first, second))) in stored.iter().zip(pairs.iter().cycle()).enumerate() {
            assert_eq!(arena.get(texts), (*first, *second));
            if at > 100 {
                arena.release(texts);
            }
        }
        assert!(arena.size() < 5 << 20, "{}", arena.size());
        let again = arena.store("e", "f").unwrap();
        assert_eq!(arena.get(again), ("e", "f"));
        for (&texts, (first, second)) in stored[..100].iter().zip(pairs.iter().cycle()) {
            assert_eq!(arena.get(texts), (*first, *second));
        }
    }
}
