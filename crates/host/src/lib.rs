//! What this host is: topology, node information, cgroups.
