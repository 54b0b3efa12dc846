//! Hadoop RPC v9, server side: bytes in, calls out; answers in, bytes out.
