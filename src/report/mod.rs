//! What a run found, as data, and its renderings.
//!
//! `verify` fills a [`Report`]; the renderers print it. Nothing here decides: a renderer shows what the report says, and the
//! JSON form (`results/verify.schema.json`) is the same values under the same names.

pub mod audit_json;
pub mod audit_text;
pub mod document;
mod evidence;
pub mod json;
pub mod latency;
mod outcome;
mod path;
mod run;
mod runtime;
mod runtime_text;
mod style;
mod suspect;
mod table;
pub mod text;

pub use document::{Document, DocumentError, DocumentKind};
pub use evidence::{Evidence, FabricCounters, OutputEvidence, QueueEvidence, Remedy, SecondLook, SignalEvidence, UpdateEvidence};
pub use outcome::{Outcome, Standing};
pub use path::{Bit, HopReport, HopRole, KfdAcceptance, KfdReport, PathCapability, PathReport};
pub use run::{
    AtomicsMode, BedKind, BedReport, CaseReport, DeviceReport, Diagnosis, ExitCode, Prediction, Report, RequesterReadback,
    RunReport, Tool, UnknownExitCode, Verdict, VerdictWord,
};
pub use runtime::{AgentFacts, Doorbell, DriverFacts, EnvironmentVariable, RuntimeFacts};
pub use style::{Colour, TextStyle};
pub use suspect::Suspect;
