//! The words, traits and stable ABI that mesos plugins are written against.
