//! Names of folders as people have them, and folders that may not be entered.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::{end_of, is_root, program_for_all};
use crate::support::{AS_OF, Outcome, Place, csv_rows, golden, program, small_day};

/// Names that some program takes for something else.
const NAMES: [&str; 14] = [
    "a%20b",
    r"a\b",
    "a b",
    "a#b",
    "a?b=c",
    "a+b",
    "übér 日本",
    "~tilde",
    r"C:\data",
    "a%2fb",
    "'q\"",
    "[x]*",
    "a#1",
    "-rf",
];

/// `run` of the day into a warehouse, from within a folder.
fn run_in(place: &Place, folder: &Path, warehouse: &str) -> Outcome {
    let mut command = program();
    command
        .current_dir(folder)
        .args(["run", "--json", "--as-of", AS_OF, "--input"]);
    command
        .arg(place.input())
        .arg(format!("--warehouse={warehouse}"));
    command.arg("--reputation-scores").arg(golden("pred.csv"));
    Outcome::of(&mut command)
}

/// Everything that people do with a warehouse.
fn use_warehouse(folder: &Path, warehouse: &str, run: &str) {
    let call = |arguments: &[&str]| {
        let mut command = program();
        command.current_dir(folder).args(arguments);
        Outcome::of(command.arg(format!("--warehouse={warehouse}")))
            .exits(0)
            .stdout
    };
    let rows = call(&[
        "sql",
        "--format",
        "csv",
        "-c",
        "SELECT count(*) FROM closest_connections",
    ]);
    assert_eq!(csv_rows(&rows)[1], ["3"], "{warehouse}");
    let past = format!("SELECT count(*) FROM runs.\"{run}\".closest_connections");
    assert_eq!(
        csv_rows(&call(&["sql", "--format", "csv", "-c", &past]))[1],
        ["3"]
    );
    assert!(call(&["explain", "1"]).contains("user 2"), "{warehouse}");
    assert!(call(&["runs"]).contains(run), "{warehouse}");
    assert!(
        call(&["rollback", "--to", run]).contains("already"),
        "{warehouse}"
    );
    assert!(
        call(&["clean", "--keep", "1", "--yes"]).contains("nothing"),
        "{warehouse}"
    );
    assert!(
        call(&["doctor", "--only", "warehouse,disk"]).contains("ok"),
        "{warehouse}"
    );
}

#[test]
fn a_warehouse_lies_in_the_folder_that_is_really_named_so() {
    for name in NAMES {
        let place = small_day();
        let folder = place.path("around");
        fs::create_dir_all(folder.join(name)).unwrap();
        // Here, below a name and as the last name of all.
        for warehouse in [format!("./{name}"), format!("{name}/w"), format!("{name}/")] {
            let run = run_in(&place, &folder, &warehouse).exits(0).run_id();
            use_warehouse(&folder, &warehouse, &run);
            assert!(
                folder.join(&warehouse).join("runs/_delta_log").is_dir(),
                "{warehouse}"
            );
        }
        let found: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(found, [OsStr::new(name)], "nothing beside it");
    }
}

#[test]
fn a_warehouse_is_found_by_url_link_and_relative_path() {
    let place = small_day();
    let folder = place.path("a%20b ü#c").join("below");
    fs::create_dir_all(&folder).unwrap();
    let run = run_in(&place, &folder, "../w").exits(0).run_id();
    symlink("../w", folder.join("link")).unwrap();
    let url = url::Url::from_file_path(folder.parent().unwrap().join("w")).unwrap();
    assert!(url.as_str().contains("a%2520b%20%C3%BC%23c"), "{url}");
    for way in ["../w", "link", "./../below/link/", url.as_str()] {
        use_warehouse(&folder, way, &run);
        let again = run_in(&place, &folder, way).exits(0).json();
        assert_eq!(again["already_published"], true, "{way}");
    }
}

#[test]
fn an_input_a_model_and_scores_lie_where_they_are_named() {
    for name in NAMES {
        let place = small_day();
        let input = place.path("around").join(name);
        fs::create_dir_all(input.parent().unwrap()).unwrap();
        fs::rename(place.input(), &input).unwrap();
        let scores = input.join("scores.csv");
        fs::copy(golden("pred.csv"), &scores).unwrap();
        let model = input.join("model");
        fs::create_dir(&model).unwrap();
        for file in ["model.json", "model.safetensors", "vocabulary.txt"] {
            let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../udfs/model")
                .join(file);
            fs::copy(shipped, model.join(file)).unwrap();
        }
        let options = [("--reputation-scores", scores), ("--model", model)];
        for (option, path) in options {
            let mut command = program();
            command
                .args(["run", "--json", "--as-of", AS_OF, "--input"])
                .arg(&input);
            command
                .arg("--warehouse")
                .arg(place.path("w"))
                .arg(option)
                .arg(path);
            Outcome::of(&mut command).exits(0);
        }
    }
}

#[test]
fn what_is_no_folder_for_a_warehouse_is_refused_at_the_start() {
    let place = small_day();
    let folder = place.path("around");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "").unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    for (warehouse, words) in [
        ("a\nb", "control character"),
        ("a\u{1b}[31mb", "control character"),
        ("", "empty"),
        ("~/w", "home folder"),
        ("file", "is a file"),
        ("file/w", "file/w"),
        ("dangling", "link to something that is not there"),
        ("file://w/x", "three slashes"),
        ("file:///tmp/x?y", "%3F"),
        ("file:///tmp/x#y", "%23"),
    ] {
        let outcome = run_in(&place, &folder, warehouse).exits(1).says(&[words]);
        assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.stderr);
    }
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        2,
        "nothing was made"
    );
    // A folder whose parents cannot be written down.
    for odd in [&b"line\nbreak"[..], b"latin\xe9"] {
        let odd = folder.join(OsStr::from_bytes(odd));
        fs::create_dir(&odd).unwrap();
        run_in(&place, &odd, "w")
            .exits(1)
            .says(&["cannot be used as a path"]);
    }
}

/// The program as somebody who owns nothing, where root runs the tests.
fn as_nobody(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command
        .arg(program_for_all(folder))
        .args(arguments)
        .current_dir(folder);
    command
}

#[test]
fn a_folder_that_may_not_be_entered_is_not_one_that_is_not_there() {
    if !is_root() {
        return;
    }
    let place = small_day();
    let folder = place.path("");
    let opened = fs::Permissions::from_mode(0o777);
    fs::set_permissions(&folder, opened).unwrap();
    let locked = place.path("locked");
    fs::create_dir_all(locked.join("inner")).unwrap();
    for file in [
        "scores.csv",
        "options.toml",
        "users.toml",
        "good.txt",
        "ca.pem",
    ] {
        fs::write(locked.join(file), "user_id,pred\n1,0.5\n").unwrap();
    }
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    for arguments in [
        "runs --warehouse locked/inner",
        "runs --warehouse locked/inner/yet/to/come",
        "run --as-of 2019-10-02 --input input --warehouse locked/w",
        "run --as-of 2019-10-02 --input input --warehouse w --reputation-scores locked/scores.csv",
        "run --as-of 2019-10-02 --input input --warehouse w --model locked/inner",
        "run --as-of 2019-10-02 --input input --warehouse w --cluster df://127.0.0.1:1 --tls-ca locked/ca.pem",
        "serve --warehouse w --users locked/users.toml",
        "serve --warehouse w --audit-log locked/audit",
        "serve --warehouse w --tls-cert locked/ca.pem --tls-key locked/ca.pem",
        "user list --users locked/users.toml",
        "sql -f locked/good.txt",
        "train --as-of 2019-10-02 --input input --out model --good-users locked/good.txt",
        "generate --users 9 --engagements 9 --messages 9 --out locked/day",
        "demo --out locked/demo",
        "runs --warehouse w --config locked/options.toml",
    ] {
        let options: Vec<&str> = arguments.split(' ').collect();
        let (code, said) = end_of(as_nobody(&options, &folder));
        let wanted = if arguments.contains("--config") { 2 } else { 1 };
        assert_eq!(code, Some(wanted), "{arguments}: {said}");
        assert!(
            said.contains("locked/") && said.contains("ermission denied"),
            "{arguments}: {said}"
        );
    }
}

#[test]
fn a_folder_that_can_only_be_read_is_named() {
    if !is_root() {
        return;
    }
    let place = small_day();
    let folder = place.path("");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    program_for_all(&folder);
    for options in [
        &[
            "run",
            "--as-of",
            AS_OF,
            "--input",
            "input",
            "--warehouse",
            "w",
        ][..],
        &[
            "generate",
            "--users",
            "9",
            "--engagements",
            "9",
            "--messages",
            "9",
            "--out",
            "day",
        ],
        &["demo", "--out", "demo"],
        &[
            "train", "--as-of", AS_OF, "--input", "input", "--out", "model", "--epochs", "1",
        ],
    ] {
        let (code, said) = end_of(as_nobody(options, &folder));
        assert_eq!(code, Some(1), "{options:?}: {said}");
        assert!(!said.contains("a bug"), "{options:?}: {said}");
    }
}
