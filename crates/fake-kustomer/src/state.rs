//! What the server's threads share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::config::Config;
use crate::fault::{Call, Faults};
use crate::mutation::{Mutation, Outcome};
use crate::rate::Buckets;
use crate::world::World;

/// Requests served, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// All requests but those to `/_sim`.
    pub requests: u64,
    /// By endpoint and stream, as in `search conversation`, `list user`, `get customer`.
    pub by_kind: BTreeMap<String, u64>,
    /// By status; cut connections count as 0.
    pub by_status: BTreeMap<u16, u64>,
    /// Records sent.
    pub records: u64,
    /// Body bytes sent.
    pub bytes: u64,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    world: RwLock<World>,
    rate: Mutex<Buckets>,
    faults: Mutex<Faults>,
    stats: Mutex<Stats>,
    pool: Arc<Pool>,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Result<Self, String> {
        let clock = Clock::new(&config.clock);
        let mut world = World::new(&config, clock.origin())?;
        for activity in &config.activity {
            // Refuses unknown streams now rather than at the first change.
            if let Some(stream) = activity.mutation.stream() {
                world.stream_index(stream)?;
            }
        }
        world.advance(clock.now());
        Ok(Self {
            world: RwLock::new(world),
            rate: Mutex::default(),
            faults: Mutex::new(Faults::new(&config.faults, &config.hooks)),
            stats: Mutex::default(),
            pool: Arc::default(),
            clock,
            config,
        })
    }

    /// The organisation, brought up to now.
    pub(crate) fn world(&self) -> RwLockReadGuard<'_, World> {
        let now = self.clock.now();
        let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
        if !world.is_due(now) {
            return world;
        }
        drop(world);
        self.world_mut().advance(now);
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn world_mut(&self) -> RwLockWriteGuard<'_, World> {
        self.world.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rate(&self) -> MutexGuard<'_, Buckets> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change now.
    pub(crate) fn mutate(&self, mutation: &Mutation) -> Result<Outcome, String> {
        let now = self.clock.now();
        let mut world = self.world_mut();
        world.advance(now);
        world.apply(mutation, now)
    }

    /// Does what a served request sets off.
    pub(crate) fn follow(&self, call: &Call) {
        let hooks = self.faults().follow(call);
        for hook in hooks {
            if hook.advance_ms != 0 {
                self.clock.advance(hook.advance_ms);
            }
            for mutation in &hook.mutations {
                // A hook that names nothing that exists changes nothing.
                let _ = self.mutate(mutation);
            }
        }
    }

    /// An empty buffer, used before if possible.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        self.pool.take()
    }

    /// Bytes whose buffer comes back when they have been sent.
    pub(crate) fn bytes(&self, buf: Vec<u8>) -> axum::body::Bytes {
        axum::body::Bytes::from_owner(Pooled { buf, pool: Arc::clone(&self.pool) })
    }
}

/// Buffers between answers.
#[derive(Default)]
struct Pool(Mutex<Vec<Vec<u8>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.pop().unwrap_or_default()
    }

    fn give(&self, mut buf: Vec<u8>) {
        // A few page-sized buffers; a giant one is better freed.
        if buf.capacity() > 8 << 20 {
            return;
        }
        buf.clear();
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < 16 {
            free.push(buf);
        }
    }
}

struct Pooled {
    buf: Vec<u8>,
    pool: Arc<Pool>,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buf
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buf));
    }
}
