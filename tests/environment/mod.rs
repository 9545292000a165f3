//! The program where little is as it should be: nobody takes what it says, variables and folders are missing, the system
//! gives it little. Every command ends in time with an exit code of the table, and without a panic.

mod paths;
mod scores;
mod settings;
mod terminal;
mod threads;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clap::CommandFactory;
use graph_recs::cli::Cli;

use crate::support::{AS_OF, Outcome, Place, free_port, golden, graph_recs, program, small_day};

/// No command may take longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// All commands, as the command line knows them: one that is new is tried, too.
fn commands() -> Vec<String> {
    let cli = Cli::command();
    let names = cli
        .get_subcommands()
        .map(|command| command.get_name().to_owned());
    names.collect()
}

/// What commands work on: a day, and a warehouse with a published run of it.
struct Stage {
    place: Place,
    run: String,
}

impl Stage {
    fn new() -> Self {
        let place = small_day();
        fs::copy(golden("pred.csv"), place.path("pred.csv")).unwrap();
        fs::write(place.path("users.toml"), "").unwrap();
        let run = {
            let mut command = place.command("run", "warehouse");
            command
                .arg("--reputation-scores")
                .arg(place.path("pred.csv"));
            Outcome::of(&mut command).exits(0).run_id()
        };
        // What the driver of a run on a cluster leaves for who watches it.
        let progress = format!(
            "{{\"phase\":\"done\",\"error\":null,\"at\":\"{AS_OF}\",\"cluster\":\"\",\"stages\":[]}}"
        );
        fs::write(
            place.work_file("warehouse", &run, "progress.json"),
            progress,
        )
        .unwrap();
        Self { place, run }
    }

    /// A way to call a command by which it gets to its work. `fresh` names what it makes.
    fn arguments(&self, command: &str, fresh: &str) -> Vec<OsString> {
        let path = |name: &str| self.place.path(name).into_os_string();
        let day = |warehouse: &str| {
            let mut day = texts(&["--as-of", AS_OF, "--threads", "2", "--input"]);
            day.push(self.place.input().into_os_string());
            day.extend([OsString::from("--reputation-scores"), path("pred.csv")]);
            day.extend([OsString::from("--warehouse"), path(warehouse)]);
            day
        };
        let of = |options: &[&str], warehouse: &str| {
            let mut all = texts(options);
            all.extend([OsString::from("--warehouse"), path(warehouse)]);
            all
        };
        let nowhere = ["--cluster", "df://127.0.0.1:1"];
        let rest = match command {
            "run" | "closest-connections" | "reputation-scores" => day(fresh),
            "recommend" | "check" | "publish" => day("warehouse"),
            "backfill" => {
                let mut days = day(fresh).split_off(2);
                days.extend(texts(&["--from", "2019-10-02", "--to", "2019-10-02"]));
                days
            }
            "doctor" => day("warehouse"),
            "migrate" => texts(&["--database-url", "postgres://nobody@127.0.0.1:1/x"]),
            "demo" | "generate" => {
                let mut made =
                    texts(&["--users", "50", "--engagements", "900", "--messages", "99"]);
                made.extend([OsString::from("--out"), path(fresh)]);
                made
            }
            "explain" => of(&["1"], "warehouse"),
            "runs" => of(&[], "warehouse"),
            "rollback" => of(&["--to", &self.run], "warehouse"),
            "clean" => of(&["--keep", "5", "--yes"], "warehouse"),
            "sql" => of(&["-c", "SELECT * FROM recommendations"], "warehouse"),
            "serve" => {
                let address = format!("127.0.0.1:{}", free_port("127.0.0.1"));
                of(&["--threads", "2", "--listen", &address], "warehouse")
            }
            "user" => [texts(&["list", "--users"]), vec![path("users.toml")]].concat(),
            "train" => {
                let mut training = texts(&["--as-of", AS_OF, "--epochs", "1", "--input"]);
                training.push(self.place.input().into_os_string());
                training.extend([OsString::from("--out"), path(fresh)]);
                training
            }
            "jobs" => texts(&nowhere),
            "cancel" => texts(&[&nowhere[..], &["run"]].concat()),
            "attach" => of(&[&self.run], "warehouse"),
            "score" => texts(&["--threads", "2"]),
            "why" => texts(&["guidance raised"]),
            other => panic!("no test calls the command {other}: say here how"),
        };
        [texts(&[command]), rest].concat()
    }
}

fn texts(texts: &[&str]) -> Vec<OsString> {
    texts.iter().map(OsString::from).collect()
}

/// The program, called by a shell that prepares its surroundings and puts it in the place of `exec "$@"`.
fn by_shell(script: &str, arguments: &[OsString]) -> Command {
    let command = program();
    let program = command.get_program().to_owned();
    let mut shell = Command::new("bash");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
        .args(["-c", script, "bash"])
        .arg(program)
        .args(arguments);
    shell
}

/// How a command ended, in time. A service is told to stop once it can be connected to.
fn end_of(mut command: Command) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("stderr");
    let arguments: Vec<OsString> = command.get_args().map(OsStr::to_owned).collect();
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.to_str()
    };
    // What a shell script sends elsewhere goes there.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    if let Some(address) = after("--listen") {
        stop_service(&mut child, address);
    }
    let begun = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!(
                "it hangs: {arguments:?}\n{}",
                fs::read_to_string(&log).unwrap()
            );
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut said = Vec::new();
    File::open(&log).unwrap().read_to_end(&mut said).unwrap();
    (code, String::from_utf8_lossy(&said).into_owned())
}

/// A copy of the program that every user of the machine may call. Another process makes it: a file that is open for
/// writing in this one would be so in all processes that other tests start meanwhile, and cannot be called then.
fn program_for_all(folder: &Path) -> PathBuf {
    let copy = folder.join("graph-recs");
    if !copy.exists() {
        let made = Command::new("install")
            .args(["-m", "755", env!("CARGO_BIN_EXE_graph-recs")])
            .arg(&copy)
            .status();
        assert!(made.unwrap().success());
    }
    copy
}

fn is_root() -> bool {
    // SAFETY: it only asks.
    unsafe { libc::geteuid() == 0 }
}

fn stop_service(child: &mut Child, address: &str) {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE {
        if TcpStream::connect(address).is_ok() {
            let id = child.id().to_string();
            Command::new("kill").args(["-TERM", &id]).status().unwrap();
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The exit code of every command in good surroundings.
fn usual() -> &'static BTreeMap<String, i32> {
    static USUAL: OnceLock<BTreeMap<String, i32>> = OnceLock::new();
    USUAL.get_or_init(|| {
        let stage = Stage::new();
        let code_of = |name: String| {
            let arguments = stage.arguments(&name, &format!("good-{name}"));
            let (code, said) = end_of(by_shell("exec \"$@\"", &arguments));
            // Some find nobody to connect to, or too little to train on.
            assert!(matches!(code, Some(0 | 1)), "{name} {code:?}: {said}");
            (name, code.unwrap())
        };
        commands().into_iter().map(code_of).collect()
    })
}

/// Every command in these surroundings: `allowed` says which exit codes are right, given the usual one.
fn try_all(
    surroundings: &str,
    script: &str,
    prepare: impl Fn(&mut Command),
    allowed: impl Fn(&str, i32) -> Vec<i32>,
) {
    let stage = Stage::new();
    for (name, &usual) in usual() {
        let made = format!("made-{name}");
        let mut command = by_shell(script, &stage.arguments(name, &made));
        prepare(&mut command);
        let (code, said) = end_of(command);
        let allowed = allowed(name, usual);
        assert!(
            code.is_some_and(|code| allowed.contains(&code)),
            "{surroundings}: {name} ends with {code:?}, not one of {allowed:?}: {said}"
        );
        assert!(!said.contains("panicked"), "{surroundings}: {name}: {said}");
        assert!(!said.contains("a bug"), "{surroundings}: {name}: {said}");
        if name == "run" && code == Some(0) {
            assert_eq!(publications(&stage.place.path(&made)), 1, "{surroundings}");
        }
    }
}

fn publications(warehouse: &Path) -> usize {
    let listed = graph_recs([
        OsStr::new("runs"),
        OsStr::new("--json"),
        OsStr::new("--warehouse"),
        warehouse.as_os_str(),
    ]);
    let answer = listed.exits(0).json();
    answer["publications"].as_array().unwrap().len()
}

/// The commands whose answer is all that they give: it must not be lost without a word.
const ANSWERS: [&str; 5] = ["explain", "runs", "sql", "why", "doctor"];

#[test]
fn a_full_disk_behind_standard_error_stops_no_command() {
    let script = "exec \"$@\" 2>/dev/full";
    try_all(
        "standard error full",
        script,
        |_| {},
        |_, usual| vec![usual],
    );
}

#[test]
fn a_full_disk_behind_standard_output_stops_what_only_answers() {
    let script = "exec \"$@\" >/dev/full";
    let allowed = |name: &str, usual| match ANSWERS.contains(&name) {
        true => vec![1],
        false => vec![usual],
    };
    try_all("standard output full", script, |_| {}, allowed);
}

#[test]
fn closed_streams_stop_no_command() {
    let script = "exec \"$@\" <&- >&- 2>&-";
    try_all("streams closed", script, |_| {}, |_, usual| vec![usual]);
}

#[test]
fn pipes_that_nobody_reads_stop_no_command() {
    // The reader is gone before the program begins.
    let script = "exec 3> >(exec true); wait $!; exec \"$@\" >&3 2>&3";
    try_all("pipes closed", script, |_| {}, |_, usual| vec![usual]);
}

#[test]
fn an_empty_environment_and_a_folder_that_is_gone_are_no_reason_to_stop() {
    let script = "d=$(mktemp -d) && cd \"$d\" && rmdir \"$d\" && exec env -i \"$@\"";
    try_all("nothing around", script, |_| {}, |_, usual| vec![usual]);
}

#[test]
fn odd_variables_are_no_reason_to_stop() {
    let odd = |command: &mut Command| {
        command.env_remove("HOME").env("TMPDIR", "/no/such/folder");
        command.env("LANG", "xx_YY.ISO-8859-1").env("LC_ALL", "C");
        command.env("TZ", "Nowhere/None").env("RUST_LOG", "][");
        command.env("NOT_OURS", OsStr::from_bytes(b"\xff\xfe"));
        command.env(OsStr::from_bytes(b"NOT_\xff"), "x");
        command.env("COLUMNS", "0").env("TERM", "");
    };
    try_all("odd variables", "exec \"$@\"", odd, |_, usual| vec![usual]);
}

#[test]
fn few_open_files_are_an_error_that_says_so() {
    let script = |files: u32| format!("ulimit -n {files}; exec \"$@\"");
    try_all("8 open files", &script(8), |_| {}, |_, _| vec![1]);
    let stage = Stage::new();
    for files in 7..24 {
        let run = stage.arguments("run", &format!("made-{files}"));
        let (code, said) = end_of(by_shell(&script(files), &run));
        assert!(matches!(code, Some(0 | 1)), "{files}: {code:?} {said}");
        assert!(
            code == Some(0) || said.contains("ulimit -n"),
            "{files}: {said}"
        );
    }
}

#[test]
fn arguments_that_are_not_utf_8_are_wrong_usage_or_names() {
    let script = "exec \"$@\" $'\\xff\\xfe'";
    try_all(
        "an argument that is not UTF-8",
        script,
        |_| {},
        |_, _| vec![2],
    );
    // As the value of an option it may be the name of a file.
    for options in [
        &["runs", "--warehouse"][..],
        &["runs", "--warehouse", "w", "--config"],
        &[
            "generate",
            "--users",
            "9",
            "--engagements",
            "9",
            "--messages",
            "9",
            "--out",
        ],
        &["user", "list", "--users"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = program();
        command
            .args(options)
            .arg(OsStr::from_bytes(b"\xff"))
            .current_dir(folder.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some_and(|code| code <= 2), "{said}");
        assert!(!said.contains("bug"), "{said}");
    }
}
