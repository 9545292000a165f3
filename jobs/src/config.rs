//! Options from a TOML file: its values become the defaults of the options they are named after.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use crate::cli::Cli;

/// Parses the command line, with the defaults of the configuration file that it or the environment names.
///
/// # Errors
/// When the file cannot be read, is no TOML, or has a name that no option has. Wrong usage ends the process with
/// code 2, as clap does it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = match config_file(&arguments) {
        Some(file) => {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("configuration file {} cannot be read", file.display()))?;
            with_defaults(&text)
                .with_context(|| format!("configuration file {}", file.display()))?
        }
        None => Cli::command(),
    };
    let matches: ArgMatches = command.clone().get_matches_from(&arguments);
    match Cli::from_arg_matches(&matches) {
        Ok(cli) => Ok(cli),
        Err(error) => error.format(&mut command).exit(),
    }
}

/// The command line with the defaults that a configuration file's text says.
///
/// # Errors
/// When it is no TOML, or has a name that no option has.
pub fn with_defaults(text: &str) -> Result<Command> {
    let text = text.trim_start_matches('\u{feff}');
    let values: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // Its own text repeats the line, in which a password may stand.
        let before = text.get(..error.span().map_or(0, |span| span.start));
        let line = before.unwrap_or_default().matches('\n').count() + 1;
        anyhow!("line {line}: {}", error.message())
    })?;
    let mut command = Cli::command();
    for (name, value) in values {
        command = with_default(command, &name, &value).with_context(|| name.clone())?;
    }
    Ok(command)
}

/// The file named on the command line or in the environment, found before anything else is parsed.
fn config_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(file) = text.strip_prefix("--config=") {
            return Some(PathBuf::from(file));
        }
    }
    std::env::var_os("GRAPH_RECS_CONFIG").map(PathBuf::from)
}

/// The command with `value` as the default of option `name` wherever there is such an option.
fn with_default(command: Command, name: &str, value: &toml::Value) -> Result<Command> {
    let long = name.replace('_', "-");
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => value.to_string(),
        toml::Value::Array(_) | toml::Value::Table(_) => {
            bail!("a single value is needed, not a list or table")
        }
    };
    // As in the environment, what is empty is not set.
    let is_set = !text.trim().is_empty();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_string())
        .collect();
    let mut found = false;
    let mut command = command;
    if command
        .get_arguments()
        .any(|arg| arg.get_long() == Some(&long))
    {
        found = true;
        let text = text.clone();
        command = command.mut_args(|arg| {
            if arg.get_long() == Some(&long) && is_set {
                arg.default_value(clap::builder::OsStr::from(text.clone()))
            } else {
                arg
            }
        });
    }
    for sub in names {
        command = command.mut_subcommand(sub, |sub| {
            sub.mut_args(|arg| {
                if arg.get_long() != Some(&long) {
                    return arg;
                }
                found = true;
                if !is_set {
                    arg
                } else if arg.get_action().takes_values() {
                    arg.default_value(clap::builder::OsStr::from(text.clone()))
                        .required(false)
                } else if text == "true" {
                    arg.action(clap::ArgAction::SetTrue).default_value("true")
                } else {
                    arg
                }
            })
        });
    }
    if !found {
        bail!("no option has this name; `graph-recs run --help` lists them");
    }
    Ok(command)
}
