//! `user`: who may ask the service for analysts.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result, bail};

use crate::cli::{UserAction, UserOptions};
use crate::serve::users;

/// Adds, lists and removes users.
pub fn user(options: UserOptions) -> Result<()> {
    match options.action {
        UserAction::Add {
            name,
            role,
            replace,
            users: file,
        } => {
            let password = password(&name)?;
            users::add(&file, &name, &password, &role, replace)?;
            println!("{name}: {}", role.join(", "));
        }
        UserAction::List { users: file } => {
            for (name, roles, schemas) in users::list(&file)? {
                let schemas: Vec<String> = schemas.into_iter().collect();
                println!("{name}: {} ({})", roles.join(", "), schemas.join(", "));
            }
        }
        UserAction::Remove { name, users: file } => {
            users::remove(&file, &name)?;
            println!("{name} is removed");
        }
    }
    Ok(())
}

/// From a person twice, or one line of standard input.
fn password(name: &str) -> Result<String> {
    let read = || -> Result<String> {
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .context("no password can be read")?;
        Ok(line.trim_end_matches(['\n', '\r']).to_string())
    };
    if !std::io::stdin().is_terminal() {
        return read();
    }
    let ask = |text: String| -> Result<String> {
        print!("{text}");
        std::io::stdout().flush()?;
        let _silent = Silence::new();
        let line = read();
        println!();
        line
    };
    let first = ask(format!("password of {name}: "))?;
    if first != ask("again: ".into())? {
        bail!("the two differ");
    }
    Ok(first)
}

/// A terminal that does not show what is typed, until this goes.
struct Silence(Option<libc::termios>);

impl Silence {
    fn new() -> Self {
        // SAFETY: an all-zero termios is a value of it, and is filled before it is read.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: standard input is open, and the struct is ours.
        if unsafe { libc::tcgetattr(libc::STDIN_FILENO, &raw mut before) } != 0 {
            return Self(None);
        }
        let mut silent = before;
        silent.c_lflag &= !libc::ECHO;
        // SAFETY: as above.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const silent) };
        Self(Some(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // SAFETY: what was there before.
            unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, before) };
        }
    }
}
