//! The executor half: what YARN's NodeManager is to applications.
