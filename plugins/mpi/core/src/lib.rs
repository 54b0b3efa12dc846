//! The logic of the mpi plugin: placement, PMI-1, Open MPI's daemons; no I/O.
