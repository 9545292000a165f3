//! The inner loops of the look-up tables, once for each set of vector instructions.
//!
//! They are written once, over vectors of any number of lanes; what differs is which instructions the compiler may use
//! for them. Lanes are independent and each lane's operations have a fixed order, so the width does not show in the
//! result.

use super::folder::{LANES, WIDTHS};
use super::tables::{Block, Instructions};
use crate::prefetch::prefetch;

/// Positions of all filters: 3 + 4 + 5.
pub(super) const TAPS: usize = 12;
const _: () = assert!(WIDTHS[0] + WIDTHS[1] + WIDTHS[2] == TAPS);

/// What one word adds to the windows over it, by position (first those of width 3, then 4, then 5) and filter.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Row(pub(super) [[f32; LANES]; TAPS]);

impl Row {
    pub(super) const ZERO: Self = Self([[0.0; LANES]; TAPS]);
}

/// Rows are asked of the memory this many tokens before they are added: about what it takes them to arrive.
pub(super) const AHEAD: usize = 24;

/// Some neighbouring lanes of a line.
trait Lanes: Copy {
    const COUNT: usize;
    fn splat(value: f32) -> Self;
    /// The lanes of `line` from `COUNT · part` on.
    fn load(line: &[f32; LANES], part: usize) -> Self;
    fn store(self, line: &mut [f32; LANES], part: usize);
    fn add(self, other: Self) -> Self;
    /// The greater, or `other` when neither is.
    fn max(self, other: Self) -> Self;
}

impl Lanes for [f32; 4] {
    const COUNT: usize = 4;
    #[inline(always)]
    fn splat(value: f32) -> Self {
        [value; 4]
    }
    #[inline(always)]
    fn load(line: &[f32; LANES], part: usize) -> Self {
        line.as_chunks().0.get(part).copied().unwrap_or([0.0; 4])
    }
    #[inline(always)]
    fn store(self, line: &mut [f32; LANES], part: usize) {
        if let Some(chunk) = line.as_chunks_mut().0.get_mut(part) {
            *chunk = self;
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane] + other[lane])
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        std::array::from_fn(|lane| match self[lane] > other[lane] {
            true => self[lane],
            false => other[lane],
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Lanes};
    use std::arch::x86_64::*;

    /// Implements [`Lanes`] by intrinsics.
    macro_rules! lanes {
        ($vector:ty, $count:literal, $splat:ident, $load:ident, $store:ident, $add:ident, $max:ident) => {
            // SAFETY of all: only the `#[target_feature]` functions below use these vectors, and they run only where
            // the feature was detected. Loads and stores are of `$count` floats inside a line of 16, as
            // `part < 16 / $count` is checked.
            impl Lanes for $vector {
                const COUNT: usize = $count;
                #[inline(always)]
                fn splat(value: f32) -> Self {
                    unsafe { $splat(value) }
                }
                #[inline(always)]
                fn load(line: &[f32; LANES], part: usize) -> Self {
                    assert!(part < LANES / $count);
                    unsafe { $load(line.as_ptr().add(part * $count)) }
                }
                #[inline(always)]
                fn store(self, line: &mut [f32; LANES], part: usize) {
                    assert!(part < LANES / $count);
                    unsafe { $store(line.as_mut_ptr().add(part * $count), self) }
                }
                #[inline(always)]
                fn add(self, other: Self) -> Self {
                    unsafe { $add(self, other) }
                }
                #[inline(always)]
                fn max(self, other: Self) -> Self {
                    unsafe { $max(self, other) }
                }
            }
        };
    }

    lanes!(
        __m256,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_max_ps
    );
    lanes!(
        __m512,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_max_ps
    );
}

/// The greatest sum of every filter over a document's windows.
///
/// Each word's row is read once: its entries are added to the sums of the windows that are open at it, and one window
/// of each width closes. Windows that would start before the document begin at minus infinity and never win. `upcoming`
/// are the tokens [`AHEAD`] of each.
#[inline(always)]
fn maxima<V: Lanes>(
    rows: &[Row],
    tokens: &[u32],
    upcoming: &[u32],
) -> [[f32; LANES]; WIDTHS.len()] {
    let mut lines = [[0.0; LANES]; WIDTHS.len()];
    for part in 0..LANES / V::COUNT {
        let none = V::splat(f32::NEG_INFINITY);
        // Window sums by number of words: three[0] has seen one word, three[1] two.
        let mut three = [none; 2];
        let mut four = [none; 3];
        let mut five = [none; 4];
        let mut best = [none; 3];
        for (&token, &soon) in tokens.iter().zip(upcoming) {
            if part == 0
                && let Some(Row(row)) = rows.get(soon as usize)
            {
                prefetch(row);
            }
            // Tokens are checked before; the zero row is never reached in this way.
            let Row(row) = rows.get(token as usize).unwrap_or(&Row::ZERO);
            let tap = |position: usize| V::load(&row[position], part);
            best[0] = three[1].add(tap(2)).max(best[0]);
            three = [tap(0), three[0].add(tap(1))];
            best[1] = four[2].add(tap(6)).max(best[1]);
            four = [tap(3), four[0].add(tap(4)), four[1].add(tap(5))];
            best[2] = five[3].add(tap(11)).max(best[2]);
            five = [
                tap(7),
                five[0].add(tap(8)),
                five[1].add(tap(9)),
                five[2].add(tap(10)),
            ];
        }
        for (line, best) in lines.iter_mut().zip(best) {
            best.store(line, part);
        }
    }
    lines
}

/// What a block adds to a document's logit: maxima, bias, ReLU, output layer.
#[inline(always)]
fn contribution<V: Lanes>(block: &Block, tokens: &[u32], upcoming: &[u32]) -> f64 {
    let maxima = maxima::<V>(&block.rows, tokens, upcoming);
    let mut lanes = [0.0_f64; LANES];
    for ((maxima, bias), output) in maxima.iter().zip(&block.bias).zip(&block.output) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let activation = (maxima[lane] + bias[lane]).max(0.0);
            *sum += f64::from(activation) * f64::from(output[lane]);
        }
    }
    // Sixteen lanes to one, always in this order.
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Products of word vectors with the filters of a block.
#[inline(always)]
fn rows_of<'a>(vectors: impl Iterator<Item = &'a [f32]>, taps: &[Row]) -> Vec<Row> {
    vectors
        .map(|vector| {
            let mut sums = Row::ZERO;
            for (value, Row(tap)) in vector.iter().zip(taps) {
                for (line, tap) in sums.0.iter_mut().zip(tap) {
                    for (sum, weight) in line.iter_mut().zip(tap) {
                        *sum += value * weight;
                    }
                }
            }
            sums
        })
        .collect()
}

#[cfg(target_arch = "x86_64")]
mod features {
    use super::*;
    use std::arch::x86_64::{__m256, __m512};

    #[target_feature(enable = "avx512f")]
    pub(super) fn contribution_avx512(block: &Block, tokens: &[u32], upcoming: &[u32]) -> f64 {
        contribution::<__m512>(block, tokens, upcoming)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn contribution_avx2(block: &Block, tokens: &[u32], upcoming: &[u32]) -> f64 {
        contribution::<__m256>(block, tokens, upcoming)
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn rows_avx512<'a>(
        vectors: impl Iterator<Item = &'a [f32]>,
        taps: &[Row],
    ) -> Vec<Row> {
        rows_of(vectors, taps)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn rows_avx2<'a>(
        vectors: impl Iterator<Item = &'a [f32]>,
        taps: &[Row],
    ) -> Vec<Row> {
        rows_of(vectors, taps)
    }
}

/// What a block of filters adds to the logit of a document of at least five tokens. `upcoming` are as many tokens: those
/// [`AHEAD`] of each, in this document or the next ones.
#[inline]
pub(super) fn scan(
    instructions: Instructions,
    block: &Block,
    tokens: &[u32],
    upcoming: &[u32],
) -> f64 {
    match instructions {
        // SAFETY: a TableScorer has only instructions that were detected on this machine.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { features::contribution_avx512(block, tokens, upcoming) },
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { features::contribution_avx2(block, tokens, upcoming) },
        _ => contribution::<[f32; 4]>(block, tokens, upcoming),
    }
}

/// One row per word vector: its products with every tap of a block, `taps` being given per number of the vector.
pub(super) fn products<'a>(
    instructions: Instructions,
    vectors: impl Iterator<Item = &'a [f32]>,
    taps: &[Row],
) -> Vec<Row> {
    match instructions {
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { features::rows_avx512(vectors, taps) },
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { features::rows_avx2(vectors, taps) },
        _ => rows_of(vectors, taps),
    }
}
