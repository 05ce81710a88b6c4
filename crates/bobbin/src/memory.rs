//! How memory that is no longer used goes back to the system.

/// Bytes of a piece of memory that is mapped by itself, so that it goes back as soon as it is free.
#[cfg(target_env = "gnu")]
const ALONE: i32 = 4 << 20;

/// Free bytes at the end of the heap after which it is cut.
#[cfg(target_env = "gnu")]
const SLACK: i32 = 32 << 20;

/// Keeps the C library from holding on to what one huge record needed: call it before threads begin.
///
/// By default glibc moves both limits up with the largest piece that was ever freed (mallopt(3)); after
/// a record of 10 MB some 25 MB stay for as long as the process lives. Other C libraries need nothing.
#[cfg_attr(target_env = "gnu", expect(unsafe_code, reason = "the only way to tell glibc"))]
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes numbers alone, may be called at any time by a process with one thread,
    // and refuses what it does not know.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, ALONE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, SLACK);
    }
}
