//! What a training gives: a model, its figures and pictures.

use super::data::Example;
use super::fit::{Epoch, by_user};
use super::metrics::{
    Bin, Scored, average_precision, expected_calibration_error, precision_recall_curve,
    reliability, roc_auc, roc_curve,
};
use super::{Learnt, TrainError, TrainOptions, Training, plots};
use graph_recs_udfs::model::{Calibration, FILES, ModelFiles};
use std::collections::BTreeSet;
use std::path::Path;

/// Figures on users that the model has not seen.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Quality {
    /// Users.
    pub users: usize,
    /// Good ones among them.
    pub good: usize,
    /// Area under the ROC curve, by user.
    pub roc_auc: f64,
    /// Average precision, by user.
    pub average_precision: f64,
    /// Expected calibration error of the documents' probabilities at even odds, ten bins.
    pub calibration_error: f64,
}

/// `metrics.json`.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Metrics {
    /// SHA-256 of the documents and labels.
    pub training_data: String,
    /// Weekly documents.
    pub documents: usize,
    /// Users who wrote them.
    pub users: usize,
    /// Good ones among them.
    pub good_users: usize,
    /// Words known.
    pub vocabulary: usize,
    /// How it was trained.
    pub options: TrainOptions,
    /// On the users of each fold, or on the test users.
    pub held_out: Vec<Quality>,
    /// Means of `held_out`; the calibration error is that of all held-out documents together.
    pub mean: Quality,
    /// Reliability of the held-out documents' probabilities at even odds.
    pub reliability: Vec<Bin>,
    /// From logit to probability.
    pub calibration: Calibration,
    /// The final model's epochs.
    pub epochs: Vec<Epoch>,
}

/// A trained model.
#[derive(Debug, Clone)]
pub struct TrainOutcome {
    /// The three files that are the model.
    pub files: ModelFiles,
    /// Its figures.
    pub metrics: Metrics,
    /// File names and contents (SVG) of pictures: ROC, precision-recall, calibration, loss.
    pub pictures: Vec<(&'static str, String)>,
}

impl TrainOutcome {
    /// Writes the model folder with `metrics.json` and the pictures, replacing what is there.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TrainError> {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|source| TrainError::Write { path, source })
        };
        std::fs::create_dir_all(folder).map_err(|source| TrainError::Write {
            path: folder.to_owned(),
            source,
        })?;
        let files = [
            &self.files.spec,
            &self.files.weights,
            &self.files.vocabulary,
        ];
        for (name, bytes) in FILES.into_iter().zip(files) {
            write(name, bytes)?;
        }
        let mut metrics = serde_json::to_vec_pretty(&self.metrics)?;
        metrics.push(b'\n');
        write("metrics.json", &metrics)?;
        for (name, picture) in &self.pictures {
            write(name, picture.as_bytes())?;
        }
        Ok(())
    }
}

/// Refuses users of one kind.
pub(super) fn require_both(part: &str, examples: &[&Example]) -> Result<(), TrainError> {
    let count = |good: Option<bool>| {
        let chosen = examples
            .iter()
            .filter(|example| good.is_none_or(|good| example.positive == good));
        chosen
            .map(|example| example.user_id)
            .collect::<BTreeSet<_>>()
            .len()
    };
    let (users, good) = (count(None), count(Some(true)));
    match good == 0 || good == users {
        true => Err(TrainError::SmallPart {
            part: part.to_owned(),
            users,
            good,
        }),
        false => Ok(()),
    }
}

/// Figures of documents' probabilities.
pub(super) fn measure(examples: &[&Example], probabilities: &[f64]) -> Quality {
    let users = by_user(examples, probabilities.iter().copied());
    Quality {
        users: users.len(),
        good: users.iter().filter(|user| user.positive).count(),
        roc_auc: roc_auc(&users),
        average_precision: average_precision(&users),
        calibration_error: expected_calibration_error(&scored(examples, probabilities)),
    }
}

fn scored(examples: &[&Example], probabilities: &[f64]) -> Vec<Scored> {
    let both = examples.iter().zip(probabilities);
    both.map(|(example, &score)| Scored {
        score,
        positive: example.positive,
    })
    .collect()
}

/// Puts everything together.
pub(super) fn finish(
    training: &Training<'_>,
    mut learnt: Learnt,
    calibration: Calibration,
    held_out: Vec<Quality>,
    examples: &[&Example],
    probabilities: &[f64],
) -> Result<TrainOutcome, TrainError> {
    let all = measure(examples, probabilities);
    let mean =
        |of: &dyn Fn(&Quality) -> f64| held_out.iter().map(of).sum::<f64>() / held_out.len() as f64;
    let mean = Quality {
        roc_auc: mean(&|quality| quality.roc_auc),
        average_precision: mean(&|quality| quality.average_precision),
        ..all
    };
    let everyone: BTreeSet<i32> = training
        .documents
        .iter()
        .map(|document| document.user_id)
        .collect();
    let good: BTreeSet<i32> = training
        .documents
        .iter()
        .filter(|document| document.positive)
        .map(|document| document.user_id)
        .collect();
    let documents = scored(examples, probabilities);
    let users = by_user(examples, probabilities.iter().copied());
    learnt.spec.calibration = calibration;
    learnt.spec.metrics = [
        ("roc_auc", mean.roc_auc),
        ("average_precision", mean.average_precision),
        ("calibration_error", mean.calibration_error),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let metrics = Metrics {
        training_data: training.hash.clone(),
        documents: training.documents.len(),
        users: everyone.len(),
        good_users: good.len(),
        vocabulary: learnt.spec.vocabulary,
        options: training.options.clone(),
        held_out,
        mean,
        reliability: reliability(&documents),
        calibration,
        epochs: learnt.epochs.clone(),
    };
    let pictures = vec![
        ("roc.svg", plots::roc(&roc_curve(&users), mean.roc_auc)),
        (
            "precision-recall.svg",
            plots::precision_recall(&precision_recall_curve(&users), mean.average_precision),
        ),
        (
            "calibration.svg",
            plots::calibration(&metrics.reliability, mean.calibration_error),
        ),
        ("loss.svg", plots::loss(&learnt.epochs)),
    ];
    Ok(TrainOutcome {
        files: Training::files(&learnt)?,
        metrics,
        pictures,
    })
}
