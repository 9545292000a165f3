//! `train`: the reputation model, learnt from a day's messages.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use graph_recs_sql::{Input, Parameters, session, weekly_messages};
use graph_recs_udfs::model::Model;
use graph_recs_udfs::scan::Source;
use indicatif::{ProgressBar, ProgressStyle};
use tracing::info;

use crate::cli::TrainCommandOptions;
use crate::train::{Document, TrainDevice, TrainOptions, TrainOutcome, train};

/// Those whose messages the platform itself recommends.
const RECOMMENDED: &str =
    "SELECT DISTINCT user_id FROM message_records WHERE left_out IS NULL AND recommended";
const DOCUMENTS: &str =
    "SELECT user_id, week, clean_body, clean_link_desc FROM weekly_messages ORDER BY user_id, week";
/// Whatever is readable; the order is fixed since the model depends on it.
const TEXTS: &str =
    "SELECT user_id, clean_text(body) FROM raw.messages WHERE body IS NOT NULL ORDER BY id, body";

/// Reads the messages, trains, writes the model folder, and shows what it is worth.
pub async fn run(options: TrainCommandOptions) -> Result<()> {
    let input = Input::open(&options.input, options.date).await?;
    input.require(&[Source::Message])?;
    let as_of = graph_recs_serve::values::moment(options.as_of, options.date)?;
    let context = options.engine.engine().session(Model::shipped()?)?;
    session::register_input(&context, &input)?;
    let mut parameters = Parameters::new(as_of);
    if let Some(anchor) = options.week_anchor {
        parameters.week_anchor = anchor;
    }
    let values = parameters.values();
    session::define(&context, "message_records", &values).await?;
    weekly_messages::define(&context, &values).await?;

    let good = match &options.good_users {
        Some(file) => listed_users(file)?,
        None => recommended_users(&context).await?,
    };
    let documents = documents(&context, &good).await?;
    let texts = match &options.texts {
        Some(folder) => {
            let known = documents.iter().map(|document| document.user_id).collect();
            texts(&options, folder, &known).await?
        }
        None => Vec::new(),
    };
    info!(
        "{} weekly documents, {} texts without labels",
        documents.len(),
        texts.len()
    );

    let defaults = TrainOptions::default();
    let training = TrainOptions {
        seed: options.seed.unwrap_or(defaults.seed),
        epochs: options.epochs.unwrap_or(defaults.epochs),
        folds: options.folds,
        checkpoints: options.checkpoints.clone(),
        device: if options.device == "cuda" {
            TrainDevice::Cuda
        } else {
            TrainDevice::Cpu
        },
        ..defaults
    };
    let outcome = fit(documents, texts, training).await?;
    outcome.write(&options.out)?;
    show(&outcome, &options.out);
    Ok(())
}

/// Trains on a thread of its own, with a bar a fold.
async fn fit(
    documents: Vec<Document>,
    texts: Vec<String>,
    options: TrainOptions,
) -> Result<TrainOutcome> {
    let bar = ProgressBar::new(1000);
    if let Ok(style) = ProgressStyle::with_template("{prefix:<10} {bar:30} {elapsed:>5} {msg}") {
        bar.set_style(style);
    }
    let trained = tokio::task::spawn_blocking(move || {
        let outcome = train(&documents, &texts, &options, &mut |progress| {
            let name = progress
                .fold
                .map_or("all".into(), |fold| format!("fold {}", fold + 1));
            let name = format!("{name}.{}", progress.network);
            bar.set_prefix(name.clone());
            bar.set_position((progress.done * 1000.0) as u64);
            match progress.last {
                Some(epoch) => {
                    let said = format!(
                        "epoch {} of {}: loss {:.4}, validation loss {:.4}, AUC {:.3}",
                        progress.epoch,
                        progress.epochs,
                        epoch.train_loss,
                        epoch.validation_loss,
                        epoch.validation_auc
                    );
                    if bar.is_hidden() {
                        info!("{name}: {said}");
                    }
                    bar.set_message(said);
                }
                None => bar.set_message(format!("epoch {} of {}", progress.epoch, progress.epochs)),
            }
        });
        bar.finish_and_clear();
        outcome
    });
    Ok(trained.await??)
}

fn show(outcome: &TrainOutcome, folder: &Path) {
    let metrics = &outcome.metrics;
    say_line!(
        "{} documents of {} users, {} of them good; {} words",
        metrics.documents,
        metrics.users,
        metrics.good_users,
        metrics.vocabulary
    );
    say_line!(
        "\n{:<8}{:>8}{:>8}{:>10}{:>20}{:>20}",
        "",
        "users",
        "good",
        "ROC AUC",
        "average precision",
        "calibration error"
    );
    let held_out = metrics
        .held_out
        .iter()
        .enumerate()
        .map(|(index, quality)| (format!("{}", index + 1), quality));
    for (name, quality) in held_out.chain([("mean".to_string(), &metrics.mean)]) {
        say_line!(
            "{name:<8}{:>8}{:>8}{:>10.3}{:>20.3}{:>20.3}",
            quality.users,
            quality.good,
            quality.roc_auc,
            quality.average_precision,
            quality.calibration_error
        );
    }
    say_line!("\nthe model is in {}", folder.display());
}

async fn recommended_users(context: &SessionContext) -> Result<HashSet<i32>> {
    let mut users = HashSet::new();
    for batch in context.sql(RECOMMENDED).await?.collect().await? {
        users.extend(batch.column(0).as_primitive::<Int32Type>().values());
    }
    Ok(users)
}

/// The users listed in a file, one id a line.
fn listed_users(file: &Path) -> Result<HashSet<i32>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("--good-users {} cannot be read", file.display()))?;
    let mut users = HashSet::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match line.trim().parse::<i32>() {
            Ok(user) if user > 0 => users.insert(user),
            _ if index == 0 && line.trim() == "user_id" => continue,
            _ => bail!(
                "--good-users {} line {}: {line:?} is not a user id from 1 to 2147483647",
                file.display(),
                index + 1
            ),
        };
    }
    Ok(users)
}

/// The cleaned bodies of another folder's messages, in order of id, but for those of `known` users: nobody who is
/// measured on shall have shaped the word vectors.
async fn texts(
    options: &TrainCommandOptions,
    folder: &str,
    known: &HashSet<i32>,
) -> Result<Vec<String>> {
    let input = Input::open(folder, None).await?;
    input.require(&[Source::Message])?;
    let context = options.engine.engine().session(Model::shipped()?)?;
    session::register_input(&context, &input)?;
    let mut texts = Vec::new();
    for batch in context.sql(TEXTS).await?.collect().await? {
        let users = cast(batch.column(0), &DataType::Int32)?;
        let bodies = cast(batch.column(1), &DataType::Utf8)?;
        let both = users
            .as_primitive::<Int32Type>()
            .iter()
            .zip(bodies.as_string::<i32>());
        texts.extend(both.filter_map(|(user, body)| match user {
            Some(user) if known.contains(&user) => None,
            _ => body.map(str::to_owned),
        }));
    }
    Ok(texts)
}

async fn documents(context: &SessionContext, good: &HashSet<i32>) -> Result<Vec<Document>> {
    let mut rows = context.sql(DOCUMENTS).await?.execute_stream().await?;
    let mut documents = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let users = batch.column(0).as_primitive::<Int32Type>();
        let weeks = batch.column(1).as_primitive::<Int64Type>();
        let (bodies, links) = (
            cast(batch.column(2), &DataType::Utf8)?,
            cast(batch.column(3), &DataType::Utf8)?,
        );
        let (bodies, links) = (bodies.as_string::<i32>(), links.as_string::<i32>());
        for row in 0..batch.num_rows() {
            let user_id = users.value(row);
            documents.push(Document {
                user_id,
                week: i32::try_from(weeks.value(row))?,
                clean_body: bodies.value(row).to_string(),
                clean_link_desc: links.value(row).to_string(),
                positive: good.contains(&user_id),
            });
        }
    }
    Ok(documents)
}
