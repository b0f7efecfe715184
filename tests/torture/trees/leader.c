/* A process whose first thread has ended and whose second thread lives: /proc shows it as a zombie. */
#include <pthread.h>
#include <unistd.h>

static void *wait_for_ever(void *argument) {
    for (;;) pause();
    return argument;
}

int main(void) {
    pthread_t thread;
    if (pthread_create(&thread, 0, wait_for_ever, 0)) return 1;
    pthread_exit(0);
}
