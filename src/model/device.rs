//! The device thread.
