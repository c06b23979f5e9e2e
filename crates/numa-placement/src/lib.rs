//! NUMA topology, placement rules, planning and the ledger of promises.
