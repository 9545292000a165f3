//! The inner loops of the look-up tables, once for each set of vector instructions and precision.
//!
//! They are written once, over vectors of any number of lanes; what differs is which instructions the compiler may use
//! for them. Lanes are independent and each lane's operations have a fixed order, so the width does not show in the
//! result.

use super::folder::{LANES, WIDTHS};
use super::tables::Instructions;
use crate::prefetch::prefetch;

/// Positions of all filters: 3 + 4 + 5.
pub(super) const TAPS: usize = 12;
const _: () = assert!(WIDTHS[0] + WIDTHS[1] + WIDTHS[2] == TAPS);

/// Lanes of 16 bits that take the place of [`LANES`] of 32.
pub(super) const NARROW_LANES: usize = 2 * LANES;

/// What one word does to the windows over it, by position (first those of width 3, then 4, then 5) and filter.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Row<T, const N: usize>(pub(super) [[T; N]; TAPS]);

impl<T: Default + Copy, const N: usize> Row<T, N> {
    pub(super) fn zero() -> Self {
        Self([[T::default(); N]; TAPS])
    }
}

/// `N` filters of each width: their rows by word, the last one being the zero vector's, and the output layer.
pub(super) struct Block<T, const N: usize> {
    pub(super) rows: Vec<Row<T, N>>,
    /// The filters' numbers, by width and lane.
    pub(super) filters: [[usize; N]; WIDTHS.len()],
    /// What one unit of a filter's activation adds to the logit, by width and lane.
    pub(super) coefficients: [[f64; N]; WIDTHS.len()],
}

/// Rows are asked of the memory this many tokens before they are used: about what it takes them to arrive.
pub(super) const AHEAD: usize = 24;

/// How a window's value comes about, in one number.
pub(super) trait Value: Copy + Default + PartialOrd + Into<f64> {
    /// The value of a window that would begin before the document; it never becomes more than [`Self::default`], an
    /// inactive filter's.
    const NONE: Self;

    /// The value of a window with one more word; it began with the entry of its first word.
    fn extend(self, entry: Self) -> Self;
}

/// Entries are products, a window's value their sum.
impl Value for f32 {
    const NONE: Self = Self::NEG_INFINITY;

    #[inline(always)]
    fn extend(self, entry: Self) -> Self {
        self + entry
    }
}

/// A window's value is what is left of the greatest possible one after each word has taken away what it falls short
/// by; where nothing is left the filter is inactive, whatever follows.
impl Value for u16 {
    const NONE: Self = 0;

    #[inline(always)]
    fn extend(self, entry: Self) -> Self {
        self.saturating_sub(entry)
    }
}

/// Some neighbouring lanes of a line of `N`.
trait Lanes<T, const N: usize>: Copy {
    const COUNT: usize;
    fn splat(value: T) -> Self;
    /// The lanes of `line` from `COUNT · part` on.
    fn load(line: &[T; N], part: usize) -> Self;
    fn store(self, line: &mut [T; N], part: usize);
    /// [`Value::extend`] in each lane.
    fn extend(self, entry: Self) -> Self;
    /// The greater, or `other` when neither is.
    fn max(self, other: Self) -> Self;
}

/// As many values as every machine of the architecture has in a register.
impl<T: Value, const N: usize, const M: usize> Lanes<T, N> for [T; M] {
    const COUNT: usize = M;

    #[inline(always)]
    fn splat(value: T) -> Self {
        [value; M]
    }

    #[inline(always)]
    fn load(line: &[T; N], part: usize) -> Self {
        let lanes = line.as_chunks().0.get(part).copied();
        lanes.unwrap_or([T::default(); M])
    }

    #[inline(always)]
    fn store(self, line: &mut [T; N], part: usize) {
        if let Some(chunk) = line.as_chunks_mut().0.get_mut(part) {
            *chunk = self;
        }
    }

    #[inline(always)]
    fn extend(self, entry: Self) -> Self {
        std::array::from_fn(|lane| self[lane].extend(entry[lane]))
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
    use super::Lanes;
    use std::arch::x86_64::*;

    /// A register of 16-bit integers.
    #[derive(Clone, Copy)]
    pub(super) struct Narrow256(__m256i);
    /// A register of 16-bit integers.
    #[derive(Clone, Copy)]
    pub(super) struct Narrow512(__m512i);

    /// Implements [`Lanes`] by intrinsics.
    macro_rules! lanes {
        ($vector:ty, $value:ty, $count:literal, $of:expr, $in:expr, $splat:ident, $number:ty, $load:ident, $store:ident,
         $extend:ident, $max:ident) => {
            // SAFETY of all: only the `#[target_feature]` functions below use these vectors, and they run only where
            // the features were detected. Loads and stores are of `$count` values inside a line of `N`, as `part` is
            // checked.
            impl<const N: usize> Lanes<$value, N> for $vector {
                const COUNT: usize = $count;

                #[inline(always)]
                fn splat(value: $value) -> Self {
                    $of(unsafe { $splat(value as $number) })
                }

                #[inline(always)]
                fn load(line: &[$value; N], part: usize) -> Self {
                    assert!(part < N / $count);
                    $of(unsafe { $load(line.as_ptr().add(part * $count).cast()) })
                }

                #[inline(always)]
                fn store(self, line: &mut [$value; N], part: usize) {
                    assert!(part < N / $count);
                    unsafe { $store(line.as_mut_ptr().add(part * $count).cast(), $in(self)) }
                }

                #[inline(always)]
                fn extend(self, entry: Self) -> Self {
                    $of(unsafe { $extend($in(self), $in(entry)) })
                }

                #[inline(always)]
                fn max(self, other: Self) -> Self {
                    $of(unsafe { $max($in(self), $in(other)) })
                }
            }
        };
    }

    // SAFETY of both: as above.
    impl super::Factors for __m256 {
        #[inline(always)]
        fn times(self, other: Self) -> Self {
            unsafe { _mm256_mul_ps(self, other) }
        }
    }
    impl super::Factors for __m512 {
        #[inline(always)]
        fn times(self, other: Self) -> Self {
            unsafe { _mm512_mul_ps(self, other) }
        }
    }

    lanes!(
        __m256,
        f32,
        8,
        std::convert::identity,
        std::convert::identity,
        _mm256_set1_ps,
        f32,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_max_ps
    );
    lanes!(
        __m512,
        f32,
        16,
        std::convert::identity,
        std::convert::identity,
        _mm512_set1_ps,
        f32,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_max_ps
    );
    lanes!(
        Narrow256,
        u16,
        16,
        Narrow256,
        |vector: Narrow256| vector.0,
        _mm256_set1_epi16,
        i16,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_subs_epu16,
        _mm256_max_epu16
    );
    lanes!(
        Narrow512,
        u16,
        32,
        Narrow512,
        |vector: Narrow512| vector.0,
        _mm512_set1_epi16,
        i16,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_subs_epu16,
        _mm512_max_epu16
    );
}

/// The activation of every filter: its greatest value over a document's windows, and not less than zero.
///
/// Each word's row is read once: its entries go to the windows that are open at it, and one window of each width closes.
/// `upcoming` are the tokens [`AHEAD`] of each.
#[inline(always)]
fn activations<T: Value, const N: usize, V: Lanes<T, N>>(
    rows: &[Row<T, N>],
    tokens: &[u32],
    upcoming: &[u32],
) -> [[T; N]; WIDTHS.len()] {
    let mut lines = [[T::default(); N]; WIDTHS.len()];
    for part in 0..N / V::COUNT {
        let none = V::splat(T::NONE);
        // Open windows by number of words: three[0] has seen one word, three[1] two.
        let mut three = [none; 2];
        let mut four = [none; 3];
        let mut five = [none; 4];
        let mut best = [V::splat(T::default()); 3];
        for (&token, &soon) in tokens.iter().zip(upcoming) {
            if part == 0
                && let Some(Row(row)) = rows.get(soon as usize)
            {
                prefetch(row);
            }
            // Tokens are checked before: each has a row.
            let Some(Row(row)) = rows.get(token as usize) else {
                continue;
            };
            let tap = |position: usize| V::load(&row[position], part);
            best[0] = three[1].extend(tap(2)).max(best[0]);
            three = [tap(0), three[0].extend(tap(1))];
            best[1] = four[2].extend(tap(6)).max(best[1]);
            four = [tap(3), four[0].extend(tap(4)), four[1].extend(tap(5))];
            best[2] = five[3].extend(tap(11)).max(best[2]);
            five = [
                tap(7),
                five[0].extend(tap(8)),
                five[1].extend(tap(9)),
                five[2].extend(tap(10)),
            ];
        }
        for (line, best) in lines.iter_mut().zip(best) {
            best.store(line, part);
        }
    }
    lines
}

/// What a block adds to a document's logit.
#[inline(always)]
fn contribution<T: Value, const N: usize, V: Lanes<T, N>>(
    block: &Block<T, N>,
    tokens: &[u32],
    upcoming: &[u32],
) -> f64 {
    let activations = activations::<T, N, V>(&block.rows, tokens, upcoming);
    let mut lanes = [0.0_f64; LANES];
    for (line, coefficients) in activations.iter().zip(&block.coefficients) {
        let (values, _) = line.as_chunks::<LANES>();
        let (coefficients, _) = coefficients.as_chunks::<LANES>();
        for (values, coefficients) in values.iter().zip(coefficients) {
            for (sum, (&value, coefficient)) in
                lanes.iter_mut().zip(values.iter().zip(coefficients))
            {
                *sum += value.into() * coefficient;
            }
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

/// Lanes that can be multiplied.
trait Factors: Lanes<f32, LANES> {
    fn times(self, other: Self) -> Self;
}

impl Factors for [f32; 4] {
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        std::array::from_fn(|lane| self[lane] * other[lane])
    }
}

/// Products of word vectors with sixteen filters of each width.
#[inline(always)]
fn rows_of<'a, V: Factors>(
    vectors: impl Iterator<Item = &'a [f32]>,
    taps: &[Row<f32, LANES>],
) -> Vec<Row<f32, LANES>> {
    let mut rows = Vec::with_capacity(vectors.size_hint().0 + 1);
    for vector in vectors {
        let mut row = Row::zero();
        for part in 0..LANES / V::COUNT {
            let mut sums = [V::splat(0.0); TAPS];
            for (&value, Row(tap)) in vector.iter().zip(taps) {
                let value = V::splat(value);
                for (sum, line) in sums.iter_mut().zip(tap) {
                    *sum = sum.extend(value.times(V::load(line, part)));
                }
            }
            for (sum, line) in sums.into_iter().zip(&mut row.0) {
                sum.store(line, part);
            }
        }
        rows.push(row);
    }
    rows
}

#[cfg(target_arch = "x86_64")]
mod features {
    use super::x86::{Narrow256, Narrow512};
    use super::*;
    use std::arch::x86_64::{__m256, __m512};

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn wide_avx512(block: &Block<f32, LANES>, tokens: &[u32], upcoming: &[u32]) -> f64 {
        contribution::<f32, LANES, __m512>(block, tokens, upcoming)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn wide_avx2(block: &Block<f32, LANES>, tokens: &[u32], upcoming: &[u32]) -> f64 {
        contribution::<f32, LANES, __m256>(block, tokens, upcoming)
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn narrow_avx512(
        block: &Block<u16, NARROW_LANES>,
        tokens: &[u32],
        upcoming: &[u32],
    ) -> f64 {
        contribution::<u16, NARROW_LANES, Narrow512>(block, tokens, upcoming)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn narrow_avx2(
        block: &Block<u16, NARROW_LANES>,
        tokens: &[u32],
        upcoming: &[u32],
    ) -> f64 {
        contribution::<u16, NARROW_LANES, Narrow256>(block, tokens, upcoming)
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn rows_avx512<'a>(
        vectors: impl Iterator<Item = &'a [f32]>,
        taps: &[Row<f32, LANES>],
    ) -> Vec<Row<f32, LANES>> {
        rows_of::<__m512>(vectors, taps)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn rows_avx2<'a>(
        vectors: impl Iterator<Item = &'a [f32]>,
        taps: &[Row<f32, LANES>],
    ) -> Vec<Row<f32, LANES>> {
        rows_of::<__m256>(vectors, taps)
    }
}

/// What a block of filters adds to the logit of a document of at least five tokens. `upcoming` are as many tokens: those
/// [`AHEAD`] of each, in this document or the next ones.
#[inline]
pub(super) fn scan_wide(
    instructions: Instructions,
    block: &Block<f32, LANES>,
    tokens: &[u32],
    upcoming: &[u32],
) -> f64 {
    match instructions {
        // SAFETY: a TableScorer has only instructions that were detected on this machine.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { features::wide_avx512(block, tokens, upcoming) },
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { features::wide_avx2(block, tokens, upcoming) },
        _ => contribution::<f32, LANES, [f32; 4]>(block, tokens, upcoming),
    }
}

/// As [`scan_wide`], for values of 16 bits.
#[inline]
pub(super) fn scan_narrow(
    instructions: Instructions,
    block: &Block<u16, NARROW_LANES>,
    tokens: &[u32],
    upcoming: &[u32],
) -> f64 {
    match instructions {
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { features::narrow_avx512(block, tokens, upcoming) },
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { features::narrow_avx2(block, tokens, upcoming) },
        _ => contribution::<u16, NARROW_LANES, [u16; 8]>(block, tokens, upcoming),
    }
}

/// One row per word vector: its products with every tap of sixteen filters of each width, `taps` being given per number
/// of the vector.
pub(super) fn products<'a>(
    instructions: Instructions,
    vectors: impl Iterator<Item = &'a [f32]>,
    taps: &[Row<f32, LANES>],
) -> Vec<Row<f32, LANES>> {
    match instructions {
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => unsafe { features::rows_avx512(vectors, taps) },
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => unsafe { features::rows_avx2(vectors, taps) },
        _ => rows_of::<[f32; 4]>(vectors, taps),
    }
}
