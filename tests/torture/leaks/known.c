/* What LeakSanitizer asks its program for. Programs that are started without an environment can be told no other way. */

/* A command that ends at once does so while the reactor's thread is being started: what that is given is then in no
   memory that is looked at. */
const char *__lsan_default_suppressions(void) {
    return "leak:async_io::driver::unparker\n";
}

const char *__lsan_default_options(void) {
    return "print_suppressions=0:external_symbolizer_path=" SYMBOLIZER;
}
