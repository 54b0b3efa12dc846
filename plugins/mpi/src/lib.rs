//! The mpi plugin.
