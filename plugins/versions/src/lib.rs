//! Versions of Java systems on this machine: a content-addressed store filled from Maven; shared by plugins.
