/* Adds up over all ranks, again and again for so many seconds, and checks each sum. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    double seconds = argc > 1 ? atof(argv[1]) : 1, until = MPI_Wtime() + seconds;
    int rank, size, rounds = 0, on = 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    while (on) {
        int mine = rank + rounds, sum = 0;
        MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        if (sum != size * (size - 1) / 2 + size * rounds) MPI_Abort(MPI_COMM_WORLD, 3);
        rounds++;
        usleep(20000);
        on = MPI_Wtime() < until;
        MPI_Bcast(&on, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
    if (rank == 0) printf("%d ranks agreed %s\n", size, rounds > 0 ? "in every round" : "never");
    MPI_Finalize();
    return 0;
}
