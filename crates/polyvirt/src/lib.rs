//! One model of a guest, many hypervisors: the facade.
