//! Behaviour every driver must show.
