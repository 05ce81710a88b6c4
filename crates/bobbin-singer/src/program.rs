//! A tap as a Singer program: flags, files, signals, messages, exit status.

use std::io::{Read, Stdout, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::{Catalog, Stream};
use bobbin_core::clock::SystemClock;
use bobbin_core::id::StreamName;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::Level;
use bobbin_core::selection::{Selection, StreamSelection};
use bobbin_core::state::State;
use bobbin_core::tap::{Completeness, Context, Output, StreamOutcome, SyncRequest, Tap};
use bobbin_core::{Error, ErrorKind, Result};
use clap::{CommandFactory, FromArgMatches};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::about::{self, About, Setting};
use crate::cli::{Flags, Test};
use crate::logs::SingerLog;
use crate::writer::MessageWriter;
use crate::{catalog, config, state};

/// What a tap crate says about itself to become a program.
#[derive(Clone, Copy)]
pub struct Program {
    /// Its name, for example `tap-kustomer`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it does, in a sentence.
    pub description: &'static str,
    /// What can be set.
    pub settings: &'static [Setting],
    /// The stream that records go to which cannot be taken.
    pub rejected_stream: &'static str,
    /// Makes the tap from a config.
    pub open: fn(&Value) -> Result<Box<dyn Tap>>,
    /// Everything on offer as far as it is known without asking the source.
    pub offered: fn() -> Catalog,
}

/// Runs the program with this process's arguments.
pub fn run(program: &Program) -> ExitCode {
    let flags = match parse(program, std::env::args_os()) {
        Ok(flags) => flags,
        Err(error) => {
            // Help is asked for; anything else is a mistake.
            let status = u8::from(error.use_stderr());
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let log = SingerLog::stderr(SingerLog::level_from_env(program.name));
    match act(program, &flags, &log) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            log.critical(&error);
            ExitCode::FAILURE
        }
    }
}

fn parse(
    program: &Program,
    args: impl IntoIterator<Item = std::ffi::OsString>,
) -> std::result::Result<Flags, clap::Error> {
    let command = Flags::command().name(program.name).about(program.description);
    Flags::from_arg_matches(&command.try_get_matches_from(args)?)
}

/// Does what the flags ask for. False: it failed, and why has been said.
fn act(program: &Program, flags: &Flags, log: &SingerLog) -> Result<bool> {
    let Program { name, version, description, settings, .. } = *program;
    if flags.version {
        print(format!("{name} v{version}\n").as_bytes())?;
        return Ok(true);
    }
    if flags.about {
        let capabilities = &about::TAP;
        let text = About { name, version, description, capabilities, settings }.text(flags.format);
        print(text.as_bytes())?;
        return Ok(true);
    }
    let cancel = Cancel::new();
    stop_on_signals(&cancel)?;
    let cx = Context { clock: &SystemClock, cancel: &cancel, log };
    let config = config::load(&flags.config, name, settings)?;
    if flags.discover {
        discover(program, &config, &cx, log)?;
        return Ok(true);
    }
    let job = match flags.test {
        Some(_) => "test",
        None => "sync",
    };
    let result = extract(program, flags, &config, &cx, log);
    log.finish(job, matches!(result, Ok(true)));
    result
}

/// Prints the catalog. Without credentials that work or without the network it is the one that
/// needs neither.
fn discover(program: &Program, config: &Value, cx: &Context<'_>, log: &SingerLog) -> Result<()> {
    let found = (program.open)(config).and_then(|tap| tap.discover(cx));
    let catalog = match found {
        Ok(found) => found.catalog,
        Err(error) if can_do_without(error.kind()) => {
            log.say(
                Level::Warn,
                &format!("the catalog holds only what is known without asking the source: {error}"),
            );
            (program.offered)()
        }
        Err(error) => return Err(error.wrap("discovery failed")),
    };
    print(format!("{:#}\n", catalog::to_json(&catalog)).as_bytes())
}

fn can_do_without(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Config
            | ErrorKind::Auth
            | ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Timeout
            | ErrorKind::Protocol
            | ErrorKind::Io
    )
}

fn extract(
    program: &Program,
    flags: &Flags,
    config: &Value,
    cx: &Context<'_>,
    log: &SingerLog,
) -> Result<bool> {
    let state = match &flags.state {
        Some(path) => state::parse(&config::text_file("state", path)?)?,
        None => State::default(),
    };
    let selection = match flags.catalog.as_ref().or(flags.properties.as_ref()) {
        Some(path) => catalog::selection(&config::json_file("catalog", path)?)?,
        None => Selection::all(),
    };
    let tap = (program.open)(config)?;
    let found = match tap.discover(cx) {
        Err(error) if error.kind() == ErrorKind::Cancelled => return Ok(true),
        found => found?.catalog,
    };
    let chosen = selection.streams.iter().filter(|(_, choice)| choice.selected);
    let absent: Vec<&StreamName> =
        chosen.map(|(name, _)| name).filter(|name| found.stream(name).is_none()).collect();
    let request = SyncRequest { catalog: &found, selection: &selection, state: &state };
    let mut writer =
        MessageWriter::new(std::io::stdout(), &selection, program.rejected_stream, log);
    let good = match flags.test {
        None => sync(&*tap, cx, &request, &mut writer, log)?,
        Some(what) => test(&*tap, cx, &request, &mut writer, log, what)?,
    };
    for name in &absent {
        log.critical(
            &Error::new(ErrorKind::Permission, format!("{name}: selected, but not on offer"))
                .hint("see the warnings above for what is missing, or take it out of the catalog"),
        );
    }
    Ok(good && absent.is_empty())
}

fn sync(
    tap: &dyn Tap,
    cx: &Context<'_>,
    request: &SyncRequest<'_>,
    writer: &mut MessageWriter<'_, Stdout>,
    log: &SingerLog,
) -> Result<bool> {
    match tap.sync(cx, request, writer) {
        Ok(outcomes) => {
            if !writer.wrote_state() && !writer.reader_is_gone() {
                writer.state(request.state)?;
            }
            Ok(report(&outcomes, log))
        }
        Err(_) if writer.reader_is_gone() => {
            log.say(Level::Debug, "the reader of the messages is gone");
            Ok(false)
        }
        Err(error) if error.kind() == ErrorKind::Cancelled && cx.cancel.is_cancelled() => {
            writer.last_word(request.state)?;
            log.say(Level::Info, "stopped as asked; the next run goes on from the last state");
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// Tells how the streams ended. False when one failed or misses something: status 0 means
/// success to whoever runs a tap, and that would not be true. Streams that may not be read do not
/// count unless all are like that: they are not on offer.
fn report(outcomes: &[StreamOutcome], log: &SingerLog) -> bool {
    let mut good = true;
    let mut unreadable = 0;
    for outcome in outcomes {
        match &outcome.completeness {
            Completeness::Complete => {}
            Completeness::Incomplete { reason } => {
                good = false;
                log.critical(&Error::new(
                    ErrorKind::InvalidData,
                    format!("{} is incomplete: {reason}", outcome.stream),
                ));
            }
            Completeness::Unreadable { reason } => {
                unreadable += 1;
                log.say(Level::Warn, &format!("{}: cannot be read: {reason}", outcome.stream));
            }
            Completeness::Failed(error) => {
                good = false;
                log.critical(&Error::new(
                    error.kind(),
                    format!("{} failed: {}", outcome.stream, error.report()),
                ));
            }
        }
    }
    if unreadable > 0 && unreadable == outcomes.len() {
        log.critical(
            &Error::new(ErrorKind::Permission, "none of the selected streams can be read")
                .hint("grant the key the roles named above"),
        );
        return false;
    }
    good
}

/// One record of each stream, or only the schemas.
fn test(
    tap: &dyn Tap,
    cx: &Context<'_>,
    request: &SyncRequest<'_>,
    writer: &mut MessageWriter<'_, Stdout>,
    log: &SingerLog,
    what: Test,
) -> Result<bool> {
    for stream in &request.catalog.streams {
        if !request.selection.contains(&stream.name) {
            continue;
        }
        if what == Test::Schema {
            writer.schema(stream)?;
            continue;
        }
        let mut choice = request.selection.streams.get(&stream.name).cloned().unwrap_or_default();
        choice.selected = true;
        let selection = only(&stream.name, choice);
        let alone = SyncRequest { selection: &selection, ..*request };
        let mut sample = Sample { writer, stream: &stream.name, taken: false };
        let result = tap.sync(cx, &alone, &mut sample);
        let taken = sample.taken;
        match result {
            _ if taken => {}
            Ok(outcomes) => {
                if !report(&outcomes, log) {
                    return Ok(false);
                }
                log.say(Level::Info, &format!("{}: no records", stream.name));
            }
            Err(_) if writer.reader_is_gone() => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Cancelled => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn only(stream: &StreamName, choice: StreamSelection) -> Selection {
    Selection::only([(stream.clone(), choice)])
}

/// Lets one record through, then ends the extraction.
struct Sample<'w, 'a> {
    writer: &'w mut MessageWriter<'a, Stdout>,
    stream: &'w StreamName,
    taken: bool,
}

impl Output for Sample<'_, '_> {
    fn schema(&mut self, stream: &Stream) -> Result<()> {
        self.writer.schema(stream)
    }

    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
        if stream != self.stream || records.count == 0 {
            return Ok(());
        }
        let end = records.text.iter().position(|&byte| byte == b'\n');
        let text = &records.text[..end.map_or(records.text.len(), |end| end + 1)];
        self.writer.records(stream, Records { text, count: 1, ..records })?;
        self.taken = true;
        Err(Error::cancelled())
    }

    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()> {
        self.writer.rejected(stream, rejected)
    }

    fn state(&mut self, _: &State) -> Result<()> {
        Ok(())
    }
}

/// Asks to stop at the first SIGTERM or SIGINT. Later ones change nothing: the stop is on its way.
fn stop_on_signals(cancel: &Cancel) -> Result<()> {
    let failed = |error| Error::io("cannot listen for signals", error);
    let (mut read, write) = UnixStream::pair().map_err(failed)?;
    for signal in [SIGTERM, SIGINT] {
        let write = write.try_clone().map_err(failed)?;
        signal_hook::low_level::pipe::register(signal, write).map_err(failed)?;
    }
    let cancel = cancel.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if read.read_exact(&mut [0]).is_ok() {
                cancel.cancel();
            }
            // Keeps the pipe open, so that later signals find a reader and end here.
            while read.read_exact(&mut [0]).is_ok() {}
        })
        .map_err(failed)?;
    Ok(())
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // Whoever read it has read enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io("cannot write to stdout", error))
        }
        _ => Ok(()),
    }
}
