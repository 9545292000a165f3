//! How to train.

use super::TrainError;
use graph_recs_udfs::model::Tokenizer;
use std::path::PathBuf;

/// How to train. The defaults are what the shipped model was trained with.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// Of all randomness.
    pub seed: u64,
    /// The most passes over the training documents.
    pub epochs: usize,
    /// Passes without a lower validation loss after which to stop.
    pub patience: usize,
    /// Cross-validation by user with this many folds; 0 for a single split into train, validation and test.
    pub folds: usize,
    /// Share of the users whose documents only say when to stop.
    pub validation_share: f64,
    /// Share of the users that are only measured on, when there are no folds.
    pub test_share: f64,
    /// Documents of an optimiser step.
    pub batch_documents: usize,
    /// Of AdamW.
    pub learning_rate: f32,
    /// The learning rate of word vectors as a share of the others'; 0 leaves them as they were learnt without labels.
    pub embedding_rate: f32,
    /// Of AdamW.
    pub weight_decay: f32,
    /// Share of pooled activations that is left out at random.
    pub dropout: f32,
    /// Share of words that is left out at random.
    pub word_dropout: f32,
    /// Documents are cut at random to this many neighbouring tokens while they are learnt from.
    pub excerpt_tokens: usize,
    /// From 0, documents weigh the same, to 1, good and other ones weigh the same in all.
    pub balance: f32,
    /// Users who must have written a word for it to be known.
    pub min_users: usize,
    /// The most words known.
    pub max_vocabulary: usize,
    /// Numbers in a word's vector.
    pub embedding: usize,
    /// Filters of each width, a multiple of 16.
    pub filters: usize,
    /// Networks that learn apart, with equal shares of the filters, and are joined into one that says their mean.
    pub networks: usize,
    /// How a document becomes tokens.
    pub tokenizer: Tokenizer,
    /// The most tokens of a document.
    pub max_tokens: usize,
    /// Folder of the checkpoints; without it, training cannot go on from where it was cut off.
    #[serde(skip)]
    pub checkpoints: Option<PathBuf>,
    /// Where tensors are computed.
    #[serde(skip)]
    pub device: TrainDevice,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            epochs: 12,
            patience: 4,
            folds: 0,
            validation_share: 0.15,
            test_share: 0.15,
            batch_documents: 64,
            learning_rate: 2e-3,
            embedding_rate: 0.0,
            weight_decay: 0.01,
            dropout: 0.5,
            word_dropout: 0.2,
            excerpt_tokens: 200,
            balance: 0.0,
            min_users: 3,
            max_vocabulary: 20_000,
            embedding: 128,
            filters: 128,
            networks: 4,
            tokenizer: Tokenizer::Marked,
            max_tokens: 1500,
            checkpoints: None,
            device: TrainDevice::Cpu,
        }
    }
}

/// Where tensors are computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TrainDevice {
    /// The processor.
    #[default]
    Cpu,
    /// The first CUDA device, in a build that has it.
    Cuda,
}

impl TrainOptions {
    /// Refuses options that make no sense.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let require = |fits: bool, option, value: String, expected| match fits {
            true => Ok(()),
            false => Err(TrainError::Option {
                option,
                value,
                expected,
            }),
        };
        let shares = self.validation_share + self.test_share;
        let share = "validation and test shares must be over 0 and leave users to train on";
        let open = |share: f64| share > 0.0 && share < 1.0;
        let fits = open(self.validation_share) && open(self.test_share) && open(shares);
        require(
            fits,
            "validation_share",
            self.validation_share.to_string(),
            share,
        )?;
        let folds = "there must be 0 or at least 2 folds";
        require(self.folds != 1, "folds", self.folds.to_string(), folds)?;
        let below_one = "it must lie in [0, 1)";
        for (name, value) in [
            ("dropout", self.dropout),
            ("word_dropout", self.word_dropout),
        ] {
            require(
                (0.0..1.0).contains(&value),
                name,
                value.to_string(),
                below_one,
            )?;
        }
        let rate = "it must be over 0 and at most 1";
        let fits = self.learning_rate > 0.0 && self.learning_rate <= 1.0;
        require(fits, "learning_rate", self.learning_rate.to_string(), rate)?;
        require(
            (0.0..=10.0).contains(&self.embedding_rate),
            "embedding_rate",
            self.embedding_rate.to_string(),
            "it must lie between 0 and 10",
        )?;
        let members = "it must divide the filters into multiples of 16, and word vectors that are learnt too allow only 1";
        let fits = self.filters.is_multiple_of(16 * self.networks.max(1))
            && (self.networks == 1 || self.networks > 1 && self.embedding_rate == 0.0);
        require(fits, "networks", self.networks.to_string(), members)?;
        require(
            self.epochs > 0,
            "epochs",
            self.epochs.to_string(),
            "at least 1 is needed",
        )
    }
}
