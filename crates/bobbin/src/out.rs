//! Writing to the program's two outputs. A reader that left, or a full disk behind a log, ends no
//! job: what cannot be written to stdout is told at the end, what cannot be written to stderr nobody
//! can be told.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use bobbin_core::Error;

static FAILURE: OnceLock<std::io::Error> = OnceLock::new();

/// Writes to stdout, without colours where it is no terminal.
pub(crate) fn stdout(text: fmt::Arguments<'_>) {
    let mut out = anstream::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) {
        // Only the first counts.
        let _ = FAILURE.set(error);
    }
}

/// Writes to stderr.
pub(crate) fn stderr(text: fmt::Arguments<'_>) {
    let _ = anstream::stderr().lock().write_fmt(text);
}

/// Why stdout could not be written, unless its reader left.
pub(crate) fn failure() -> Option<Error> {
    let failure = FAILURE.get().filter(|error| error.kind() != ErrorKind::BrokenPipe)?;
    let cause = std::io::Error::new(failure.kind(), failure.to_string());
    Some(Error::io("cannot write to stdout", cause))
}

macro_rules! print {
    ($($text:tt)*) => { $crate::out::stdout(format_args!($($text)*)) };
}
macro_rules! println {
    () => { $crate::out::stdout(format_args!("\n")) };
    ($($text:tt)*) => { $crate::out::stdout(format_args!("{}\n", format_args!($($text)*))) };
}
macro_rules! eprintln {
    ($($text:tt)*) => { $crate::out::stderr(format_args!("{}\n", format_args!($($text)*))) };
}
pub(crate) use {eprintln, print, println};
