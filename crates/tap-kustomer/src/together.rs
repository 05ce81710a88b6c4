//! Small calls made side by side, where one after the other would cost a round trip each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Calls under way at once.
const MOST: usize = 12;

/// `call` of every item, in their order. The first error in that order counts; items not yet begun
/// when any call failed are left out.
pub(crate) fn together<T: Sync, R: Send, E: Send>(
    items: &[T],
    call: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let work = || {
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(at)
        {
            let result = call(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..MOST.min(items.len()) {
            // Without another thread this one does it all.
            let _ = std::thread::Builder::new().name("ask".into()).spawn_scoped(scope, work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_errors_end_it() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(
            together(&items, |n| Ok::<_, ()>(n * 2)).unwrap(),
            (0..100).map(|n| n * 2).collect::<Vec<_>>()
        );
        let calls = AtomicUsize::new(0);
        let result = together(&items, |n| {
            calls.fetch_add(1, Ordering::Relaxed);
            if *n == 3 { Err(*n) } else { Ok(()) }
        });
        assert_eq!(result, Err(3));
        assert!(calls.into_inner() <= 100);
        assert_eq!(together(&[] as &[u8], |_| Ok::<_, ()>(())), Ok(vec![]));
    }
}
