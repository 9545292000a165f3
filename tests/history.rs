//! Published runs: listed, gone back to, read in SQL, explained.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use datafusion::parquet::file::reader::{FileReader, SerializedFileReader};

use crate::support::{Outcome, Place, TABLES, csv_rows, golden, program, rows};

/// A warehouse with a run of each of two days, the later one current.
struct TwoDays {
    place: Place,
    runs: [String; 2],
}

impl TwoDays {
    fn new() -> Self {
        let place = Place::golden();
        let runs = ["2019-09-25", "2019-10-02"].map(|day| {
            let mut command = program();
            command
                .args(["run", "--json", "--as-of", day, "--input"])
                .arg(place.input());
            command.arg("--reputation-scores").arg(golden("pred.csv"));
            command.arg("--warehouse").arg(place.path("warehouse"));
            Outcome::of(&mut command).exits(0).run_id()
        });
        Self { place, runs }
    }

    fn warehouse(&self) -> PathBuf {
        self.place.path("warehouse")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(arguments)
            .arg("--warehouse")
            .arg(self.warehouse());
        command
    }

    fn does(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(arguments))
    }

    fn answer(&self, sql: &str) -> Vec<Vec<String>> {
        self.place.sql("warehouse", sql)
    }
}

const FIRST: &str = "SELECT * FROM closest_connections WHERE user_id = 8 AND rank = 1";

#[test]
fn going_back_and_forth() {
    let days = TwoDays::new();
    let [first, second] = &days.runs;
    assert_ne!(first, second);
    assert!(first.starts_with("20190925T000000Z-") && second.starts_with("20191002T000000Z-"));
    assert_eq!(days.place.publications("warehouse"), days.runs);
    let late = days.answer(FIRST);
    let past = |run: &str| FIRST.replace("closest", &format!("runs.\"{run}\".closest"));
    let early = days.answer(&past(first));
    assert_ne!(early, late);
    assert_eq!(days.answer(&past(second)), late);

    days.does(&["rollback", "--to", first]).exits(0);
    assert_eq!(days.answer(FIRST), early);
    assert_eq!(days.answer(&past(second)), late);
    // Once is enough.
    let again = days
        .does(&["rollback", "--json", "--to", first])
        .exits(0)
        .json();
    assert_eq!(again["already_current"], true);
    assert_eq!(again["run_id"], first.as_str());
    days.does(&["rollback", "--to", second]).exits(0);
    assert_eq!(days.answer(FIRST), late);

    let listed = days.does(&["runs", "--json"]).exits(0).json();
    let listed = listed["publications"].as_array().unwrap();
    let told: Vec<_> = listed
        .iter()
        .map(|row| {
            (
                row["number"].as_u64().unwrap(),
                row["run_id"].as_str().unwrap(),
                row["kind"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, first.as_str(), "publish"),
            (2, second, "publish"),
            (3, first, "rollback"),
            (4, second, "rollback"),
        ]
    );
    // A roll-back brings back the same rows.
    for table in TABLES {
        assert_eq!(
            listed[0]["tables"][table]["rows"],
            listed[2]["tables"][table]["rows"]
        );
        let count = days.answer(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(count[1][0], listed[3]["tables"][table]["rows"].to_string());
    }
    let page = days.does(&["runs"]).exits(0).stdout;
    let current: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("*   4"))
        .collect();
    assert!(
        current.len() == 1 && current[0].contains(second.as_str()),
        "{page}"
    );
    assert!(page.contains("2019-09-25 00:00:00"), "{page}");
}

#[test]
fn a_run_that_was_never_published_is_no_way_back() {
    let days = TwoDays::new();
    for run in ["20190101T000000Z-00000000", "", "../../etc"] {
        days.does(&["rollback", "--to", run])
            .exits(1)
            .says(&["never published", run]);
    }
    assert_eq!(days.place.publications("warehouse"), days.runs);
}

#[test]
fn a_warehouse_without_a_run() {
    let place = Place::new();
    let ask = |arguments: &[&str]| {
        Outcome::of(
            program()
                .args(arguments)
                .arg("--warehouse")
                .arg(place.path("none")),
        )
    };
    assert!(
        ask(&["runs"])
            .exits(0)
            .stdout
            .contains("nothing is published")
    );
    ask(&["explain", "8"])
        .exits(1)
        .says(&["nothing is published", "graph-recs run"]);
    ask(&["sql", "-c", "SELECT * FROM recommendations"])
        .exits(1)
        .says(&["recommendations"]);
    assert!(!place.path("none").exists(), "looking made a warehouse");
}

#[test]
fn explain_tells_what_the_tables_hold() {
    let days = TwoDays::new();
    let page = days
        .does(&["explain", "8", "--closest", "2"])
        .exits(0)
        .stdout;
    assert!(
        page.contains(&format!("user 8, run {}", days.runs[1])),
        "{page}"
    );
    let connections = days.answer("SELECT closest_connection, weight FROM closest_connections WHERE user_id = 8 ORDER BY rank");
    for (shown, row) in [
        (true, &connections[1]),
        (true, &connections[2]),
        (false, &connections[3]),
    ] {
        let found = page.lines().any(|line| {
            line.contains(&format!("user {} ", row[0]))
                && line.ends_with(&format!("weight {}", row[1]))
        });
        assert_eq!(found, shown, "{row:?} in {page}");
    }
    let recommendations = days
        .answer("SELECT rank, rec_id, score FROM recommendations WHERE user_id = 8 ORDER BY rank");
    let reasons = days.answer("SELECT weight, reason_id FROM rec_reasons WHERE user_id = 8");
    assert!(recommendations.len() > 3 && reasons.len() > 3);
    for row in &recommendations[1..] {
        let line = format!(
            "{:>2}. follow user {}   score {} = reputation 0.",
            row[0], row[1], row[2]
        );
        assert!(page.contains(&line), "{line} is not in {page}");
    }
    for row in &reasons[1..] {
        let line = format!("{} for user {},", row[0], row[1]);
        assert!(page.contains(&line), "{line} is not in {page}");
    }
    assert_eq!(
        page.matches("whom you are close to").count(),
        reasons.len() - 1
    );

    days.does(&["explain", "2147483647"])
        .exits(1)
        .says(&["knows no user 2147483647"]);
    days.does(&["explain", "nobody"]).exits(2);
}

#[test]
fn sql_answers_in_every_format() {
    let days = TwoDays::new();
    let statement = "SELECT user_id, rank, score FROM recommendations WHERE user_id = 8 AND rank <= 2 ORDER BY rank";
    let ask = |format: &str| {
        days.does(&["sql", "-c", statement, "--format", format])
            .exits(0)
            .stdout
    };
    assert_eq!(
        csv_rows(&ask("csv")),
        rows(&[
            &["user_id", "rank", "score"],
            &["8", "1", "1.02478429"],
            &["8", "2", "0.77567370"]
        ])
    );
    let json: Vec<serde_json::Value> = ask("json")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json.len(), 2);
    assert_eq!(
        (&json[1]["user_id"], &json[1]["rank"]),
        (&8.into(), &2.into())
    );
    let table = ask("table");
    assert!(
        table.contains("| 8       | 1    | 1.02478429 |") && table.ends_with("2 rows\n"),
        "{table}"
    );
    assert_eq!(
        ask("table"),
        days.does(&["sql", "-c", statement]).exits(0).stdout
    );

    let file = days.place.path("answer.parquet");
    let output = days
        .command(&["sql", "-c", statement, "--format", "parquet"])
        .output()
        .unwrap();
    assert!(output.status.success());
    fs::write(&file, output.stdout).unwrap();
    let reader = SerializedFileReader::new(fs::File::open(&file).unwrap()).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 2);

    // No row is an answer as well.
    let nothing = "SELECT user_id FROM recommendations WHERE user_id = -1";
    assert_eq!(days.answer(nothing), rows(&[&["user_id"]]));
}

#[test]
fn sql_takes_statements_from_a_file_or_standard_input() {
    let days = TwoDays::new();
    let file = days.place.path("statements.sql");
    let text = "CREATE VIEW best AS SELECT * FROM recommendations WHERE rank = 1; -- a ; here\n\
                SELECT count(*) AS \"n;\" FROM best;\n\n";
    fs::write(&file, text).unwrap();
    let from_file = days
        .does(&["sql", "--format", "csv", "-f", file.to_str().unwrap()])
        .exits(0)
        .stdout;
    let users = days.answer("SELECT count(DISTINCT user_id) AS \"n;\" FROM recommendations");
    assert_eq!(csv_rows(&from_file), users);
    let mut command = days.command(&["sql", "--format", "csv"]);
    command.stdin(fs::File::open(&file).unwrap());
    assert_eq!(Outcome::of(&mut command).exits(0).stdout, from_file);
}

#[test]
fn sql_knows_every_function_and_the_raw_input() {
    let place = Place::golden();
    let count = |what: &str| -> u64 {
        let sql = format!("SELECT count(*) FROM {what}");
        place.sql_of_input("2019-10-02", &sql)[1][0]
            .parse()
            .unwrap()
    };
    assert_eq!(count("raw.follows"), 3036);
    assert_eq!(count("raw.messages"), 6007);
    assert_eq!(count("quarantine"), 30);
    assert_eq!(count("weekly_messages"), 4473);
    // Those that a run uses and the further copies that it drops.
    assert_eq!(
        count("engagements"),
        656 + 9820 + 4386 + 5399 + 13 + 97 + 52 + 50
    );
    let sql = "SELECT clean_text('Hi @you'), ratio(1, 3), week_of(7 * 86400, 0), \
               reputation('', '') FROM (SELECT 1)";
    assert_eq!(
        place.sql_of_input("2019-10-02", sql)[1..],
        rows(&[&["hi ", "0.33333333", "1", "0"]])
    );
}

#[test]
fn wrong_sql_says_what_is_wrong() {
    let days = TwoDays::new();
    for (sql, words) in [
        (
            "SELECT scores FROM recommendations",
            &["scores", "recommendations.score"][..],
        ),
        ("SELECT * FROM recommendation", &["recommendation"]),
        ("SELEC 1", &["SELEC"]),
        ("SELECT clean_texts('x')", &["clean_texts", "clean_text"]),
        ("SELECT * FROM runs.\"no run\".recommendations", &["no run"]),
        ("SELECT 1; SELECT nothing", &["nothing"]),
        ("SELECT ratio(1, 0)", &["denominator must be positive"]),
        (
            "DROP TABLE recommendations; SELECT * FROM recommendations",
            &["recommendations"],
        ),
    ] {
        days.does(&["sql", "-c", sql]).exits(1).says(words);
    }
    // Whatever was dropped was this session's name for it.
    assert!(days.answer("SELECT * FROM recommendations").len() > 1000);
    let file = "/no/such/file.sql";
    days.does(&["sql", "-f", file]).exits(1).says(&[file]);
}
