//! The threads that make calls and shape what comes back.
//!
//! Calls wait in one queue; a thread takes one only when the budgets let it go, so that what is
//! decided late stays undecided. One idle thread at a time watches the clock for the others.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bobbin_core::Error;
use bobbin_core::catalog::Stream;
use bobbin_core::selection::Selection;
use bobbin_core::tap::Context;
use rustc_hash::FxHashMap;

use crate::http::pace::Bucket;
use crate::http::{Client, Failure};
use crate::page::{self, PageData};
use crate::shape::Shaper;
use crate::streams::Resource;
use crate::walk::Ask;

/// A call to make for a lane.
#[derive(Debug)]
pub(crate) struct Task {
    /// Which lane.
    pub(crate) lane: usize,
    /// The call.
    pub(crate) ask: Ask,
}

/// What came of a task.
#[derive(Debug)]
pub(crate) struct Done {
    /// Which lane.
    pub(crate) lane: usize,
    /// The ask's unit.
    pub(crate) unit: u64,
    /// The ask's page.
    pub(crate) page: u32,
    /// The page, or why there is none.
    pub(crate) result: Result<PageData, Failure>,
    /// When the call was taken up.
    pub(crate) began: Instant,
    /// Time spent waiting for the other side.
    pub(crate) network: Duration,
    /// Time spent reading and shaping.
    pub(crate) work: Duration,
}

/// What all threads share.
pub(crate) struct Crew<'a> {
    /// Makes the calls.
    pub(crate) client: &'a Client,
    /// The world.
    pub(crate) cx: Context<'a>,
    /// The lanes' streams, whole, and how they are read.
    pub(crate) streams: Vec<(Stream, &'static Resource)>,
    /// What is left out.
    pub(crate) selection: &'a Selection,
    /// Buffers for lines, for reuse.
    pub(crate) spare: &'a Mutex<Vec<Vec<u8>>>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    closed: bool,
    watched: bool,
}

impl<'a> Crew<'a> {
    /// A crew without threads.
    pub(crate) fn new(
        client: &'a Client,
        cx: Context<'a>,
        streams: Vec<(Stream, &'static Resource)>,
        selection: &'a Selection,
        spare: &'a Mutex<Vec<Vec<u8>>>,
    ) -> Self {
        Self {
            client,
            cx,
            streams,
            selection,
            spare,
            queue: Mutex::new(Queue::default()),
            wake: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task.
    pub(crate) fn push(&self, task: Task) {
        self.lock().tasks.push_back(task);
        self.wake.notify_one();
    }

    /// Takes back the tasks of a lane that no thread has taken up yet; how many there were.
    pub(crate) fn withdraw(&self, lane: usize) -> usize {
        let mut queue = self.lock();
        let before = queue.tasks.len();
        queue.tasks.retain(|task| task.lane != lane);
        before - queue.tasks.len()
    }

    /// Lets the threads go home once they are done with what they hold.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.tasks.clear();
        drop(queue);
        self.wake.notify_all();
    }

    /// Waits for a task that may go now; `None` when the crew is closed.
    fn take(&self) -> Option<Task> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if queue.tasks.is_empty() || queue.watched {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            let mut earliest = now + Duration::from_millis(100);
            for bucket in [Bucket::Search, Bucket::Organization] {
                let of_bucket = |task: &Task| task.ask.call.bucket == bucket;
                let Some(index) = queue.tasks.iter().position(of_bucket) else { continue };
                match self.client.pace().try_take(bucket, now) {
                    Ok(()) => {
                        let task = queue.tasks.remove(index);
                        if !queue.tasks.is_empty() {
                            self.wake.notify_one();
                        }
                        return task;
                    }
                    Err(at) => earliest = earliest.min(at),
                }
            }
            queue.watched = true;
            queue = self
                .wake
                .wait_timeout(queue, earliest.saturating_duration_since(now))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            queue.watched = false;
        }
    }

    /// A thread's life.
    pub(crate) fn work(&self, results: &Sender<Done>) {
        let mut shapers: FxHashMap<usize, Shaper> = FxHashMap::default();
        while let Some(task) = self.take() {
            let began = Instant::now();
            let mut work = Duration::ZERO;
            let result = catch_unwind(AssertUnwindSafe(|| {
                let shaper = shapers.entry(task.lane).or_insert_with(|| {
                    let (stream, resource) = &self.streams[task.lane];
                    Shaper::new(stream, resource, self.selection)
                });
                self.client.call(&self.cx, &task.ask.call, true, |answer| {
                    let start = Instant::now();
                    let text = self.spare.lock().ok().and_then(|mut spare| spare.pop());
                    let page = page::read(answer, &task.ask.spec, shaper, text.unwrap_or_default());
                    work = start.elapsed();
                    page
                })
            }));
            let result = result.unwrap_or_else(|_| {
                shapers.clear();
                Err(Failure::Stop(Error::bug("a page could not be shaped")))
            });
            let done = Done {
                lane: task.lane,
                unit: task.ask.unit,
                page: task.ask.page,
                result,
                began,
                network: began.elapsed().saturating_sub(work),
                work,
            };
            if results.send(done).is_err() {
                return;
            }
        }
    }
}
