//! One run of a child program: started, listened to, fed, ended.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bobbin_core::report::JobLog;
use bobbin_core::{Error, ErrorKind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};

use super::files::Files;
use super::stderr::Listener;
use super::{GRACE, Program, Settings};
use crate::lines;

/// How long we look away at most.
pub(super) const GLANCE: Duration = Duration::from_millis(100);

/// How long output is awaited of a child that has ended while something it started holds its pipes.
const AFTERMATH: Duration = Duration::from_secs(3);

/// Bytes of one line on stderr.
const MOST_STDERR: usize = 1 << 20;

/// What the reading threads tell.
enum Event {
    Out(Vec<u8>),
    OutEnd(Option<io::Error>),
    Err(Vec<u8>),
    ErrEnd,
}

/// What a look at the child gave.
pub(super) enum Seen {
    /// Whole lines of stdout (the last ones may lack the newline).
    Out(Vec<u8>),
    /// Nothing for now.
    Nothing,
    /// It ended and everything it printed was given.
    Ended,
}

/// A running child. Dropping it ends it.
pub(super) struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    /// Whether its input is ours to write.
    fed: bool,
    events: Receiver<Event>,
    listener: Listener,
    idle: Duration,
    /// When it last did something, or we last did not look.
    active: Instant,
    out_open: bool,
    err_open: bool,
    broken: Option<io::Error>,
    status: Option<ExitStatus>,
    since_exit: Option<Instant>,
    asked: Option<Instant>,
    _files: Files,
}

impl Program {
    /// Starts the program with its config and further `arguments`. `feed`: its stdin is ours to
    /// write; otherwise it is empty.
    ///
    /// On Linux the child ends with the thread that calls this, if the leash is on: call it where
    /// the child is used.
    pub(super) fn start(
        &self,
        files: Files,
        arguments: &[OsString],
        feed: bool,
    ) -> Result<Running> {
        let path = self.find()?;
        let config = match &self.settings {
            Settings::Inline(value) => {
                files.write("config.json", format!("{value:#}\n").as_bytes())?
            }
            Settings::File(path) => std::path::absolute(path)
                .map_err(|error| Error::io("cannot find the config file", error))?,
        };
        let mut command = match &self.leash {
            Some(leash) => leash.command(&path),
            None => Command::new(&path),
        };
        command.args(&self.arguments).arg("--config").arg(config).args(arguments);
        command.current_dir(&self.base).process_group(0);
        command.stdin(if feed { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |error| {
            Error::io(format!("cannot start `{}`", self.name()), error).with("path", path.display())
        };
        let mut child = command.spawn().map_err(failed)?;
        // A slow reader of ours slows the child: at most some blocks wait here.
        let (sender, events) = sync_channel(4);
        let stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut running = Running {
            name: self.name(),
            child,
            stdin,
            fed: feed,
            events,
            listener: Listener::new(self.name(), &self.secrets),
            idle: self.idle,
            active: Instant::now(),
            out_open: true,
            err_open: true,
            broken: None,
            status: None,
            since_exit: None,
            asked: None,
            _files: files,
        };
        if let Some(stdin) = &running.stdin {
            // So that a child that does not read cannot hold us.
            fcntl_getfl(stdin)
                .and_then(|flags| fcntl_setfl(stdin, flags | OFlags::NONBLOCK))
                .map_err(|error| failed(error.into()))?;
        }
        let to = sender.clone();
        let out = move || {
            let Some(pipe) = stdout else { return };
            let result = lines::blocks(pipe, |block| to.send(Event::Out(block)).is_ok());
            let _ = to.send(Event::OutEnd(result.err()));
        };
        let err = move || {
            if let Some(pipe) = stderr {
                listen(pipe, &sender);
            }
            let _ = sender.send(Event::ErrEnd);
        };
        let threads = [
            thread::Builder::new().name("child-out".to_owned()).spawn(out),
            thread::Builder::new().name("child-err".to_owned()).spawn(err),
        ];
        for thread in threads {
            if let Err(error) = thread {
                running.end();
                return Err(Error::io("cannot start a thread", error));
            }
        }
        Ok(running)
    }
}

/// Sends lines of stderr; a line that is too long comes in parts.
fn listen(pipe: impl io::Read, to: &SyncSender<Event>) {
    use std::io::{BufRead, Read};
    let mut pipe = io::BufReader::new(pipe);
    loop {
        let mut line = Vec::new();
        match pipe.by_ref().take(MOST_STDERR as u64).read_until(b'\n', &mut line) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(n) if n > 0 && to.send(Event::Err(line)).is_ok() => {}
            _ => return,
        }
    }
}

impl Running {
    /// What the child printed next; waits at most `wait`. Lines of stderr go to `log` on the way.
    pub(super) fn look(&mut self, wait: Duration, log: &dyn JobLog) -> Result<Seen> {
        let until = Instant::now() + wait;
        loop {
            if !self.out_open && !self.err_open && self.reap()?.is_some() {
                return Ok(Seen::Ended);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left.min(GLANCE)) {
                Ok(event) => {
                    self.active = Instant::now();
                    match event {
                        Event::Out(block) => return Ok(Seen::Out(block)),
                        Event::OutEnd(error) => {
                            self.out_open = false;
                            self.broken = error;
                        }
                        Event::Err(line) => self.listener.hear(&line, log),
                        Event::ErrEnd => self.err_open = false,
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.out_open = false;
                    self.err_open = false;
                    thread::sleep(left.min(Duration::from_millis(5)));
                }
                Err(RecvTimeoutError::Timeout) => {
                    // Something it started may hold its pipes for ever.
                    if self.reap()?.is_some()
                        && self.since_exit.get_or_insert_with(Instant::now).elapsed() > AFTERMATH
                    {
                        self.signal(Signal::KILL);
                        self.out_open = false;
                        self.err_open = false;
                    }
                }
            }
            if Instant::now() >= until {
                return Ok(Seen::Nothing);
            }
        }
    }

    /// Looks until the child has ended; what it prints on stdout goes to `take`. An order to end is
    /// followed by force when it takes longer than [`GRACE`].
    pub(super) fn follow(
        &mut self,
        log: &dyn JobLog,
        take: &mut dyn FnMut(&mut Self, Vec<u8>) -> Result<()>,
        stop: &dyn Fn() -> bool,
    ) -> Result<ExitStatus> {
        loop {
            if stop() {
                self.ask();
            }
            self.press();
            if self.is_idle() {
                return Err(self.idled(log));
            }
            match self.look(GLANCE, log)? {
                Seen::Out(block) => {
                    take(self, block)?;
                    self.awake();
                }
                Seen::Nothing => {}
                Seen::Ended => break,
            }
        }
        if let Some(error) = self.broken.take() {
            return Err(Error::protocol(format!("cannot read what `{}` prints", self.name))
                .caused_by(error));
        }
        self.reap()?.ok_or_else(|| Error::bug("a child ended without a status"))
    }

    /// Writes to its stdin; `take` gets what it prints meanwhile.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        log: &dyn JobLog,
        take: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.awake();
        while !bytes.is_empty() {
            let Some(stdin) = &mut self.stdin else {
                return Err(Error::bug("a child was fed after its input was closed"));
            };
            match stdin.write(bytes) {
                Ok(written) => {
                    bytes = &bytes[written..];
                    self.active = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
                    let mut poll_for = [PollFd::new(stdin, PollFlags::OUT)];
                    let _ = poll(&mut poll_for, Some(&wait));
                }
                Err(_) => return Err(self.early(log)),
            }
            while let Seen::Out(block) = self.look(Duration::ZERO, log)? {
                take(&block)?;
            }
            if self.is_idle() {
                return Err(self.idled(log));
            }
        }
        Ok(())
    }

    /// Ends its input.
    pub(super) fn close(&mut self) {
        self.stdin = None;
    }

    /// Why it no longer reads: it ended before its input did.
    fn early(&mut self, log: &dyn JobLog) -> Error {
        self.close();
        let since = Instant::now();
        match self.follow(log, &mut |_, _| Ok(()), &|| since.elapsed() > AFTERMATH) {
            Ok(status) => self.failure(status).unwrap_or_else(|| {
                self.told(
                    ErrorKind::Unavailable,
                    format!("`{}` ended before its input did", self.name),
                )
            }),
            Err(error) => error,
        }
    }

    /// What is wrong with the way it ended, if anything.
    pub(super) fn failure(&self, status: ExitStatus) -> Option<Error> {
        if status.success() {
            return None;
        }
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with status {code}"),
            (None, Some(signal)) => format!("was killed by {}", signal_name(signal)),
            (None, None) => "ended in an unknown way".to_owned(),
        };
        Some(self.told(ErrorKind::Unavailable, format!("`{}` {how}", self.name)))
    }

    /// An error with the child's own last words.
    pub(super) fn told(&self, kind: ErrorKind, message: String) -> Error {
        let error = Error::new(
            kind,
            match self.listener.reason() {
                Some(reason) => format!("{message}: {reason}"),
                None => message,
            },
        );
        error.hint(match self.listener.reason() {
            Some(_) => "its own words are above; `bobbin run --verbose` shows all it says",
            None => "it said nothing on stderr; try it by hand with the same config",
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What the child said last, for a hint.
    pub(super) fn last_words(&self) -> Option<&str> {
        self.listener.reason()
    }

    fn reap(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait().map_err(|error| {
                Error::io(format!("cannot learn whether `{}` has ended", self.name), error)
            })?;
        }
        Ok(self.status)
    }

    /// Time in which we did not look does not count.
    pub(super) fn awake(&mut self) {
        self.active = Instant::now();
    }

    fn is_idle(&self) -> bool {
        self.active.elapsed() > self.idle
    }

    fn idled(&mut self, log: &dyn JobLog) -> Error {
        let seconds = self.idle.as_secs_f64();
        let idle = if seconds < 120.0 {
            format!("{seconds:.1} seconds")
        } else {
            format!("{:.0} minutes", seconds / 60.0)
        };
        // What passes is tried again by the engine; a target that hangs would hang again.
        let kind = if self.fed { ErrorKind::Protocol } else { ErrorKind::Timeout };
        let error = self
            .told(kind, format!("`{}` did nothing for {idle} and was ended", self.name))
            .hint("if it may be silent for longer, raise idle_timeout_minutes");
        self.dismiss(log);
        error
    }

    /// Asks it to end, once.
    pub(super) fn ask(&mut self) {
        if self.asked.is_none() {
            self.asked = Some(Instant::now());
            self.signal(Signal::TERM);
        }
    }

    /// Whether it was asked to end.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.is_some()
    }

    fn press(&mut self) {
        if self.asked.is_some_and(|asked| asked.elapsed() > GRACE) {
            self.signal(Signal::KILL);
        }
    }

    /// Ends it: asks, waits a while for it and its last words, then by force.
    pub(super) fn dismiss(&mut self, log: &dyn JobLog) {
        self.close();
        self.ask();
        loop {
            self.press();
            match self.look(GLANCE, log) {
                Ok(Seen::Ended) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.end();
    }

    fn signal(&self, signal: Signal) {
        // Once it was waited for, its number may be another's; its group's is not while anyone of
        // the group is left, and otherwise there is nobody to meet.
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(pid, signal);
        }
    }

    fn end(&mut self) {
        if self.status.is_none() {
            self.signal(Signal::KILL);
            // Should it have left its group.
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}
