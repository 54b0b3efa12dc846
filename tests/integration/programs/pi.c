/* Each rank integrates its share of 4 / (1 + x^2) from 0 to 1; rank 0 says what they add up to. */
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv) {
    const int strips = 10000000;
    int rank, size;
    double part = 0, pi = 0;
    char host[256] = "";
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    gethostname(host, sizeof host - 1);
    for (int i = rank; i < strips; i += size) {
        double x = (i + 0.5) / strips;
        part += 4 / (1 + x * x) / strips;
    }
    printf("rank %d of %d on %s has %.6f\n", rank, size, host, part);
    MPI_Reduce(&part, &pi, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0) printf("pi is %.8f\n", pi);
    MPI_Finalize();
    return 0;
}
