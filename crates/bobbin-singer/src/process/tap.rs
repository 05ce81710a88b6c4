//! A foreign tap as a source.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::PathBuf;

use bobbin_core::report::{Event, Level};
use bobbin_core::state::State;
use bobbin_core::tap::{
    Check, Completeness, Context, Discovery, Output, StreamOutcome, SyncRequest, Tap,
};
use bobbin_core::{Error, ErrorKind, Result};
use serde_json::Value;

use super::Program;
use super::child::Running;
use super::choice::Choice;
use super::files::Files;
use super::follow::{Follower, STATE};
use crate::state;

/// Bytes of a catalog.
const MOST_CATALOG: usize = 256 << 20;

/// What a foreign tap is told.
#[derive(Clone, Debug)]
pub struct TapConfig {
    /// The program.
    pub program: Program,
    /// A catalog in place of what discovery gives; what it leaves out stays out.
    pub catalog_file: Option<PathBuf>,
    /// Whether the catalog goes under its old name, `--properties`.
    pub legacy_catalog: bool,
}

/// A child program as a [`Tap`]: its messages become calls of the output, in their order.
///
/// Its state is kept word for word. A stream is complete only when the program ended with status 0.
pub struct ProcessTap {
    name: String,
    config: TapConfig,
    /// From the last discovery.
    choice: RefCell<Option<Choice>>,
}

impl ProcessTap {
    /// A tap that starts the program when asked.
    pub fn new(config: TapConfig) -> Self {
        Self { name: config.program.name(), config, choice: RefCell::default() }
    }

    fn start(&self, files: Files, arguments: &[OsString]) -> Result<Running> {
        self.config.program.start(files, arguments, false)
    }

    /// The catalog: from the file, or from the program.
    fn choose(&self, cx: &Context<'_>) -> Result<Choice> {
        let name = &self.name;
        if let Some(path) = &self.config.catalog_file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Error::config("cannot read the catalog")
                    .with("path", path.display())
                    .caused_by(error)
            })?;
            return Choice::read(&text, true).map_err(|error| {
                Error::config("the file is no catalog")
                    .with("path", path.display())
                    .hint(format!("make one with `{name} --config … --discover`"))
                    .caused_by(error)
            });
        }
        let mut running = self.start(Files::new()?, &["--discover".into()])?;
        let mut text = Vec::new();
        let mut take = |_: &mut Running, block: Vec<u8>| {
            if text.len() + block.len() > MOST_CATALOG {
                return Err(Error::protocol(format!("the catalog of `{name}` does not end")));
            }
            text.extend_from_slice(&block);
            Ok(())
        };
        let status = running.follow(cx.log, &mut take, &|| cx.cancel.is_cancelled());
        let status = match status {
            Ok(status) => status,
            Err(error) => {
                running.dismiss(cx.log);
                return Err(error);
            }
        };
        cx.cancel.check()?;
        if let Some(error) = running.failure(status) {
            return Err(error.wrap(format!("`{name}` cannot say what it offers")).hint(
                "if it cannot discover, give it a catalog: catalog_file = \"catalog.json\"",
            ));
        }
        let text = String::from_utf8_lossy(&text);
        Choice::read(&text, false).map_err(|error| {
            let told = running.told(
                ErrorKind::Protocol,
                format!("what `{name} --discover` printed is no catalog"),
            );
            told.caused_by(error)
                .hint("if it cannot discover, give it a catalog: catalog_file = \"catalog.json\"")
        })
    }

    fn extract(
        &self,
        cx: &Context<'_>,
        request: &SyncRequest<'_>,
        choice: &Choice,
        out: &mut dyn Output,
    ) -> Result<Vec<StreamOutcome>> {
        let name = &self.name;
        let files = Files::new()?;
        let flag = if self.config.legacy_catalog { "--properties" } else { "--catalog" };
        let catalog = choice.chosen(request.selection, self.config.legacy_catalog)?;
        let mut arguments: Vec<OsString> =
            vec![flag.into(), files.write("catalog.json", &catalog)?.into()];
        if let Some(text) = state_text(request.state) {
            arguments
                .extend(["--state".into(), files.write("state.json", text.as_bytes())?.into()]);
        }
        let mut running = self.start(files, &arguments)?;
        let mut follower = Follower::new(*cx, out, choice, request.selection);
        // The last line may be torn, when it was ended or broke down.
        let mut torn: Vec<u8> = Vec::new();
        let mut take = |running: &mut Running, block: Vec<u8>| {
            if block.last() == Some(&b'\n') {
                return follower.block(&block).map_err(|error| explain(running, error));
            }
            let whole = memchr::memrchr(b'\n', &block).map_or(0, |end| end + 1);
            torn = block[whole..].to_vec();
            follower.block(&block[..whole]).map_err(|error| explain(running, error))
        };
        let followed = running.follow(cx.log, &mut take, &|| cx.cancel.is_cancelled());
        let status = match followed {
            Ok(status) => status,
            Err(error) => {
                running.dismiss(cx.log);
                return Err(error);
            }
        };
        if running.was_asked() {
            return Err(Error::cancelled());
        }
        if let Some(error) = running.failure(status) {
            return Err(error);
        }
        follower.block(&torn).map_err(|error| explain(&running, error))?;
        let started = follower.started;
        Ok(outcomes(cx, request, started, name))
    }
}

/// What a program broke, with its own last words.
fn explain(running: &Running, error: Error) -> Error {
    if error.kind() != ErrorKind::Protocol {
        return error;
    }
    let hint = match running.last_words() {
        Some(words) => {
            format!("stdout is for Singer messages alone; on stderr it said last: {words}")
        }
        None => "stdout is for Singer messages alone; it said nothing on stderr".to_owned(),
    };
    error.wrap(format!("`{}` broke the Singer protocol", running.name())).hint(hint)
}

fn outcomes(
    cx: &Context<'_>,
    request: &SyncRequest<'_>,
    started: Vec<bobbin_core::id::StreamName>,
    name: &str,
) -> Vec<StreamOutcome> {
    let mut streams = started;
    for stream in &request.catalog.streams {
        if request.selection.contains(&stream.name) && !streams.contains(&stream.name) {
            cx.log.event(Event::Notice {
                level: Level::Info,
                stream: Some(stream.name.clone()),
                message: format!("`{name}` sent nothing of it"),
            });
            streams.push(stream.name.clone());
        }
    }
    let outcome = |stream: bobbin_core::id::StreamName| {
        cx.log.event(Event::StreamEnded {
            stream: stream.clone(),
            outcome: "complete",
            reason: None,
        });
        StreamOutcome { stream, completeness: Completeness::Complete, reached: None }
    };
    streams.into_iter().map(outcome).collect()
}

/// What `--state` gets: the program's own words, or the state of a tap of ours that it follows.
fn state_text(state: &State) -> Option<String> {
    match state.notes.get(STATE) {
        Some(Value::String(text)) => Some(text.clone()),
        _ if *state == State::default() => None,
        _ => Some(state::to_json(state).to_string()),
    }
}

impl Tap for ProcessTap {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&self, cx: &Context<'_>) -> Result<Check> {
        let path = self.config.program.find()?.display().to_string();
        let choice = self.choose(cx)?;
        let streams = choice.catalog().streams;
        Ok(Check {
            facts: vec![("program".into(), path), ("streams".into(), streams.len().to_string())],
            streams: streams.into_iter().map(|stream| (stream.name, None)).collect(),
        })
    }

    fn discover(&self, cx: &Context<'_>) -> Result<Discovery> {
        let choice = self.choose(cx)?;
        let catalog = choice.catalog();
        *self.choice.borrow_mut() = Some(choice);
        Ok(Discovery { catalog, unreadable: Vec::new() })
    }

    fn sync(
        &self,
        cx: &Context<'_>,
        request: &SyncRequest<'_>,
        out: &mut dyn Output,
    ) -> Result<Vec<StreamOutcome>> {
        let choice = match self.choice.borrow().clone() {
            Some(choice) => choice,
            None => self.choose(cx)?,
        };
        self.extract(cx, request, &choice, out)
    }
}
