//! Where answers' bodies are read and made into pages: a few at a time, each with a buffer of its
//! own that serves again. A call that waits for its answer needs none, so that many can be under
//! way.

use std::sync::{Condvar, Mutex, PoisonError};

/// A few buffers, and as many places to use them.
pub(super) struct Desk {
    state: Mutex<(usize, Vec<Vec<u8>>)>,
    left: Condvar,
}

/// A place at the desk with its buffer.
pub(super) struct Seat<'a> {
    desk: &'a Desk,
    pub(super) bytes: Vec<u8>,
}

impl Desk {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self { state: Mutex::new(((cores * 3).max(6), Vec::new())), left: Condvar::new() }
    }

    /// Waits for a place.
    pub(super) fn sit(&self) -> Seat<'_> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.0 == 0 {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.0 -= 1;
        Seat { desk: self, bytes: state.1.pop().unwrap_or_default() }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut state = self.desk.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        // A buffer that grew out of proportion is let go.
        if bytes.capacity() <= 8 << 20 {
            state.1.push(bytes);
        }
        drop(state);
        self.desk.left.notify_one();
    }
}
