//! Where the database is, and as whom: told to the server only. The URL is read as libpq does.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::conninfo::{self, Servers};
use super::error::DatabaseError;
use super::hidden::{HIDDEN, VARIABLE};

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
        Ok(Self(text.trim().to_owned()))
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

    /// The servers, and how they are connected to.
    pub(super) fn servers(&self) -> Result<Servers, DatabaseError> {
        conninfo::servers(&self.0).map_err(DatabaseError::Url)
    }
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
            "postgres://me:hush@db:0/x",
            "postgres://me:hu/sh@db/x",
            "postgres://me:hush%@db/x",
            "postgres://me:hush%ff@db/x",
            "postgres://me:hush@[::1/x",
            "postgres://me:hush@db/x?sslmode=hush",
            "postgres://me@db/x?passwort=hush",
            "postgres://me@db/x?hush=1",
            "postgres://me:hush@a,b,c/x?port=1,2",
            "postgres://me:hush@db/x?connect_timeout=hush",
            "postgres://me:hush@db/x?target_session_attrs=hush",
            "postgres://me:hush@db/x?gssencmode=require",
            "postgres://me:hush@db/x?service=hush",
            "postgres://me@db/x?sslrootcert=/hush/hush.pem",
        ] {
            let error = url(wrong).servers().err().unwrap();
            let told = format!("{error} {error:?}");
            assert!(!told.contains("hush"), "{told}");
        }
        assert!(url(secret).servers().is_ok());
    }
}
