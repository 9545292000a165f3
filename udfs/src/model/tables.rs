//! The TextCNN by look-up tables: the fast backend.
//!
//! A convolution over word vectors is linear up to its maximum. So the product of each word's vector with each position
//! of each filter is computed once, when the model is loaded; a document is then scored by look-ups, additions and
//! maxima, without a multiplication per token.
//!
//! What limits it is how fast the tables come through the caches. So filters are tabulated in 16 bits as far as the score
//! bears it, with half the bytes and twice the lanes. An activation is never less than zero, and never more than the sum
//! of the greatest products at each position: the filter's bound. In units of a 65,535th of the bound, a window's first
//! word says what it leaves of the bound, each further one what it takes away, by subtraction that stops at zero: where
//! nothing is left, the filter is inactive whatever follows. So no range is wasted, nothing overflows, and the rounding
//! of entries is the only error.

use super::error::ModelError;
use super::folder::{LANES, MIN_TOKENS, Spec, WIDTHS, Weights};
use super::kernel::{self, AHEAD, Block, NARROW_LANES, Row, TAPS};
use super::network::{Scorer, check_tokens};

/// Products of word vectors and filters, and the output layer.
///
/// Filters are handled in blocks. The tables of a block lie together, in the order of the vocabulary, the most frequent
/// words first; scoring goes block by block over all documents of a batch, so that a block's frequent words stay in the
/// cache.
pub struct TableScorer {
    /// Filters whose rounding matters little.
    pub(super) narrow: Vec<Block<u16, NARROW_LANES>>,
    /// All others.
    pub(super) wide: Vec<Block<f32, LANES>>,
    pub(super) vocabulary: usize,
    pub(super) output_bias: f64,
    instructions: Instructions,
}

/// Filters are tabulated in 16 bits as long as the standard deviation of a probability's error, by the independent
/// rounding of entries, is at most this where the logistic function is steepest: an error of 1e-5 is then four of them.
const ROUNDING: f64 = 2.5e-6;

/// Vector instructions that the tables can be scanned with. All give the same bits: every sum is added in the same
/// order, no product is fused into a sum, and a lane never meets another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// 512-bit vectors.
    Avx512,
    /// 256-bit vectors.
    Avx2,
    /// What every machine of the architecture has.
    Plain,
}

impl Instructions {
    /// All that this machine has, the fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512bw")
            {
                found.push(Self::Avx512);
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                found.push(Self::Avx2);
            }
        }
        found.push(Self::Plain);
        found
    }
}

impl TableScorer {
    /// Computes the tables, for the fastest instructions of this machine. Probabilities differ from those of the network
    /// in 32 bits by up to some 1e-5.
    #[must_use]
    pub fn new(spec: &Spec, weights: &Weights) -> Self {
        Self::with_instructions(spec, weights, fastest())
    }

    /// As [`Self::new`], all in 32 bits.
    #[must_use]
    pub fn exact(spec: &Spec, weights: &Weights) -> Self {
        Self::with_rounding(spec, weights, fastest(), 0.0)
    }

    /// As [`Self::new`], for chosen instructions, or plain ones where this machine lacks them.
    #[must_use]
    pub fn with_instructions(spec: &Spec, weights: &Weights, instructions: Instructions) -> Self {
        let instructions = match Instructions::available().contains(&instructions) {
            true => instructions,
            false => Instructions::Plain,
        };
        Self::with_rounding(spec, weights, instructions, ROUNDING)
    }

    fn with_rounding(
        spec: &Spec,
        weights: &Weights,
        instructions: Instructions,
        rounding: f64,
    ) -> Self {
        let ranked = WIDTHS.map(|width| by_weight(spec, weights, width));
        let group = |number: usize| -> Block<f32, LANES> {
            let filters = std::array::from_fn(|index| {
                std::array::from_fn(|lane| ranked[index][number * LANES + lane])
            });
            wide_block(spec, weights, instructions, filters)
        };
        // The logistic function is nowhere steeper than 1/4.
        let steepest = spec.calibration.scale / 4.0;
        let bearable = (rounding / steepest).powi(2);
        let mut variance = 0.0;
        let (mut narrow, mut wide) = (Vec::new(), Vec::new());
        let mut groups = (0..spec.filters / LANES).map(group);
        while let Some(first) = groups.next() {
            match groups.next() {
                Some(second) if wide.is_empty() && bearable > 0.0 => {
                    let (block, more) = narrow_block([&first, &second]);
                    variance += more;
                    match variance <= bearable {
                        true => narrow.push(block),
                        false => wide.extend([first, second]),
                    }
                }
                second => wide.extend([first].into_iter().chain(second)),
            }
        }
        let output_bias = weights.get("output.bias").first().copied();
        Self {
            narrow,
            wide,
            vocabulary: spec.vocabulary,
            output_bias: output_bias.map_or(0.0, f64::from),
            instructions,
        }
    }

    /// The instructions in use.
    #[must_use]
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Memory of the tables in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let wide = self.wide.iter().map(|block| size_of_val(&block.rows[..]));
        let narrow = self.narrow.iter().map(|block| size_of_val(&block.rows[..]));
        wide.chain(narrow).sum()
    }
}

fn fastest() -> Instructions {
    let fastest = Instructions::available().first().copied();
    fastest.unwrap_or(Instructions::Plain)
}

/// The numbers of a width's filters, first those whose rounding matters least: it matters as much as their entries are
/// large, and as the output layer takes them.
fn by_weight(spec: &Spec, weights: &Weights, width: usize) -> Vec<usize> {
    let filters = weights.get(&format!("conv{width}.weight"));
    let index = WIDTHS.iter().take_while(|&&other| other != width).count();
    let outputs = weights.get("output.weight").iter();
    let weights: Vec<f64> = filters
        .chunks_exact(spec.embedding * width)
        .zip(outputs.skip(index * spec.filters))
        .map(|(filter, &output)| {
            let norm = |position: usize| {
                let values = filter.iter().skip(position).step_by(width);
                values
                    .map(|&value| f64::from(value).powi(2))
                    .sum::<f64>()
                    .sqrt()
            };
            f64::from(output).abs() * (0..width).map(norm).sum::<f64>()
        })
        .collect();
    let mut ranked: Vec<usize> = (0..spec.filters).collect();
    let weight = |filter: usize| weights.get(filter).copied().unwrap_or(0.0);
    ranked.sort_by(|&a, &b| weight(a).total_cmp(&weight(b)).then(a.cmp(&b)));
    ranked
}

/// The first tap of each width.
pub(super) const FIRST_TAPS: [usize; WIDTHS.len()] = [0, WIDTHS[0], WIDTHS[0] + WIDTHS[1]];

/// A block of these filters by width. The entries of a window's first word have the filter's bias in them.
fn wide_block(
    spec: &Spec,
    weights: &Weights,
    instructions: Instructions,
    filters: [[usize; LANES]; WIDTHS.len()],
) -> Block<f32, LANES> {
    // Per number of the word vector the 16 lanes of each tap.
    let mut taps = vec![Row::<f32, LANES>::zero(); spec.embedding];
    let mut bias = [[0.0_f32; LANES]; WIDTHS.len()];
    let mut coefficients = [[0.0; LANES]; WIDTHS.len()];
    for (index, (width, numbers)) in WIDTHS.into_iter().zip(filters).enumerate() {
        let all = weights.get(&format!("conv{width}.weight"));
        let biases = weights.get(&format!("conv{width}.bias"));
        let outputs = weights.get("output.weight");
        for (lane, number) in numbers.into_iter().enumerate() {
            let filter = all.chunks_exact(spec.embedding * width).nth(number);
            let windows = filter.unwrap_or(&[]).chunks_exact(width);
            for (Row(row), window) in taps.iter_mut().zip(windows) {
                for (line, value) in row[FIRST_TAPS[index]..].iter_mut().zip(window) {
                    line[lane] = *value;
                }
            }
            bias[index][lane] = biases.get(number).copied().unwrap_or(0.0);
            let output = outputs.get(index * spec.filters + number);
            coefficients[index][lane] = output.copied().map_or(0.0, f64::from);
        }
    }
    let vectors = weights.get("embedding.weight").chunks_exact(spec.embedding);
    let mut rows = kernel::products(instructions, vectors, &taps);
    rows.push(Row::zero());
    for Row(row) in &mut rows {
        for (first, bias) in FIRST_TAPS.into_iter().zip(bias) {
            for (entry, bias) in row[first].iter_mut().zip(bias) {
                *entry += bias;
            }
        }
    }
    Block {
        rows,
        filters,
        coefficients,
    }
}

/// The filters of two blocks in 16 bits, and the variance of their part of the logit by rounding.
fn narrow_block(halves: [&Block<f32, LANES>; 2]) -> (Block<u16, NARROW_LANES>, f64) {
    let [first, second] = halves;
    let mut block = Block {
        rows: vec![Row::zero(); first.rows.len().min(second.rows.len())],
        filters: [[0; NARROW_LANES]; WIDTHS.len()],
        coefficients: [[0.0; NARROW_LANES]; WIDTHS.len()],
    };
    let mut variance = 0.0;
    for (half, lanes) in halves.into_iter().zip([0, LANES]) {
        let mut greatest = [[f32::NEG_INFINITY; LANES]; TAPS];
        for Row(row) in &half.rows {
            for (greatest, line) in greatest.iter_mut().zip(row) {
                for (greatest, &entry) in greatest.iter_mut().zip(line) {
                    *greatest = greatest.max(entry);
                }
            }
        }
        // Units per one, by tap.
        let mut units = [[0.0_f32; LANES]; TAPS];
        for (index, (width, tap)) in WIDTHS.into_iter().zip(FIRST_TAPS).enumerate() {
            for lane in 0..LANES {
                let bound: f32 = greatest[tap..tap + width]
                    .iter()
                    .map(|line| line[lane])
                    .sum();
                // A filter that no document can activate has no unit, and adds nothing.
                let (unit, per_one) = match bound > 0.0 {
                    true => (
                        f64::from(bound) / f64::from(u16::MAX),
                        f32::from(u16::MAX) / bound,
                    ),
                    false => (0.0, 0.0),
                };
                for line in &mut units[tap..tap + width] {
                    line[lane] = per_one;
                }
                let coefficient = half.coefficients[index][lane] * unit;
                block.coefficients[index][lanes + lane] = coefficient;
                block.filters[index][lanes + lane] = half.filters[index][lane];
                // The error of rounding to whole units is even between -1/2 and 1/2.
                variance += coefficient.powi(2) * width as f64 / 12.0;
            }
        }
        for (Row(narrow), Row(wide)) in block.rows.iter_mut().zip(&half.rows) {
            for tap in 0..TAPS {
                for lane in 0..LANES {
                    let short = (greatest[tap][lane] - wide[tap][lane]) * units[tap][lane];
                    // Saturates: what takes away more than there can be takes away all.
                    narrow[tap][lanes + lane] = (short + 0.5) as u16;
                }
            }
            for tap in FIRST_TAPS {
                for entry in &mut narrow[tap][lanes..lanes + LANES] {
                    *entry = u16::MAX - *entry;
                }
            }
        }
    }
    (block, variance)
}

impl Scorer for TableScorer {
    fn logits(&self, documents: &[&[u32]]) -> Result<Vec<f32>, ModelError> {
        // All tokens in one row, so that a document's end does not keep the next one's rows from being asked for.
        let padding = self.vocabulary as u32;
        let padded = documents
            .iter()
            .map(|document| document.len().max(MIN_TOKENS));
        let mut stream = Vec::with_capacity(padded.sum::<usize>() + AHEAD);
        let mut spans = Vec::with_capacity(documents.len());
        for document in documents {
            check_tokens(document, self.vocabulary)?;
            let start = stream.len();
            stream.extend_from_slice(document);
            stream.resize(stream.len().max(start + MIN_TOKENS), padding);
            spans.push(start..stream.len());
        }
        stream.extend([padding; AHEAD]);
        let upcoming = stream.get(AHEAD..).unwrap_or(&[]);
        let mut sums = vec![self.output_bias; documents.len()];
        let mut add = |scan: &dyn Fn(&[u32], &[u32]) -> f64| {
            for (span, sum) in spans.iter().zip(&mut sums) {
                if let (Some(tokens), Some(upcoming)) =
                    (stream.get(span.clone()), upcoming.get(span.clone()))
                {
                    *sum += scan(tokens, upcoming);
                }
            }
        };
        let instructions = self.instructions;
        for block in &self.narrow {
            add(&|tokens, upcoming| kernel::scan_narrow(instructions, block, tokens, upcoming));
        }
        for block in &self.wide {
            add(&|tokens, upcoming| kernel::scan_wide(instructions, block, tokens, upcoming));
        }
        Ok(sums.into_iter().map(|sum| sum as f32).collect())
    }
}

impl std::fmt::Debug for TableScorer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TableScorer")
            .field("vocabulary", &self.vocabulary)
            .field("narrow", &self.narrow.len())
            .field("wide", &self.wide.len())
            .field("instructions", &self.instructions)
            .finish()
    }
}
