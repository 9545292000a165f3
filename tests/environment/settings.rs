//! Settings: of stores, and what a variable means that is set to nothing.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;

use crate::support::{AS_OF, Outcome, Place, program, small_day};

/// `doctor` on a bucket of a store that does not answer, with these settings changed.
fn ask_store(settings: &[(&str, &str)]) -> Outcome {
    let mut command = program();
    command
        .args(["doctor", "--only", "input", "--date", "2019-10-01"])
        .args(["--input", "s3://bucket/exports"])
        .env("AWS_ACCESS_KEY_ID", "AKIAHUSH")
        .env("AWS_SECRET_ACCESS_KEY", "hush")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("AWS_MAX_ATTEMPTS", "1")
        .env("HOME", "/no/such/folder");
    for (name, value) in settings {
        command.env(name, value);
    }
    Outcome::of(&mut command)
}

#[test]
fn white_space_around_settings_of_a_store_is_taken_off() {
    // That nobody listens there is the right outcome: a request was made.
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "AKIA\n"),
        ("AWS_SECRET_ACCESS_KEY", "secret\r\n"),
        ("AWS_SESSION_TOKEN", " t\n"),
        ("AWS_REGION", "us-east-1\n"),
        ("AWS_REGION", ""),
        ("AWS_DEFAULT_REGION", "us-east-1 \n"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9\n"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9/ "),
        ("AWS_ENDPOINT_URL_S3", "\thttp://127.0.0.1:9"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false\n"),
        ("AWS_MAX_ATTEMPTS", "1\n"),
        ("AWS_ALLOW_HTTP", "true\n"),
    ] {
        let outcome = ask_store(&[(name, value)]).exits(1);
        assert!(
            outcome.stdout.contains("127.0.0.1:9"),
            "{name}: {}",
            outcome.stdout
        );
    }
}

#[test]
fn settings_that_no_request_can_carry_are_named_and_not_repeated() {
    for (name, value, words) in [
        ("AWS_ACCESS_KEY_ID", "hush\nhush", "a line break"),
        ("AWS_SECRET_ACCESS_KEY", "hush\u{1}", "U+0001"),
        ("AWS_SESSION_TOKEN", "hüsh", "U+00FC"),
        ("AWS_SESSION_TOKEN", "\"hush\"", "quotes"),
        ("AWS_REGION", "us east", "eu-central-1"),
        ("AWS_ENDPOINT_URL", "minio:9000", "http:// or https://"),
        ("AWS_ENDPOINT_URL", "http://mi nio", "http:// or https://"),
        ("AWS_ENDPOINT_URL", "ftp://minio", "http:// or https://"),
        (
            "AWS_ENDPOINT_URL",
            "http://me:hush@[",
            "http:// or https://",
        ),
        ("AWS_ENDPOINT_URL_S3", "//minio", "http:// or https://"),
        ("AWS_MAX_ATTEMPTS", "many", "whole number"),
    ] {
        let told = ask_store(&[(name, value)]).exits(1).stdout;
        assert!(told.contains(name) && told.contains(words), "{told}");
        assert!(!told.contains("hush") && !told.contains("hü"), "{told}");
    }
    for url in [
        "s3://bücket/x",
        "s3://a b/x",
        "s3:///x",
        "s3://b:9/x",
        "s3://b/x?y",
        "s3://b/x#y",
    ] {
        let mut command = program();
        let doctor = command.args([
            "doctor",
            "--only",
            "input",
            "--date",
            "2019-10-01",
            "--input",
            url,
        ]);
        assert!(
            Outcome::of(doctor).exits(1).stdout.contains("s3://"),
            "{url}"
        );
    }
}

#[test]
fn the_settings_of_a_profile_are_looked_at_too() {
    let place = Place::new();
    let folder = place.path(".aws");
    fs::create_dir(&folder).unwrap();
    let home = place.path("");
    let ask = |credentials: &str| {
        fs::write(folder.join("credentials"), credentials).unwrap();
        let home = home.to_str().unwrap();
        let empty = [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ENDPOINT_URL",
        ];
        let mut settings: Vec<(&str, &str)> = empty.map(|name| (name, "")).into();
        settings.push(("HOME", home));
        ask_store(&settings).exits(1).stdout
    };
    let keys = "[default]\naws_access_key_id = AKIA\naws_secret_access_key = hush\n";
    let told = ask(&format!("{keys}endpoint_url = http://127.0.0.1:9 \r\n"));
    assert!(told.contains("127.0.0.1:9"), "{told}");
    for (line, words) in [
        ("endpoint_url = minio:9000", "its endpoint_url"),
        ("aws_session_token = hüsh", "its aws_session_token"),
        ("region = \"eu\"", "its region"),
    ] {
        let told = ask(&format!("{keys}{line}\n"));
        assert!(
            told.contains(words) && told.contains("profile default"),
            "{told}"
        );
        assert!(!told.contains("hush") && !told.contains("hü"), "{told}");
    }
}

#[test]
fn a_variable_set_to_nothing_is_not_set() {
    let place = small_day();
    let names = [
        "READY_FILE",
        "INPUT",
        "WAREHOUSE",
        "DATE",
        "AS_OF",
        "MODEL",
        "REPUTATION_SCORES",
        "THREADS",
        "MEMORY_LIMIT",
        "MAX_BAD_SHARE",
        "CLUSTER",
        "METRICS_FILE",
        "METRICS_LISTEN",
        "CONFIG",
        "LOG",
        "LOG_FORMAT",
        "DATABASE_URL",
        "JSON",
        "KEEP_LATER",
        "RANKING",
        "WEEK_ANCHOR",
        "TLS_CA",
        "TLS_KEY",
    ];
    for nothing in ["", " ", "\n"] {
        let mut command = place.command("run", "warehouse");
        for name in names {
            command.env(format!("GRAPH_RECS_{name}"), nothing);
        }
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", nothing);
        Outcome::of(&mut command).exits(0);
    }
    // Then what is needed is missing, not empty.
    let mut command = program();
    command
        .args(["run", "--as-of", AS_OF])
        .env("GRAPH_RECS_INPUT", "");
    let outcome = Outcome::of(command.env("GRAPH_RECS_WAREHOUSE", "w")).exits(2);
    assert!(
        outcome.stderr.contains("--input is needed"),
        "{}",
        outcome.stderr
    );
    // In the file of options likewise.
    let file = place.path("options.toml");
    fs::write(&file, "cluster = \"\"\nmodel = \" \"\nready-file = ''\n").unwrap();
    place
        .run("warehouse", &["--config", file.to_str().unwrap()])
        .exits(0);
}

#[test]
fn a_variable_that_ends_with_a_line_break_is_read_without_it() {
    let place = small_day();
    let mut command = program();
    command.arg("run");
    for (name, value) in [
        ("INPUT", place.input().display().to_string()),
        ("WAREHOUSE", place.path("warehouse").display().to_string()),
        ("DATE", "2019-10-02".into()),
        ("THREADS", "2".into()),
        ("JSON", "true".into()),
    ] {
        command.env(format!("GRAPH_RECS_{name}"), format!("{value}\n"));
    }
    Outcome::of(&mut command).exits(0);
    assert_eq!(place.publications("warehouse").len(), 1);
}

#[test]
fn a_variable_that_is_not_utf_8_is_named() {
    for name in [
        "GRAPH_RECS_WAREHOUSE",
        "GRAPH_RECS_JSON",
        "AWS_REGION",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        let mut command = program();
        command
            .args(["runs", "--warehouse", "w"])
            .env(name, OsStr::from_bytes(b"hush\xff"));
        let outcome = Outcome::of(&mut command).exits(2).says(&[name, "UTF-8"]);
        assert!(!outcome.stderr.contains("hush"));
    }
}

#[test]
fn options_that_are_no_addresses_are_named() {
    let place = small_day();
    for (option, value) in [
        ("--cluster", "scheduler"),
        ("--cluster", "df://"),
        ("--cluster", "df://a b:50050"),
        ("--cluster", "df://%41%zz:50050"),
        ("--cluster", "tcp://scheduler:50050"),
        ("--cluster", "df://scheduler:99999"),
        ("--metrics-listen", "nowhere"),
        ("--metrics-listen", "127.0.0.1:99999"),
        ("--tls-ca", "/no/such.pem"),
        ("--input", ""),
        ("--warehouse", ""),
        ("--model", ""),
        ("--model", "gopher://x/y"),
        ("--warehouse", "gopher://x/y"),
        ("--warehouse", "memory:///x"),
    ] {
        let mut command = program();
        command.args(["run", "--as-of", AS_OF, option, value]);
        if option == "--tls-ca" {
            command.args(["--cluster", "df://127.0.0.1:1"]);
        }
        for (needed, path) in [("--input", place.input()), ("--warehouse", place.path("w"))] {
            if option != needed {
                command.arg(needed).arg(path);
            }
        }
        let outcome = Outcome::of(&mut command);
        let said = &outcome.stderr;
        assert!(
            matches!(outcome.code, Some(1 | 2 | 4)),
            "{option} {value}: {said}"
        );
        assert!(!said.contains("bug"), "{option} {value}: {said}");
        let last = said.lines().last().unwrap();
        assert!(last.contains(value), "{option} {value}: {said}");
    }
    // Whoever watches must not make a run fail.
    for url in [
        "collector:4318",
        "http://a b",
        "",
        "http://127.0.0.1:1",
        "\u{1}",
    ] {
        place.run("warehouse", &["--otlp-endpoint", url]).exits(0);
    }
}

#[test]
fn a_service_that_cannot_begin_says_why() {
    let place = small_day();
    place.run("warehouse", &[]).exits(0);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (options, words) in [
        (["--listen", &taken].as_slice(), taken.as_str()),
        (&["--flight-listen", &taken], &taken),
        (&["--listen", "0.0.0.0:0"], "--users"),
        (&["--users", "/no/users.toml"], "/no/users.toml"),
        (&["--audit-log", "/no/audit"], "/no/audit"),
        (
            &["--tls-cert", "/no/a.pem", "--tls-key", "/no/b.pem"],
            "/no/a.pem",
        ),
        (&["--model", "/no/model"], "/no/model"),
        (&["--input", "/no/exports", "--as-of", AS_OF], "/no/exports"),
        (&["--cluster", "nowhere"], "nowhere"),
    ] {
        let mut command = program();
        command.arg("serve").args(options);
        if options[0] != "--listen" {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.arg("--warehouse").arg(place.path("warehouse"));
        let outcome = Outcome::of(&mut command);
        let said = &outcome.stderr;
        assert!(matches!(outcome.code, Some(1 | 4)), "{options:?}: {said}");
        assert!(
            said.lines().last().unwrap().contains(words),
            "{options:?}: {said}"
        );
    }
}

#[test]
fn a_level_of_the_log_that_there_is_not_is_wrong_usage() {
    for level in ["loud", "graph_recs=loud", "a=b=c", "[", "warn,,x=y"] {
        let outcome = Outcome::of(program().args(["runs", "--warehouse", "w", "--log", level]));
        let outcome = outcome.exits(2);
        assert!(
            outcome.stderr.contains("--log"),
            "{level}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_mistake_in_the_file_of_options_does_not_show_what_stands_there() {
    let place = Place::new();
    let file = place.path("options.toml");
    fs::write(&file, "# all\ndatabase_url = postgres://me:hush@db/x\n").unwrap();
    let outcome = Outcome::of(program().args(["runs", "--config"]).arg(&file)).exits(2);
    let outcome = outcome.says(&["options.toml", "line 2"]);
    assert!(!outcome.stderr.contains("hush"), "{}", outcome.stderr);
}
