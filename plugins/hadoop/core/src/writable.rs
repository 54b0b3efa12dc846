//! Hadoop's Writable forms: variable-length numbers, texts, tokens, credentials.
