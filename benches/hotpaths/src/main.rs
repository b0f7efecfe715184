//! With libc's allocator, which valgrind can observe.

fn main() {
    hotpaths::main();
}
