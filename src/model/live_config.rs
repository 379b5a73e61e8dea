//! Live config space.
