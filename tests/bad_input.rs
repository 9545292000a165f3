//! Inputs that cannot be used stop the run before anything is published.

use crate::rewrite;
use crate::support::{AS_OF, FILES, Outcome, Place, account, graph_recs, program, small_day};

#[test]
fn too_many_unreadable_records_stop_the_run() {
    for (file, source) in [
        ("like.csv", "like"),
        ("user.csv", "user"),
        ("st_messages.data", "message"),
    ] {
        let place = small_day();
        let text = [place.read(file), b"\nbad record 7\n".to_vec()].concat();
        let line = text.split(|byte| *byte == b'\n').count() - 1;
        place.write(file, text);
        let line = format!("line {line}");
        place.run("warehouse", &[]).exits(1).says(&[
            source,
            file,
            &line,
            "bad record 7",
            "--max-bad-share",
        ]);
        assert_eq!(place.publications("warehouse"), [""; 0]);
        // The limit is a share that may be reached, not crossed: one of three or four.
        let exactly = if source == "like" {
            "0.3333333333333333"
        } else {
            "0.25"
        };
        place
            .run("warehouse", &["--max-bad-share", "0.2499"])
            .exits(1);
        place
            .run("warehouse", &["--max-bad-share", exactly])
            .exits(0);
    }
}

#[test]
fn a_missing_source_is_named() {
    for file in FILES {
        let place = small_day();
        place.remove(file);
        let (stem, source) = (
            file.split_once('.').unwrap().0,
            file.trim_start_matches("st_"),
        );
        let source = source.split_once('.').unwrap().0.trim_end_matches('s');
        place
            .run("warehouse", &[])
            .exits(4)
            .says(&["missing", source, file, stem]);
        assert!(!place.path("warehouse").exists(), "{file}");
    }
    // Scores at hand need no messages.
    let place = small_day();
    place.remove("st_messages.data");
    place.run_with_scores("warehouse", &[]).exits(0);
}

#[test]
fn an_empty_source_is_named() {
    for (number, empty) in ["", "\n \r\n\n"].into_iter().enumerate() {
        for file in FILES {
            let place = small_day();
            place.write(file, empty);
            place.run("plain", &[]).exits(4).says(&["empty", file]);
            place.remove(file);
            let packed = format!("{file}.gz");
            place.write(&packed, rewrite::gzip(empty.as_bytes()));
            place.run("packed", &[]).exits(4).says(&["empty", &packed]);
            assert_eq!(place.publications("packed"), [""; 0], "{file} {number}");
        }
    }
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let place = small_day();
    let outcome = graph_recs(
        [
            "run",
            "--as-of",
            AS_OF,
            "--input",
            "/no/such/folder",
            "--warehouse",
        ]
        .map(String::from)
        .into_iter()
        .chain([place.path("w").display().to_string()]),
    );
    outcome.exits(4).says(&["/no/such/folder"]);
}

#[test]
fn a_source_in_two_forms_is_refused() {
    for (name, form) in [
        ("follow.csv.gz", "follow.csv.gz"),
        ("follow.parquet", "follow.parquet"),
        ("follow/part-0.csv", "follow/"),
    ] {
        let place = small_day();
        place.write(name, "1,2,2019-09-30 00:00:00\n");
        let outcome = place.run("warehouse", &[]).exits(1);
        outcome.says(&["follow.csv", form, "more than once", "leave one of them"]);
    }
}

#[test]
fn a_file_that_is_cut_off_stops_the_run() {
    for (file, bytes) in [
        ("like.csv.gz", rewrite::gzip(&likes())),
        ("like.csv.zst", rewrite::zstd(&likes())),
        (
            "like.parquet",
            rewrite::parquet_of_texts(&[("user_id", &[Some("1")])]),
        ),
    ] {
        for length in [bytes.len() - 1, bytes.len() / 2] {
            let place = small_day();
            place.remove("like.csv");
            place.write(file, &bytes[..length]);
            place.run("warehouse", &[]).exits(1).says(&[file]);
            assert_eq!(place.publications("warehouse"), [""; 0]);
        }
    }
}

fn likes() -> Vec<u8> {
    let lines = (1..2000).map(|id| format!("1,2,{id},2019-09-30 00:00:00,like\n"));
    lines.collect::<String>().into_bytes()
}

#[test]
fn parquet_without_a_needed_column_stops_the_run() {
    let place = small_day();
    place.remove("like.csv");
    let texts: [(&str, &[Option<&str>]); 2] = [("user_id", &[Some("1")]), ("liked", &[Some("2")])];
    place.write("like.parquet", rewrite::parquet_of_texts(&texts));
    let outcome = place.run("warehouse", &[]).exits(1);
    outcome.says(&["like.parquet", "engaged_with_user_id"]);
}

#[test]
fn score_files_that_do_not_fit_are_refused() {
    for (contents, words) in [
        ("user_id,pred\n1,0.5\n2,1.5\n0,0.5\n", &["2 rows"][..]),
        ("user_id,pred\n1,NaN\n", &["1 rows"]),
        ("user_id,pred\n1,\n", &["1 rows"]),
        ("user_id,pred\n1,0.5\n1,0.6\n", &["more than one row"]),
        ("user_id,pred\n1,half\n", &["header user_id,pred"]),
        ("user_id,pred\n1,0.5,9\n", &["header user_id,pred"]),
        // Without the header the first user would be taken for it.
        ("1,0.5\n2,0.6\n", &["header user_id,pred"]),
        ("pred,user_id\n1,1\n", &["header user_id,pred"]),
        ("", &["header user_id,pred"]),
    ] {
        let place = small_day();
        place.write("scores.csv", contents);
        let file = place.input().join("scores.csv");
        let options = ["--reputation-scores", file.to_str().unwrap()];
        let outcome = place.run("warehouse", &options).exits(1);
        outcome
            .says(&["--reputation-scores", "scores.csv"])
            .says(words);
        assert_eq!(place.publications("warehouse"), [""; 0]);
    }
    let place = small_day();
    let options = ["--reputation-scores", "/no/such/scores.csv"];
    place
        .run("warehouse", &options)
        .exits(1)
        .says(&["/no/such/scores.csv"]);
}

#[test]
fn the_date_names_the_folder() {
    let run = |place: &Place, date: &str| {
        let mut command = program();
        command
            .args(["run", "--json", "--date", date, "--input"])
            .arg(place.input());
        Outcome::of(command.arg("--warehouse").arg(place.path("warehouse")))
    };
    // The files themselves.
    let place = small_day();
    let answer = run(&place, "2019-10-02").exits(0).json();
    assert_eq!(answer["report"]["parameters"]["as_of"], AS_OF);
    // A dated folder goes before the files beside it.
    for file in FILES {
        place.write(&format!("20191001/{file}"), place.read(file));
    }
    place.write("20191001/like.csv", "5,6,1,2019-09-30 00:00:00,like\n");
    let answer = run(&place, "2019-10-01").exits(0).json();
    assert_eq!(
        answer["report"]["parameters"]["as_of"],
        "2019-10-01T00:00:00Z"
    );
    assert!(
        answer["report"]["input"]
            .as_str()
            .unwrap()
            .ends_with("/20191001")
    );
    assert_eq!(account(&answer, "like")["read"], 1);
    // Neither is there.
    for file in FILES {
        place.remove(file);
    }
    let outcome = run(&place, "2019-10-03").exits(4);
    outcome.says(&["20191003", "is the day's export finished"]);
}
