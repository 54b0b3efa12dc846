//! Tokens that this plugin mints and checks.
