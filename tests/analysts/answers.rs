//! What psql and pgbench get.

use super::*;

#[test]
fn psql_shows_the_catalog_with_descriptions() {
    let service = Service::start(&[]);
    let show = |command: &str| {
        let mut psql = service.psql("ana");
        psql.args(["--command", command]);
        Outcome::of(&mut psql).exits(0).stdout
    };
    for (command, words) in [
        ("\\d", &["recommendations", "most_recommended", "view"][..]),
        ("\\dt", &["closest_connections"]),
        ("\\dt+", &["Whom a user should follow"]),
        ("\\dt ops.*", &["steps", "left_out"]),
        ("\\dn+", &["graph_recs_history", "All published runs"]),
        ("\\dv+", &["drift", "How far the run moved"]),
        (
            "\\d recommendations",
            &["score", "numeric(18,8)", "not null"],
        ),
        (
            "\\d+ recommendations",
            &["The user who is recommended", "1 for the best"],
        ),
        (
            "\\d ops.runs",
            &["published_at", "timestamp with time zone"],
        ),
        ("\\l", &["graph_recs"]),
        ("\\du", &["graph_recs"]),
        ("\\df", &["who_to_follow"]),
        ("\\di", &[]),
        ("\\dp", &[]),
        ("\\conninfo", &["ana"]),
    ] {
        let shown = show(command);
        for word in words {
            assert!(
                shown.contains(word),
                "{command}: {word} is not in:\n{shown}"
            );
        }
    }
}

#[test]
fn answers_are_those_of_the_shell() {
    let service = Service::start(&[]);
    for statement in [
        "SELECT * FROM recommendations ORDER BY user_id, rank",
        "SELECT user_id, count(*), sum(weight) FROM closest_connections GROUP BY user_id ORDER BY user_id",
        "SELECT rec_id, avg(score) FROM recommendations GROUP BY rec_id ORDER BY 2 DESC, 1 LIMIT 5",
    ] {
        let shell = service.place.sql("warehouse", statement);
        let rows: Vec<String> = shell.iter().skip(1).map(|row| row.join("|")).collect();
        assert_eq!(service.rows("ana", statement), rows, "{statement}");
        assert!(!rows.is_empty(), "{statement}");
    }
}

#[test]
fn look_ups_by_text_and_prepared_give_what_scans_give() {
    let service = Service::start(&[]);
    let users = service.rows(
        "ana",
        "SELECT DISTINCT user_id FROM recommendations ORDER BY user_id",
    );
    assert!(users.len() > 3);
    for user in users
        .iter()
        .take(4)
        .map(String::as_str)
        .chain(["999999", "0"])
    {
        let scan = format!(
            "SELECT rec_id, rank, score FROM recommendations WHERE user_id + 0 = {user} ORDER BY rank"
        );
        let scan = service.rows("ana", &scan);
        let look_up = format!(
            "SELECT rec_id, rank, score FROM recommendations WHERE user_id = {user} ORDER BY rank"
        );
        assert_eq!(service.rows("ana", &look_up), scan, "{user}");
        // Again, from what is kept.
        assert_eq!(service.rows("ana", &look_up), scan, "{user}");
        let first =
            format!("SELECT rec_id FROM recommendations WHERE user_id = {user} AND rank = 1");
        let expected: Vec<&str> = scan
            .iter()
            .take(1)
            .filter_map(|row| row.split('|').next())
            .collect();
        assert_eq!(service.rows("ana", &first), expected);
        let joined = format!(
            "SELECT count(*) FROM recommendations JOIN rec_reasons USING (user_id, rec_id) WHERE recommendations.user_id = {user}"
        );
        let counted = format!("SELECT count(*) FROM rec_reasons WHERE user_id + 0 = {user}");
        assert_eq!(service.rows("ana", &joined), service.rows("ana", &counted));
    }
    let in_list = format!(
        "SELECT count(*) FROM recommendations WHERE user_id IN ({})",
        users[..3].join(", ")
    );
    let low = format!(
        "SELECT count(*) FROM recommendations WHERE user_id + 0 <= {}",
        users[2]
    );
    assert_eq!(service.rows("ana", &in_list), service.rows("ana", &low));
}

#[test]
fn pgbench_looks_up_users_prepared_and_not() {
    let service = Service::start(&[]);
    let script = service.path("look-up.sql");
    std::fs::write(
        &script,
        "\\set id random(1, 6000)\nSELECT rec_id, score FROM recommendations WHERE user_id = :id AND rank = 1;\n",
    )
    .unwrap();
    for mode in ["simple", "extended", "prepared"] {
        let mut command = client("pgbench");
        command
            .args([
                "--no-vacuum",
                "--client",
                "20",
                "--transactions",
                "50",
                "--protocol",
                mode,
            ])
            .args([
                "--host",
                "127.0.0.1",
                "--username",
                "ana",
                "--port",
                &service.port.to_string(),
            ])
            .arg("--file")
            .arg(&script)
            .arg("graph_recs")
            .env("PGPASSWORD", password("ana"));
        let outcome = Outcome::of(&mut command).exits(0);
        assert!(
            outcome.stdout.contains("processed: 1000/1000"),
            "{mode}: {}",
            outcome.stdout
        );
        assert!(
            outcome.stdout.contains("failed transactions: 0"),
            "{mode}: {}",
            outcome.stdout
        );
    }
}

#[test]
fn copies_go_to_files_of_the_client() {
    let service = Service::start(&[]);
    let file = service.path("copied.csv");
    let copy = format!(
        "\\copy (SELECT user_id, rec_id, score FROM recommendations ORDER BY 1, 2) TO '{}' CSV HEADER",
        file.display()
    );
    let mut command = service.psql("ana");
    command.args(["--command", &copy]);
    Outcome::of(&mut command).exits(0);
    let copied = std::fs::read_to_string(&file).unwrap();
    let expected = service.rows(
        "ana",
        "SELECT user_id, rec_id, score FROM recommendations ORDER BY 1, 2",
    );
    let mut lines = copied.lines();
    assert_eq!(lines.next(), Some("user_id,rec_id,score"));
    assert!(lines.eq(expected.iter().map(|row| row.replace('|', ","))));
}

#[test]
fn reasons_are_given_in_words() {
    let service = Service::start(&[]);
    let user = &service.rows("ana", "SELECT min(user_id) FROM recommendations")[0];
    let rows = service.rows(
        "ana",
        &format!("SELECT rank, rec_id, reasons FROM who_to_follow({user}) ORDER BY rank"),
    );
    assert!(rows[0].starts_with("1|"), "{rows:?}");
    assert!(
        rows.iter()
            .all(|row| row.contains("engage") && row.contains("closely")),
        "{rows:?}"
    );
    assert_eq!(
        service.refused("ana", "SELECT * FROM who_to_follow('x')").0,
        "42804"
    );
    for view in ["most_recommended", "reciprocal_pairs", "coverage", "drift"] {
        service.rows("ana", &format!("SELECT * FROM {view} LIMIT 3"));
    }
}

#[test]
fn types_are_postgresqls() {
    let service = Service::start(&[]);
    let row = service.rows(
        "ana",
        "SELECT 1.50::decimal(10,2), true, NULL, ARRAY[1, NULL, 3], named_struct('a', 1, 'b', 'x y'), \
         timestamptz '2019-10-01 12:00:00Z', date '2019-10-01', 1e20, 'ä', x'ff', interval '1 day 2 hours'",
    );
    assert_eq!(
        row,
        [
            "1.50|t||{1,NULL,3}|(1,\"x y\")|2019-10-01 12:00:00+00|2019-10-01|1e+20|ä|\\xff|1 day 02:00:00"
        ]
    );
    let kinds = service.rows(
        "ana",
        "SELECT DISTINCT as_of, run_date FROM graph_recs_history.recommendations",
    );
    assert_eq!(kinds, ["2019-10-02 00:00:00+00|2019-10-02"]);
}

#[test]
fn a_statement_sees_one_run_and_the_next_one_the_next() {
    let service = Service::start(&[]);
    let run = "SELECT run_id FROM ops.runs WHERE is_current";
    let first = service.rows("ana", run);
    // A transaction that repeats its reads stays with its run.
    let psql = service.psql("ana");
    let mut reader = Command::new("stdbuf");
    reader.args(["-oL", "psql"]).args(psql.get_args());
    reader.envs(
        psql.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let mut reader = reader
        .args(["--no-align", "--tuples-only", "--file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = reader.stdin.take().unwrap();
    writeln!(stdin, "BEGIN ISOLATION LEVEL REPEATABLE READ; {run};").unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), first[0]);
    service.place.run("warehouse", &[]).exits(0);
    service.says("statements now see run");
    let second = service.rows("ana", run);
    assert_ne!(first, second);
    writeln!(stdin, "{run}; COMMIT; {run};").unwrap();
    drop(stdin);
    assert_eq!(lines.next().unwrap().unwrap(), first[0]);
    assert_eq!(lines.next().unwrap().unwrap(), second[0]);
    assert!(reader.wait().unwrap().success());
    let runs = "SELECT count(DISTINCT run_id) FROM graph_recs_history.recommendations";
    assert_eq!(service.rows("ana", runs), ["2"]);
    let drift = service.rows(
        "ana",
        "SELECT measure, previous > 0, current > 0 FROM drift",
    );
    assert_eq!(drift.len(), 7);
    assert!(
        drift.iter().any(|row| row == "recommendations|t|t"),
        "{drift:?}"
    );
}

#[test]
fn errors_point_into_the_statement() {
    let service = Service::start(&[]);
    let outcome = service.ask("ana", "SELECT recid FROM recommendations");
    assert!(
        outcome.stderr.contains("column recid does not exist"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("LINE 1: SELECT recid"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("\n               ^"),
        "{}",
        outcome.stderr
    );
    assert_eq!(
        service.refused("ana", "SELECT * FROM recommendation").0,
        "42P01"
    );
    assert_eq!(service.refused("ana", "SELEC 1").0, "42601");
    assert_eq!(service.refused("ana", "SELECT no_such(1)").0, "42883");
}

#[test]
fn transactions_are_as_clients_expect() {
    let service = Service::start(&[]);
    let mut command = service.psql("ana");
    command.args([
        "--no-align",
        "--tuples-only",
        "--set",
        "ON_ERROR_STOP=0",
        "--file",
        "-",
    ]);
    let said = "BEGIN; SELECT 1; SELECT nothing; SELECT 2; ROLLBACK; SELECT 3; SET statement_timeout = '5s';";
    let outcome = piped(&mut command, said);
    assert_eq!(outcome.stdout.lines().collect::<Vec<_>>(), ["1", "3"]);
    assert!(
        outcome.stderr.contains("current transaction is aborted"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn what_a_client_abandons_stops() {
    let service = Service::start(&[]);
    let endless = "SELECT sum(value % 7) FROM generate_series(1, 100000000000)";
    // Ctrl-C.
    let mut child = service.begin("ana", endless);
    std::thread::sleep(Duration::from_millis(1500));
    crate::cluster_support::send(&child, "INT");
    let started = Instant::now();
    let status = child.wait().unwrap();
    assert!(!status.success() && started.elapsed() < Duration::from_secs(5));
    // Gone without a word.
    let mut child = service.begin("ana", endless);
    std::thread::sleep(Duration::from_millis(1500));
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let ended: Vec<Value> = service
        .audit()
        .into_iter()
        .filter(|line| line["statement"].as_str().unwrap().contains("100000000000"))
        .collect();
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert!(
        ended.iter().all(|line| line["outcome"] == "57014"),
        "{ended:?}"
    );
    // Its own time-out.
    let timed = format!("SET statement_timeout = '1s'; {endless}");
    let (code, message) = service.refused("ana", &timed);
    assert_eq!(code, "57014");
    assert!(message.contains("statement timeout"), "{message}");
}

#[test]
fn every_statement_is_noted() {
    let service = Service::start(&[]);
    service.rows("ana", "SELECT user_id, rec_id FROM recommendations LIMIT 3");
    service.refused("rob", "DROP TABLE recommendations");
    let audit = service.audit();
    let find = |user: &str| audit.iter().rfind(|line| line["user"] == user).unwrap();
    let ana = find("ana");
    assert_eq!(ana["rows"], 3);
    assert_eq!(ana["outcome"], "ok");
    assert!(
        ana["bytes"].as_u64().unwrap() >= 24 && ana["scanned"].as_u64().unwrap() > 0,
        "{ana}"
    );
    assert!(
        ana["run"].is_string() && ana["milliseconds"].as_f64().unwrap() > 0.0,
        "{ana}"
    );
    assert!(
        ana["peer"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{ana}"
    );
    assert_eq!(find("rob")["outcome"], "25006");
}
