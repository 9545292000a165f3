//! Where a line's quotes are: one look at every byte, 64 of them at a time.
//!
//! The first stage of Langdale and Lemire, "Parsing Gigabytes of JSON per Second" (2019), as far as strings need it.

/// Bytes of a block; each has its bit in a mask.
pub(super) const BLOCK: usize = 64;

/// The quotes of a line that no backslash escapes, as bits, and what else was seen on the way.
#[derive(Debug, Default)]
pub(super) struct Quotes {
    /// A mask for each block of 64 bytes, and an empty one.
    masks: Vec<u64>,
    /// Whether any byte is a backslash.
    pub(super) backslashes: bool,
    /// Whether any byte is a control character (below 0x20).
    pub(super) controls: bool,
    /// Whether all bytes are ASCII.
    pub(super) ascii: bool,
}

impl Quotes {
    /// Looks at another line.
    pub(super) fn index(&mut self, line: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        match is_x86_feature_detected!("avx512bw") {
            // SAFETY: the processor has these instructions.
            true => unsafe { self.index_avx512(line) },
            // SAFETY: every machine of this architecture has these vectors.
            false => self.index_with(line, |block| unsafe { masks_by_vector(block) }),
        }
        #[cfg(not(target_arch = "x86_64"))]
        self.index_with(line, masks_by_byte);
    }

    /// Looks at the line that some bytes begin with: its length, the line end not included. `None` when it does not end
    /// well before the bytes do.
    pub(super) fn index_first_line(&mut self, bytes: &[u8]) -> Option<usize> {
        #[cfg(target_arch = "x86_64")]
        return match is_x86_feature_detected!("avx512bw") {
            // SAFETY: the processor has these instructions.
            true => unsafe { self.index_first_line_avx512(bytes) },
            // SAFETY: every machine of this architecture has these vectors.
            false => self.index_first_line_with(bytes, |block| unsafe { masks_by_vector(block) }),
        };
        #[cfg(not(target_arch = "x86_64"))]
        self.index_first_line_with(bytes, masks_by_byte)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw")]
    fn index_avx512(&mut self, line: &[u8]) {
        self.index_with(line, |block| masks_avx512(block));
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw")]
    fn index_first_line_avx512(&mut self, bytes: &[u8]) -> Option<usize> {
        self.index_first_line_with(bytes, |block| masks_avx512(block))
    }

    #[inline(always)]
    fn index_with(&mut self, line: &[u8], masks: impl Fn(&[u8; BLOCK]) -> Masks) {
        let mut seen = Seen::default();
        self.masks.clear();
        let (blocks, rest) = line.as_chunks::<BLOCK>();
        for block in blocks {
            self.masks.push(seen.unescaped_quotes(&masks(block)));
        }
        if !rest.is_empty() {
            let masks = masks_of_rest(line, rest, masks);
            self.masks.push(seen.unescaped_quotes(&masks));
        }
        self.finish(&seen);
    }

    #[inline(always)]
    fn index_first_line_with(
        &mut self,
        bytes: &[u8],
        masks: impl Fn(&[u8; BLOCK]) -> Masks,
    ) -> Option<usize> {
        let mut seen = Seen::default();
        self.masks.clear();
        for (index, block) in bytes.as_chunks::<BLOCK>().0.iter().enumerate() {
            let masks = masks(block);
            if masks.newlines != 0 {
                let length = masks.newlines.trailing_zeros() as usize;
                // What follows is the next line's.
                let masks = masks.map(|mask| mask & !(u64::MAX << length));
                self.masks.push(seen.unescaped_quotes(&masks));
                self.finish(&seen);
                return Some(index * BLOCK + length);
            }
            self.masks.push(seen.unescaped_quotes(&masks));
        }
        None
    }

    fn finish(&mut self, seen: &Seen) {
        self.masks.push(0);
        self.backslashes = seen.backslashes != 0;
        self.controls = seen.controls != 0;
        self.ascii = seen.high == 0;
    }

    /// The first quote at a position or after it.
    #[inline(always)]
    pub(super) fn next(&self, at: usize) -> Option<usize> {
        // The 64 bytes from there on, from two masks: whether they cross a block's end is hard to foresee.
        let (mut block, shift) = (at / BLOCK, at % BLOCK);
        let [first, second] = *self.masks.get(block..)?.first_chunk()?;
        let left = first >> shift | second << 1 << (BLOCK - 1 - shift);
        if left != 0 {
            return Some(at + left.trailing_zeros() as usize);
        }
        loop {
            block += 1;
            let left = *self.masks.get(block)?;
            if left != 0 {
                return Some(block * BLOCK + left.trailing_zeros() as usize);
            }
        }
    }
}

/// What was seen in a line's blocks so far.
#[derive(Default)]
struct Seen {
    backslashes: u64,
    controls: u64,
    high: u64,
    /// 1 when the last block escapes the next one's first byte.
    escaped: u64,
}

impl Seen {
    #[inline(always)]
    fn unescaped_quotes(&mut self, masks: &Masks) -> u64 {
        self.backslashes |= masks.backslashes;
        self.controls |= masks.controls;
        self.high |= masks.high;
        match masks.backslashes | self.escaped {
            0 => masks.quotes,
            _ => masks.quotes & !escaped_bytes(masks.backslashes, &mut self.escaped),
        }
    }
}

/// The bytes after an odd number of backslashes in a row, without a loop over the rows (as simdjson does it): adding a
/// row's first bit to the row carries to the byte after it. `escaped` is 1 when the block before escapes the first byte.
#[inline]
fn escaped_bytes(backslashes: u64, escaped: &mut u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let backslashes = backslashes & !*escaped;
    let after = backslashes << 1 | *escaped;
    let odd_starts = backslashes & !EVEN & !after;
    let (ends, overflow) = odd_starts.overflowing_add(backslashes);
    *escaped = u64::from(overflow);
    (EVEN ^ (ends << 1)) & after
}

/// A bit for each byte of a block that is one of these. Inlined, what nobody looks at is not computed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Masks {
    pub(super) quotes: u64,
    pub(super) backslashes: u64,
    controls: u64,
    /// Not ASCII.
    pub(super) high: u64,
    pub(super) commas: u64,
    pub(super) newlines: u64,
}

impl Masks {
    #[inline(always)]
    fn map(self, change: impl Fn(u64) -> u64) -> Self {
        Self {
            quotes: change(self.quotes),
            backslashes: change(self.backslashes),
            controls: change(self.controls),
            high: change(self.high),
            commas: change(self.commas),
            newlines: change(self.newlines),
        }
    }
}

/// The masks of what is left of a line after its whole blocks.
#[inline(always)]
fn masks_of_rest(line: &[u8], rest: &[u8], masks: impl Fn(&[u8; BLOCK]) -> Masks) -> Masks {
    if let Some(block) = line.last_chunk::<BLOCK>() {
        // The line's last 64 bytes, less those that were in the block before.
        let before = BLOCK - rest.len();
        return masks(block).map(|mask| mask >> before);
    }
    let mut block = [b' '; BLOCK];
    for (to, from) in block.iter_mut().zip(rest) {
        *to = *from;
    }
    masks(&block)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw")]
#[inline]
pub(super) fn masks_avx512(block: &[u8; BLOCK]) -> Masks {
    use std::arch::x86_64::{
        _mm512_cmpeq_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512, _mm512_movepi8_mask,
        _mm512_set1_epi8,
    };
    // SAFETY: 64 bytes are read, wherever they begin, and all of them are there.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    Masks {
        quotes: _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'"' as i8)),
        backslashes: _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'\\' as i8)),
        controls: _mm512_cmplt_epu8_mask(bytes, _mm512_set1_epi8(0x20)),
        high: _mm512_movepi8_mask(bytes),
        commas: _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b',' as i8)),
        newlines: _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'\n' as i8)),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
pub(super) fn masks_by_vector(block: &[u8; BLOCK]) -> Masks {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_set1_epi8,
    };
    let mut masks = Masks::default();
    for (part, bytes) in block.as_chunks::<16>().0.iter().enumerate() {
        // SAFETY: 16 bytes are read, wherever they begin, and all of them are there.
        let bytes = unsafe { _mm_loadu_si128(std::ptr::from_ref(bytes).cast::<__m128i>()) };
        let bits = |of: __m128i| u64::from(_mm_movemask_epi8(of) as u16) << (16 * part);
        let equal = |to: __m128i| bits(_mm_cmpeq_epi8(bytes, to));
        masks.quotes |= equal(_mm_set1_epi8(b'"' as i8));
        masks.backslashes |= equal(_mm_set1_epi8(b'\\' as i8));
        // Equal to the smaller of itself and 0x1F: not above it.
        masks.controls |= equal(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)));
        masks.high |= bits(bytes);
        masks.commas |= equal(_mm_set1_epi8(b',' as i8));
        masks.newlines |= equal(_mm_set1_epi8(b'\n' as i8));
    }
    masks
}

/// What the others must give.
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(super) fn masks_by_byte(block: &[u8; BLOCK]) -> Masks {
    let mut masks = Masks::default();
    for (at, &byte) in block.iter().enumerate() {
        masks.quotes |= u64::from(byte == b'"') << at;
        masks.backslashes |= u64::from(byte == b'\\') << at;
        masks.controls |= u64::from(byte < 0x20) << at;
        masks.high |= u64::from(byte >= 0x80) << at;
        masks.commas |= u64::from(byte == b',') << at;
        masks.newlines |= u64::from(byte == b'\n') << at;
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn masks_are_of_the_bytes() {
        for byte in 0..=u8::MAX {
            let mut block = [b' '; BLOCK];
            for at in [0, 1, 15, 16, 40, 63] {
                block[at] = byte;
            }
            let expected = masks_by_byte(&block);
            #[cfg(target_arch = "x86_64")]
            {
                // SAFETY: every machine of this architecture has these vectors.
                assert_eq!(unsafe { masks_by_vector(&block) }, expected, "{byte}");
                if is_x86_feature_detected!("avx512bw") {
                    // SAFETY: the processor has these instructions.
                    assert_eq!(unsafe { masks_avx512(&block) }, expected, "{byte}");
                }
            }
            assert_eq!(expected.high != 0, byte >= 0x80);
        }
    }

    #[test]
    fn quotes_are_those_that_no_backslash_escapes() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut quotes = Quotes::default();
        for _ in 0..20_000 {
            let length = random.random_range(0..300);
            let most = random.random_range(1..6);
            let line: Vec<u8> = (0..length)
                .map(|_| b"\\\" a\x1f\xc3"[random.random_range(0..=most)])
                .collect();
            let (mut expected, mut escaped) = (vec![], false);
            for (at, byte) in line.iter().enumerate() {
                if *byte == b'"' && !escaped {
                    expected.push(at);
                }
                escaped = *byte == b'\\' && !escaped;
            }
            let check = |quotes: &Quotes| {
                let mut at = 0;
                let found = std::iter::from_fn(|| {
                    let found = quotes.next(at)?;
                    at = found + 1;
                    Some(found)
                });
                assert_eq!(found.collect::<Vec<usize>>(), expected, "{line:?}");
                assert_eq!(quotes.backslashes, line.contains(&b'\\'));
                assert_eq!(quotes.controls, line.contains(&0x1f));
                assert_eq!(quotes.ascii, line.is_ascii());
            };
            quotes.index(&line);
            check(&quotes);

            // The same when enough follows.
            let after = random.random_range(0..100);
            let bytes = [&line, &b"\n"[..], &vec![b'"'; after]].concat();
            match quotes.index_first_line(&bytes) {
                Some(length) => {
                    assert_eq!(length, line.len());
                    check(&quotes);
                }
                None => assert!(after < BLOCK),
            }
        }
    }
}
