//! The TextCNN (Kim 2014, "Convolutional Neural Networks for Sentence Classification") by tensors: the reference.
//!
//! Word vectors, convolutions over 3, 4 and 5 words with 128 filters each, the maximum over the document, ReLU, one
//! logit. A document with fewer than five tokens is followed by zero vectors up to five, so that each filter has a
//! window; otherwise nothing is padded, and a document's score does not depend on its neighbours in a batch.

use super::error::ModelError;
use super::folder::{MIN_TOKENS, Spec, WIDTHS, Weights};
use candle_core::{Device, Module as _, Tensor};
use candle_nn::{Conv1d, Conv1dConfig, Linear};

/// Computes the network's output for documents given as token ids.
pub trait Scorer: Send + Sync {
    /// One logit per document, in order. A document's logit depends on nothing but its tokens.
    ///
    /// # Errors
    /// A token that is no word's, or a failure of the backend.
    fn logits(&self, documents: &[&[u32]]) -> Result<Vec<f32>, ModelError>;
}

/// The network as tensor operations, one document at a time: plain, slow, the yardstick for other backends.
#[derive(Debug)]
pub struct CandleScorer {
    /// Word vectors, and after them the zero vector that pads short documents.
    embedding: Tensor,
    vocabulary: usize,
    convolutions: Vec<Conv1d>,
    output: Linear,
}

impl CandleScorer {
    /// Builds the network.
    ///
    /// # Errors
    /// A failure of the tensor library.
    pub fn new(spec: &Spec, weights: &Weights) -> Result<Self, ModelError> {
        let device = Device::Cpu;
        let tensor =
            |name: &str, shape: &[usize]| Tensor::from_slice(weights.get(name), shape, &device);
        let (words, embedding, filters) = (spec.vocabulary, spec.embedding, spec.filters);
        let vectors = tensor("embedding.weight", &[words, embedding])?;
        let mut convolutions = Vec::with_capacity(WIDTHS.len());
        for width in WIDTHS {
            let weight = tensor(&format!("conv{width}.weight"), &[filters, embedding, width])?;
            let bias = tensor(&format!("conv{width}.bias"), &[filters])?;
            convolutions.push(Conv1d::new(weight, Some(bias), Conv1dConfig::default()));
        }
        Ok(Self {
            embedding: vectors.pad_with_zeros(0, 0, 1)?,
            vocabulary: words,
            convolutions,
            output: Linear::new(
                tensor("output.weight", &[1, WIDTHS.len() * filters])?,
                Some(tensor("output.bias", &[1])?),
            ),
        })
    }

    fn logit(&self, document: &[u32]) -> Result<f32, ModelError> {
        check_tokens(document, self.vocabulary)?;
        let mut tokens = document.to_vec();
        tokens.resize(document.len().max(MIN_TOKENS), self.vocabulary as u32);
        let count = tokens.len();
        let tokens = Tensor::from_vec(tokens, count, &Device::Cpu)?;
        // 1 × embedding × tokens
        let vectors = self.embedding.index_select(&tokens, 0)?.t()?.unsqueeze(0)?;
        let mut maxima = Vec::with_capacity(WIDTHS.len());
        for convolution in &self.convolutions {
            maxima.push(
                convolution
                    .forward(&vectors.contiguous()?)?
                    .max(2)?
                    .relu()?,
            );
        }
        let logit = self.output.forward(&Tensor::cat(&maxima, 1)?)?;
        Ok(logit.flatten_all()?.get(0)?.to_scalar()?)
    }
}

impl Scorer for CandleScorer {
    fn logits(&self, documents: &[&[u32]]) -> Result<Vec<f32>, ModelError> {
        documents
            .iter()
            .map(|document| self.logit(document))
            .collect()
    }
}

/// Refuses tokens outside the vocabulary.
pub(super) fn check_tokens(document: &[u32], vocabulary: usize) -> Result<(), ModelError> {
    match document.iter().find(|&&token| token as usize >= vocabulary) {
        Some(&token) => Err(ModelError::Token { token, vocabulary }),
        None => Ok(()),
    }
}
