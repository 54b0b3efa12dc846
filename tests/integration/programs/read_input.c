/* Rank 0 reads standard input to its end and sends it to everybody; each rank says how much that was and what it adds up to. */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv) {
    static char buffer[1 << 22];
    int rank, length = 0;
    unsigned long sum = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) length = (int)fread(buffer, 1, sizeof buffer, stdin);
    MPI_Bcast(&length, 1, MPI_INT, 0, MPI_COMM_WORLD);
    MPI_Bcast(buffer, length, MPI_CHAR, 0, MPI_COMM_WORLD);
    for (int i = 0; i < length; i++) sum += (unsigned char)buffer[i];
    printf("rank %d read %d bytes adding up to %lu\n", rank, length, sum);
    MPI_Finalize();
    return 0;
}
