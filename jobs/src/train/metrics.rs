//! How good a ranking and how honest a probability is.

use graph_recs_udfs::model::{Calibration, sigmoid};

/// A score with the truth beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The score: the higher, the more like a good user.
    pub score: f64,
    /// Whether it is one.
    pub positive: bool,
}

/// A point of a curve.
pub type Point = (f64, f64);

fn descending(scores: &[Scored]) -> Vec<Scored> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
    sorted
}

/// Counts (true positives, false positives) above each distinct score, from the highest on.
fn counts(scores: &[Scored]) -> Vec<(f64, f64)> {
    let mut found = (0.0, 0.0);
    descending(scores)
        .chunk_by(|a, b| a.score == b.score)
        .map(|tied| {
            let positive = tied.iter().filter(|scored| scored.positive).count() as f64;
            found = (found.0 + positive, found.1 + tied.len() as f64 - positive);
            found
        })
        .collect()
}

/// Area under the ROC curve: the chance that a positive scores above a negative, ties counting half. NaN without both.
#[must_use]
pub fn roc_auc(scores: &[Scored]) -> f64 {
    let mut area = 0.0;
    let mut last = (0.0, 0.0);
    for (positive, negative) in counts(scores) {
        area += (negative - last.1) * (positive + last.0) / 2.0;
        last = (positive, negative);
    }
    area / (last.0 * last.1)
}

/// Average precision: the mean, over the positives, of the precision at each one's rank. NaN without positives.
#[must_use]
pub fn average_precision(scores: &[Scored]) -> f64 {
    let mut sum = 0.0;
    let mut last = 0.0;
    for (positive, negative) in counts(scores) {
        sum += (positive - last) * positive / (positive + negative);
        last = positive;
    }
    sum / last
}

/// The ROC curve: (false positive rate, true positive rate).
#[must_use]
pub fn roc_curve(scores: &[Scored]) -> Vec<Point> {
    let counts = counts(scores);
    let (positive, negative) = counts.last().copied().unwrap_or((1.0, 1.0));
    let points = counts
        .into_iter()
        .map(|(p, n)| (n / negative, p / positive));
    std::iter::once((0.0, 0.0)).chain(points).collect()
}

/// The precision-recall curve: (recall, precision).
#[must_use]
pub fn precision_recall_curve(scores: &[Scored]) -> Vec<Point> {
    let counts = counts(scores);
    let positive = counts.last().map_or(1.0, |last| last.0);
    counts
        .into_iter()
        .map(|(p, n)| (p / positive, p / (p + n)))
        .collect()
}

/// Weights that make positives and negatives weigh 1/2 each: (of a positive, of a negative).
fn even_odds(scores: &[Scored]) -> (f64, f64) {
    let positive = scores.iter().filter(|scored| scored.positive).count() as f64;
    let negative = scores.len() as f64 - positive;
    (0.5 / positive.max(1.0), 0.5 / negative.max(1.0))
}

/// One bar of the reliability diagram, at even odds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Bin {
    /// Mean probability.
    pub predicted: f64,
    /// Share of positives.
    pub observed: f64,
    /// Share of all weight.
    pub weight: f64,
}

/// Reliability of probabilities in ten bins of equal width, with positives and negatives weighing the same.
#[must_use]
pub fn reliability(scores: &[Scored]) -> Vec<Bin> {
    let (positive, negative) = even_odds(scores);
    let mut sums = [(0.0, 0.0, 0.0); 10];
    for scored in scores {
        let bin = (scored.score * 10.0).clamp(0.0, 9.0) as usize;
        let weight = if scored.positive { positive } else { negative };
        if let Some((all, predicted, observed)) = sums.get_mut(bin) {
            *all += weight;
            *predicted += weight * scored.score;
            *observed += if scored.positive { weight } else { 0.0 };
        }
    }
    let filled = sums.into_iter().filter(|(all, ..)| *all > 0.0);
    let bin = |(weight, predicted, observed)| Bin {
        predicted: predicted / weight,
        observed: observed / weight,
        weight,
    };
    filled.map(bin).collect()
}

/// Expected calibration error at even odds: the mean distance of predicted and observed over [`reliability`]'s bins.
#[must_use]
pub fn expected_calibration_error(scores: &[Scored]) -> f64 {
    let bins = reliability(scores);
    bins.iter()
        .map(|bin| bin.weight * (bin.predicted - bin.observed).abs())
        .sum()
}

/// Cross entropy of logits at even odds, in nats.
#[must_use]
pub fn cross_entropy(logits: &[Scored]) -> f64 {
    let (positive, negative) = even_odds(logits);
    let loss = |scored: &Scored| {
        let signed = if scored.positive {
            scored.score
        } else {
            -scored.score
        };
        let weight = if scored.positive { positive } else { negative };
        // ln(1 + e^-x) without overflow
        weight * ((-signed.abs()).exp().ln_1p() + (-signed).max(0.0))
    };
    logits.iter().map(loss).sum()
}

/// Platt scaling (Platt 1999) at even odds: scale and offset that minimise the cross entropy of `scores` (logits), by
/// Newton's method, with Platt's smoothed targets so that separable data keep a finite scale.
#[must_use]
pub fn platt(logits: &[Scored]) -> Calibration {
    let count = logits.iter().filter(|scored| scored.positive).count() as f64;
    let others = logits.len() as f64 - count;
    let (positive, negative) = even_odds(logits);
    let (high, low) = ((count + 1.0) / (count + 2.0), 1.0 / (others + 2.0));
    let (mut scale, mut offset) = (1.0, 0.0);
    for _ in 0..50 {
        // Gradient and Hessian of the weighted cross entropy, with a whiff of ridge towards scale 1.
        let ridge = 1e-6;
        let (mut gs, mut go) = (ridge * (scale - 1.0), ridge * offset);
        let (mut hss, mut hso, mut hoo) = (ridge, 0.0, ridge);
        for scored in logits {
            let (weight, target) = match scored.positive {
                true => (positive, high),
                false => (negative, low),
            };
            let p = sigmoid(scale * scored.score + offset);
            let slope = weight * (p - target);
            let curve = weight * p * (1.0 - p);
            gs += slope * scored.score;
            go += slope;
            hss += curve * scored.score * scored.score;
            hso += curve * scored.score;
            hoo += curve;
        }
        let determinant = hss * hoo - hso * hso;
        if determinant <= 0.0 {
            break;
        }
        let step = (
            (hoo * gs - hso * go) / determinant,
            (hss * go - hso * gs) / determinant,
        );
        // Steps are bounded: far from the solution Newton's method may jump.
        scale -= step.0.clamp(-1.0, 1.0);
        offset -= step.1.clamp(-1.0, 1.0);
        if step.0.abs() + step.1.abs() < 1e-10 {
            break;
        }
    }
    Calibration {
        // A model must never rank backwards, however bad it is.
        scale: scale.max(1e-3),
        offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(scores: &[(f64, bool)]) -> Vec<Scored> {
        let one = |&(score, positive)| Scored { score, positive };
        scores.iter().map(one).collect()
    }

    #[test]
    fn areas_are_those_of_the_definitions() {
        // By hand: pairs (0.9>0.8), (0.9>0.3), (0.5<0.8), (0.5>0.3): 3 of 4; precisions 1 and 2/3.
        let scores = scored(&[(0.3, false), (0.9, true), (0.8, false), (0.5, true)]);
        assert_eq!(roc_auc(&scores), 0.75);
        assert!((average_precision(&scores) - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        // All tied: chance.
        let tied = scored(&[(0.5, true), (0.5, false), (0.5, false), (0.5, false)]);
        assert_eq!(roc_auc(&tied), 0.5);
        assert_eq!(average_precision(&tied), 0.25);
        assert!(roc_auc(&scored(&[(0.5, true)])).is_nan());
    }

    #[test]
    fn curves_begin_and_end_where_they_should() {
        let scores = scored(&[(0.3, false), (0.9, true), (0.8, false), (0.5, true)]);
        let roc = roc_curve(&scores);
        assert_eq!((roc[0], roc[roc.len() - 1]), ((0.0, 0.0), (1.0, 1.0)));
        assert_eq!(
            precision_recall_curve(&scores),
            [(0.5, 1.0), (0.5, 0.5), (1.0, 2.0 / 3.0), (1.0, 0.5)]
        );
    }

    #[test]
    fn calibration_error_is_measured_at_even_odds() {
        // 0.75 is right when three of four by weight are positive: 3 positives weigh 0.5, 9 negatives 0.5.
        let mut scores = vec![];
        for index in 0..12 {
            let positive = index < 3;
            let high = if positive { index < 2 } else { index < 5 };
            scores.push(Scored {
                score: if high { 0.75 } else { 0.3 },
                positive,
            });
        }
        // high: 2/3·½ positive, 2/9·½ negative → 0.75; low: 1/3, 7/9 → 0.3
        assert!(expected_calibration_error(&scores) < 1e-12);
        assert!((reliability(&scores)[1].observed - 0.75).abs() < 1e-12);
        scores.iter_mut().for_each(|scored| scored.score -= 0.2);
        assert!((expected_calibration_error(&scores) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn platt_scaling_finds_the_truth() {
        // Logits x with true probability sigmoid(2x − 1) at even odds: repeat each x as often as its weight asks.
        let mut logits = vec![];
        for step in -40..=40 {
            let x = f64::from(step) / 20.0;
            let p = sigmoid(2.0 * x - 1.0);
            for repeat in 0..1000 {
                logits.push(Scored {
                    score: x,
                    positive: f64::from(repeat) < p * 1000.0,
                });
            }
        }
        let share =
            logits.iter().filter(|scored| scored.positive).count() as f64 / logits.len() as f64;
        let found = platt(&logits);
        let prior = (share / (1.0 - share)).ln();
        assert!((found.scale - 2.0).abs() < 0.02, "{found:?}");
        assert!(
            (found.offset - (-1.0 - prior)).abs() < 0.02,
            "{found:?} {prior}"
        );
        let before = cross_entropy(&logits);
        let after: Vec<_> = logits
            .iter()
            .map(|s| Scored {
                score: found.scale * s.score + found.offset,
                ..*s
            })
            .collect();
        assert!(cross_entropy(&after) < before);
    }

    #[test]
    fn platt_scaling_stays_finite_and_upright() {
        let separable = platt(&scored(&[
            (-1.0, false),
            (-0.5, false),
            (0.5, true),
            (1.0, true),
        ]));
        assert!(separable.scale.is_finite() && separable.scale > 1.0);
        assert!(
            platt(&scored(&[
                (1.0, false),
                (-1.0, true),
                (0.9, false),
                (-1.1, true)
            ]))
            .scale
                > 0.0
        );
        assert!(platt(&[]).scale.is_finite());
    }
}
