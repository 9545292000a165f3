//! The TextCNN by look-up tables: the fast backend.
//!
//! A convolution over word vectors is linear up to its maximum. So the product of each word's vector with each position
//! of each filter is computed once, when the model is loaded; a document is then scored by look-ups, additions and
//! maxima, without a multiplication per token.

use super::error::ModelError;
use super::folder::{LANES, MIN_TOKENS, Spec, WIDTHS, Weights};
use super::kernel::{self, AHEAD, Row, TAPS};
use super::network::{Scorer, check_tokens};

/// Products of word vectors and filters, and the output layer.
///
/// Filters are handled in blocks of 16 of each width. The tables of a block lie together, in the order of the
/// vocabulary, the most frequent words first; scoring goes block by block over all documents of a batch, so that a
/// block's frequent words stay in the cache.
pub struct TableScorer {
    /// Per block one row per word, and one of zeros for padding.
    pub(super) blocks: Vec<Block>,
    pub(super) vocabulary: usize,
    pub(super) output_bias: f64,
    instructions: Instructions,
}

/// Sixteen filters of each width.
pub(super) struct Block {
    /// One row per word; the last one is the zero vector's.
    pub(super) rows: Vec<Row>,
    /// Added to the maxima, by width and filter.
    pub(super) bias: [[f32; LANES]; WIDTHS.len()],
    /// Weights of the output layer, likewise.
    pub(super) output: [[f32; LANES]; WIDTHS.len()],
}

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
            if std::arch::is_x86_feature_detected!("avx512f") {
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
    /// Computes the tables, for the fastest instructions of this machine.
    #[must_use]
    pub fn new(spec: &Spec, weights: &Weights) -> Self {
        let fastest = Instructions::available().first().copied();
        Self::with_instructions(spec, weights, fastest.unwrap_or(Instructions::Plain))
    }

    /// The same for chosen instructions, or plain ones where this machine lacks them.
    #[must_use]
    pub fn with_instructions(spec: &Spec, weights: &Weights, instructions: Instructions) -> Self {
        let instructions = match Instructions::available().contains(&instructions) {
            true => instructions,
            false => Instructions::Plain,
        };
        let filters = spec.filters;
        let blocks = (0..filters / LANES)
            .map(|block| {
                let by_filter = |name: &dyn Fn(usize) -> (String, usize)| {
                    let mut values = [[0.0; LANES]; WIDTHS.len()];
                    for (index, lanes) in values.iter_mut().enumerate() {
                        let (name, offset) = name(index);
                        let source = weights.get(&name).iter().skip(offset + block * LANES);
                        lanes
                            .iter_mut()
                            .zip(source)
                            .for_each(|(to, from)| *to = *from);
                    }
                    values
                };
                let taps = taps_of_block(spec, weights, block);
                let vectors = weights.get("embedding.weight").chunks_exact(spec.embedding);
                let mut rows = kernel::products(instructions, vectors, &taps);
                rows.push(Row::ZERO);
                Block {
                    rows,
                    bias: by_filter(&|index| (format!("conv{}.bias", WIDTHS[index]), 0)),
                    output: by_filter(&|index| ("output.weight".to_owned(), index * filters)),
                }
            })
            .collect();
        Self {
            blocks,
            vocabulary: spec.vocabulary,
            output_bias: weights
                .get("output.bias")
                .first()
                .copied()
                .map_or(0.0, f64::from),
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
        self.blocks
            .iter()
            .map(|block| block.rows.len() * size_of::<Row>())
            .sum()
    }
}

/// The filters of one block as rows: per number of the word vector the 16 lanes of each tap.
fn taps_of_block(spec: &Spec, weights: &Weights, block: usize) -> Vec<Row> {
    let mut taps = vec![Row::ZERO; spec.embedding];
    let mut tap = 0;
    for width in WIDTHS {
        let filters = weights.get(&format!("conv{width}.weight"));
        let filters = filters.chunks_exact(spec.embedding * width);
        for (lane, filter) in filters.skip(block * LANES).take(LANES).enumerate() {
            for (row, window) in taps.iter_mut().zip(filter.chunks_exact(width)) {
                for (position, value) in window.iter().enumerate() {
                    row.0[tap + position][lane] = *value;
                }
            }
        }
        tap += width;
    }
    debug_assert_eq!(tap, TAPS);
    taps
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
        for block in &self.blocks {
            for (span, sum) in spans.iter().zip(&mut sums) {
                if let (Some(tokens), Some(upcoming)) =
                    (stream.get(span.clone()), upcoming.get(span.clone()))
                {
                    *sum += kernel::scan(self.instructions, block, tokens, upcoming);
                }
            }
        }
        Ok(sums.into_iter().map(|sum| sum as f32).collect())
    }
}

impl std::fmt::Debug for TableScorer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TableScorer")
            .field("vocabulary", &self.vocabulary)
            .field("blocks", &self.blocks.len())
            .field("instructions", &self.instructions)
            .finish()
    }
}
