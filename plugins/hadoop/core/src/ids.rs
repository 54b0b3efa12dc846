//! The ids of applications, attempts and containers, and YARN's texts for them.
