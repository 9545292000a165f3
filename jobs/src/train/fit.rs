//! Learning one network: epochs over the training users, stopped by the validation users.

use super::checkpoint::Checkpoint;
use super::data::Example;
use super::metrics::{Scored, average_precision, cross_entropy, platt, roc_auc};
use super::network::{Batch, Network, WIDTH_COUNT};
use super::optimise::AdamW;
use super::{Progress, TrainError, TrainOptions};
use candle_core::Device;
use graph_recs_udfs::model::{Scorer as _, Spec, TableScorer, Weights, sigmoid};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// How an epoch went.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Epoch {
    /// Mean weighted cross entropy over the training documents, with dropout, in nats.
    pub train_loss: f64,
    /// Cross entropy of the validation documents at even odds, after Platt scaling, in nats.
    pub validation_loss: f64,
    /// ROC AUC of the validation users.
    pub validation_auc: f64,
    /// Average precision of the validation users.
    pub validation_average_precision: f64,
}

/// A network that has learnt.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fitted {
    /// As it was after its best epoch.
    pub network: Network,
    pub epochs: Vec<Epoch>,
}

/// Which of the networks of a training this is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The fold that is held out, if any.
    pub fold: Option<usize>,
    /// Its number among those that are joined, from 0.
    pub number: usize,
}

impl Place {
    /// The name of its checkpoint.
    pub fn name(self) -> String {
        let fold = self
            .fold
            .map_or("final".to_owned(), |fold| format!("fold-{fold}"));
        format!("{fold}-{}", self.number)
    }
}

/// Everything that a network learns from.
pub(super) struct Task<'a> {
    pub spec: &'a Spec,
    /// Words × embedding.
    pub vectors: &'a [f32],
    pub train: &'a [&'a Example],
    pub validation: &'a [&'a Example],
    pub options: &'a TrainOptions,
    pub device: &'a Device,
    pub place: Place,
}

impl Task<'_> {
    /// Learns until the validation loss no longer falls; goes on from `checkpoint` where it left off.
    pub fn fit(
        &self,
        checkpoint: &mut Checkpoint,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Fitted, TrainError> {
        let options = self.options;
        let seed = options
            .seed
            .wrapping_add(1000 * self.place.fold.map_or(0, |fold| fold as u64 + 1))
            .wrapping_add(1_000_000 * self.place.number as u64);
        let start = Network::new(
            self.vectors.to_vec(),
            self.spec.embedding,
            self.spec.filters,
            seed,
        );
        let mut state = match checkpoint.load(&start)? {
            Some(state) => state,
            None => State {
                best: start.clone(),
                network: start,
                epochs: Vec::new(),
                step: 0,
            },
        };
        while !state.is_finished(options) {
            let epoch = state.epochs.len();
            // Each epoch has a generator of its own, so that one begun again is the same.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(epoch as u64 + 1);
            let train_loss = self.epoch(&mut state, &mut rng, progress)?;
            let weights = state.network.weights(self.spec)?;
            let epoch = self.validate(&weights, train_loss)?;
            let best = state.best_epoch().and_then(|best| state.epochs.get(best));
            if best.is_none_or(|best| epoch.validation_loss < best.validation_loss) {
                state.best = state.network.clone();
            }
            state.epochs.push(epoch);
            checkpoint.save(&state)?;
            progress(&Progress {
                fold: self.place.fold,
                network: self.place.number + 1,
                epoch: state.epochs.len(),
                epochs: options.epochs,
                done: 1.0,
                last: Some(epoch),
            });
        }
        Ok(Fitted {
            network: state.best,
            epochs: state.epochs,
        })
    }

    fn epoch(
        &self,
        state: &mut State,
        rng: &mut ChaCha8Rng,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<f64, TrainError> {
        let options = self.options;
        let class_weight = ClassWeights::new(self.train, options.balance);
        let mut order: Vec<&Example> = self
            .train
            .iter()
            .copied()
            .filter(|example| !example.tokens.is_empty())
            .collect();
        order.shuffle(rng);
        let batches = order.chunks(options.batch_documents.max(1));
        let count = batches.len();
        let (mut loss, mut documents) = (0.0, 0.0);
        for (index, examples) in batches.enumerate() {
            let texts: Vec<Vec<u32>> = examples
                .iter()
                .map(|example| {
                    let tokens = excerpt(&example.tokens, options.excerpt_tokens, rng);
                    drop_words(tokens, options.word_dropout, rng)
                })
                .collect();
            let batch = Batch::new(texts.iter().map(Vec::as_slice));
            let targets: Vec<f32> = examples
                .iter()
                .map(|example| f32::from(u8::from(example.positive)))
                .collect();
            let weights: Vec<f32> = examples
                .iter()
                .map(|example| class_weight.of(example))
                .collect();
            let kept = 1.0 - options.dropout;
            let dropout: Vec<f32> = (0..examples.len() * WIDTH_COUNT * self.spec.filters)
                .map(|_| {
                    if rng.random::<f32>() < kept {
                        1.0 / kept
                    } else {
                        0.0
                    }
                })
                .collect();
            let words = batch.words.clone();
            let gradients =
                state
                    .network
                    .gradients(batch, &targets, &weights, &dropout, self.device)?;
            if !gradients.loss.is_finite() {
                return Err(TrainError::Diverged {
                    epoch: state.epochs.len() + 1,
                });
            }
            state.step += 1;
            let rule = AdamW {
                learning_rate: options.learning_rate,
                weight_decay: options.weight_decay,
                step: state.step,
            };
            let network = &mut state.network;
            let rows = words.iter().map(|&word| word as usize);
            let embedding_rule = AdamW {
                learning_rate: options.embedding_rate * options.learning_rate,
                ..rule
            };
            embedding_rule.update_rows(
                &mut network.embedding,
                network.embedding_size,
                rows,
                &gradients.embedding,
            );
            rule.update(&mut network.filter, &gradients.filter);
            let no_decay = AdamW {
                weight_decay: 0.0,
                ..rule
            };
            no_decay.update(&mut network.filter_bias, &gradients.filter_bias);
            rule.update(&mut network.output, &gradients.output);
            no_decay.update(&mut network.output_bias, &gradients.output_bias);
            loss += f64::from(gradients.loss) * examples.len() as f64;
            documents += examples.len() as f64;
            progress(&Progress {
                fold: self.place.fold,
                network: self.place.number + 1,
                epoch: state.epochs.len() + 1,
                epochs: options.epochs,
                done: (index + 1) as f64 / count as f64,
                last: None,
            });
        }
        Ok(loss / documents)
    }

    fn validate(&self, weights: &Weights, train_loss: f64) -> Result<Epoch, TrainError> {
        let logits = logits(self.spec, weights, self.validation)?;
        let calibration = platt(&logits);
        let scaled: Vec<Scored> = logits
            .iter()
            .map(|scored| Scored {
                score: calibration.scale * scored.score + calibration.offset,
                ..*scored
            })
            .collect();
        let probabilities = scaled.iter().map(|scored| sigmoid(scored.score));
        let users = by_user(self.validation, probabilities);
        Ok(Epoch {
            train_loss,
            validation_loss: cross_entropy(&scaled),
            validation_auc: roc_auc(&users),
            validation_average_precision: average_precision(&users),
        })
    }
}

/// Training between two epochs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub network: Network,
    /// The network after the best epoch.
    pub best: Network,
    pub epochs: Vec<Epoch>,
    /// Optimiser steps so far.
    pub step: u32,
}

impl State {
    /// The epoch with the lowest validation loss, counted from 0.
    fn best_epoch(&self) -> Option<usize> {
        let loss = |index: &usize| {
            self.epochs
                .get(*index)
                .map_or(f64::INFINITY, |epoch| epoch.validation_loss)
        };
        (0..self.epochs.len()).min_by(|a, b| loss(a).total_cmp(&loss(b)))
    }

    fn is_finished(&self, options: &TrainOptions) -> bool {
        let waited = self
            .best_epoch()
            .map_or(0, |best| self.epochs.len() - 1 - best);
        self.epochs.len() >= options.epochs || waited >= options.patience
    }
}

/// How much a document of each class weighs in the loss: 1 on average.
struct ClassWeights {
    positive: f32,
    negative: f32,
}

impl ClassWeights {
    /// `balance` 0 leaves the classes as they are, 1 makes both weigh the same.
    fn new(examples: &[&Example], balance: f32) -> Self {
        let positive = examples
            .iter()
            .filter(|example| example.positive)
            .count()
            .max(1) as f32;
        let negative = (examples.len() as f32 - positive).max(1.0);
        let ratio = (negative / positive).powf(balance);
        let mean = (positive * ratio + negative) / (positive + negative);
        Self {
            positive: ratio / mean,
            negative: 1.0 / mean,
        }
    }

    fn of(&self, example: &Example) -> f32 {
        match example.positive {
            true => self.positive,
            false => self.negative,
        }
    }
}

/// Of a document longer than `most` tokens as many neighbouring ones, from a random place.
fn excerpt<'a>(tokens: &'a [u32], most: usize, rng: &mut ChaCha8Rng) -> &'a [u32] {
    match tokens.len().checked_sub(most.max(1)) {
        Some(excess) => {
            let start = rng.random_range(0..=excess);
            tokens.get(start..start + most.max(1)).unwrap_or(tokens)
        }
        None => tokens,
    }
}

/// Leaves out each token with a probability, but never all of them.
fn drop_words(tokens: &[u32], probability: f32, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let kept: Vec<u32> = tokens
        .iter()
        .copied()
        .filter(|_| rng.random::<f32>() >= probability)
        .collect();
    match kept.is_empty() {
        true => tokens.to_vec(),
        false => kept,
    }
}

/// The logits of documents; of an empty one minus infinity would be right, and −20 keeps sums finite.
pub(super) fn logits(
    spec: &Spec,
    weights: &Weights,
    examples: &[&Example],
) -> Result<Vec<Scored>, TrainError> {
    let documents: Vec<&[u32]> = examples
        .iter()
        .map(|example| example.tokens.as_slice())
        .collect();
    let logits = TableScorer::exact(spec, weights).logits(&documents)?;
    let scored = |(example, logit): (&&Example, f32)| Scored {
        score: if example.tokens.is_empty() {
            -20.0
        } else {
            f64::from(logit)
        },
        positive: example.positive,
    };
    Ok(examples.iter().zip(logits).map(scored).collect())
}

/// A user's score: the mean over its documents.
pub(super) fn by_user(examples: &[&Example], scores: impl Iterator<Item = f64>) -> Vec<Scored> {
    let mut users: BTreeMap<i32, (f64, f64, bool)> = BTreeMap::new();
    for (example, score) in examples.iter().zip(scores) {
        let user = users
            .entry(example.user_id)
            .or_insert((0.0, 0.0, example.positive));
        user.0 += score;
        user.1 += 1.0;
    }
    let mean = |(sum, count, positive)| Scored {
        score: sum / count,
        positive,
    };
    users.into_values().map(mean).collect()
}
