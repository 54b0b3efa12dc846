/* where NAME...: each rank prints its working directory, its arguments and the environment's values of these names. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int rank;
    char folder[4096] = "";
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (!getcwd(folder, sizeof folder)) return 1;
    printf("rank %d cwd %s\n", rank, folder);
    for (int i = 1; i < argc; i++) {
        char *value = getenv(argv[i]);
        printf("rank %d %s=%s\n", rank, argv[i], value ? value : "(unset)");
    }
    MPI_Finalize();
    return 0;
}
