//! Training as a whole, on documents whose good users have words of their own.

use super::*;
use graph_recs_udfs::model::Model;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const SIGNS: [&str; 4] = ["earnings", "guidance", "margin", "valuation"];

/// Users 1 to `users`, every eighth a good one, with up to three weeks each.
fn documents(users: i32) -> Vec<Document> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut documents = Vec::new();
    for user_id in 1..=users {
        let positive = user_id % 8 == 0;
        for week in 1..=rng.random_range(1..=3) {
            let words: Vec<String> = (0..rng.random_range(3..20))
                .map(|_| match positive && rng.random_bool(0.3) {
                    true => SIGNS[rng.random_range(0..SIGNS.len())].to_owned(),
                    false => format!("w{}", (b'a' + rng.random_range(0..26)) as char),
                })
                .collect();
            documents.push(Document {
                user_id,
                week,
                clean_body: words.join(" "),
                clean_link_desc: String::new(),
                positive,
            });
        }
    }
    documents
}

fn options() -> TrainOptions {
    TrainOptions {
        epochs: 6,
        embedding: 12,
        filters: 16,
        learning_rate: 5e-3,
        embedding_rate: 1.0,
        networks: 1,
        min_users: 2,
        ..TrainOptions::default()
    }
}

fn quiet() -> impl FnMut(&Progress) {
    |_: &Progress| ()
}

#[test]
fn what_can_be_learnt_is_learnt() {
    let outcome = train(&documents(400), &[], &options(), &mut quiet()).unwrap();
    let mean = outcome.metrics.mean;
    assert!(mean.roc_auc > 0.95, "{mean:?}");
    assert!(mean.average_precision > 0.8, "{mean:?}");
    let model = Model::from_files(&outcome.files).unwrap();
    let score = |text: &str| {
        let mut tokens = vec![];
        model.tokenize(text.as_bytes(), b"", &mut tokens);
        model.millionths(&[&tokens]).unwrap()[0]
    };
    assert!(score("wa earnings wb guidance margin wc") > 700_000);
    assert!(score("wa wb wc wd we wf wg wh") < 400_000);
    assert_eq!(score("never seen"), 0);
    assert_eq!(outcome.pictures.len(), 4);
    assert_eq!(outcome.metrics.users, 400);
    assert_eq!(outcome.metrics.good_users, 50);
}

#[test]
fn training_is_repeatable_and_the_order_of_documents_does_not_matter() {
    let mut documents = documents(200);
    let options = TrainOptions {
        epochs: 2,
        ..options()
    };
    let first = train(&documents, &[], &options, &mut quiet()).unwrap();
    documents.reverse();
    let second = train(&documents, &[], &options, &mut quiet()).unwrap();
    assert_eq!(first.files.hash(), second.files.hash());
    let other = TrainOptions { seed: 2, ..options };
    let third = train(&documents, &[], &other, &mut quiet()).unwrap();
    assert_ne!(first.files.hash(), third.files.hash());
}

#[test]
fn a_training_that_was_cut_off_goes_on_to_the_same_model() {
    let documents = documents(200);
    let folder =
        std::env::temp_dir().join(format!("graph-recs-checkpoints-{}", std::process::id()));
    let whole = train(
        &documents,
        &[],
        &TrainOptions {
            epochs: 4,
            ..options()
        },
        &mut quiet(),
    )
    .unwrap();
    let resumable = TrainOptions {
        epochs: 4,
        checkpoints: Some(folder.clone()),
        ..options()
    };
    // Cut off after the second epoch: only a panic leaves the function from inside.
    let cut = std::panic::catch_unwind(|| {
        let mut stop = |progress: &Progress| assert!(progress.epoch < 3, "cut off");
        train(&documents, &[], &resumable, &mut stop).map(|_| ())
    });
    assert!(cut.is_err());
    let mut epochs = vec![];
    let resumed = train(&documents, &[], &resumable, &mut |progress| {
        epochs.push(progress.epoch)
    })
    .unwrap();
    assert_eq!(epochs.first(), Some(&3));
    assert_eq!(resumed.files.hash(), whole.files.hash());
    // Other options do not go on from it.
    epochs.clear();
    let other = TrainOptions {
        dropout: 0.1,
        ..resumable
    };
    train(&documents, &[], &other, &mut |progress| {
        epochs.push(progress.epoch)
    })
    .unwrap();
    assert_eq!(epochs.first(), Some(&1));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn networks_over_fixed_word_vectors_learn_too() {
    let options = TrainOptions {
        embedding_rate: 0.0,
        networks: 2,
        filters: 32,
        epochs: 10,
        ..options()
    };
    let documents = documents(400);
    let outcome = train(&documents, &[], &options, &mut quiet()).unwrap();
    assert!(
        outcome.metrics.mean.roc_auc > 0.9,
        "{:?}",
        outcome.metrics.mean
    );
    // Texts without labels shape the word vectors.
    let texts = ["wa earnings wa margin wb".to_owned()];
    let other = train(&documents, &texts, &options, &mut quiet()).unwrap();
    assert_ne!(other.files.weights, outcome.files.weights);
}

#[test]
fn folds_measure_every_user_once() {
    let options = TrainOptions {
        folds: 3,
        epochs: 8,
        ..options()
    };
    let outcome = train(&documents(300), &[], &options, &mut quiet()).unwrap();
    let metrics = &outcome.metrics;
    assert_eq!(metrics.held_out.len(), 3);
    assert_eq!(
        metrics
            .held_out
            .iter()
            .map(|fold| fold.users)
            .sum::<usize>(),
        300
    );
    assert_eq!(
        metrics.held_out.iter().map(|fold| fold.good).sum::<usize>(),
        37
    );
    assert!(metrics.mean.roc_auc > 0.9, "{:?}", metrics.mean);
    let mean = metrics
        .held_out
        .iter()
        .map(|fold| fold.roc_auc)
        .sum::<f64>()
        / 3.0;
    assert!((mean - metrics.mean.roc_auc).abs() < 1e-12);
}

#[test]
fn what_cannot_be_learnt_from_is_refused() {
    let mut one_class = documents(50);
    one_class
        .iter_mut()
        .for_each(|document| document.positive = false);
    let error = train(&one_class, &[], &options(), &mut quiet()).unwrap_err();
    assert!(
        matches!(error, TrainError::OneClass { users: 50, good: 0 }),
        "{error}"
    );
    let error = train(&documents(10), &[], &options(), &mut quiet()).unwrap_err();
    assert!(matches!(error, TrainError::SmallPart { .. }), "{error}");
    for options in [
        TrainOptions {
            folds: 1,
            ..options()
        },
        TrainOptions {
            dropout: 1.0,
            ..options()
        },
        TrainOptions {
            validation_share: 0.9,
            test_share: 0.2,
            ..options()
        },
        TrainOptions {
            learning_rate: f32::NAN,
            ..options()
        },
        TrainOptions {
            epochs: 0,
            ..options()
        },
        TrainOptions {
            networks: 2,
            ..options()
        },
        TrainOptions {
            networks: 0,
            ..options()
        },
    ] {
        let error = train(&documents(50), &[], &options, &mut quiet()).unwrap_err();
        assert!(matches!(error, TrainError::Option { .. }), "{error}");
    }
}

#[test]
fn a_folder_is_written_and_loads() {
    let folder = std::env::temp_dir().join(format!("graph-recs-trained-{}", std::process::id()));
    let outcome = train(
        &documents(200),
        &[],
        &TrainOptions {
            epochs: 1,
            ..options()
        },
        &mut quiet(),
    )
    .unwrap();
    outcome.write(&folder).unwrap();
    assert_eq!(Model::load(&folder).unwrap().hash(), outcome.files.hash());
    let metrics = std::fs::read(folder.join("metrics.json")).unwrap();
    let metrics: serde_json::Value = serde_json::from_slice(&metrics).unwrap();
    assert_eq!(metrics["users"], 200);
    assert!(folder.join("roc.svg").exists());
    std::fs::remove_dir_all(&folder).unwrap();
}
