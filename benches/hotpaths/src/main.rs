//! With libc's allocator, which valgrind can watch.

fn main() {
    hotpaths::main();
}
