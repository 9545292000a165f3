//! Trains a reputation model from weekly documents in a file, for trying out options.
//!
//!     train DOCUMENTS.jsonl FOLDER ['{"folds": 5, "epochs": 10}' [TEXTS.txt]]
//!
//! Each line of the file is a JSON object with user_id, week, clean_body, clean_link_desc and positive;
//! each line of TEXTS.txt is a cleaned text without a label.

#![allow(clippy::print_stderr, reason = "a tool for the terminal")]

use anyhow::{Context as _, Result};
use graph_recs::train::{Document, TrainOptions, train};
use std::path::Path;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: train DOCUMENTS.jsonl FOLDER [OPTIONS AS JSON [TEXTS.txt]]";
    let (file, folder) = arguments.next().zip(arguments.next()).context(usage)?;
    let options: TrainOptions = serde_json::from_str(&arguments.next().unwrap_or("{}".to_owned()))?;
    let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    let documents: Vec<Document> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;

    let texts: Vec<String> = match arguments.next() {
        Some(file) => std::fs::read_to_string(&file)
            .with_context(|| file.clone())?
            .lines()
            .map(str::to_owned)
            .collect(),
        None => Vec::new(),
    };

    let outcome = train(&documents, &texts, &options, &mut |progress| {
        if let Some(epoch) = progress.last {
            eprintln!(
                "fold {}.{} epoch {}: loss {:.4}, validation {:.4}, AUC {:.3}, AP {:.3}",
                progress
                    .fold
                    .map_or("-".to_owned(), |fold| fold.to_string()),
                progress.network,
                progress.epoch,
                epoch.train_loss,
                epoch.validation_loss,
                epoch.validation_auc,
                epoch.validation_average_precision,
            );
        }
    })?;
    outcome.write(Path::new(&folder))?;
    for quality in outcome
        .metrics
        .held_out
        .iter()
        .chain([&outcome.metrics.mean])
    {
        eprintln!("{}", serde_json::to_string(quality)?);
    }
    Ok(())
}
