//! Crash-safe leases in a directory.
