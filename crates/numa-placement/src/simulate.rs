//! A simulator: guests come to a host and leave, placed by this crate's engine or by somebody else's.
//!
//! [`hosts`] and [`workload`] make what is simulated, [`rivals`] are the algorithms, [`world`] lets them work and
//! measures, [`burst`] starts many at once, [`table`] runs all of them over several seeds, [`latency`] measures decisions.
//!
//! What it does not do: nothing here starts a guest or reads the real host, and measured times are of the machine it
//! runs on. Everything else is the same everywhere for the same seed.

pub mod burst;
pub mod hosts;
pub mod latency;
pub mod random;
pub mod rivals;
pub mod table;
pub mod workload;
pub mod world;
