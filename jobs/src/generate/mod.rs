//! A synthetic day of a social trading platform, in the shapes that a run reads.
//!
//! Everything is drawn from [`Options::seed`]: the same options give the same bytes, whatever the
//! machine and the number of threads. Rows are made in chunks; each chunk has a random stream of
//! its own and is written in its turn. Only the users' tables are held in memory (some 50 bytes a
//! user), and no floating-point function is used whose last bit differs between platforms.
//!
//! What makes the day look real:
//! - heavy-tailed activity and popularity, of different users, in communities of skewed sizes;
//!   four engagements of five stay inside the community, half of them go to one of a few regulars;
//! - likes 45 %, replies 25 %, mentions 20 %, follows 10 %; follows over three years, the others
//!   over 130 days, so that part of them lies outside the look-back; by the hour and the weekday;
//! - authors of differing quality, 3 % of them recommended, whose posts show it (see `text`);
//! - 1.5 % suspended users, 0.5 % identical rows, 0.3 % engagements with oneself;
//! - when dirty, every kind of record that cannot be read, at one row in a thousand (more often in
//!   small files, so that each kind occurs; always below 1 %), blank lines, rows after the as-of.
//!
//! Message ids of engagements lie in the range of the messages' ids and grow with time; nothing
//! joins them, so they do not lead to a message of that author.

mod chunks;
mod clock;
mod dirt;
mod engagements;
mod ink;
mod messages;
mod names;
mod people;
mod sampling;
mod text;
mod words;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use chunks::{Job, Sheet, write_file};
use clock::Clock;
use engagements::{Engagements, Kind};
use messages::Messages;
use people::People;

/// How close-knit the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Ties {
    /// People talk again and again with a few of their community
    #[default]
    Close,
    /// Everybody talks, with many: nearly twice the connections, three times their connections
    Loose,
}

/// What to make.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder to write into; it is created when missing, and files in it are replaced.
    pub out: PathBuf,
    /// Users in `user.csv`.
    pub users: u32,
    /// Readable rows of `follow.csv`, `reply.csv`, `mention.csv` and `like.csv` together.
    pub engagements: u64,
    /// Readable lines of `st_messages.data`.
    pub messages: u64,
    /// How close-knit the network is.
    pub ties: Ties,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Seconds since 1970-01-01 UTC. Everything happens before it (dirty: a little also after).
    pub as_of: i64,
    /// Put in records that cannot be read, blank lines, and readable oddities.
    pub dirty: bool,
}

/// What was made, file by file in the order of writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// One entry a file.
    pub files: Vec<MadeFile>,
}

/// What is in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeFile {
    /// Its name in the folder.
    pub name: &'static str,
    /// Records that can be read, with the duplicates.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Records that cannot be read, on top of the rows. Blank lines are not counted.
    pub unreadable: u64,
    /// Of the rows: repetitions of an earlier one (a message: of an earlier id).
    pub duplicates: u64,
}

impl Made {
    /// Rows of all files.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }
}

/// Why nothing, or not everything, was made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Engagements need two users, messages one.
    #[error("{0} users are too few for engagements or messages")]
    TooFewUsers(u32),
    /// User ids end at 2147483647.
    #[error("{0} users are more than there are user ids (2147483647)")]
    TooManyUsers(u32),
    /// The follows of three years must have dates of four digits.
    #[error("as-of {0} is outside the years 1980 to 9998")]
    AsOf(i64),
    /// A file could not be written.
    #[error("cannot write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Days of reply, mention and like before the as-of; more than the look-back of 90.
const ENGAGEMENT_DAYS: i64 = 130;
/// Days of follow history.
const FOLLOW_DAYS: i64 = 3 * 365;
/// Days of messages; more than the 189 that count.
const MESSAGE_DAYS: i64 = 200;
/// How far a dirty day reaches beyond its as-of, in seconds.
const OVERRUN: i64 = 6 * 3600;

/// Writes the files of one day into `options.out`: follow.csv, reply.csv, mention.csv, like.csv,
/// user.csv and st_messages.data.
///
/// `progress` hears the number of rows written so far, of all files together.
///
/// # Errors
/// When the options contradict each other, or a file cannot be written.
pub fn generate(options: &Options, progress: &mut dyn FnMut(u64)) -> Result<Made, GenerateError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    generate_on(threads, options, progress)
}

/// [`generate`] with the number of threads as a value; it does not change what is written.
fn generate_on(
    threads: usize,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Made, GenerateError> {
    check(options)?;
    std::fs::create_dir_all(&options.out).map_err(|source| GenerateError::Io {
        path: options.out.clone(),
        source,
    })?;
    let end = options.as_of + if options.dirty { OVERRUN } else { 0 };
    let people = People::draw(options.seed, options.users, options.ties);
    let recent = Clock::new(options.as_of - ENGAGEMENT_DAYS * 86_400, end);
    let years = Clock::new(options.as_of - FOLLOW_DAYS * 86_400, end);
    let posting = Clock::new(options.as_of - MESSAGE_DAYS * 86_400, end);

    let sheet = |number: u64, rows: u64, kinds: u64| Sheet {
        seed: options.seed,
        number,
        rows,
        dirt: options.dirty.then(|| dirt::period(rows, kinds)),
    };
    let counts = engagements::split(options.engagements);
    let engagements = |kind: Kind, rows: u64| Engagements {
        kind,
        people: &people,
        clock: if kind == Kind::Follow {
            &years
        } else {
            &recent
        },
        sheet: sheet(kind as u64 + 1, rows, dirt::ENGAGEMENT_KINDS),
        newest_message: messages::last_id(options.messages),
    };
    let follow = engagements(Kind::Follow, counts.follow);
    let reply = engagements(Kind::Reply, counts.reply);
    let mention = engagements(Kind::Mention, counts.mention);
    let like = engagements(Kind::Like, counts.like);
    let users = people::Users {
        people: &people,
        as_of: options.as_of,
        sheet: sheet(5, u64::from(options.users), dirt::USER_KINDS),
    };
    let messages = Messages {
        people: &people,
        clock: &posting,
        sheet: sheet(6, options.messages, dirt::MESSAGE_KINDS),
    };
    let jobs: [(&'static str, &dyn Job); 6] = [
        ("follow.csv", &follow),
        ("reply.csv", &reply),
        ("mention.csv", &mention),
        ("like.csv", &like),
        ("user.csv", &users),
        ("st_messages.data", &messages),
    ];
    let mut files = Vec::with_capacity(jobs.len());
    let mut done = 0;
    for (name, job) in jobs {
        let file = write_file(threads, &options.out, name, job, &mut |rows| {
            done += rows;
            progress(done);
        })?;
        files.push(file);
    }
    Ok(Made { files })
}

fn check(options: &Options) -> Result<(), GenerateError> {
    let few = (options.engagements > 0 && options.users < 2)
        || (options.messages > 0 && options.users < 1);
    if few {
        return Err(GenerateError::TooFewUsers(options.users));
    }
    if options.users > people::MAX_ID {
        return Err(GenerateError::TooManyUsers(options.users));
    }
    // 1980-01-01 and 9998-12-31.
    if !(315_532_800..253_370_764_800).contains(&options.as_of) {
        return Err(GenerateError::AsOf(options.as_of));
    }
    Ok(())
}
