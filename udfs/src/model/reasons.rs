//! Why a document has its score: what each filter of the network found in it.

use super::error::ModelError;
use super::folder::{MIN_TOKENS, WIDTHS};
use super::kernel::{Block, Value};
use super::network::check_tokens;
use super::tables::FIRST_TAPS;
use super::{Model, TableScorer};
use std::ops::Range;

/// A document's score, taken apart: `base` and the contributions add up to `log_odds`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reasons {
    /// Probability at even odds, 0 to 1; 0 for a document without a token.
    pub probability: f64,
    /// Logarithm of the odds: the calibrated logit.
    pub log_odds: f64,
    /// The log odds of a document in which no filter finds anything.
    pub base: f64,
    /// One per filter: those of width 3 by number, then 4, then 5.
    pub windows: Vec<Window>,
}

/// A filter's winning window: where in the document it finds most of what it looks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Positions of the window's tokens; those of zero vectors behind a short document are left out.
    pub tokens: Range<usize>,
    /// Width of the filter in tokens: 3, 4 or 5.
    pub width: usize,
    /// Its number among those of its width.
    pub filter: usize,
    /// What it adds to the log odds; 0 when the filter finds nothing.
    pub contribution: f64,
}

impl Model {
    /// Takes the score of a tokenized document apart.
    ///
    /// # Errors
    /// A token that is no word's.
    pub fn reasons(&self, document: &[u32]) -> Result<Reasons, ModelError> {
        check_tokens(document, self.vocabulary.len())?;
        let calibration = self.spec.calibration;
        let (bias, windows) = match document.is_empty() {
            true => (self.scorer().output_bias, Vec::new()),
            false => self.scorer().winners(document),
        };
        let scale = |window: Window| Window {
            contribution: window.contribution * calibration.scale,
            ..window
        };
        let windows: Vec<Window> = windows.into_iter().map(scale).collect();
        let base = calibration.scale * bias + calibration.offset;
        let found: f64 = windows.iter().map(|window| window.contribution).sum();
        let log_odds = base + found;
        Ok(Reasons {
            probability: match document.is_empty() {
                true => 0.0,
                false => super::sigmoid(log_odds),
            },
            log_odds,
            base,
            windows,
        })
    }
}

impl TableScorer {
    /// The output layer's bias, and each filter's winning window with its contribution to the logit. Of equal
    /// windows the first wins.
    fn winners(&self, document: &[u32]) -> (f64, Vec<Window>) {
        let mut tokens = document.to_vec();
        tokens.resize(document.len().max(MIN_TOKENS), self.vocabulary as u32);
        let narrow = self.narrow.iter().flat_map(|block| block.winners(&tokens));
        let wide = self.wide.iter().flat_map(|block| block.winners(&tokens));
        let within = |window: Window| Window {
            tokens: window.tokens.start.min(document.len())..window.tokens.end.min(document.len()),
            ..window
        };
        let mut windows: Vec<Window> = narrow.chain(wide).map(within).collect();
        windows.sort_by_key(|window| (window.width, window.filter));
        (self.output_bias, windows)
    }
}

impl<T: Value, const N: usize> Block<T, N> {
    fn winners(&self, tokens: &[u32]) -> Vec<Window> {
        let mut windows = Vec::with_capacity(N * WIDTHS.len());
        for (index, width) in WIDTHS.into_iter().enumerate() {
            for lane in 0..N {
                let entry = |(at, &token): (usize, &u32)| match self.rows.get(token as usize) {
                    Some(row) => row.0[FIRST_TAPS[index] + at][lane],
                    None => T::NONE,
                };
                let value = |window: &[u32]| -> T {
                    let entries = window.iter().enumerate().map(entry);
                    entries.reduce(T::extend).unwrap_or(T::NONE)
                };
                let (mut start, mut greatest) = (0, T::NONE);
                for (at, window) in tokens.windows(width).enumerate() {
                    let found = value(window);
                    if found > greatest {
                        (start, greatest) = (at, found);
                    }
                }
                let activation: f64 = greatest.into();
                windows.push(Window {
                    tokens: start..start + width,
                    width,
                    filter: self.filters[index][lane],
                    contribution: activation.max(0.0) * self.coefficients[index][lane],
                });
            }
        }
        windows
    }
}
