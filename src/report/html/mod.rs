//! Saved reports as one page.
use super::fleet::SavedReport;
/// A report and the file that it came from.
#[derive(Clone, Debug)]
pub struct HtmlSource {
    /// The file, as it was named.
    pub file: String,
    /// What it holds.
    pub report: SavedReport,
}
/// The page.
#[must_use]
pub fn page(_sources: &[HtmlSource]) -> String {
    String::new()
}
