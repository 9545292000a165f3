//! Where the database is, and as whom: told to the server only.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::error::DatabaseError;

const OPTION: &str = "--database-url";
/// The environment variable of the option.
pub const VARIABLE: &str = "GRAPH_RECS_DATABASE_URL";
/// Stands on the command line where the URL was.
const HIDDEN: &str = "(hidden)";
/// What a URL may say after its `?`. Anything else is refused without being repeated: it could be a secret.
const KNOWN: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The URL of a database. It is never shown, neither as a whole nor in errors.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl FromStr for DatabaseUrl {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let text = match text {
            HIDDEN => std::env::var(VARIABLE).unwrap_or_default(),
            text => text.to_owned(),
        };
        Ok(Self(text))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl DatabaseUrl {
    /// Whether there is none: an empty variable is no variable.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The settings of a connection.
    pub(super) fn options(&self) -> Result<PgConnectOptions, DatabaseError> {
        let wrong = |what: &str| DatabaseError::Url(what.to_owned());
        let url = Url::parse(&self.0).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(wrong("it does not begin with postgres://"));
        }
        if url.query_pairs().any(|(key, _)| !KNOWN.contains(&&*key)) {
            let known = KNOWN.join(", ");
            return Err(wrong(&format!("after the ? only these may stand: {known}")));
        }
        // What sqlx says of a wrong value repeats it.
        let options: PgConnectOptions = self.0.parse().map_err(|_| {
            wrong("host, port, user, password, database or sslmode (disable, allow, prefer, require, verify-ca, verify-full) cannot be read")
        })?;
        let named = options.get_application_name().is_some();
        let options = if named {
            options
        } else {
            options.application_name("graph-recs")
        };
        // Neither prepared statements nor settings of a session: a pooler may give each transaction another one.
        Ok(options.statement_cache_capacity(0).extra_float_digits(None))
    }
}

/// Takes a URL off the command line, where everybody on the machine can read it: starts the program anew, in the
/// same process, with the URL in its environment. Does nothing when there is none; comes back only then.
///
/// # Errors
/// When the program cannot be started anew.
pub fn hide_url(arguments: impl IntoIterator<Item = OsString>) -> std::io::Result<()> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let Some(url) = take_url(&mut arguments) else {
        return Ok(());
    };
    let mut arguments = arguments.into_iter();
    let mut command = std::process::Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(command.args(arguments).env(VARIABLE, url).exec())
}

/// Puts [`HIDDEN`] where a URL stands, and gives the last one.
fn take_url(arguments: &mut [OsString]) -> Option<OsString> {
    let mut taken = None;
    let mut follows = false;
    for argument in arguments {
        let bytes = argument.as_bytes();
        if follows {
            follows = false;
            if argument != HIDDEN {
                taken = Some(std::mem::replace(argument, HIDDEN.into()));
            }
        } else if argument == OPTION {
            follows = true;
        } else if let Some(url) = bytes.strip_prefix(format!("{OPTION}=").as_bytes())
            && url != HIDDEN.as_bytes()
        {
            taken = Some(OsStr::from_bytes(url).to_owned());
            *argument = OsString::from_vec(format!("{OPTION}={HIDDEN}").into_bytes());
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> DatabaseUrl {
        let Ok(url) = text.parse();
        url
    }

    #[test]
    fn nothing_shows_the_url() {
        let secret = "postgres://me:hush@db/x";
        assert_eq!(format!("{:?}", url(secret)), "(hidden)");
        for wrong in [
            "hush",
            "mysql://me:hush@db/x",
            "postgres://me:hush@db:99999/x",
            "postgres://me:hush@db/x?sslmode=hush",
            "postgres://me@db/x?passwort=hush",
            "postgres://me@db/x?hush=1",
        ] {
            let error = url(wrong).options().unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains("hush"), "{told}");
        }
        assert!(url(secret).options().is_ok());
    }

    #[test]
    fn a_url_is_taken_off_the_command_line_once() {
        let mut arguments: Vec<OsString> = ["graph-recs", "run", "--database-url", "a", "--json"]
            .map(OsString::from)
            .to_vec();
        assert_eq!(take_url(&mut arguments), Some("a".into()));
        assert_eq!(arguments[3], HIDDEN);
        assert_eq!(take_url(&mut arguments), None);
        let mut arguments = vec![OsString::from("--database-url=b")];
        assert_eq!(take_url(&mut arguments), Some("b".into()));
        assert_eq!(arguments[0], "--database-url=(hidden)");
        assert_eq!(take_url(&mut arguments), None);
    }
}
