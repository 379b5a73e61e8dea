//! Room kfd.
