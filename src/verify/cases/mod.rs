//! The cases, one file per family. Each makes its own queues, signals and memory, and waits only until its deadline.

pub mod barrier;
pub mod contended;
pub mod dispatch;
pub mod litmus;
pub mod other_rmw;
pub mod ring;
pub mod signal;
