//! The reputation model: how like the hand-picked good users somebody writes.
//!
//! A [`Model`] is loaded from a folder of three files that need not be trusted, or is the one shipped in the binary.
//! Its [`Tokenizer`] turns a cleaned weekly document into token ids, a [`Scorer`] those into a logit, its
//! [`Calibration`] that into the probability, in millionths, that a good user wrote it if good and other users were
//! equally frequent. Given the same files, that integer is the same on every machine, in every batch, on every thread.
//!
//! [`TableScorer`] does the work; [`CandleScorer`] is the plain reference that it is tested against.

mod error;
mod folder;
mod kernel;
mod lazy;
mod network;
mod probability;
mod reasons;
mod tables;
mod tokenizer;
mod udf;

#[cfg(test)]
mod tests;

pub use error::ModelError;
pub use folder::{FILES, LANES, MIN_TOKENS, ModelFiles, Spec, WIDTHS, Weights};
pub use lazy::LazyModel;
pub use network::{CandleScorer, Scorer};
pub use probability::{Calibration, MILLIONTHS, sigmoid};
pub use reasons::{Reasons, Window};
pub use tables::{Instructions, TableScorer};
pub use tokenizer::{Tokenizer, Vocabulary, words};
pub use udf::Reputation;

use crate::stores::{is_remote, local_path};
use object_store::{ObjectStore, path::Path as ObjectPath};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// A loaded model. Cheap to share, costly to load: once a process.
pub struct Model {
    spec: Spec,
    weights: Weights,
    vocabulary: Vocabulary,
    hash: String,
    tables: OnceLock<TableScorer>,
}

impl Model {
    /// Loads a folder on disk.
    ///
    /// # Errors
    /// Whatever is wrong with the folder: see [`ModelError`].
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        Self::from_files(&ModelFiles::read(folder)?)
    }

    /// Loads a folder of an object store.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub async fn fetch(store: &dyn ObjectStore, folder: &ObjectPath) -> Result<Self, ModelError> {
        Self::from_files(&ModelFiles::fetch(store, folder).await?)
    }

    /// Loads the folder at a path or object-store URL, or the shipped model when there is none. Stores are set up by
    /// their usual environment variables, as `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    /// As [`Model::load`], and a URL that names no store.
    pub async fn open(location: Option<&str>) -> Result<Arc<Self>, ModelError> {
        let Some(location) = location else {
            return Self::shipped();
        };
        let found = Self::find(location).await;
        found.map(Arc::new).map_err(|source| ModelError::At {
            location: location.to_owned(),
            source: Box::new(source),
        })
    }

    async fn find(location: &str) -> Result<Self, ModelError> {
        if !is_remote(location) {
            return Self::load(&local_path(location)?);
        }
        let url =
            url::Url::parse(location).map_err(|error| ModelError::Location(error.to_string()))?;
        let (store, folder) = crate::stores::open(&url)?;
        Self::fetch(store.as_ref(), &folder).await
    }

    /// Checks and takes the contents of a model folder.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_files(files: &ModelFiles) -> Result<Self, ModelError> {
        let (spec, weights, vocabulary) = files.parse()?;
        Ok(Self {
            spec,
            weights,
            vocabulary,
            hash: files.hash(),
            tables: OnceLock::new(),
        })
    }

    /// The model that is part of the binary, loaded at the first call.
    ///
    /// # Errors
    /// None, unless the binary was built from a damaged model.
    pub fn shipped() -> Result<Arc<Self>, ModelError> {
        static SHIPPED: OnceLock<Arc<Model>> = OnceLock::new();
        if let Some(model) = SHIPPED.get() {
            return Ok(Arc::clone(model));
        }
        let model = Arc::new(Self::from_files(&ModelFiles {
            spec: include_bytes!("../../model/model.json").to_vec(),
            weights: include_bytes!("../../model/model.safetensors").to_vec(),
            vocabulary: include_bytes!("../../model/vocabulary.txt").to_vec(),
        })?);
        Ok(Arc::clone(SHIPPED.get_or_init(|| model)))
    }

    /// What `model.json` says.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The network's weights.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The words that it knows.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// SHA-256 of the model's files, in hexadecimal: two models score alike exactly if their hashes are equal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The fast backend; its tables are computed at the first call.
    pub fn scorer(&self) -> &TableScorer {
        self.tables
            .get_or_init(|| TableScorer::new(&self.spec, &self.weights))
    }

    /// Appends the token ids of a cleaned document to `tokens`.
    pub fn tokenize(&self, clean_body: &[u8], clean_link_desc: &[u8], tokens: &mut Vec<u32>) {
        let max_tokens = self.spec.max_tokens;
        self.spec.tokenizer.tokenize(
            &self.vocabulary,
            max_tokens,
            clean_body,
            clean_link_desc,
            tokens,
        );
    }

    /// The score of each tokenized document in millionths; 0 for one without a token.
    ///
    /// # Errors
    /// A token that is no word's.
    pub fn millionths(&self, documents: &[&[u32]]) -> Result<Vec<i32>, ModelError> {
        self.millionths_by(self.scorer(), documents)
    }

    /// As [`Model::millionths`], by another backend for the same weights.
    ///
    /// # Errors
    /// A token that is no word's, or a failure of the backend.
    pub fn millionths_by(
        &self,
        scorer: &dyn Scorer,
        documents: &[&[u32]],
    ) -> Result<Vec<i32>, ModelError> {
        let logits = scorer.logits(documents)?;
        let score = |(document, logit): (&&[u32], f32)| match document.is_empty() {
            true => 0,
            false => self.spec.calibration.millionths(logit),
        };
        Ok(documents.iter().zip(logits).map(score).collect())
    }
}

/// Documents are scored together until they have about this many tokens: the products of rare words come from main memory
/// once a block of filters, however many documents use them. Each document counts for [`MIN_TOKENS`] more, since short
/// ones are padded: what scoring holds is some 10 MB, and 30 when all documents are empty.
const TOGETHER: usize = 1 << 20;

/// Tokenized documents on their way to a [`Scorer`].
#[derive(Debug, Default)]
pub struct Documents {
    tokens: Vec<u32>,
    /// Where each document ends in `tokens`.
    ends: Vec<usize>,
}

impl Documents {
    /// Tokenizes one more cleaned document.
    pub fn push(&mut self, model: &Model, clean_body: &[u8], clean_link_desc: &[u8]) {
        model.tokenize(clean_body, clean_link_desc, &mut self.tokens);
        self.ends.push(self.tokens.len());
    }

    /// Tokens of all documents.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Whether they should be scored before more are taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tokens.len() + MIN_TOKENS * self.ends.len() >= TOGETHER
    }

    /// The documents, as scorers take them.
    #[must_use]
    pub fn as_slices(&self) -> Vec<&[u32]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let spans = starts.zip(&self.ends);
        spans
            .map(|(start, &end)| self.tokens.get(start..end).unwrap_or(&[]))
            .collect()
    }

    /// Forgets the documents, keeps the room.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.ends.clear();
    }
}

impl std::fmt::Debug for Model {
    // Plans print their functions, and a function its model: the hash says it all.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Model({})", self.hash)
    }
}
