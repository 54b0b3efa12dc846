/* write_output LINES: each rank writes that many numbered lines to stdout and as many to stderr. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    /* Whole lines in one write each: lines of different ranks may mix, their parts may not. */
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    for (int line = 0; line < atoi(argv[1]); line++) {
        printf("stdout of rank %d line %d\n", rank, line);
        fprintf(stderr, "stderr of rank %d line %d\n", rank, line);
    }
    MPI_Finalize();
    return 0;
}
