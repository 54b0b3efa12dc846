//! Starts clusters and programs for tests.
