//! The AQL packet processor.
