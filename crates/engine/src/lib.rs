//! Connections, domains, jobs, the store and placement.
