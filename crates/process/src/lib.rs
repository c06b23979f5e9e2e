//! Starting processes behind a gate.
