/* Each rank says who and where it is; ranks of one node share its sandbox. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int rank, size;
    char host[256] = "";
    const char *sandbox = getenv("MESOS_SANDBOX");
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    gethostname(host, sizeof host - 1);
    printf("rank %d of %d on %s sandbox %s\n", rank, size, host, sandbox ? sandbox : "none");
    MPI_Finalize();
    return 0;
}
