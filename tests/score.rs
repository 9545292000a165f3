//! `score` and `why`, as people use them.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{csv_rows, golden, graph_recs, program};

/// Gives `score` the texts and takes its probabilities.
fn scores(options: &[&str], texts: &[String]) -> Vec<f64> {
    let mut process = program()
        .arg("score")
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let lines = texts.join("\n");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.parse().unwrap()).collect()
}

fn weekly_documents() -> Vec<String> {
    let text = std::fs::read_to_string(golden("expected").join("weekly_messages.csv")).unwrap();
    let mut rows = csv_rows(&text);
    rows.remove(0);
    rows.into_iter().map(|row| row[2].clone()).collect()
}

#[test]
fn tables_and_the_plain_network_agree_on_the_golden_documents() {
    let texts = weekly_documents();
    let fast = scores(&["--cleaned"], &texts);
    let plain = scores(&["--cleaned", "--plain"], &texts);
    assert_eq!((fast.len(), plain.len()), (texts.len(), texts.len()));
    for ((fast, plain), text) in fast.iter().zip(&plain).zip(&texts) {
        assert!((fast - plain).abs() <= 1e-5, "{fast} {plain}: {text}");
    }
    let (least, most) = fast
        .iter()
        .fold((1.0_f64, 0.0_f64), |(least, most), &score| {
            (least.min(score), most.max(score))
        });
    assert!(most - least > 0.3, "{least} {most}");
}

#[test]
fn scores_are_those_of_the_sql_function_on_any_number_of_threads() {
    let texts = [
        "Bought $AAPL at 101.5, it looks cheap http://stks.co/abc",
        "",
        "to the moon!!!",
        "\u{1F680}\u{1F680}",
        "earnings beat, guidance raised",
    ]
    .map(str::to_owned);
    let sql: Vec<f64> = texts
        .iter()
        .map(|text| {
            let sql = format!("SELECT reputation(clean_text('{text}'), '') / 1000000.0 AS score");
            let answer = graph_recs(["sql", "--format", "csv", "-c", &sql]).exits(0);
            csv_rows(&answer.stdout)[1][0].parse().unwrap()
        })
        .collect();
    for threads in ["1", "8"] {
        let found = scores(&["--threads", threads], &texts);
        assert_eq!(found.len(), sql.len());
        for (found, sql) in found.iter().zip(&sql) {
            assert!((found - sql).abs() < 1e-9, "{found} {sql}");
        }
    }
    assert_eq!((sql[1], sql[3]), (0.0, 0.0));
    assert!(
        scores(&[], &[String::new()]).is_empty(),
        "no line, no score"
    );
}

#[test]
fn lines_are_answered_while_the_input_is_still_open() {
    use std::io::{BufRead as _, BufReader};
    let mut process = program()
        .arg("score")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
    for text in ["buy the dip\n", "half of a line, ", "and the rest\n"] {
        input.write_all(text.as_bytes()).unwrap();
        input.flush().unwrap();
        if text.ends_with('\n') {
            let score: f64 = answers.next().unwrap().unwrap().parse().unwrap();
            assert!(score > 0.0 && score < 1.0);
        }
    }
    drop(input);
    assert!(answers.next().is_none());
    assert!(process.wait().unwrap().success());
}

#[test]
fn why_names_the_words_and_adds_up() {
    let text = "Earnings beat and guidance raised, chart looks great $TSLA";
    let shown = graph_recs(["why", text]).exits(0).stdout;
    let score = scores(&[], &[text.to_owned()])[0];
    assert!(
        shown.contains(&format!("probability {score:.6}")),
        "{shown}"
    );
    assert!(
        shown.contains("raise it") && shown.contains("lower it"),
        "{shown}"
    );
    let json = graph_recs(["why", "--json", text]).exits(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let windows = json["windows"].as_array().unwrap();
    let sum: f64 = windows
        .iter()
        .map(|window| window["contribution"].as_f64().unwrap())
        .sum();
    let log_odds = json["base"].as_f64().unwrap() + sum;
    assert!((1.0 / (1.0 + (-log_odds).exp()) - score).abs() < 2e-6);
    let words = json["cleaned"].as_str().unwrap();
    assert!(words.contains("guidance raised"), "{words}");
    let shown = graph_recs(["why", "\u{1F680}"]).exits(0).stdout;
    assert!(shown.contains("scores 0"), "{shown}");
}
