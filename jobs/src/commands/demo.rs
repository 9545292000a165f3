//! `demo` and `generate`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int32Type;
use datafusion::prelude::SessionContext;
use graph_recs_sql::Parameters;
use indicatif::{ProgressBar, ProgressStyle};

use super::{database, explain};
use crate::cli::{DemoOptions, GenerateOptions};
use crate::database::newest;
use crate::generate::{Options, Ties, generate as make};
use crate::pipeline::{Job, JobOptions, render};
use crate::progress::Progress;
use graph_recs_warehouse::{PublicationKind, Table, Warehouse};

/// Marks a folder as one that the demo made and may replace.
const MARK: &str = ".graph-recs-demo";
/// The day of the demo: its exports are as of the morning of this day.
const DATE: (i32, u32, u32) = (2019, 10, 1);

/// Users worth showing: some recommendations, one of them with several reasons, and not more than fits a screen.
const WORTH_SHOWING: &str = "SELECT user_id FROM rec_reasons GROUP BY user_id \
     HAVING count(DISTINCT rec_id) >= 4 AND count(*) > count(DISTINCT rec_id) + 1 \
     ORDER BY count(*), user_id LIMIT 3";

/// Makes a day, runs it, and shows recommendations with their reasons.
pub async fn run(options: DemoOptions) -> Result<()> {
    let out = &options.out;
    if out.exists() {
        if !out.join(MARK).exists() {
            bail!(
                "{} is there and no earlier demo made it: name another folder with --out",
                out.display()
            );
        }
        std::fs::remove_dir_all(out)
            .with_context(|| format!("{} cannot be removed", out.display()))?;
    }
    let date =
        chrono::NaiveDate::from_ymd_opt(DATE.0, DATE.1, DATE.2).context("the demo's date")?;
    let as_of = graph_recs_serve::values::start_of_day(date);
    let input = out.join("exports");
    let day = input.join(date.format("%Y%m%d").to_string());
    std::fs::create_dir_all(&day).with_context(|| format!("{} cannot be made", day.display()))?;
    std::fs::write(out.join(MARK), "made by graph-recs demo\n")?;

    say_line!("A day of raw exports in {}:", day.display());
    make_day(&GenerateOptions {
        out: day,
        users: options.users,
        engagements: options.engagements,
        messages: options.messages,
        ties: Ties::Close,
        seed: options.seed,
        as_of,
        dirty: true,
    })?;

    let database = database::open(&options.database)?;
    let warehouse = out.join("warehouse").display().to_string();
    say_line!("\nThe daily job on it:\n");
    let job = Job::open(JobOptions {
        input: input.display().to_string(),
        date: Some(date),
        warehouse: warehouse.clone(),
        parameters: Parameters::new(as_of),
        max_bad_share: 0.01,
        user_columns: None,
        reputation_scores: None,
        model: None,
        engine: options.engine.engine(),
        cluster: None,
        ready_file: None,
        keep_later: false,
    })
    .await?;
    let run = job.start(Progress::new()).await?;
    run.all().await?;
    say!("{}", render(&run.report().await?));
    if let Some(database) = &database {
        database.migrate(newest()).await?;
        let kind = PublicationKind::Publish;
        let progress = run.progress();
        let loaded = database::publish(database, run.warehouse(), run.id(), kind, progress);
        loaded.await?.print(run.id());
    }

    let published = Warehouse::open(&warehouse)?;
    let Some(current) = published.current().await? else {
        bail!("nothing was published")
    };
    say_line!("\nWhom three of the users should follow, and why:\n");
    let context = SessionContext::new();
    let reasons = published
        .table_provider(Table::RecReasons, *current.versions.get(Table::RecReasons))
        .await?;
    context.register_table("rec_reasons", reasons)?;
    let mut shown = None;
    for batch in context.sql(WORTH_SHOWING).await?.collect().await? {
        for user in batch.column(0).as_primitive::<Int32Type>().values() {
            say_line!(
                "{}",
                first_lines(&explain::page(&published, &current, *user, 3).await?, 24)
            );
            shown.get_or_insert(*user);
        }
    }
    let program = std::env::args_os()
        .next()
        .map_or_else(|| "graph-recs".into(), |name| name.display().to_string());
    if let Some(user) = shown {
        say_line!("More: {program} explain {user} --warehouse {warehouse}");
    }
    say_line!(
        "      {program} sql --warehouse {warehouse} -c 'SELECT * FROM recommendations LIMIT 10'"
    );
    say_line!(
        "Everything is in {}; remove it when you are done.",
        out.display()
    );
    Ok(())
}

fn first_lines(page: &str, lines: usize) -> String {
    let mut shown: String = page
        .lines()
        .take(lines)
        .map(|line| format!("{line}\n"))
        .collect();
    if page.lines().count() > lines {
        shown.push_str("      ...\n");
    }
    shown
}

/// Makes a synthetic day.
pub fn generate(options: &GenerateOptions) -> Result<()> {
    let folder: &Path = &options.out;
    say_line!("A day of raw exports in {}:", folder.display());
    make_day(options)
}

fn make_day(options: &GenerateOptions) -> Result<()> {
    let bar = ProgressBar::new(u64::from(options.users) + options.engagements + options.messages);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} rows {elapsed}")
    {
        bar.set_style(style);
    }
    let made = make(
        &Options {
            out: options.out.clone(),
            users: options.users,
            engagements: options.engagements,
            messages: options.messages,
            ties: options.ties,
            seed: options.seed,
            as_of: options.as_of.timestamp(),
            dirty: options.dirty,
        },
        &mut |rows| bar.set_position(rows),
    )?;
    bar.finish_and_clear();
    say_line!(
        "{:<20}{:>12}{:>14}{:>12}{:>12}",
        "file",
        "rows",
        "bytes",
        "unreadable",
        "copies"
    );
    for file in &made.files {
        say_line!(
            "{:<20}{:>12}{:>14}{:>12}{:>12}",
            file.name,
            file.rows,
            file.bytes,
            file.unreadable,
            file.duplicates
        );
    }
    Ok(())
}
