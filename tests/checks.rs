//! Every quality check can fail, and then nothing is published.

use std::fs;
use std::path::Path;
use std::process::Command;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::physical_plan::common::collect;
use datafusion::prelude::{ParquetReadOptions, SessionContext};

use crate::rewrite::parquet_of;
use crate::support::{Outcome, Place, TABLES, golden, with_scores};

/// A run of the golden case up to its recommendations, not yet checked.
struct Candidate {
    place: Place,
    run_id: String,
}

impl Candidate {
    fn new() -> Self {
        let place = Place::golden();
        let mut run_id = String::new();
        for step in ["closest-connections", "reputation-scores", "recommend"] {
            let outcome = Outcome::of(with_scores(&mut place.command(step, "original")));
            run_id = outcome.exits(0).run_id();
        }
        Self { place, run_id }
    }

    /// A copy of the warehouse in which a statement over `it` gives the rows of one table.
    fn spoilt(&self, warehouse: &str, table: &str, sql: &str) {
        let warehouse = self.place.path(warehouse);
        copy_folder(&self.place.path("original"), &warehouse);
        let file = |table: &str| {
            let folder = warehouse.join(table).join(&self.run_id);
            folder.join("part-00000.parquet")
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let found = runtime.block_on(async {
            let context = SessionContext::new();
            for (name, table) in TABLES
                .map(|name| (name, name))
                .into_iter()
                .chain([("it", table)])
            {
                let path = file(table);
                let options = ParquetReadOptions::default();
                context
                    .register_parquet(name, path.to_str().unwrap(), options)
                    .await
                    .unwrap();
            }
            let frame = context.sql(sql).await.unwrap();
            let rows = frame.execute_stream().await.unwrap();
            let schema = rows.schema();
            concat_batches(&schema, &collect(rows).await.unwrap()).unwrap()
        });
        let original = fs::File::open(file(table)).unwrap();
        let schema = ParquetRecordBatchReaderBuilder::try_new(original)
            .unwrap()
            .schema()
            .clone();
        let columns = schema
            .fields()
            .iter()
            .zip(found.columns())
            .map(|(field, column)| {
                (
                    field.name(),
                    cast(column, field.data_type()).unwrap(),
                    column.null_count() > 0,
                )
            });
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        fs::write(file(table), parquet_of(&batch)).unwrap();
    }

    fn check(&self, warehouse: &str) -> Outcome {
        Outcome::of(with_scores(&mut self.place.command("check", warehouse)))
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn each_check_finds_what_it_is_for() {
    let candidate = Candidate::new();
    let place = &candidate.place;
    let as_of = crate::support::AS_OF;
    let suspended = &place.sql_of_input(as_of, "SELECT max(user_id) FROM suspended_users")[1][0];
    let follows = "SELECT user_id, max(engaged_with_user_id) FROM raw.follows \
                   WHERE \"timestamp\" < '2019-10-01' GROUP BY user_id ORDER BY user_id LIMIT 50";
    let followed: String = place.sql_of_input(as_of, follows)[1..]
        .iter()
        .map(|pair| format!("WHEN user_id = {} AND rank = 1 THEN {} ", pair[0], pair[1]))
        .collect();
    let followed = format!("SELECT user_id, CASE {followed} ELSE rec_id END, rank, score FROM it");

    let first = "user_id = 8 AND rank = 1";
    let recommend = |whom: &str| {
        format!(
            "SELECT user_id, CASE WHEN {first} THEN {whom} ELSE rec_id END, rank, score FROM it"
        )
    };
    let more = "FROM generate_series(100, 160) AS more(n)";
    // Four ranks that begin and end as they should and have the right sum, but are 1, 1, 4, 4.
    let gaps = "SELECT user_id, closest_connection, weight, CASE
        WHEN user_id <> (SELECT min(user_id) FROM (SELECT user_id FROM it GROUP BY user_id HAVING count(*) = 4))
        THEN rank WHEN rank <= 2 THEN 1 ELSE 4 END FROM it";
    let cases: Vec<(&str, &str, String)> = vec![
        ("no_nulls", "recommendations", format!("SELECT user_id, rec_id, rank, CASE WHEN NOT ({first}) THEN score END FROM it")),
        ("no_nulls", "reputation_scores", "SELECT user_id, pred, CASE WHEN user_id <> 8 THEN weeks END FROM it".into()),
        ("unique_keys", "closest_connections", format!("SELECT * FROM it UNION ALL SELECT * FROM it WHERE {first}")),
        ("unique_keys", "reputation_scores", "SELECT * FROM it UNION ALL SELECT * FROM it WHERE user_id = 8".into()),
        ("rows_of_this_run", "rec_reasons", "SELECT * FROM it LIMIT 1000".into()),
        ("rows_of_this_run", "recommendations", "SELECT * FROM it WHERE false".into()),
        ("at_most_k_connections", "closest_connections", format!("SELECT * FROM it UNION ALL SELECT 8, n + 0, 0.1, n {more}")),
        ("at_most_k_recommendations", "recommendations", format!("SELECT * FROM it UNION ALL SELECT 8, n + 0, n, 0.1 {more}")),
        ("ranks_without_gaps", "closest_connections", gaps.into()),
        ("ranks_without_gaps", "recommendations", "SELECT user_id, rec_id, rank + 1, score FROM it".into()),
        ("weights_positive", "closest_connections", format!("SELECT user_id, closest_connection, CASE WHEN {first} THEN 0 ELSE weight END, rank FROM it")),
        ("weights_positive", "rec_reasons", "SELECT user_id, rec_id, reason_id, -weight FROM it".into()),
        ("pred_within_0_and_1", "reputation_scores", "SELECT user_id, CASE WHEN user_id = 8 THEN 1.000001 ELSE pred END, weeks FROM it".into()),
        ("pred_within_0_and_1", "reputation_scores", "SELECT user_id, CASE WHEN user_id = 8 THEN 'NaN' ELSE pred END, weeks FROM it".into()),
        ("no_self_recommendation", "recommendations", recommend("8")),
        ("no_followed_recommended", "recommendations", followed),
        ("no_suspended_recommended", "recommendations", recommend(suspended)),
        ("no_low_reputation_recommended", "recommendations", recommend("(SELECT min(user_id) FROM reputation_scores WHERE pred < 0.5)")),
        ("no_low_reputation_recommended", "recommendations", recommend("2147483647")),
        ("recommendations_have_reasons", "rec_reasons", "SELECT * FROM it WHERE NOT (user_id = 8 AND rec_id = 369)".into()),
        ("recommendations_have_reasons", "recommendations", format!("SELECT * FROM it WHERE NOT ({first})")),
        ("reasons_are_connections", "rec_reasons", "SELECT user_id, rec_id, CASE WHEN user_id = 8 AND rec_id = 30 THEN 2147483647 ELSE reason_id END, weight FROM it".into()),
        ("recommended_are_connections_of_reasons", "rec_reasons", "SELECT user_id, rec_id, reason_id, weight + CASE WHEN user_id = 8 AND rec_id = 30 THEN 0.00000001 ELSE 0 END FROM it".into()),
        ("reasons_add_up_to_scores", "recommendations", format!("SELECT user_id, rec_id, rank, score + CASE WHEN {first} THEN 0.0000001 ELSE 0 END FROM it")),
        ("reasons_add_up_to_scores", "rec_reasons", "SELECT * FROM it WHERE NOT (user_id = 8 AND rec_id = 369 AND reason_id = 543)".into()),
    ];
    for (number, (check, table, sql)) in cases.iter().enumerate() {
        let warehouse = format!("warehouse-{number}");
        candidate.spoilt(&warehouse, table, sql);
        let outcome = candidate.check(&warehouse);
        assert_eq!(outcome.code, Some(3), "{check}: {sql}\n{}", outcome.stderr);
        outcome.says(&[check, "nothing was published", &candidate.run_id]);
        assert_eq!(place.publications(&warehouse), [""; 0], "{check}");
        let results = place.work_file(&warehouse, &candidate.run_id, "check_results.json");
        let results: serde_json::Value =
            serde_json::from_slice(&fs::read(results).unwrap()).unwrap();
        let result = results
            .as_array()
            .unwrap()
            .iter()
            .find(|result| result["name"] == *check);
        assert!(
            result.unwrap()["count"].as_i64().unwrap() > 0,
            "{check}: {results}"
        );
        fs::remove_dir_all(place.path(&warehouse)).unwrap();
    }
}

#[test]
fn a_failed_check_stays_failed_until_the_candidate_is_mended() {
    let candidate = Candidate::new();
    let place = &candidate.place;
    candidate.spoilt(
        "warehouse",
        "recommendations",
        "SELECT user_id, user_id AS rec_id, rank, score FROM it",
    );
    candidate.check("warehouse").exits(3);
    let again = |command: &str| Outcome::of(with_scores(&mut place.command(command, "warehouse")));
    again("publish").exits(1).says(&["graph-recs check"]);
    let outcome = again("run").exits(3);
    assert!(outcome.stdout.is_empty(), "{}", outcome.stdout);
    outcome.says(&["no_self_recommendation"]);
    assert_eq!(place.publications("warehouse"), [""; 0]);
    // The candidate is kept: with the step's record gone it is made again.
    fs::remove_file(place.work_file("warehouse", &candidate.run_id, "recommendations.json"))
        .unwrap();
    again("run").exits(0);
    assert_eq!(
        place.publications("warehouse"),
        std::slice::from_ref(&candidate.run_id)
    );
}

#[test]
fn records_that_nobody_accounts_for_fail_a_check() {
    let candidate = Candidate::new();
    copy_folder(
        &candidate.place.path("original"),
        &candidate.place.path("warehouse"),
    );
    let record =
        candidate
            .place
            .work_file("warehouse", &candidate.run_id, "closest_connections.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    let read = &mut value["accounts"]["like"]["read"];
    *read = (read.as_u64().unwrap() + 1).into();
    fs::write(&record, value.to_string()).unwrap();
    candidate
        .check("warehouse")
        .exits(3)
        .says(&["records_accounted_for"]);
}

#[test]
fn what_moved_far_or_is_unknown_is_a_warning() {
    let place = Place::golden();
    let counts = |outcome: Outcome| -> Vec<(String, i64)> {
        let answer = outcome.exits(0).json();
        let checks = answer["report"]["checks"].as_array().unwrap();
        assert_eq!(checks.len(), 24);
        let failed = checks.iter().filter(|check| check["count"] != 0);
        let failed = failed.map(|check| {
            assert_eq!(check["severity"], "warn", "{check}");
            (
                check["name"].as_str().unwrap().into(),
                check["count"].as_i64().unwrap(),
            )
        });
        failed.collect()
    };
    assert_eq!(counts(place.run_with_scores("warehouse", &[])), []);

    // Half of the scores, and one user who is not listed.
    let halved: String = crate::support::csv_rows(&fs::read_to_string(golden("pred.csv")).unwrap())
        [1..]
        .iter()
        .map(|row| format!("{},{}\n", row[0], row[1].parse::<f64>().unwrap() / 2.0))
        .collect();
    place.write("halved.csv", format!("user_id,pred\n{halved}"));
    let users = String::from_utf8(place.read("user.csv")).unwrap();
    place.write("user.csv", users.split_once('\n').unwrap().1);
    let file = place.input().join("halved.csv");
    let mut command: Command = place.command("run", "warehouse");
    command
        .arg("--reputation-scores")
        .arg(file)
        .args(["--closest", "5"]);
    let failed = counts(Outcome::of(&mut command));
    let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "row_counts_near_last_run",
            "scores_near_last_run",
            "users_known"
        ]
    );
    assert_eq!(failed[2].1, 1);
    assert_eq!(place.publications("warehouse").len(), 2);
}
