//! What a run found, as data, and its renderings.
//!
//! `verify` fills a [`Report`]; the renderers print it. Nothing here decides: a renderer shows what the report says, and the
//! JSON form (`results/verify.schema.json`) is the same values under the same names.

mod alike;
pub mod audit_json;
pub mod audit_text;
mod checklist;
mod compact_numbers;
pub mod document;
mod evidence;
pub mod fleet;
pub mod fleet_text;
pub mod github;
pub mod html;
pub mod json;
mod junit;
pub mod latency;
pub mod latency_text;
mod ndjson;
mod npd;
mod outcome;
mod path;
mod prometheus;
mod render;
mod run;
mod runtime;
mod runtime_text;
mod style;
mod suspect;
mod table;
mod tap;
pub mod text;

pub use checklist::HardwareDemand;
pub use document::{Document, DocumentError, DocumentKind};
pub use evidence::{Evidence, FabricCounters, OutputEvidence, QueueEvidence, Remedy, SecondLook, SignalEvidence, UpdateEvidence};
pub use ndjson::EventStream;
pub use npd::NodeStatus;
pub use outcome::{Outcome, Standing};
pub use path::{Bit, HopReport, HopRole, KfdAcceptance, KfdReport, PathCapability, PathReport};
pub use render::{Refusal, RenderContext, RenderError, Renderer, ReportKind, UnknownReportKind};
pub use run::{
    AtomicsMode, BedKind, BedReport, CaseReport, DeviceReport, Diagnosis, ExitCode, Prediction, Report, RequesterReadback,
    RunReport, Tool, UnknownExitCode, Verdict, VerdictWord,
};
pub use runtime::{AgentFacts, Doorbell, DriverFacts, EnvironmentVariable, RuntimeFacts};
pub use style::{Colour, TextStyle};
pub(crate) use style::{Tone, tame, time};
pub use suspect::Suspect;
pub(crate) use table::{columns, write_indented};
