/* raw_spawn TASKS THREADS: how fast this machine starts and reaps /bin/true. Each thread does vfork, exec and wait, again and
 * again: nothing that starts processes one by one can be faster. Prints the seconds that all of it took. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void *spawn_and_reap(void *share) {
    static char *const arguments[] = {"true", NULL};
    for (long left = (long)share; left > 0; left--) {
        int status;
        pid_t child = vfork();
        if (child == 0) {
            execve("/bin/true", arguments, environ);
            _exit(127);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            perror("raw_spawn: start /bin/true");
            exit(1);
        }
    }
    return NULL;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    long tasks = argc == 3 ? atol(argv[1]) : 0, threads = argc == 3 ? atol(argv[2]) : 0;
    if (tasks < 1 || threads < 1 || threads > 64) {
        fprintf(stderr, "usage: raw_spawn TASKS THREADS\n");
        return 2;
    }
    pthread_t thread[64];
    double start = seconds();
    for (long i = 0; i < threads; i++) {
        long share = tasks / threads + (i < tasks % threads);
        if (pthread_create(&thread[i], NULL, spawn_and_reap, (void *)share)) return 1;
    }
    for (long i = 0; i < threads; i++) pthread_join(thread[i], NULL);
    printf("%.6f\n", seconds() - start);
    return 0;
}
