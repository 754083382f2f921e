//! How the process asks for memory.

/// Lets all threads allocate from one heap, where the C library is glibc.
///
/// glibc gives each thread a heap of its own, and what is freed in one is of no use to the others. A collection goes on
/// now on one thread and now on another, and left a part of its rubbish in each: of 10,000 pods the agent peaked at 40 to 45
/// MB instead of 38 to 39 (`docs/benchmarks.md`). It allocates little enough that two threads do not wait for each other.
pub(crate) fn share_one() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: `mallopt` takes two numbers and no pointer. It is called before there is a second thread.
        #[expect(
            unsafe_code,
            reason = "there is no safe way to say this, and `MALLOC_ARENA_MAX` is read before `main`"
        )]
        let is_set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        if is_set == 0 {
            tracing::debug!("the C library does not let threads share a heap");
        }
    }
}
