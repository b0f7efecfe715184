/* Settings of LeakSanitizer. They are linked in, because the tests start programs without an environment. */

/* A command may exit while the thread of the reactor is starting. LeakSanitizer then finds no pointer to the thread's
   arguments. */
const char *__lsan_default_suppressions(void) {
    return "leak:async_io::driver::unparker\n";
}

const char *__lsan_default_options(void) {
    return "print_suppressions=0:external_symbolizer_path=" SYMBOLIZER;
}
