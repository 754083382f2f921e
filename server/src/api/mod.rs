//! The server's own REST interface.
