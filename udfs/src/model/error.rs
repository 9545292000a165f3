//! What can be wrong with a model folder, or with what it is asked to score.

use safetensors::SafeTensorError;

/// A model cannot be loaded or cannot score; the message names the file, the value and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of the folder cannot be read.
    #[error(
        "cannot read {path}: {source}; a model folder holds model.json, model.safetensors and vocabulary.txt"
    )]
    Read {
        /// The file or URL.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the folder cannot be fetched from the object store.
    #[error(
        "cannot fetch {path}: {source}; a model folder holds model.json, model.safetensors and vocabulary.txt"
    )]
    Fetch {
        /// The object's path in its store.
        path: String,
        /// Why.
        source: Box<object_store::Error>,
    },
    /// A location that is neither a path nor a URL.
    #[error("{0}; give a folder or a URL like s3://bucket/folder")]
    Location(String),
    /// The store that the folder lies in cannot be set up.
    #[error(transparent)]
    Store(#[from] crate::stores::StoreError),
    /// What is wrong with the folder that somebody named.
    #[error("model {location}: {source}")]
    At {
        /// As it was given.
        location: String,
        /// What is wrong.
        source: Box<ModelError>,
    },
    /// A file is larger than any model of this kind.
    #[error(
        "{file} has {size} bytes, more than the {limit} that are read; is it the right folder?"
    )]
    TooLarge {
        /// Name of the file.
        file: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The most that is read.
        limit: u64,
    },
    /// `model.json` is not what it should be.
    #[error("model.json cannot be read: {0}; write the folder again with `graph-recs train`")]
    Spec(#[source] serde_json::Error),
    /// `model.json` asks for something that this version does not do.
    #[error("model.json: {field} is {value}, but {expected}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// `model.safetensors` is not a safetensors file, or is cut short.
    #[error("model.safetensors cannot be read: {0}; it is damaged or cut short, copy it again")]
    Tensors(#[source] SafeTensorError),
    /// A tensor that the network needs is not there.
    #[error("model.safetensors has no tensor {name:?}; it is not the network of model.json")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor that the network does not have.
    #[error(
        "model.safetensors has the unknown tensor {name:?}; it is not the network of model.json"
    )]
    UnexpectedTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor's shape differs from the one that `model.json` implies.
    #[error(
        "model.safetensors: {name:?} has the shape {found:?}, but model.json makes it {expected:?}"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that model.json implies.
        expected: Vec<usize>,
    },
    /// A tensor is not of 16- or 32-bit floating point numbers.
    #[error("model.safetensors: {name:?} holds {found}, but only F16 and F32 are read")]
    Type {
        /// The tensor.
        name: String,
        /// The type in the file.
        found: String,
    },
    /// A weight is not a number, or too large to compute with.
    #[error(
        "model.safetensors: {name:?} holds {value} at position {position}; weights lie within ±{limit}"
    )]
    Weight {
        /// The tensor.
        name: String,
        /// Where in it, counted from 0 in row-major order.
        position: usize,
        /// What is there.
        value: f32,
        /// The largest magnitude allowed.
        limit: f32,
    },
    /// A line of `vocabulary.txt` is not a word of its own.
    #[error("vocabulary.txt, line {line}: {word:?} {reason}")]
    Word {
        /// The line, counted from 1.
        line: usize,
        /// What it holds.
        word: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The vocabulary has another number of words than the network.
    #[error(
        "vocabulary.txt has {found} words, but model.json says {expected}; the two belong to different models"
    )]
    VocabularySize {
        /// Words in the file.
        found: usize,
        /// Words in model.json.
        expected: usize,
    },
    /// A document to be scored holds a token that is no word's.
    #[error("token {token} is outside the model's vocabulary of {vocabulary} words")]
    Token {
        /// The token.
        token: u32,
        /// Number of words.
        vocabulary: usize,
    },
    /// The tensor library failed.
    #[error("the network could not be computed: {0}")]
    Backend(#[from] candle_core::Error),
}
