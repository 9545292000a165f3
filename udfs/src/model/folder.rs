//! A model folder: what its files hold, and the checks that let an untrusted one in.

use super::error::ModelError;
use super::probability::Calibration;
use super::tokenizer::{Tokenizer, Vocabulary};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path as ObjectPath};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// Names of the files that make a model, in the order in which its hash takes them.
pub const FILES: [&str; 3] = ["model.json", "model.safetensors", "vocabulary.txt"];
/// The most bytes that are read of each of [`FILES`].
const LIMITS: [u64; 3] = [1 << 20, 1 << 30, 1 << 26];

/// Widths of the convolutions in tokens.
pub const WIDTHS: [usize; 3] = [3, 4, 5];
/// A document with fewer tokens is padded at its end to this many: the widest window.
pub const MIN_TOKENS: usize = 5;
/// Filters come in groups of this many, one vector register of 512 bits.
pub const LANES: usize = 16;

const MAX_EMBEDDING: usize = 1024;
const MAX_FILTERS: usize = 1024;
const MAX_TOKENS: usize = 100_000;
/// The look-up tables of the largest model that is accepted.
const MAX_TABLE_BYTES: usize = 4 << 30;
/// Sums of products of such weights are far from overflow, so no score is infinite or NaN.
const MAX_WEIGHT: f32 = 1e4;

/// `model.json`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Version of the folder's layout: 1.
    pub format: u32,
    /// `text-cnn`.
    pub architecture: String,
    /// Words in `vocabulary.txt`.
    pub vocabulary: usize,
    /// Numbers in a word's vector.
    pub embedding: usize,
    /// Widths of the convolutions: 3, 4, 5.
    pub widths: Vec<usize>,
    /// Filters of each width, a multiple of 16.
    pub filters: usize,
    /// How a document becomes tokens.
    pub tokenizer: Tokenizer,
    /// The most tokens of a document: its last ones.
    pub max_tokens: usize,
    /// From logit to probability at even odds.
    pub calibration: Calibration,
    /// SHA-256 of the documents and labels that the model was trained on, in hexadecimal.
    pub training_data: String,
    /// Headline figures of `metrics.json`.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
}

impl Spec {
    /// Reads and checks `model.json`.
    ///
    /// # Errors
    /// No such JSON, or a shape that this version does not compute.
    pub fn parse(json: &[u8]) -> Result<Self, ModelError> {
        let spec: Self = serde_json::from_slice(json).map_err(ModelError::Spec)?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), ModelError> {
        let require = |fits: bool, field, value: String, expected: &str| match fits {
            true => Ok(()),
            false => Err(ModelError::Unsupported {
                field,
                value,
                expected: expected.to_owned(),
            }),
        };
        let between = |field, value: usize, most: usize| {
            let expected = format!("it must lie between 1 and {most}");
            require(
                (1..=most).contains(&value),
                field,
                value.to_string(),
                &expected,
            )
        };
        let one = "this version reads format 1; use the version that wrote the folder";
        require(self.format == 1, "format", self.format.to_string(), one)?;
        let name = self.architecture.chars().take(100).collect();
        let known = "this version computes only text-cnn";
        require(self.architecture == "text-cnn", "architecture", name, known)?;
        let fixed = "this version computes only [3, 4, 5]";
        let widths = format!("{:?}", self.widths.iter().take(10).collect::<Vec<_>>());
        require(self.widths == WIDTHS, "widths", widths, fixed)?;
        between("embedding", self.embedding, MAX_EMBEDDING)?;
        between("filters", self.filters, MAX_FILTERS)?;
        let multiple = "it must be a multiple of 16";
        require(
            self.filters.is_multiple_of(LANES),
            "filters",
            self.filters.to_string(),
            multiple,
        )?;
        between("max_tokens", self.max_tokens, MAX_TOKENS)?;
        let taps = WIDTHS.iter().sum::<usize>();
        let row = taps * self.filters * size_of::<f32>();
        between("vocabulary", self.vocabulary, MAX_TABLE_BYTES / row - 1)?;
        for (field, value) in [
            ("calibration.scale", self.calibration.scale),
            ("calibration.offset", self.calibration.offset),
        ] {
            let finite = "it must be a number within ±1e6";
            require(value.abs() <= 1e6, field, value.to_string(), finite)?;
        }
        let positive = "it must be over 0, or better documents would score lower";
        let scale = self.calibration.scale;
        require(
            scale > 0.0,
            "calibration.scale",
            scale.to_string(),
            positive,
        )
    }

    /// Every tensor of the network with its shape.
    pub(super) fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = vec![(
            "embedding.weight".to_owned(),
            vec![self.vocabulary, self.embedding],
        )];
        for width in WIDTHS {
            let weight = vec![self.filters, self.embedding, width];
            shapes.push((format!("conv{width}.weight"), weight));
            shapes.push((format!("conv{width}.bias"), vec![self.filters]));
        }
        shapes.push((
            "output.weight".to_owned(),
            vec![1, WIDTHS.len() * self.filters],
        ));
        shapes.push(("output.bias".to_owned(), vec![1]));
        shapes
    }
}

/// The network's weights, row-major, each tensor under its name in `model.safetensors`:
/// `embedding.weight` (words × embedding), `conv3.weight` (filters × embedding × 3) and `conv3.bias`, the same for 4
/// and 5, `output.weight` (1 × 3·filters, in the order of the widths) and `output.bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Weights {
    /// Takes tensors as they come and checks them against the shapes of `model.json`.
    ///
    /// # Errors
    /// A tensor too many or too few, another shape, or a number that cannot be computed with.
    pub fn new(
        spec: &Spec,
        mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    ) -> Result<Self, ModelError> {
        let mut checked = BTreeMap::new();
        for (name, expected) in spec.shapes() {
            let Some((shape, values)) = tensors.remove(&name) else {
                return Err(ModelError::MissingTensor { name });
            };
            if shape != expected || values.len() != expected.iter().product::<usize>() {
                return Err(ModelError::Shape {
                    name,
                    found: shape,
                    expected,
                });
            }
            let unfit = values
                .iter()
                .position(|value| value.is_nan() || value.abs() > MAX_WEIGHT);
            if let Some((position, &value)) = unfit.and_then(|at| values.get(at).map(|v| (at, v))) {
                return Err(ModelError::Weight {
                    name,
                    position,
                    value,
                    limit: MAX_WEIGHT,
                });
            }
            checked.insert(name, (shape, values));
        }
        match tensors.into_keys().next() {
            Some(name) => Err(ModelError::UnexpectedTensor { name }),
            None => Ok(Self(checked)),
        }
    }

    fn parse(spec: &Spec, bytes: &[u8]) -> Result<Self, ModelError> {
        let file = SafeTensors::deserialize(bytes).map_err(ModelError::Tensors)?;
        let shapes = spec.shapes();
        let mut names = file.names();
        names.sort_unstable();
        let unknown = |name: &&&str| !shapes.iter().any(|(known, _)| known == *name);
        if let Some(name) = names.iter().find(unknown) {
            let name = name.chars().take(100).collect();
            return Err(ModelError::UnexpectedTensor { name });
        }
        let mut tensors = BTreeMap::new();
        for (name, expected) in shapes {
            let Ok(view) = file.tensor(&name) else {
                return Err(ModelError::MissingTensor { name });
            };
            // Before decoding, so that what is decoded is no larger than what model.json says.
            if view.shape() != expected {
                return Err(ModelError::Shape {
                    name,
                    found: view.shape().to_vec(),
                    expected,
                });
            }
            let (halves, singles) = (view.data().as_chunks().0, view.data().as_chunks().0);
            let values = match view.dtype() {
                Dtype::F16 => halves
                    .iter()
                    .map(|&two| f32_of_f16(u16::from_le_bytes(two)))
                    .collect(),
                Dtype::F32 => singles
                    .iter()
                    .map(|&four| f32::from_le_bytes(four))
                    .collect(),
                other => {
                    return Err(ModelError::Type {
                        name,
                        found: format!("{other:?}"),
                    });
                }
            };
            tensors.insert(name, (expected, values));
        }
        Self::new(spec, tensors)
    }

    /// The values of a tensor; empty when there is none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> &[f32] {
        self.0.get(name).map_or(&[], |(_, values)| values)
    }

    /// Every tensor: name, shape, values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[usize], &[f32])> {
        self.0
            .iter()
            .map(|(name, (shape, values))| (name.as_str(), shape.as_slice(), values.as_slice()))
    }

    /// Rounds every weight to the nearest 16-bit floating point number, the form in which they are stored.
    pub fn round_to_f16(&mut self) {
        for (_, values) in self.0.values_mut() {
            values
                .iter_mut()
                .for_each(|value| *value = f32_of_f16(f16_of_f32(*value)));
        }
    }

    /// Writes `model.safetensors`, with 16 bits a weight.
    ///
    /// # Errors
    /// The tensors do not fit into the format.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, ModelError> {
        let encoded: Vec<(&str, &[usize], Vec<u8>)> = self
            .iter()
            .map(|(name, shape, values)| {
                let bytes = values
                    .iter()
                    .flat_map(|&value| f16_of_f32(value).to_le_bytes());
                (name, shape, bytes.collect())
            })
            .collect();
        let mut views = Vec::with_capacity(encoded.len());
        for (name, shape, bytes) in &encoded {
            let view =
                TensorView::new(Dtype::F16, shape.to_vec(), bytes).map_err(ModelError::Tensors)?;
            views.push((*name, view));
        }
        safetensors::serialize(views, None).map_err(ModelError::Tensors)
    }
}

/// The value of a 16-bit IEEE 754 floating point number.
fn f32_of_f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let mantissa = u32::from(bits) & 0x3ff;
    match exponent {
        // Subnormal: mantissa · 2^-24, which f32 holds exactly.
        0 => f32::from_bits(sign | (mantissa as f32 / 16_777_216.0).to_bits()),
        0x1f => f32::from_bits(sign | 0x7f80_0000 | mantissa << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | mantissa << 13),
    }
}

/// The nearest 16-bit floating point number, ties to even; beyond its range the largest finite one.
fn f16_of_f32(value: f32) -> u16 {
    let sign = (value.to_bits() >> 16) as u16 & 0x8000;
    let magnitude = value.abs().min(65504.0);
    let bits = if magnitude < 6.103_515_6e-5 {
        // Subnormal: adding 0.5 leaves a unit of 2^-24 in the last place, and rounds as wanted.
        (magnitude + 0.5).to_bits() - 0.5_f32.to_bits()
    } else {
        let exact = magnitude.to_bits() - (112 << 23);
        (exact + 0xfff + (exact >> 13 & 1)) >> 13
    };
    sign | bits as u16
}

/// The contents of a model folder, as they are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// `model.json`.
    pub spec: Vec<u8>,
    /// `model.safetensors`.
    pub weights: Vec<u8>,
    /// `vocabulary.txt`.
    pub vocabulary: Vec<u8>,
}

impl ModelFiles {
    /// Reads a folder on disk.
    ///
    /// # Errors
    /// A file is missing, unreadable or too large.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let read = |index: usize| -> Result<Vec<u8>, ModelError> {
            let path = folder.join(FILES[index]);
            let fail = |source| ModelError::Read {
                path: path.display().to_string(),
                source,
            };
            let file = std::fs::File::open(&path).map_err(fail)?;
            let mut bytes = Vec::new();
            // One byte over the limit: enough to know, whatever the file's size claims to be.
            file.take(LIMITS[index] + 1)
                .read_to_end(&mut bytes)
                .map_err(fail)?;
            within_limit(index, bytes.len() as u64)?;
            Ok(bytes)
        };
        Ok(Self {
            spec: read(0)?,
            weights: read(1)?,
            vocabulary: read(2)?,
        })
    }

    /// Fetches a folder from an object store.
    ///
    /// # Errors
    /// An object is missing, unreadable or too large.
    pub async fn fetch(store: &dyn ObjectStore, folder: &ObjectPath) -> Result<Self, ModelError> {
        let mut contents = Vec::with_capacity(FILES.len());
        for (index, name) in FILES.into_iter().enumerate() {
            let path = folder.clone().join(name);
            let fail = |source| ModelError::Fetch {
                path: path.to_string(),
                source: Box::new(source),
            };
            let object = store.get(&path).await.map_err(fail)?;
            within_limit(index, object.meta.size)?;
            contents.push(object.bytes().await.map_err(fail)?.to_vec());
        }
        let mut next = contents.into_iter();
        Ok(Self {
            spec: next.next().unwrap_or_default(),
            weights: next.next().unwrap_or_default(),
            vocabulary: next.next().unwrap_or_default(),
        })
    }

    /// SHA-256 over the three files, each preceded by its length, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut digest = Sha256::new();
        for file in [&self.spec, &self.weights, &self.vocabulary] {
            digest.update((file.len() as u64).to_le_bytes());
            digest.update(file);
        }
        digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Checks the three files, one against the other.
    ///
    /// # Errors
    /// Whatever keeps them from being a model: see [`ModelError`].
    pub(super) fn parse(&self) -> Result<(Spec, Weights, Vocabulary), ModelError> {
        for (index, file) in [&self.spec, &self.weights, &self.vocabulary]
            .into_iter()
            .enumerate()
        {
            within_limit(index, file.len() as u64)?;
        }
        let spec = Spec::parse(&self.spec)?;
        let vocabulary = Vocabulary::parse(&self.vocabulary)?;
        if vocabulary.len() != spec.vocabulary {
            return Err(ModelError::VocabularySize {
                found: vocabulary.len(),
                expected: spec.vocabulary,
            });
        }
        let weights = Weights::parse(&spec, &self.weights)?;
        Ok((spec, weights, vocabulary))
    }
}

fn within_limit(index: usize, size: u64) -> Result<(), ModelError> {
    match size > LIMITS[index] {
        true => Err(ModelError::TooLarge {
            file: FILES[index],
            size,
            limit: LIMITS[index],
        }),
        false => Ok(()),
    }
}
