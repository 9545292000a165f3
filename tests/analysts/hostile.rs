//! What must not do harm: writes, files, settings, bombs. Each is refused or stopped, and the service lives on.

use super::*;

/// Statements, and the SQLSTATEs with which they may end.
fn hostile() -> Vec<(String, &'static [&'static str])> {
    const READ_ONLY: &[&str] = &["25006"];
    // Refused, for whatever reason.
    const REFUSED: &[&str] = &[];
    const BOUNDED: &[&str] = &["54000", "53200", "57014", "22000"];
    let mut list: Vec<(String, &'static [&'static str])> = Vec::new();
    let mut add = |texts: &[&str], codes: &'static [&'static str]| {
        list.extend(texts.iter().map(|text| ((*text).to_string(), codes)));
    };
    add(
        &[
            "CREATE TABLE t (a INT)",
            "CREATE TABLE t AS SELECT * FROM recommendations",
            "CREATE VIEW v AS SELECT 1",
            "DROP TABLE recommendations",
            "DROP VIEW drift",
            "CREATE SCHEMA s",
        ],
        READ_ONLY,
    );
    add(
        &[
            "INSERT INTO recommendations VALUES (1, 2, 3, 4)",
            "UPDATE recommendations SET rank = 1",
            "DELETE FROM recommendations",
            "TRUNCATE recommendations",
            "ALTER TABLE recommendations RENAME TO r",
            "GRANT ALL ON recommendations TO ana",
            "CREATE FUNCTION f() RETURNS INT LANGUAGE SQL AS 'SELECT 1'",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
            "COPY recommendations FROM STDIN",
            "COPY (SELECT 1) TO '/tmp/graph-recs-hostile'",
            "COPY (SELECT 1) TO PROGRAM 'touch /tmp/graph-recs-hostile'",
            "EXPLAIN ANALYZE INSERT INTO recommendations VALUES (1, 2, 3, 4)",
            "WITH x AS (DELETE FROM recommendations RETURNING *) SELECT * FROM x",
            "SET datafusion.catalog.information_schema = false",
            "SET datafusion.runtime.memory_limit = '1000G'",
            "SET work_mem = '1000GB'",
            "SET ROLE postgres",
            "PREPARE p AS SELECT 1",
            "DO 'SELECT 1'",
        ],
        REFUSED,
    );
    add(
        &[
            "SELECT * FROM '/etc/passwd'",
            "SELECT * FROM \"/etc/passwd\"",
            "SELECT * FROM \"file:///etc/passwd\"",
            "SELECT * FROM read_csv('/etc/passwd')",
            "SELECT * FROM parquet_metadata('/etc/passwd')",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT lo_import('/etc/passwd')",
            "SELECT * FROM previous.recommendations",
        ],
        REFUSED,
    );
    add(&["SELECT * FROM raw.messages"], &["42501"]);
    add(
        &[
            "SELECT repeat('x', 2000000000)",
            "SELECT length(repeat(repeat('x', 30000), 30000))",
            "SELECT lpad('x', 2000000000)",
            "SELECT array_length(range(1, 10000000000))",
            "SELECT array_repeat(array_repeat('x', 100000), 100000)",
            "SELECT sum(a.rank + b.rank + c.rank + d.rank + e.rank) FROM recommendations a, recommendations b, recommendations c, recommendations d, recommendations e",
            "SELECT * FROM generate_series(1, 1000000000) a, generate_series(1, 1000000000) b",
            "SELECT sum(value % 7) FROM generate_series(1, 1000000000000)",
            "SELECT array_agg(a.value * b.value) FROM generate_series(1, 100000) a, generate_series(1, 100000) b",
            "SELECT string_agg(repeat('x', 1000), ',') FROM generate_series(1, 100000000)",
            "SELECT value, count(*) FROM generate_series(1, 1000000000) GROUP BY value ORDER BY value",
            "SELECT * FROM generate_series(1, 1000000000) a JOIN generate_series(1, 1000000000) b ON a.value = b.value",
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
            "WITH RECURSIVE t AS (SELECT 'x' AS s UNION ALL SELECT s || s FROM t) SELECT length(s) FROM t",
            "SELECT regexp_replace(repeat('a', 1000000), 'a', repeat('b', 1000000))",
        ],
        BOUNDED,
    );
    let mut doubled = "SELECT repeat('x', 1000) AS a".to_string();
    for _ in 0..30 {
        doubled = format!("SELECT a || a AS a FROM ({doubled}) AS t");
    }
    let columns = vec!["user_id"; 10_000].join(", ");
    let too_much: &[&str] = &["54000", "53200", "57014", "42601"];
    list.extend([
        (format!("SELECT length(a) FROM ({doubled}) AS t"), too_much),
        (format!("SELECT {columns} FROM recommendations"), too_much),
        (
            format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000)),
            too_much,
        ),
        (format!("SELECT -{}1", " -".repeat(20_000)), too_much),
        (format!("SELECT 1{}", " + 1".repeat(50_000)), too_much),
        (format!("SELECT {}true", "NOT ".repeat(50_000)), too_much),
        (format!("SELECT '{}'", "x".repeat(5_000_000)), too_much),
        (
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(5_000)),
            too_much,
        ),
        (
            format!(
                "SELECT {}1{}",
                "CASE WHEN true THEN ".repeat(5_000),
                " END".repeat(5_000)
            ),
            REFUSED,
        ),
    ]);
    list
}

#[test]
fn hostile_statements_are_refused_or_stopped() {
    let options = [
        "--statement-timeout",
        "4",
        "--memory-limit",
        "256MiB",
        "--max-rows",
        "100000",
        "--spill-limit",
        "256MiB",
    ];
    let service = Service::start(&options);
    service.rows("ana", "SELECT count(*) FROM recommendations");
    let before = service.memory();
    let hostile = hostile();
    assert!(hostile.len() > 40);
    for (statement, codes) in &hostile {
        let shown: String = statement.chars().take(120).collect();
        let started = Instant::now();
        // A message that is far too long ends the connection.
        let (code, message) = if statement.len() > 1_000_000 {
            let mut command = service.psql("ana");
            command.args(["--file", "-"]);
            let outcome = piped(&mut command, statement);
            assert_ne!(outcome.code, Some(0), "{shown}");
            ("54000".to_string(), outcome.stderr)
        } else {
            service.refused("ana", statement)
        };
        let expected = if codes.is_empty() {
            code != "XX000"
        } else {
            codes.contains(&code.as_str())
        };
        assert!(expected, "{shown}: {code} {message}");
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{shown}: {:?}",
            started.elapsed()
        );
        assert_eq!(service.rows("ana", "SELECT 1"), ["1"], "after {shown}");
        let grown = service.memory().saturating_sub(before);
        assert!(grown < 900 << 20, "after {shown}: {} MiB more", grown >> 20);
    }
    assert!(!Path::new("/tmp/graph-recs-hostile").exists());
    let files = service.rows("ana", "SELECT count(*) FROM recommendations");
    assert_eq!(files.len(), 1);
}

#[test]
fn many_at_once_wait_and_too_many_are_turned_away() {
    let options = [
        "--max-user-statements",
        "2",
        "--max-waiting",
        "3",
        "--wait",
        "2",
    ];
    let service = Service::start(&options);
    let long =
        "SET statement_timeout = '6s'; SELECT sum(value % 7) FROM generate_series(1, 100000000000)";
    let start = || {
        let mut psql = service.psql("ana");
        psql.args(["--set", "VERBOSITY=verbose", "--command", long]);
        psql.stderr(Stdio::piped()).spawn().unwrap()
    };
    let running: Vec<Child> = (0..2).map(|_| start()).collect();
    std::thread::sleep(Duration::from_millis(1000));
    // A third waits, and is turned away; another user is not.
    let (code, message) = service.refused("ana", "SELECT count(*) FROM recommendations");
    assert_eq!(code, "53300", "{message}");
    service.rows("rob", "SELECT count(*) FROM recommendations");
    for mut child in running {
        child.wait().unwrap();
    }
    service.rows("ana", "SELECT count(*) FROM recommendations");
}

#[test]
fn limits_of_rows_bytes_and_files_hold() {
    let service = Service::start(&[
        "--max-rows",
        "10",
        "--max-bytes",
        "1000",
        "--max-scan",
        "4000",
    ]);
    let all = "SELECT value FROM generate_series(1, 11)";
    let (code, message) = service.refused("ana", all);
    assert_eq!(code, "54000");
    assert!(message.contains("10 rows"), "{message}");
    assert_eq!(
        service.refused("ana", "SELECT repeat('x', 2000)").0,
        "54000"
    );
    let (code, message) = service.refused(
        "rob",
        "SELECT count(*) FROM raw.messages WHERE length(body) > 3",
    );
    assert_eq!(code, "54000", "{message}");
    assert!(message.contains("of files"), "{message}");
}
