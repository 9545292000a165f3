//! Configuration files and database URLs.

use graph_recs::config;
use graph_recs::database::{Database, DatabaseUrl};

use super::driver::{fuzz, kind, must};

#[test]
fn configuration() {
    let words = [
        "threads",
        "warehouse",
        "input",
        "date",
        "as_of",
        "max_bad_share",
        "json",
        "log",
        "database_url",
        "=",
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        "\n",
        "true",
        "1",
        "-1",
        "1.5",
        "2019-10-01",
        "2019-10-01T00:00:00Z",
        "\\u0000",
        "help",
        "version",
        "config",
    ];
    fuzz("configuration", &words, |input| {
        let Ok(text) = std::str::from_utf8(input) else {
            return kind("no text");
        };
        let command = match config::with_defaults(text) {
            Ok(command) => command,
            Err(error) => {
                let told = format!("{error:#}");
                must(!told.is_empty(), || "no error is told".to_string())?;
                return kind(told.split_whitespace().take(4).collect::<Vec<_>>());
            }
        };
        match command.try_get_matches_from(["graph-recs", "run"]) {
            Ok(matches) => kind(matches.subcommand_name()),
            Err(error) => kind(format!("{:?}", error.kind())),
        }
    });
}

/// Whatever is wrong with a URL, its password is not told.
#[test]
fn database_url() {
    const PASSWORD: &str = "hush";
    let words = [
        "postgres://",
        "postgresql://",
        ":hush@",
        "@",
        "/",
        "?",
        "&",
        "=",
        "sslmode=",
        "host=",
        "port=",
        "[::1]",
        "%68ush",
        "%",
        "%00",
        ":99999",
        "hush",
        "options=-c",
        "password=hush",
        ",",
    ];
    fuzz("database_url", &words, |input| {
        let text = String::from_utf8_lossy(input);
        let Ok(url) = text.parse::<DatabaseUrl>();
        let told = format!("{url:?}");
        must(!told.contains(PASSWORD), || told.clone())?;
        match Database::new(&url) {
            Ok(_) => kind("a database"),
            Err(error) => {
                let told = format!("{error} {error:?}");
                must(!told.contains(PASSWORD), || told.clone())?;
                kind(told)
            }
        }
    });
}
