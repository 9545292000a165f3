//! `serve`: the service for analysts, and `user`: who may ask it.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use graph_recs_serve::options::{UserAction, UserOptions};
use graph_recs_serve::users;
use graph_recs_sql::cluster::ModelRef;
use graph_recs_sql::cluster::tls::TlsOptions;
use graph_recs_udfs::model::Model;
use tokio::sync::watch;

use crate::cli::{ServeCommandOptions, StatementsArgs};
use crate::cluster::{ClusterOptions, Statements};

/// Serves, with executors for what reads much when a cluster is named.
pub async fn run(options: ServeCommandOptions) -> Result<()> {
    let StatementsArgs {
        cluster,
        cluster_min_scan,
        cluster_tls_ca: tls_ca,
        cluster_tls_cert: tls_cert,
        cluster_tls_key: tls_key,
        wait_for_executors,
    } = options.cluster;
    let Some(url) = cluster else {
        return graph_recs_serve::run(options.service, None).await;
    };
    let (_never, stop) = watch::channel(false);
    let cluster = ClusterOptions {
        url,
        tls: TlsOptions {
            tls_ca,
            tls_cert,
            tls_key,
        },
        wait: Duration::from_secs(wait_for_executors),
        // The service stops what takes too long.
        piece_deadline: Duration::MAX,
        step_deadline: Duration::MAX,
        tries: 1,
        buckets: None,
        piece_bytes: 0,
        settings: Vec::new(),
        stop,
    };
    let location = options.service.catalog.model.as_deref();
    let model = Model::open(location).await?;
    let model = ModelRef::at(model.hash(), location)?;
    let statements = Statements::open(cluster, model, cluster_min_scan)?;
    graph_recs_serve::run(options.service, Some(Arc::new(statements))).await
}

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
            say_line!("{name}: {}", role.join(", "));
        }
        UserAction::List { users: file } => {
            for (name, roles, schemas) in users::list(&file)? {
                let schemas: Vec<String> = schemas.into_iter().collect();
                say_line!("{name}: {} ({})", roles.join(", "), schemas.join(", "));
            }
        }
        UserAction::Remove { name, users: file } => {
            users::remove(&file, &name)?;
            say_line!("{name} is removed");
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
        say!("{text}");
        std::io::stdout().flush()?;
        let _silent = Silence::new();
        let line = read();
        say_line!();
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
