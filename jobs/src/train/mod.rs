//! Training the reputation model on people's own words.
//!
//! [`train`] takes weekly documents with the label of their user and returns a model folder's contents, figures and
//! pictures. Users, not documents, are split: nobody is learnt from and measured on. The same documents, options and
//! seed give the same model.

mod checkpoint;
mod committee;
mod data;
mod fit;
mod metrics;
mod network;
mod optimise;
mod options;
mod outcome;
mod plots;
mod vectors;

pub use fit::Epoch;
pub use metrics::{
    Bin, Scored, average_precision, cross_entropy, expected_calibration_error, platt, reliability,
    roc_auc,
};
pub use options::{TrainDevice, TrainOptions};
pub use outcome::{Metrics, Quality, TrainOutcome};

use candle_core::Device;
use checkpoint::Checkpoint;
use data::{Corpus, Part};
use fit::{Place, Task};
use graph_recs_udfs::model::{
    Calibration, ModelError, ModelFiles, Spec, Vocabulary, WIDTHS, Weights, sigmoid,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What somebody wrote in a week.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Document {
    /// Who wrote it, from 1 on.
    pub user_id: i32,
    /// The week's number; only the order matters.
    pub week: i32,
    /// The cleaned bodies of the week's messages.
    pub clean_body: String,
    /// The cleaned descriptions of their links.
    pub clean_link_desc: String,
    /// Whether the user is a hand-picked good one; any of its documents may say so.
    pub positive: bool,
}

/// How far training is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// The fold that is held out, from 0; none when the final model is trained.
    pub fold: Option<usize>,
    /// Which of the networks that are joined later, from 1.
    pub network: usize,
    /// The epoch, from 1.
    pub epoch: usize,
    /// The most epochs there will be.
    pub epochs: usize,
    /// Share of the epoch that is done.
    pub done: f64,
    /// How the epoch went, when it is over.
    pub last: Option<Epoch>,
}

/// Training cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Labels of one kind only.
    #[error(
        "of {users} users {good} are good ones; training needs both good and other users: name good ones by --good-users, or have messages with recommended = true"
    )]
    OneClass {
        /// Users with a document.
        users: usize,
        /// Good ones among them.
        good: usize,
    },
    /// A part of the split has labels of one kind only.
    #[error(
        "the {part} users ({users}, {good} of them good) cannot be measured on: there must be good and other ones; more data or fewer folds are needed"
    )]
    SmallPart {
        /// Which part.
        part: String,
        /// Its users.
        users: usize,
        /// Good ones among them.
        good: usize,
    },
    /// An option that makes no sense.
    #[error("{option} is {value}, but {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The loss is no longer a number.
    #[error("the loss is no longer a number in epoch {epoch}; lower the learning rate")]
    Diverged {
        /// The epoch.
        epoch: usize,
    },
    /// The trained weights are no model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tensor library failed.
    #[error("the network could not be computed: {0}")]
    Backend(#[from] candle_core::Error),
    /// Nothing was trained.
    #[error("no network was trained")]
    NoNetwork,
    /// A checkpoint is damaged.
    #[error("the checkpoint {path} is damaged ({source}); delete it to begin anew")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: safetensors::SafeTensorError,
    },
    /// JSON of the project's own cannot be written or read back.
    #[error("cannot write or read back JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Trains a model, and measures it on users that it has not seen.
///
/// `texts` are further cleaned texts, without labels: word vectors are learnt from them and from the documents of
/// users that are not measured on.
///
/// With folds, one model is trained per fold and measured on it; their held-out scores calibrate the final model, which
/// learns from all users. Without, users are split once into train, validation (when to stop; calibration) and test.
///
/// # Errors
/// Labels of one kind only, options that make no sense, or a failure of files or tensors: see [`TrainError`].
pub fn train(
    documents: &[Document],
    texts: &[String],
    options: &TrainOptions,
    progress: &mut dyn FnMut(&Progress),
) -> Result<TrainOutcome, TrainError> {
    options.check()?;
    let documents = data::in_order(documents)?;
    let training = Training {
        hash: data::hash(&documents, texts),
        documents: &documents,
        texts,
        options,
        device: match options.device {
            TrainDevice::Cpu => Device::Cpu,
            TrainDevice::Cuda => Device::new_cuda(0)?,
        },
    };
    match options.folds {
        0 => training.split_once(progress),
        _ => training.cross_validate(progress),
    }
}

/// The inputs of a training.
struct Training<'a> {
    documents: &'a [Document],
    texts: &'a [String],
    hash: String,
    options: &'a TrainOptions,
    device: Device,
}

/// A trained network with what belongs to it.
struct Learnt {
    spec: Spec,
    weights: Weights,
    words: Vec<u8>,
    epochs: Vec<Epoch>,
}

impl Training<'_> {
    /// Trains on the users that `part` calls training ones and stops by its validation users.
    fn learn(
        &self,
        fold: Option<usize>,
        part: &dyn Fn(i32) -> Part,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(Learnt, Corpus), TrainError> {
        let options = self.options;
        let seen = self
            .documents
            .iter()
            .filter(|document| part(document.user_id) != Part::Test);
        let words = data::vocabulary(
            seen,
            options.tokenizer,
            options.min_users,
            options.max_vocabulary,
        );
        let words: Vec<u8> = words
            .iter()
            .flat_map(|word| [word.as_bytes(), b"\n"].concat())
            .collect();
        let vocabulary = Vocabulary::parse(&words)?;
        let spec = Spec {
            format: 1,
            architecture: "text-cnn".to_owned(),
            vocabulary: vocabulary.len(),
            embedding: options.embedding,
            widths: WIDTHS.to_vec(),
            filters: options.filters,
            tokenizer: options.tokenizer,
            max_tokens: options.max_tokens,
            calibration: Calibration::NONE,
            training_data: self.hash.clone(),
            metrics: BTreeMap::new(),
        };
        let corpus = Corpus::new(
            self.documents,
            options.tokenizer,
            &vocabulary,
            options.max_tokens,
        );
        let train = corpus.select(|user| part(user) == Part::Train);
        let validation = corpus.select(|user| part(user) == Part::Validation);
        for (name, examples) in [("training", &train), ("validation", &validation)] {
            outcome::require_both(name, examples)?;
        }
        let vectors = self.vectors(&corpus, &vocabulary, part);
        let fingerprint = format!("{} {}", self.hash, serde_json::to_string(options)?);
        let mut members = Vec::with_capacity(options.networks);
        let mut epochs = Vec::new();
        for number in 0..options.networks {
            let place = Place { fold, number };
            let folder = options.checkpoints.as_deref();
            let mut checkpoint = Checkpoint::new(folder, &place.name(), &fingerprint);
            let task = Task {
                spec: &Spec {
                    filters: options.filters / options.networks,
                    ..spec.clone()
                },
                vectors: &vectors,
                train: &train,
                validation: &validation,
                options,
                device: &self.device,
                place,
            };
            let fitted = task.fit(&mut checkpoint, progress)?;
            members.push(fitted.network);
            if number == 0 {
                epochs = fitted.epochs;
            }
        }
        let network = committee::join(&members).ok_or(TrainError::NoNetwork)?;
        let mut weights = network.weights(&spec)?;
        weights.round_to_f16();
        let learnt = Learnt {
            spec,
            weights,
            words,
            epochs,
        };
        Ok((learnt, corpus))
    }

    /// Word vectors from the documents of users who are not measured on, and from the further texts.
    fn vectors(
        &self,
        corpus: &Corpus,
        vocabulary: &Vocabulary,
        part: &dyn Fn(i32) -> Part,
    ) -> Vec<f32> {
        let options = self.options;
        let further: Vec<Vec<u32>> = self
            .texts
            .iter()
            .map(|text| {
                let mut tokens = Vec::new();
                let most = options.max_tokens;
                let text = text.as_bytes();
                options
                    .tokenizer
                    .tokenize(vocabulary, most, text, b"", &mut tokens);
                tokens
            })
            .collect();
        let seen = corpus.select(|user| part(user) != Part::Test);
        let seen = seen.iter().map(|example| example.tokens.as_slice());
        let texts = seen.chain(further.iter().map(Vec::as_slice));
        vectors::word_vectors(texts, vocabulary.len(), options.embedding, options.seed)
    }

    fn split_once(&self, progress: &mut dyn FnMut(&Progress)) -> Result<TrainOutcome, TrainError> {
        let (validation, test) = (self.options.validation_share, self.options.test_share);
        let part = |user| data::part(user, validation, test);
        let (learnt, corpus) = self.learn(None, &part, progress)?;
        let held_out = |wanted| corpus.select(|user| part(user) == wanted);
        let validation = held_out(Part::Validation);
        let test = held_out(Part::Test);
        outcome::require_both("test", &test)?;
        let calibration = platt(&fit::logits(&learnt.spec, &learnt.weights, &validation)?);
        let logits = fit::logits(&learnt.spec, &learnt.weights, &test)?;
        let probabilities: Vec<f64> = logits
            .iter()
            .map(|scored| sigmoid(calibration.scale * scored.score + calibration.offset))
            .collect();
        let quality = outcome::measure(&test, &probabilities);
        outcome::finish(
            self,
            learnt,
            calibration,
            vec![quality],
            &test,
            &probabilities,
        )
    }

    fn cross_validate(
        &self,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<TrainOutcome, TrainError> {
        let options = self.options;
        let fold_of = |user| data::fold(user, options.folds);
        let stop_or_learn = |user| data::part(user, options.validation_share, 0.0);
        let mut held_out: Vec<(data::Example, Scored)> = Vec::new();
        for fold in 0..options.folds {
            let part = |user| match fold_of(user) == fold {
                true => Part::Test,
                false => stop_or_learn(user),
            };
            let (learnt, corpus) = self.learn(Some(fold), &part, progress)?;
            let test = corpus.select(|user| part(user) == Part::Test);
            outcome::require_both(&format!("fold {fold}"), &test)?;
            let logits = fit::logits(&learnt.spec, &learnt.weights, &test)?;
            held_out.extend(test.into_iter().cloned().zip(logits));
        }
        // A fold's probabilities come from the calibration of the other folds, as a new user's will.
        let others = |fold: Option<usize>| -> Vec<Scored> {
            let other = held_out
                .iter()
                .filter(|(example, _)| Some(fold_of(example.user_id)) != fold);
            other.map(|(_, scored)| *scored).collect()
        };
        let calibrations: Vec<Calibration> = (0..options.folds)
            .map(|fold| platt(&others(Some(fold))))
            .collect();
        let probability = |(example, scored): &(data::Example, Scored)| {
            let calibration = calibrations
                .get(fold_of(example.user_id))
                .copied()
                .unwrap_or(Calibration::NONE);
            sigmoid(calibration.scale * scored.score + calibration.offset)
        };
        let probabilities: Vec<f64> = held_out.iter().map(probability).collect();
        let examples: Vec<&data::Example> = held_out.iter().map(|(example, _)| example).collect();
        let mut folds = Vec::with_capacity(options.folds);
        for fold in 0..options.folds {
            let both = examples.iter().zip(&probabilities);
            let (examples, probabilities): (Vec<&data::Example>, Vec<f64>) = both
                .filter(|(example, _)| fold_of(example.user_id) == fold)
                .map(|(e, p)| (*e, *p))
                .unzip();
            folds.push(outcome::measure(&examples, &probabilities));
        }
        let (learnt, _) = self.learn(None, &stop_or_learn, progress)?;
        outcome::finish(
            self,
            learnt,
            platt(&others(None)),
            folds,
            &examples,
            &probabilities,
        )
    }

    fn files(learnt: &Learnt) -> Result<ModelFiles, TrainError> {
        let mut spec = serde_json::to_vec_pretty(&learnt.spec)?;
        spec.push(b'\n');
        Ok(ModelFiles {
            spec,
            weights: learnt.weights.to_safetensors()?,
            vocabulary: learnt.words.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
