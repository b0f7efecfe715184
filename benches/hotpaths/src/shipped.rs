//! With the allocator of the agent and the daemon.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    hotpaths::main();
}
