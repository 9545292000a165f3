//! The TextCNN while it learns.
//!
//! Parameters live in plain vectors, so that an optimiser step and a checkpoint are loops over numbers; for each batch
//! they become tensors, and Candle's automatic differentiation gives the gradients. As in scoring, the product of word
//! vectors and filters is computed once per *distinct* word of the batch, by one matrix product; windows are then sums
//! of its rows. [`MaxOverTime`] does that and knows its gradient, which reaches only each filter's winning window.

use super::optimise::Parameter;
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, Var};
use graph_recs_udfs::model::{MIN_TOKENS, ModelError, Spec, WIDTHS, Weights};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Number of widths.
pub(super) const WIDTH_COUNT: usize = WIDTHS.len();
/// Positions of all filters: 3 + 4 + 5.
const TAPS: usize = WIDTHS[0] + WIDTHS[1] + WIDTHS[2];

/// The parameters of one network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    pub embedding_size: usize,
    pub filters: usize,
    /// words × embedding
    pub embedding: Parameter,
    /// embedding × (tap, filter): first the taps of width 3, then 4, then 5
    pub filter: Parameter,
    /// width, filter
    pub filter_bias: Parameter,
    /// width, filter
    pub output: Parameter,
    pub output_bias: Parameter,
}

/// Documents of a batch, with words numbered within it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The distinct words, by their ids.
    pub words: Vec<u32>,
    /// Per document indices into `words`; `words.len()` pads short documents.
    pub documents: Vec<Vec<u32>>,
}

impl Batch {
    /// Numbers the words of documents, and pads short ones at the end.
    pub fn new<'a>(documents: impl Iterator<Item = &'a [u32]>) -> Self {
        let mut documents: Vec<Vec<u32>> = documents.map(<[u32]>::to_vec).collect();
        let mut words: Vec<u32> = documents.iter().flatten().copied().collect();
        words.sort_unstable();
        words.dedup();
        for document in &mut documents {
            for token in document.iter_mut() {
                *token = words.binary_search(token).unwrap_or_default() as u32;
            }
            let length = document.len().max(MIN_TOKENS);
            document.resize(length, words.len() as u32);
        }
        Self { words, documents }
    }
}

/// The gradients of a batch.
pub(super) struct Gradients {
    pub loss: f32,
    /// For the rows of the batch's words.
    pub embedding: Vec<f32>,
    pub filter: Vec<f32>,
    pub filter_bias: Vec<f32>,
    pub output: Vec<f32>,
    pub output_bias: Vec<f32>,
}

impl Network {
    /// A network over these word vectors (words × `embedding_size`) with random weights: uniform within ±√(3 / fan-in)
    /// for filters and output (He et al. 2015, with gain 1).
    pub fn new(embedding: Vec<f32>, embedding_size: usize, filters: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = |count: usize, bound: f32| -> Vec<f32> {
            (0..count)
                .map(|_| rng.random_range(-bound..bound))
                .collect()
        };
        let mut filter = uniform(embedding_size * TAPS * filters, 1.0);
        let mut tap = 0;
        for width in WIDTHS {
            let bound = (3.0 / (width * embedding_size) as f32).sqrt();
            for row in filter.chunks_mut(TAPS * filters) {
                let taps = row.iter_mut().skip(tap * filters).take(width * filters);
                taps.for_each(|weight| *weight *= bound);
            }
            tap += width;
        }
        let pooled = WIDTHS.len() * filters;
        let output = uniform(pooled, (3.0 / pooled as f32).sqrt());
        Self {
            embedding_size,
            filters,
            embedding: Parameter::new(embedding),
            filter: Parameter::new(filter),
            filter_bias: Parameter::new(vec![0.0; pooled]),
            output: Parameter::new(output),
            output_bias: Parameter::new(vec![0.0]),
        }
    }

    /// All parameters under their names.
    pub fn parameters(&self) -> [(&'static str, &Parameter); 5] {
        [
            ("embedding", &self.embedding),
            ("filter", &self.filter),
            ("filter_bias", &self.filter_bias),
            ("output", &self.output),
            ("output_bias", &self.output_bias),
        ]
    }

    /// The same, to change them.
    pub fn parameters_mut(&mut self) -> [(&'static str, &mut Parameter); 5] {
        [
            ("embedding", &mut self.embedding),
            ("filter", &mut self.filter),
            ("filter_bias", &mut self.filter_bias),
            ("output", &mut self.output),
            ("output_bias", &mut self.output_bias),
        ]
    }

    /// The mean weighted cross entropy of a batch and its gradients. `targets` and `weights` are by document;
    /// `dropout` holds factors for the pooled activations (documents × widths · filters).
    pub fn gradients(
        &self,
        batch: Batch,
        targets: &[f32],
        weights: &[f32],
        dropout: &[f32],
        device: &Device,
    ) -> Result<Gradients> {
        let (documents, pooled) = (batch.documents.len(), WIDTHS.len() * self.filters);
        let variable = |values: &[f32], shape: &[usize]| Var::from_slice(values, shape, device);
        let mut rows = Vec::with_capacity(batch.words.len() * self.embedding_size);
        for &word in &batch.words {
            let start = word as usize * self.embedding_size;
            rows.extend_from_slice(
                self.embedding
                    .values
                    .get(start..start + self.embedding_size)
                    .unwrap_or(&[]),
            );
        }
        let embedding = variable(&rows, &[batch.words.len(), self.embedding_size])?;
        let filter = variable(
            &self.filter.values,
            &[self.embedding_size, TAPS * self.filters],
        )?;
        let filter_bias = variable(&self.filter_bias.values, &[pooled])?;
        let output = variable(&self.output.values, &[pooled, 1])?;
        let output_bias = variable(&self.output_bias.values, &[1])?;

        let products = embedding.matmul(&filter)?;
        let maxima = max_over_time(&products, batch.documents, self.filters)?;
        let active = maxima.broadcast_add(&filter_bias)?.relu()?;
        let kept = (active * Tensor::from_slice(dropout, (documents, pooled), device)?)?;
        let logits = kept
            .matmul(&output)?
            .flatten_all()?
            .broadcast_add(&output_bias)?;
        let loss = cross_entropy(&logits, targets, weights, device)?;

        let gradients = loss.backward()?;
        let gradient = |variable: &Var| match gradients.get(variable) {
            Some(gradient) => gradient.flatten_all()?.to_vec1(),
            None => Ok(vec![0.0; variable.elem_count()]),
        };
        Ok(Gradients {
            loss: loss.to_scalar()?,
            embedding: gradient(&embedding)?,
            filter: gradient(&filter)?,
            filter_bias: gradient(&filter_bias)?,
            output: gradient(&output)?,
            output_bias: gradient(&output_bias)?,
        })
    }

    /// The weights in the form of a model folder.
    pub fn weights(&self, spec: &Spec) -> std::result::Result<Weights, ModelError> {
        let (size, filters) = (self.embedding_size, self.filters);
        let words = self.embedding.values.len() / size;
        let mut tensors = BTreeMap::new();
        let mut insert = |name: String, shape: &[usize], values: Vec<f32>| {
            tensors.insert(name, (shape.to_vec(), values));
        };
        insert(
            "embedding.weight".to_owned(),
            &[words, size],
            self.embedding.values.clone(),
        );
        let mut tap = 0;
        for (index, width) in WIDTHS.into_iter().enumerate() {
            let mut values = Vec::with_capacity(filters * size * width);
            for filter in 0..filters {
                for row in self.filter.values.chunks(TAPS * filters) {
                    values.extend(
                        (tap..tap + width).filter_map(|tap| row.get(tap * filters + filter)),
                    );
                }
            }
            insert(
                format!("conv{width}.weight"),
                &[filters, size, width],
                values,
            );
            let bias = self
                .filter_bias
                .values
                .iter()
                .skip(index * filters)
                .take(filters);
            insert(
                format!("conv{width}.bias"),
                &[filters],
                bias.copied().collect(),
            );
            tap += width;
        }
        let output = self.output.values.clone();
        insert("output.weight".to_owned(), &[1, output.len()], output);
        insert(
            "output.bias".to_owned(),
            &[1],
            self.output_bias.values.clone(),
        );
        Weights::new(spec, tensors)
    }
}

/// Mean of the weighted cross entropies: `softplus(x) − target · x` for a logit x.
fn cross_entropy(
    logits: &Tensor,
    targets: &[f32],
    weights: &[f32],
    device: &Device,
) -> Result<Tensor> {
    let count = targets.len();
    let targets = Tensor::from_slice(targets, count, device)?;
    let weights = Tensor::from_slice(weights, count, device)?;
    // softplus(x) = max(x, 0) + ln(1 + e^-|x|), which cannot overflow
    let softplus = (logits.relu()? + (logits.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    ((softplus - (targets * logits)?)? * weights)?.mean_all()
}

/// Each filter's greatest window sum in each document: documents × (width, filter).
fn max_over_time(products: &Tensor, documents: Vec<Vec<u32>>, filters: usize) -> Result<Tensor> {
    if products.device().is_cpu() {
        return products.contiguous()?.apply_op1(MaxOverTime {
            documents,
            filters,
            winners: OnceLock::new(),
        });
    }
    max_over_time_by_tensors(products, &documents, filters)
}

/// [`max_over_time`] by tensor operations, on any device: all documents at once, padded to the longest.
fn max_over_time_by_tensors(
    products: &Tensor,
    documents: &[Vec<u32>],
    filters: usize,
) -> Result<Tensor> {
    let device = products.device();
    let (words, longest) = (
        products.dim(0)? as u32,
        documents.iter().map(Vec::len).max().unwrap_or(0),
    );
    let padded: Vec<u32> = documents
        .iter()
        .flat_map(|document| {
            let padding = std::iter::repeat(words);
            document.iter().copied().chain(padding).take(longest)
        })
        .collect();
    let tokens = Tensor::from_vec(padded, documents.len() * longest, device)?;
    // The padding's row is zero.
    let taps = products
        .pad_with_zeros(0, 0, 1)?
        .index_select(&tokens, 0)?
        .reshape((documents.len(), longest, TAPS * filters))?;
    let mut maxima = Vec::with_capacity(WIDTHS.len());
    for (_, first_tap, width) in widths() {
        let windows = longest + 1 - width;
        let tap = |position: usize| {
            let lane = taps.narrow(2, (first_tap + position) * filters, filters)?;
            lane.narrow(1, position, windows)
        };
        let mut sums = tap(0)?;
        for position in 1..width {
            sums = (sums + tap(position)?)?;
        }
        // A window that reaches into what a document was padded with to be as long as the longest never wins.
        let beyond: Vec<f32> = documents
            .iter()
            .flat_map(|document| {
                let is_in = move |start| start + width <= document.len();
                (0..windows).map(move |start| if is_in(start) { 0.0 } else { f32::MIN })
            })
            .collect();
        let beyond = Tensor::from_vec(beyond, (documents.len(), windows, 1), device)?;
        // The winner by its place: equal windows must not each get the whole gradient.
        let winners = sums.broadcast_add(&beyond)?.argmax_keepdim(1)?;
        maxima.push(sums.contiguous()?.gather(&winners, 1)?.squeeze(1)?);
    }
    Tensor::cat(&maxima, 1)
}

/// Every width: its index, its first tap and the width.
fn widths() -> impl Iterator<Item = (usize, usize, usize)> {
    let first = |index: usize| WIDTHS.iter().take(index).sum();
    WIDTHS
        .into_iter()
        .enumerate()
        .map(move |(index, width)| (index, first(index), width))
}

/// [`max_over_time`] on the CPU: words × (tap, filter) → documents × (width, filter).
struct MaxOverTime {
    documents: Vec<Vec<u32>>,
    filters: usize,
    /// Where the winning windows begin: documents × (width, filter).
    winners: OnceLock<Vec<u32>>,
}

impl CustomOp1 for MaxOverTime {
    fn name(&self) -> &'static str {
        "max-over-time"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let filters = self.filters;
        let products = storage
            .as_slice::<f32>()?
            .get(layout.start_offset()..)
            .unwrap_or(&[]);
        let row = TAPS * filters;
        let pooled = WIDTHS.len() * filters;
        let mut maxima = vec![f32::NEG_INFINITY; self.documents.len() * pooled];
        let mut winners = vec![0_u32; maxima.len()];
        let mut sum = vec![0.0_f32; filters];
        let outputs = maxima.chunks_mut(pooled).zip(winners.chunks_mut(pooled));
        for (document, (maxima, winners)) in self.documents.iter().zip(outputs) {
            for (index, first_tap, width) in widths() {
                let lanes = index * filters..(index + 1) * filters;
                let (Some(best), Some(at)) =
                    (maxima.get_mut(lanes.clone()), winners.get_mut(lanes))
                else {
                    continue;
                };
                for (start, window) in document.windows(width).enumerate() {
                    sum.fill(0.0);
                    for (position, &word) in window.iter().enumerate() {
                        let offset = word as usize * row + (first_tap + position) * filters;
                        // The padding has no row: it adds nothing.
                        let tap = products.get(offset..offset + filters).unwrap_or(&[]);
                        sum.iter_mut()
                            .zip(tap)
                            .for_each(|(sum, product)| *sum += product);
                    }
                    for ((best, at), &sum) in best.iter_mut().zip(at.iter_mut()).zip(&sum) {
                        let wins = sum > *best;
                        *best = if wins { sum } else { *best };
                        *at = if wins { start as u32 } else { *at };
                    }
                }
            }
        }
        // Candle calls this once per graph; a second call would compute the same.
        let _ = self.winners.set(winners);
        let shape = Shape::from((self.documents.len(), pooled));
        Ok((CpuStorage::F32(maxima), shape))
    }

    fn bwd(
        &self,
        products: &Tensor,
        _maxima: &Tensor,
        gradient: &Tensor,
    ) -> Result<Option<Tensor>> {
        let filters = self.filters;
        let pooled = WIDTHS.len() * filters;
        let gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
        let Some(winners) = self.winners.get() else {
            candle_core::bail!("max-over-time: backward before forward");
        };
        let row = TAPS * filters;
        let mut result = vec![0.0_f32; products.elem_count()];
        let inputs = gradient.chunks(pooled).zip(winners.chunks(pooled));
        for (document, (gradient, winners)) in self.documents.iter().zip(inputs) {
            for (index, first_tap, width) in widths() {
                let lanes = gradient
                    .iter()
                    .zip(winners)
                    .skip(index * filters)
                    .take(filters);
                for (filter, (&gradient, &start)) in lanes.enumerate() {
                    if gradient == 0.0 {
                        continue;
                    }
                    let window = document.iter().skip(start as usize).take(width);
                    for (position, &word) in window.enumerate() {
                        let offset =
                            word as usize * row + (first_tap + position) * filters + filter;
                        if let Some(sum) = result.get_mut(offset) {
                            *sum += gradient;
                        }
                    }
                }
            }
        }
        Ok(Some(Tensor::from_vec(
            result,
            products.shape(),
            products.device(),
        )?))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use graph_recs_udfs::model::{Calibration, Scorer as _, TableScorer, Tokenizer};

    pub fn spec(words: usize, embedding: usize, filters: usize) -> Spec {
        Spec {
            format: 1,
            architecture: "text-cnn".to_owned(),
            vocabulary: words,
            embedding,
            widths: WIDTHS.to_vec(),
            filters,
            tokenizer: Tokenizer::Plain,
            max_tokens: 1500,
            calibration: Calibration::NONE,
            training_data: String::new(),
            metrics: BTreeMap::new(),
        }
    }

    fn documents() -> Vec<Vec<u32>> {
        vec![
            vec![3, 1, 4, 1, 5, 9, 2, 6],
            vec![5],
            vec![8, 9, 7, 9, 3],
            vec![2, 7, 1, 8, 2, 8, 1],
        ]
    }

    fn losses(network: &Network, targets: &[f32]) -> f32 {
        let scorer = TableScorer::exact(
            &spec(10, 6, 16),
            &network.weights(&spec(10, 6, 16)).unwrap(),
        );
        let documents = documents();
        let slices: Vec<&[u32]> = documents.iter().map(Vec::as_slice).collect();
        let logits = scorer.logits(&slices).unwrap();
        let loss = |(logit, target): (&f32, &f32)| logit.exp().ln_1p() - target * logit;
        logits.iter().zip(targets).map(loss).sum::<f32>() / 4.0
    }

    #[test]
    fn the_learning_network_is_the_scoring_one_and_its_gradients_are_right() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let vectors = (0..60).map(|_| rng.random_range(-2.0..2.0)).collect();
        let mut network = Network::new(vectors, 6, 16, 1);
        // Windows of padding alone sum to 0, where ReLU has its kink.
        network.filter_bias.values.fill(0.1);
        let (targets, weights) = ([1.0, 0.0, 1.0, 0.0], [1.0; 4]);
        let documents = documents();
        let batch = || Batch::new(documents.iter().map(Vec::as_slice));
        let words = batch().words;
        let gradients = network
            .gradients(batch(), &targets, &weights, &[1.0; 4 * 48], &Device::Cpu)
            .unwrap();
        assert!((gradients.loss - losses(&network, &targets)).abs() < 1e-5);

        let step = 1e-3;
        let (mut checks, mut kinks) = (0, 0);
        let mut check = |name: &str, index: usize, gradient: f32| {
            let at = |delta: f32| {
                let mut moved = network.clone();
                for (parameter, values) in moved.parameters_mut() {
                    if parameter == name {
                        values.values[index] += delta;
                    }
                }
                losses(&moved, &targets)
            };
            let numeric = (at(step) - at(-step)) / (2.0 * step);
            checks += 1;
            kinks += usize::from((numeric - gradient).abs() > 1e-3);
        };
        for (row, &word) in words.iter().enumerate() {
            check(
                "embedding",
                word as usize * 6 + 2,
                gradients.embedding[row * 6 + 2],
            );
        }
        for index in (0..6 * TAPS * 16).step_by(37) {
            check("filter", index, gradients.filter[index]);
        }
        for index in 0..48 {
            check("filter_bias", index, gradients.filter_bias[index]);
            check("output", index, gradients.output[index]);
        }
        check("output_bias", 0, gradients.output_bias[0]);
        // A step may still cross a kink of ReLU or the maximum.
        assert!(
            checks > 130 && kinks * 50 <= checks,
            "{kinks} of {checks} gradients differ"
        );
    }

    /// What other devices do must be what the CPU does.
    #[test]
    fn the_maximum_by_tensors_is_the_same_with_its_gradient() {
        let (filters, mut rng) = (16, ChaCha8Rng::seed_from_u64(3));
        let mut documents = documents();
        documents.push(vec![6; 7]);
        let batch = Batch::new(documents.iter().map(Vec::as_slice));
        let shape = [batch.words.len(), TAPS * filters];
        let mut random = |count: usize| -> Vec<f32> {
            (0..count).map(|_| rng.random_range(-2.0..2.0)).collect()
        };
        let values = random(shape[0] * shape[1]);
        let pooled = (documents.len(), WIDTHS.len() * filters);
        let factors = Tensor::from_vec(random(pooled.0 * pooled.1), pooled, &Device::Cpu).unwrap();
        let both = |by_tensors: bool| {
            let products = Var::from_slice(&values, &shape[..], &Device::Cpu).unwrap();
            let maxima = match by_tensors {
                true => max_over_time_by_tensors(&products, &batch.documents, filters),
                false => max_over_time(&products, batch.documents.clone(), filters),
            }
            .unwrap();
            let sum = (&maxima * &factors).unwrap().sum_all().unwrap();
            let gradients = sum.backward().unwrap();
            let flat =
                |tensor: &Tensor| -> Vec<f32> { tensor.flatten_all().unwrap().to_vec1().unwrap() };
            (flat(&maxima), flat(gradients.get(&products).unwrap()))
        };
        let (here, there) = (both(false), both(true));
        assert_eq!(here.0, there.0);
        assert_eq!(here.1.len(), there.1.len());
        for (here, there) in here.1.iter().zip(&there.1) {
            assert!((here - there).abs() < 1e-5, "{here} {there}");
        }
    }

    #[test]
    fn batches_number_and_pad() {
        let batch = Batch::new([&[7_u32, 3, 7, 9, 9, 9][..], &[], &[3]].into_iter());
        assert_eq!(batch.words, [3, 7, 9]);
        assert_eq!(
            batch.documents,
            [vec![1, 0, 1, 2, 2, 2], vec![3; 5], vec![0, 3, 3, 3, 3]]
        );
    }
}
