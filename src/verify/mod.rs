//! Room verify.
