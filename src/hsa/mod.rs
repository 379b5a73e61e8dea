//! The HSA runtime as the harness sees it.

pub mod sys;
