//! The same records give the same bytes, in whatever order, form and pieces they come, and however they are worked on.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::rewrite;
use crate::support::{FILES, Outcome, Place, Published, TABLES, csv_rows, golden, with_scores};

/// Scores with the golden `pred.csv`.
const GIVEN: fn(&mut Command) -> &mut Command = with_scores;
/// Scores with the model; everybody may be recommended, so that every score matters.
const MODEL: fn(&mut Command) -> &mut Command = |command| command.args(["--min-reputation", "0"]);

/// What a run of the place's input publishes.
#[track_caller]
fn results(
    place: &Place,
    warehouse: &str,
    scoring: fn(&mut Command) -> &mut Command,
    options: &[&str],
) -> Published {
    let run = Outcome::of(scoring(&mut place.command("run", warehouse)).args(options)).exits(0);
    let rows = &run.json()["report"]["rows"];
    for table in TABLES {
        assert!(rows[table].as_u64().unwrap() > 100, "{table}: {rows}");
    }
    place.published(warehouse, &run.run_id())
}

/// Runs the golden input as it is, and as `rewrite` leaves it; both ways of scoring.
#[track_caller]
fn same_when(what: &str, rewrite: impl Fn(&Place)) {
    let place = Place::golden();
    let scorings = [GIVEN, MODEL];
    let before = scorings.map(|scoring| results(&place, "before", scoring, &[]));
    rewrite(&place);
    for (scoring, before) in scorings.into_iter().zip(&before) {
        results(&place, "after", scoring, &[]).is_same_as(before, what);
    }
}

#[test]
fn in_another_order() {
    for seed in [1, 2] {
        same_when("shuffled", |place| {
            for file in FILES {
                place.write(file, rewrite::shuffled(&place.read(file), file, seed));
            }
        });
    }
}

#[test]
fn in_part_files() {
    same_when("in part files", |place| {
        for file in FILES {
            let (stem, ending) = file.split_once('.').unwrap();
            let text = place.read(file);
            let records = rewrite::records(&text, file);
            let parts = 3;
            for part in 0..parts {
                let mine = records.iter().skip(part).step_by(parts);
                let name = format!("{stem}/part-{part}.{ending}");
                place.write(&name, mine.copied().collect::<Vec<_>>().concat());
            }
            // Hidden files, as Spark leaves them, are no parts.
            place.write(&format!("{stem}/_SUCCESS"), "");
            place.write(&format!("{stem}/.part-0.crc"), "no record");
            place.remove(file);
        }
    });
}

#[test]
fn gzipped() {
    same_when("gzipped", |place| {
        for file in FILES {
            place.write(&format!("{file}.gz"), rewrite::gzip(&place.read(file)));
            place.remove(file);
        }
    });
}

#[test]
fn compressed_with_zstd() {
    same_when("with zstd", |place| {
        for file in FILES {
            place.write(&format!("{file}.zst"), rewrite::zstd(&place.read(file)));
            place.remove(file);
        }
    });
}

#[test]
fn in_compressed_part_files_of_all_kinds() {
    same_when("in parts of all kinds", |place| {
        for file in FILES {
            let (stem, ending) = file.split_once('.').unwrap();
            let text = place.read(file);
            let records = rewrite::records(&text, file);
            let half = records.len() / 2;
            let (first, second) = (records[..half].concat(), records[half..].concat());
            // Compressed files may be made of several compressed ones.
            let (one, two) = (first.split_at(first.len() / 3), second.split_at(7));
            let gzipped = [rewrite::gzip(one.0), rewrite::gzip(one.1)].concat();
            let zstd = [rewrite::zstd(two.0), rewrite::zstd(two.1)].concat();
            place.write(&format!("{stem}/deep/er/b.{ending}.gz"), gzipped);
            place.write(&format!("{stem}/a.{ending}.zst"), zstd);
            place.remove(file);
        }
    });
}

#[test]
fn as_parquet() {
    same_when("as Parquet", |place| {
        for file in FILES {
            let stem = file.split_once('.').unwrap().0;
            let parquet = rewrite::parquet(place, file);
            place.write(&format!("{stem}.parquet"), parquet);
            place.remove(file);
        }
    });
}

#[test]
fn written_in_another_way() {
    same_when("written in another way", |place| {
        for file in FILES.into_iter().filter(|file| *file != "user.csv") {
            place.write(file, rewrite::restyled(&place.read(file), file));
        }
    });
}

#[test]
fn on_any_number_of_threads_in_batches_of_any_size() {
    let place = Place::golden();
    for scoring in [GIVEN, MODEL] {
        let plain = results(&place, "plain", scoring, &[]);
        for options in [
            ["--threads", "1"],
            ["--threads", "2"],
            ["--threads", "8"],
            ["--batch-size", "100"],
            ["--batch-size", "8192"],
        ] {
            let found = results(&place, "other", scoring, &options);
            found.is_same_as(&plain, &options.join(" "));
            fs::remove_dir_all(place.path("other")).unwrap();
        }
    }
}

#[test]
fn row_by_row() {
    let place = Place::generated(300, 3_000, 1_000);
    let scoring: fn(&mut Command) -> &mut Command =
        |command| MODEL(command).args(["--max-bad-share", "0.1"]);
    let plain = results(&place, "plain", scoring, &[]);
    for options in [["--threads", "1"], ["--threads", "8"]] {
        let options = [&options[..], &["--batch-size", "1"]].concat();
        let found = results(&place, "other", scoring, &options);
        found.is_same_as(&plain, &options.join(" "));
        fs::remove_dir_all(place.path("other")).unwrap();
    }
}

#[test]
fn when_there_is_so_little_memory_that_it_spills() {
    let place = Place::generated(20_000, 200_000, 100_000);
    let plain = results(&place, "plain", MODEL, &[]);
    let folder = place.path("little").join("_runs/spill");
    let done = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let mut spilt = HashSet::new();
            while !done.load(Ordering::Relaxed) {
                spilt.extend(files_below(&folder));
                std::thread::sleep(Duration::from_millis(1));
            }
            spilt.len()
        }
    });
    let options = ["--memory-limit", "64MiB", "--threads", "2"];
    let little = results(&place, "little", MODEL, &options);
    done.store(true, Ordering::Relaxed);
    assert!(watcher.join().unwrap() > 0, "nothing was spilt");
    little.is_same_as(&plain, "with little memory");
}

/// The files of a folder's folders, as far as they are still there.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries(folder).map(|entry| entry.path());
    folders
        .flat_map(|folder| {
            entries(&folder)
                .map(|entry| entry.path())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn again_elsewhere() {
    // Another copy of the input, at another path, with other times of change: another run, the same results.
    let (one, other) = (Place::golden(), Place::golden());
    for scoring in [GIVEN, MODEL] {
        let found = results(&one, "warehouse", scoring, &[]);
        found.is_same_as(&results(&other, "elsewhere", scoring, &[]), "elsewhere");
    }
}

#[test]
fn reasons_add_up_to_scores() {
    for scoring in [GIVEN, MODEL] {
        let place = Place::golden();
        results(&place, "warehouse", scoring, &[]);
        let preds = place.sql("warehouse", "SELECT * FROM reputation_scores");
        let preds: HashMap<_, _> = preds[1..]
            .iter()
            .map(|row| (&row[0], micros(&row[1])))
            .collect();
        let mut sums = HashMap::new();
        let reasons = place.sql("warehouse", "SELECT * FROM rec_reasons");
        for reason in &reasons[1..] {
            let sum: &mut (i128, i128) = sums.entry((&reason[0], &reason[1])).or_default();
            *sum = (sum.0 + hundred_millionths(&reason[3]), sum.1 + 1);
        }
        let recommendations = place.sql("warehouse", "SELECT * FROM recommendations");
        assert_eq!(recommendations.len() - 1, sums.len());
        for row in &recommendations[1..] {
            let (weights, count) = sums[&(&row[0], &row[1])];
            let score = hundred_millionths(&row[3]) * 1_000_000;
            let sum = weights * preds[&row[1]];
            // Each weight and the score itself is rounded to its last place.
            let rounding = (count + 1) * 500_000;
            assert!((score - sum).abs() <= rounding, "{row:?}: {sum} of {count}");
        }
    }
}

fn hundred_millionths(decimal: &str) -> i128 {
    let (whole, fraction) = decimal.split_once('.').unwrap();
    assert_eq!(fraction.len(), 8, "{decimal}");
    format!("{whole}{fraction}").parse().unwrap()
}

fn micros(pred: &str) -> i128 {
    (pred.parse::<f64>().unwrap() * 1e6).round() as i128
}

#[test]
fn a_batch_scores_as_single_rows_do() {
    let place = Place::golden();
    let folder = place.input();
    let documents = "SELECT user_id, week, reputation(clean_body, clean_link_desc) FROM weekly_messages ORDER BY 1, 2";
    let ask = |options: &[&str]| {
        let mut command = crate::support::program();
        command.args([
            "sql",
            "--format",
            "csv",
            "-c",
            documents,
            "--as-of",
            "2019-10-02",
        ]);
        csv_rows(
            &Outcome::of(command.args(options).arg("--input").arg(&folder))
                .exits(0)
                .stdout,
        )
    };
    let single = ask(&["--batch-size", "1", "--threads", "1"]);
    assert_eq!(single.len() - 1, 4473);
    let scores: HashSet<_> = single[1..].iter().map(|row| &row[2]).collect();
    assert!(
        scores.len() > 1000,
        "the documents score alike: {}",
        scores.len()
    );
    assert_eq!(ask(&[]), single);
    assert_eq!(ask(&["--batch-size", "7", "--threads", "3"]), single);
}

#[test]
fn a_given_file_of_the_models_scores_gives_what_the_model_gives() {
    let place = Place::golden();
    let run = Outcome::of(MODEL(&mut place.command("run", "scored"))).exits(0);
    let scores = place.work_file("scored", &run.run_id(), "reputation_score.csv");
    let options = [
        "--min-reputation",
        "0",
        "--reputation-scores",
        scores.to_str().unwrap(),
    ];
    place.run("given", &options).exits(0);
    for table in ["recommendations", "rec_reasons"] {
        let sql = format!("SELECT * FROM {table}");
        assert_eq!(
            place.sql("scored", &sql),
            place.sql("given", &sql),
            "{table}"
        );
    }
    assert_ne!(
        fs::read(scores).unwrap(),
        fs::read(golden("pred.csv")).unwrap()
    );
}
