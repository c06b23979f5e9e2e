//! The polyvirt command.
