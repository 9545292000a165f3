//! The command line: what is wrong usage, where options may come from, what the answers look like.

use std::fs;
use std::process::Command;

use crate::support::{AS_OF, Outcome, Place, TABLES, golden, graph_recs, program, small_day};

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        "",
        "walk",
        "run",
        "run --input x --warehouse y",
        "run --input x --as-of 2019-10-02",
        "run --input x --warehouse y --as-of tomorrow",
        "run --input x --warehouse y --date 2019-02-30",
        "run --input x --warehouse y --date 2019-10-01 --colour red",
        "run --input x --warehouse y --date 2019-10-01 --closest 0",
        "run --input x --warehouse y --date 2019-10-01 --recommendations many",
        "run --input x --warehouse y --date 2019-10-01 --lookback-days -1",
        "run --input x --warehouse y --date 2019-10-01 --min-reputation 1.5",
        "run --input x --warehouse y --date 2019-10-01 --max-bad-share 2%",
        "run --input x --warehouse y --date 2019-10-01 --threads 0",
        "run --input x --warehouse y --date 2019-10-01 --memory-limit 4parsecs",
        "run --input x --warehouse y --date 2019-10-01 --ranking best",
        "run --input x --warehouse y --date 2019-10-01 --reputation-scores f --model m",
        "run --input x --warehouse y --date 2019-10-01 --date 2019-10-02",
        "explain 8",
        "explain eight --warehouse y",
        "explain 0 --warehouse y",
        "rollback --warehouse y",
        "sql --input x",
        "sql --warehouse y -c a -f b",
        "sql --warehouse y --format xml",
        "generate --out x",
        "migrate",
        "migrate --to 99 --database-url postgres://x/y",
        "check --date 2019-10-01",
        "generate --out x --database-url postgres://x/y",
    ] {
        let outcome = graph_recs(arguments.split_whitespace()).exits(2);
        assert!(
            outcome.stderr.contains("Usage:") || outcome.stderr.contains("error:"),
            "{arguments}: {}",
            outcome.stderr
        );
        assert!(outcome.stdout.is_empty(), "{arguments}");
    }
}

#[test]
fn help_says_what_each_option_is_for() {
    let commands = "run closest-connections reputation-scores recommend check publish demo generate explain runs \
                    rollback sql train migrate";
    let main = graph_recs(["--help"]).exits(0).stdout;
    for command in commands.split_whitespace() {
        assert!(main.contains(command), "{command}");
        let help = graph_recs([command, "--help"]).exits(0).stdout;
        let options: Vec<&str> = help
            .lines()
            .filter(|line| line.trim_start().starts_with('-'))
            .collect();
        assert!(options.len() >= 3, "{help}");
    }
    let help = graph_recs(["run", "--help"]).exits(0).stdout;
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for words_of_option in [
        "[default: 90]",
        "[default: 50]",
        "[default: 20]",
        "[default: 0.5]",
        "[default: 0.01]",
        "[default: start of --date]",
        "[default: 189 days before the as-of's day]",
        "GRAPH_RECS_MEMORY_LIMIT",
        "4GB or 512MiB",
    ] {
        assert!(
            words.contains(words_of_option),
            "{words_of_option} is not in {help}"
        );
    }
    assert!(!help.contains("batch-size"));
    assert!(
        graph_recs(["--version"])
            .exits(0)
            .stdout
            .starts_with("graph-recs ")
    );
}

/// A run's parameters as its answer tells them.
fn parameters(outcome: Outcome) -> serde_json::Value {
    outcome.exits(0).json()["report"]["parameters"].clone()
}

#[test]
fn options_come_from_a_file_the_environment_and_the_command_line() {
    let place = small_day();
    let file = place.path("options.toml");
    let warehouse = place.path("warehouse").display().to_string();
    let text = format!(
        "# for the night\ninput = {:?}\nwarehouse = {warehouse:?}\nas_of = 2019-10-01T00:00:00Z\nclosest = 7\n\
         recommendations = 8\nmin-reputation = 0.25\nlog = \"warn\"\njson = true\nmemory_limit = \"1GB\"\n",
        place.input().display().to_string()
    );
    fs::write(&file, text).unwrap();
    let from_file = parameters(Outcome::of(program().arg("run").arg("--config").arg(&file)));
    assert_eq!(from_file["closest"], 7);
    assert_eq!(from_file["recommendations"], 8);
    assert_eq!(from_file["min_pred"], 250_000);
    assert_eq!(from_file["as_of"], "2019-10-01T00:00:00Z");
    assert_eq!(from_file["lookback_days"], 90);

    // The environment goes before the file, the command line before both.
    let mut command = program();
    command
        .env("GRAPH_RECS_CONFIG", &file)
        .env("GRAPH_RECS_CLOSEST", "17")
        .env("GRAPH_RECS_RECOMMENDATIONS", "18");
    let mixed = parameters(Outcome::of(command.args([
        "run",
        "--recommendations",
        "28",
        "--as-of",
        AS_OF,
    ])));
    assert_eq!(mixed["closest"], 17);
    assert_eq!(mixed["recommendations"], 28);
    assert_eq!(mixed["min_pred"], 250_000);
    assert_eq!(mixed["as_of"], AS_OF);

    // One file does for all commands.
    let listed = Outcome::of(
        program()
            .arg("runs")
            .arg(format!("--config={}", file.display())),
    );
    assert_eq!(
        listed.exits(0).json()["publications"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    // All of it in the environment.
    let mut command = program();
    for (name, value) in [
        ("INPUT", place.input().display().to_string()),
        ("WAREHOUSE", warehouse),
        ("DATE", "2019-10-02".into()),
        ("JSON", "true".into()),
        ("LOOKBACK_DAYS", "30".into()),
        ("THREADS", "1".into()),
        ("WEEK_ANCHOR", "2019-04-01".into()),
    ] {
        command.env(format!("GRAPH_RECS_{name}"), value);
    }
    let from_environment = parameters(Outcome::of(command.arg("run")));
    assert_eq!(from_environment["lookback_days"], 30);
    assert_eq!(from_environment["week_anchor"], "2019-04-01");
}

#[test]
fn a_wrong_file_of_options_is_wrong_usage() {
    let place = small_day();
    let file = place.path("options.toml");
    let name = file.to_str().unwrap();
    for (text, words) in [
        ("closets = 50\n", "closets"),
        ("closest = [50]\n", "closest"),
        ("[run]\nclosest = 50\n", "run"),
        ("closest: 50\n", "options.toml"),
        ("closest = \"fifty\"\n", "fifty"),
        ("closest = 0\n", "0"),
    ] {
        fs::write(&file, text).unwrap();
        let outcome = place.run("warehouse", &["--config", name]).exits(2);
        assert!(
            outcome.stderr.contains(words),
            "{words:?} is not in {}",
            outcome.stderr
        );
        assert!(!place.path("warehouse").exists());
    }
    place
        .run("warehouse", &["--config", "/no/such.toml"])
        .exits(2)
        .says(&["/no/such.toml"]);
}

#[test]
fn the_last_line_of_json_says_it_all() {
    let place = Place::golden();
    let outcome = place.run_with_scores("warehouse", &[]).exits(0);
    assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.stdout);
    let answer = outcome.json();
    assert_eq!(answer["published"], true);
    let report = &answer["report"];
    assert_eq!(report["run_id"], answer["run_id"]);
    for (table, rows) in TABLES.into_iter().zip([16060, 1345, 26853, 35787]) {
        assert_eq!(report["rows"][table], rows, "{table}");
    }
    let counts = &report["counts"];
    let dropped: i64 = [
        "self",
        "followed",
        "suspended",
        "without_score",
        "low_reputation",
        "beyond_limit",
        "recommended",
    ]
    .iter()
    .map(|name| counts[*name].as_i64().unwrap())
    .sum();
    assert_eq!(counts["candidates"], dropped);
    assert_eq!(counts["recommended"], report["rows"]["recommendations"]);
    let steps = report["steps"].as_array().unwrap();
    let names: Vec<_> = steps
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "closest_connections",
            "reputation_scores",
            "recommendations",
            "checks"
        ]
    );
    for step in steps {
        assert!(step["seconds"].as_f64().unwrap() > 0.0, "{step}");
        assert!(
            step["peak_memory_bytes"].as_u64().unwrap() > 1 << 20,
            "{step}"
        );
    }
    assert_eq!(report["checks"].as_array().unwrap().len(), 24);
    // The same is kept with the run.
    let kept = place.work_file("warehouse", &outcome.run_id(), "report.json");
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(kept).unwrap()).unwrap();
    assert_eq!(kept, *report);
}

#[test]
fn people_get_a_page_and_logs_go_elsewhere() {
    let place = Place::golden();
    let mut command = program();
    command
        .args(["run", "--as-of", AS_OF, "--input"])
        .arg(place.input());
    command.arg("--reputation-scores").arg(golden("pred.csv"));
    command.arg("--warehouse").arg(place.path("warehouse"));
    let outcome = Outcome::of(&mut command).exits(0);
    let page = outcome
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for words in [
        "before_window 2344",
        "not_a_number 1 (quarantined)",
        "second-degree candidates",
        "beyond_limit 36664",
        "recommendations 26853",
        "peak memory",
        "reasons_add_up_to_scores 0 ok",
        "is published and current",
    ] {
        assert!(page.contains(words), "{words:?} is not in {page}");
    }
    assert!(
        outcome
            .stderr
            .contains("INFO started step=\"closest_connections\""),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stdout.contains("INFO"));
    let again = Outcome::of(&mut command).exits(0);
    assert!(
        again
            .stdout
            .contains("was published before: nothing changed"),
        "{}",
        again.stdout
    );
    assert!(
        Outcome::of(command.args(["--log", "error"]))
            .exits(0)
            .stderr
            .is_empty()
    );
}

#[test]
fn a_model_folder_that_does_not_fit_is_refused() {
    let place = small_day();
    place
        .run("warehouse", &["--model", "/no/such/model"])
        .exits(1)
        .says(&["/no/such/model"]);
    fs::create_dir(place.path("model")).unwrap();
    fs::write(place.path("model").join("model.json"), "{}").unwrap();
    let model = place.path("model").display().to_string();
    place
        .run("warehouse", &["--model", &model])
        .exits(1)
        .says(&["model"]);
    // The shipped model in a folder is the same model, so the same run.
    let shipped = format!("{}/../udfs/model", env!("CARGO_MANIFEST_DIR"));
    let run_id = place.run("warehouse", &[]).exits(0).run_id();
    assert_eq!(
        place.run("other", &["--model", &shipped]).exits(0).run_id(),
        run_id
    );
}

#[test]
fn one_program_is_three_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["graph-recs-scheduler", "graph-recs-executor"] {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_graph-recs"), &link).unwrap();
        let outcome = Outcome::of(Command::new(&link).arg("--version"));
        let said = outcome.exits(0).stdout.clone();
        assert_eq!(said, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
    // It says what is wrong with its folder before it waits for a scheduler.
    let no_folder = folder.path().join("file");
    std::fs::write(&no_folder, "").unwrap();
    let mut executor = Command::new(folder.path().join("graph-recs-executor"));
    executor.arg("--work-dir").arg(&no_folder);
    Outcome::of(&mut executor)
        .exits(1)
        .says(&["--work-dir", "file cannot be written"]);
}

#[test]
fn the_shell_takes_its_commands_from_a_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    fs::write(
        &script,
        "\\d\n-- as a table\n\\format csv\nSELECT 1 AS one;\n\\q\nSELECT 2 AS two;\n",
    )
    .unwrap();
    let mut shell = program();
    let golden = golden("input");
    shell.args(["sql", "--as-of", AS_OF, "--input"]).arg(golden);
    shell.stdin(fs::File::open(&script).unwrap());
    let said = Outcome::of(&mut shell).exits(0).stdout;
    assert!(said.contains("raw.follows"), "{said}");
    assert!(said.ends_with("one\n1\n"), "{said}");
}
