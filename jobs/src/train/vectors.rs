//! Word vectors learnt from which words stand near each other, without labels.
//!
//! Rows of the positive pointwise mutual information of words and their neighbours, reduced to a few dimensions by a
//! truncated eigendecomposition, scaled by the square roots of the eigenvalues (Levy, Goldberg and Dagan 2015,
//! "Improving Distributional Similarity with Lessons Learned from Word Embeddings"), found by randomised subspace
//! iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4).

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Neighbours on each side; one at distance d counts `1 − (d − 1) / WINDOW`.
const WINDOW: usize = 4;
/// Dimensions beyond those wanted, without which the last ones are inexact.
const OVERSAMPLING: usize = 16;
const ITERATIONS: usize = 4;
/// Root mean square of a vector's numbers, as of the random vectors of a new network.
const SCALE: f64 = 0.1;

/// Vectors of `size` numbers for `words` words, one after the other, from texts of their ids. Those of words without
/// a neighbour are zero.
pub(super) fn word_vectors<'a>(
    texts: impl Iterator<Item = &'a [u32]>,
    words: usize,
    size: usize,
    seed: u64,
) -> Vec<f32> {
    let matrix = mutual_information(texts, words);
    let (basis, values) = leading_eigenvectors(&matrix, size, seed);
    let mut vectors = vec![0.0_f32; words * size];
    for (word, vector) in vectors.chunks_mut(size.max(1)).enumerate() {
        let scaled: Vec<f64> = basis
            .iter()
            .zip(&values)
            .map(|(column, value)| column.get(word).unwrap_or(&0.0) * value.abs().sqrt())
            .collect();
        let length = dot(&scaled, &scaled).sqrt();
        if length > 1e-9 {
            let factor = SCALE * (size as f64).sqrt() / length;
            for (to, from) in vector.iter_mut().zip(&scaled) {
                *to = (from * factor) as f32;
            }
        }
    }
    vectors
}

/// A symmetric matrix: the columns and values of each row that are not zero.
type Sparse = Vec<Vec<(u32, f64)>>;

/// max(0, ln(p(a, b) / (p(a) p(b)))) for words a and b near each other.
fn mutual_information<'a>(texts: impl Iterator<Item = &'a [u32]>, words: usize) -> Sparse {
    // Word, neighbour and distance in one number each: equal pairs stand together once sorted.
    let mut pairs: Vec<u64> = Vec::new();
    for text in texts {
        for (at, &word) in text.iter().enumerate() {
            for (distance, &other) in (0_u64..).zip(text.iter().skip(at + 1).take(WINDOW)) {
                for (a, b) in [(word, other), (other, word)] {
                    pairs.push(u64::from(a) << 34 | u64::from(b) << 4 | distance);
                }
            }
        }
    }
    pairs.sort_unstable();
    let mut counts: Sparse = vec![Vec::new(); words];
    for pair in pairs.chunk_by(|a, b| a >> 4 == b >> 4) {
        let weight = |pair: &u64| 1.0 - (pair & 15) as f64 / WINDOW as f64;
        let (word, other) = (pair[0] >> 34, pair[0] >> 4 & ((1 << 30) - 1));
        if let Some(row) = counts.get_mut(word as usize) {
            row.push((other as u32, pair.iter().map(weight).sum()));
        }
    }
    let sums: Vec<f64> = counts
        .iter()
        .map(|row| row.iter().map(|(_, count)| count).sum())
        .collect();
    let total: f64 = sums.iter().sum();
    let information = |(row, sum): (Vec<(u32, f64)>, &f64)| {
        row.into_iter()
            .filter_map(|(other, count)| {
                let expected = sum * sums.get(other as usize)? / total;
                Some((other, (count / expected).ln())).filter(|(_, value)| *value > 0.0)
            })
            .collect()
    };
    counts.into_iter().zip(&sums).map(information).collect()
}

/// The eigenvectors of the `size` eigenvalues of greatest magnitude, with these; fewer in a smaller matrix.
fn leading_eigenvectors(matrix: &Sparse, size: usize, seed: u64) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let dimensions = (size + OVERSAMPLING).min(matrix.len());
    let mut basis: Vec<Vec<f64>> = (0..dimensions)
        .map(|_| matrix.iter().map(|_| rng.random_range(-1.0..1.0)).collect())
        .collect();
    orthonormalise(&mut basis);
    for _ in 0..ITERATIONS {
        basis = basis.iter().map(|column| product(matrix, column)).collect();
        orthonormalise(&mut basis);
    }
    let images: Vec<Vec<f64>> = basis.iter().map(|column| product(matrix, column)).collect();
    let projected: Vec<Vec<f64>> = basis
        .iter()
        .map(|a| images.iter().map(|b| dot(a, b)).collect())
        .collect();
    let mut pairs = jacobi(projected);
    pairs.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
    pairs.truncate(size);
    let rotated = |weights: &Vec<f64>| {
        let mut sum = vec![0.0; matrix.len()];
        for (column, weight) in basis.iter().zip(weights) {
            add(&mut sum, column, *weight);
        }
        sum
    };
    pairs
        .iter()
        .map(|(value, weights)| (rotated(weights), *value))
        .unzip()
}

fn product(matrix: &Sparse, vector: &[f64]) -> Vec<f64> {
    let value = |row: &Vec<(u32, f64)>| {
        row.iter()
            .map(|(column, value)| value * vector.get(*column as usize).unwrap_or(&0.0))
            .sum()
    };
    matrix.iter().map(value).collect()
}

/// Gram and Schmidt's method, twice over each vector for exactness; one that depends on the others becomes zero.
fn orthonormalise(basis: &mut [Vec<f64>]) {
    for index in 0..basis.len() {
        let (before, rest) = basis.split_at_mut(index);
        let Some(vector) = rest.first_mut() else {
            continue;
        };
        let original = dot(vector, vector).sqrt();
        for other in before.iter().chain(before.iter()) {
            let share = dot(vector, other);
            add(vector, other, -share);
        }
        let length = dot(vector, vector).sqrt();
        let factor = if length > 1e-12 * original {
            1.0 / length
        } else {
            0.0
        };
        vector.iter_mut().for_each(|value| *value *= factor);
    }
}

/// Eigenvalues and eigenvectors of a symmetric matrix by Jacobi's rotations.
fn jacobi(mut matrix: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
    let size = matrix.len();
    let mut vectors: Vec<Vec<f64>> = (0..size)
        .map(|row| (0..size).map(|at| f64::from(u8::from(at == row))).collect())
        .collect();
    for _ in 0..30 {
        let mut off = 0.0;
        for p in 0..size {
            for q in p + 1..size {
                let (pp, qq, pq) = (matrix[p][p], matrix[q][q], matrix[p][q]);
                off += pq * pq;
                if pq == 0.0 {
                    continue;
                }
                let theta = (qq - pp) / (2.0 * pq);
                let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let cosine = 1.0 / tangent.hypot(1.0);
                let sine = tangent * cosine;
                for row in &mut matrix {
                    let (a, b) = (row[p], row[q]);
                    row[p] = cosine * a - sine * b;
                    row[q] = sine * a + cosine * b;
                }
                rotate(&mut matrix, p, q, cosine, sine);
                rotate(&mut vectors, p, q, cosine, sine);
            }
        }
        let trace: f64 = (0..size).map(|at| matrix[at][at] * matrix[at][at]).sum();
        if off <= 1e-24 * trace {
            break;
        }
    }
    let values = (0..size).map(|at| matrix[at][at]);
    values.zip(vectors).collect()
}

/// Turns rows p < q into `cosine · p − sine · q` and `sine · p + cosine · q`.
fn rotate(rows: &mut [Vec<f64>], p: usize, q: usize, cosine: f64, sine: f64) {
    let (before, rest) = rows.split_at_mut(q);
    if let (Some(first), Some(second)) = (before.get_mut(p), rest.first_mut()) {
        for (a, b) in first.iter_mut().zip(second) {
            (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64], vector: &[f64], factor: f64) {
    for (sum, value) in sum.iter_mut().zip(vector) {
        *sum += factor * value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eigenvectors_are_those_of_the_matrix() {
        let matrix: Sparse = vec![
            vec![(0, 4.0), (1, 1.0)],
            vec![(0, 1.0), (1, 3.0), (2, -1.0)],
            vec![(1, -1.0), (2, -5.0), (3, 0.5)],
            vec![(2, 0.5), (3, 1.0)],
        ];
        let (vectors, values) = leading_eigenvectors(&matrix, 4, 1);
        assert_eq!(values.len(), 4);
        assert!((values.iter().sum::<f64>() - 3.0).abs() < 1e-9);
        assert!(values.windows(2).all(|pair| pair[0].abs() >= pair[1].abs()));
        for (vector, value) in vectors.iter().zip(&values) {
            assert!((dot(vector, vector) - 1.0).abs() < 1e-9);
            for (image, number) in product(&matrix, vector).iter().zip(vector) {
                assert!((image - value * number).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn words_in_the_same_places_have_like_vectors() {
        // 0 and 1 stand between 2 and 3; 4 and 5 between 6 and 7; 8 is nowhere.
        let mut texts = Vec::new();
        for turn in 0..40_u32 {
            texts.push(vec![2, turn % 2, 3]);
            texts.push(vec![6, 4 + turn / 2 % 2, 7]);
        }
        let vectors = word_vectors(texts.iter().map(Vec::as_slice), 9, 4, 1);
        let vector = |word: usize| -> Vec<f64> {
            vectors[word * 4..][..4].iter().map(|&v| v.into()).collect()
        };
        let cosine = |a: usize, b: usize| dot(&vector(a), &vector(b)) / (4.0 * SCALE * SCALE);
        assert!(cosine(0, 1) > 0.9 && cosine(4, 5) > 0.9);
        assert!(cosine(0, 4).abs() < 0.1);
        assert_eq!(vector(8), [0.0; 4]);
    }
}
