/* Each rank says that it is up, and then each SIGUSR1 that it gets; it never ends by itself, and uses no core while it waits.
 * With the argument "stubborn" it ignores SIGINT and SIGTERM. */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    int rank, got;
    sigset_t waited_for;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    sigemptyset(&waited_for);
    sigaddset(&waited_for, SIGUSR1);
    sigprocmask(SIG_BLOCK, &waited_for, NULL);
    if (argc > 1 && !strcmp(argv[1], "stubborn")) {
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    printf("rank %d is up\n", rank);
    fflush(stdout);
    while (!sigwait(&waited_for, &got)) {
        printf("rank %d got signal %d\n", rank, got);
        fflush(stdout);
    }
    return 1;
}
