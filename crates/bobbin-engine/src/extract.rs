//! The extracting side of a job: the tap writes to the spool, sealed segments go to the loader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::record::{Records, Rejected};
use bobbin_core::report::{Event, Level};
use bobbin_core::state::State;
use bobbin_core::tap::{Context, Output};
use bobbin_core::{Error, ErrorKind, Result};

use crate::spool::{Sealed, SpoolWriter};

/// What the loader tells the extraction.
#[derive(Default, Debug)]
pub(crate) struct Loading {
    /// Set once loading has failed for good in this job.
    pub(crate) stopped: std::sync::atomic::AtomicBool,
}

/// The spool as the tap sees it: seals are announced, and a full spool makes the tap wait.
pub(crate) struct Spooling<'a> {
    writer: SpoolWriter,
    announce: Sender<Sealed>,
    cx: Context<'a>,
    held_bytes: Arc<AtomicU64>,
    most_held_bytes: u64,
    loading: &'a Loading,
}

impl<'a> Spooling<'a> {
    pub(crate) fn new(
        writer: SpoolWriter,
        announce: Sender<Sealed>,
        cx: Context<'a>,
        most_held_bytes: u64,
        loading: &'a Loading,
    ) -> Self {
        let held_bytes = Arc::clone(&writer.held_bytes);
        Self { writer, announce, cx, held_bytes, most_held_bytes, loading }
    }

    /// Seals what is open; call it however the extraction ended.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let result = self.writer.finish();
        self.announce();
        result
    }

    fn announce(&mut self) {
        for sealed in self.writer.take_sealed() {
            self.cx.log.event(Event::Sealed {
                segment: sealed.segment.id.clone(),
                stream: sealed.segment.stream.clone(),
                records: sealed.segment.records,
                bytes: sealed.segment.bytes,
            });
            // Nobody listens any more once loading has failed; the segments stay on disk.
            let _ = self.announce.send(sealed);
        }
    }

    /// Waits while the spool holds as much as it may.
    fn wait_for_room(&self) -> Result<()> {
        let mut told = false;
        while self.held_bytes.load(Ordering::Relaxed) >= self.most_held_bytes {
            if self.loading.stopped.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::DiskFull, "the spool holds as much as it may and loading has failed")
                    .with("spool_bytes", self.most_held_bytes)
                    .hint("mend the destination and run again: what was extracted is kept and is not extracted again"));
            }
            if !told {
                told = true;
                self.cx.log.event(Event::Notice {
                    level: Level::Info,
                    stream: None,
                    message: "waiting for the destination: the spool is full".into(),
                });
            }
            self.cx.cancel.sleep(Duration::from_millis(50))?;
        }
        Ok(())
    }
}

impl Output for Spooling<'_> {
    fn schema(&mut self, stream: &Stream) -> Result<()> {
        self.writer.schema(stream)
    }

    fn records(&mut self, stream: &StreamName, records: Records<'_>) -> Result<()> {
        self.wait_for_room()?;
        self.writer.records(stream, records)?;
        self.announce();
        Ok(())
    }

    fn rejected(&mut self, stream: &StreamName, rejected: &Rejected) -> Result<()> {
        self.writer.rejected(stream, rejected)?;
        self.announce();
        Ok(())
    }

    fn activate(&mut self, stream: &StreamName, version: i64) -> Result<()> {
        self.writer.activate(stream, version)?;
        self.announce();
        Ok(())
    }

    fn state(&mut self, state: &State) -> Result<()> {
        self.writer.state(state)?;
        self.announce();
        Ok(())
    }
}
