//! Taking the database's URL off the command line, where everybody on the machine can read it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;

const OPTION: &str = "--database-url";
/// The environment variable of the option.
pub const VARIABLE: &str = "GRAPH_RECS_DATABASE_URL";
/// Stands on the command line where the URL was.
pub(super) const HIDDEN: &str = "(hidden)";

/// Takes a URL off the command line: starts the program anew, in the same process, with the URL in its environment. Does
/// nothing when there is none; comes back only then.
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
