//! How the process asks for memory.

/// Lets all threads allocate from so many heaps, where the C library is glibc; elsewhere it does nothing. To be called before there
/// is a second thread. Whether the library let it.
///
/// glibc gives each thread a heap of its own, and what is freed in one is of no use to the others. What goes on now on one thread and
/// now on another leaves a part of its rubbish in each: of 10,000 pods the agent peaked at 40 to 45 MB instead of 38 to 39, and a
/// server that was told of 10,000 pods at once 316 MB instead of 178 with two heaps, and 148 with one (`docs/benchmarks.md`). One is enough for
/// who allocates little; threads that allocate all the time wait for each other.
#[must_use]
pub fn share(heaps: u8) -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: `mallopt` takes two numbers and no pointer.
        #[expect(
            unsafe_code,
            reason = "there is no safe way to say this, and `MALLOC_ARENA_MAX` is read before `main`"
        )]
        let is_set = unsafe { libc::mallopt(libc::M_ARENA_MAX, i32::from(heaps)) };
        is_set != 0
    }
    #[cfg(not(target_env = "gnu"))]
    {
        heaps > 0
    }
}
