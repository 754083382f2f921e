//! The inventory server.

/// musl's own allocator has one lock for all threads and is slow without that: reports took 1.8 times as much of the processor as with
/// glibc's, with this one about as much (`docs/benchmarks.md`).
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads before `main`, as C's `const char *malloc_conf`: two heaps, for the reason that `stocktake_core::heap::share`
/// has with glibc; and what is free goes back to the system within a second of use instead of ten.
#[cfg(target_env = "musl")]
#[expect(unsafe_code, reason = "jemalloc looks for a symbol of this name, and no other crate defines one")]
#[unsafe(export_name = "malloc_conf")]
static MALLOC_CONF: &u8 = &b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0\0"[0];

fn main() -> std::process::ExitCode {
    stocktake_server::main()
}
