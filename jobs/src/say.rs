//! Saying things on standard output, to whom it may concern: nobody need listen, and what is said steers no terminal.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

use graph_recs_udfs::text::shown_lines;

/// As `print!`, but that nobody takes it is no reason to panic; see [`unheard`].
macro_rules! say {
    ($($text:tt)*) => {
        $crate::say::say(format_args!($($text)*))
    };
}

/// As `println!`, see [`say!`].
macro_rules! say_line {
    () => { $crate::say::say(format_args!("\n")) };
    ($($text:tt)*) => {
        $crate::say::say(format_args!("{}\n", format_args!($($text)*)))
    };
}

/// The first error of writing to standard output: its kind, and the system's number for it.
static UNHEARD: OnceLock<(ErrorKind, Option<i32>)> = OnceLock::new();

pub(crate) fn say(text: Arguments<'_>) {
    let text = text.to_string();
    let written = io::stdout().write_all(shown_lines(&text).as_bytes());
    // Remembered, not returned.
    let _ = noted(written);
}

/// Why standard output did not take all that was said, if it did not.
pub(crate) fn unheard() -> Option<io::Error> {
    let _ = noted(io::stdout().flush());
    let (kind, number) = UNHEARD.get()?;
    Some(number.map_or_else(|| (*kind).into(), io::Error::from_raw_os_error))
}

fn noted<T>(result: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &result {
        let _ = UNHEARD.set((error.kind(), error.raw_os_error()));
    }
    result
}

/// Standard output, for answers that are written as they come, byte for byte but on a terminal.
pub(crate) struct Out {
    is_terminal: bool,
}

impl Out {
    pub(crate) fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self { is_terminal }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return noted(io::stdout().write(bytes));
        }
        let text = String::from_utf8_lossy(bytes);
        noted(io::stdout().write_all(shown_lines(&text).as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        noted(io::stdout().flush())
    }
}
