//! Splits a text into functions and trees, and puts together what it says of each.

use super::draft::{Draft, NamedBy};
use super::header::{Address, class_of, device_line};
use super::stanza::{Decoded, Follows, StanzaReader};
use super::tree::TreeReader;
use super::{Access, Listing, ListingError, Note};
use crate::pci::dump::{self, DumpError, DumpedFunction};
use crate::pci::{Bdf, ConfigSpace};
use std::collections::HashMap;

/// Mail wraps lines no shorter than this.
const WRAPPED_LINE_AT_LEAST: usize = 40;
/// A device line is wrapped into no more lines than this.
const WRAPPED_LINES_AT_MOST: usize = 2;
/// Words that end the device line where all lines are joined.
const FIRST_KEYS: [&str; 5] = [" Subsystem:", " DeviceName:", " Control:", " Flags:", " Capabilities:"];

pub(super) fn read(text: &str) -> Result<Listing, ListingError> {
    let mut reader = Reader::default();
    for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        reader.line(index + 1, raw)?;
    }
    reader.finish()
}

/// A function whose lines are still being read.
struct Open<'t> {
    bdf: Bdf,
    line: usize,
    indent: usize,
    /// Lines that may still continue the device line.
    wrapped: usize,
    description: String,
    stanza: StanzaReader<'t>,
    rows: Rows,
}

/// The hex rows of a function as a dump of its own, with the line in the text of each of its lines.
#[derive(Default)]
struct Rows {
    text: String,
    lines: Vec<usize>,
}

impl Rows {
    fn push(&mut self, bdf: Bdf, header: usize, line: usize, content: &str) {
        if self.lines.is_empty() {
            self.text = bdf.to_string();
            // Rows on the device line stay on it, so that they count as joined.
            let separator = if header == line { ' ' } else { '\n' };
            self.text.push(separator);
            self.lines.push(header);
        }
        if header != line {
            self.lines.push(line);
        }
        self.text.push_str(content);
        self.text.push('\n');
    }

    fn line(&self, within: usize) -> usize {
        within.checked_sub(1).and_then(|at| self.lines.get(at).copied()).unwrap_or(within)
    }
}

#[derive(Default)]
struct Reader<'t> {
    drafts: Vec<Draft>,
    index: HashMap<Bdf, usize>,
    /// Functions by their path in `lspci -P`.
    paths: HashMap<&'t str, Bdf>,
    trees: TreeReader,
    open: Option<Open<'t>>,
    notes: Vec<Note>,
    line: usize,
}

impl<'t> Reader<'t> {
    fn line(&mut self, line: usize, raw: &'t str) -> Result<(), ListingError> {
        self.line = line;
        if let Some(leaves) = self.trees.line(raw, line, &mut self.notes) {
            self.close(Follows::Nothing)?;
            self.limit_notes();
            for leaf in leaves {
                let draft = self.draft(leaf.bdf)?;
                if draft.description.is_empty() && !leaf.name.is_empty() {
                    draft.named_by = NamedBy::Tree;
                    draft.description = leaf.name;
                }
            }
            return Ok(());
        }
        let content = raw.trim_start_matches(|mark: char| mark == '>' || mark.is_whitespace());
        let indent = raw.len() - content.len();
        let content = content.trim_end();
        if content.is_empty() {
            if let Some(open) = &mut self.open {
                open.stanza.blank_line();
                open.wrapped = WRAPPED_LINES_AT_MOST;
            }
            return Ok(());
        }
        if let Some((address, rest)) = device_line(content) {
            return self.function(line, indent, address, content, rest);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        if dump::is_row(content) {
            open.rows.push(open.bdf, open.line, line, content);
        } else if open.wrapped < WRAPPED_LINES_AT_MOST && indent <= open.indent && continues_device_line(content) {
            open.wrapped += 1;
            open.description.push(' ');
            open.description.push_str(content);
        } else {
            open.wrapped = WRAPPED_LINES_AT_MOST;
            open.stanza.line(content);
        }
        Ok(())
    }

    fn function(
        &mut self,
        line: usize,
        indent: usize,
        address: Address<'t>,
        content: &'t str,
        rest: &'t str,
    ) -> Result<(), ListingError> {
        self.close(Follows::AnotherFunction)?;
        let token = &content[..content.len() - rest.len()];
        let (bdf, above) = match address {
            Address::Known { bdf, above } => (bdf, above),
            Address::BelowPath { above, device, function } => {
                let bridge = self.paths.get(above).copied().or_else(|| above.parse().ok());
                let buses = bridge.and_then(|bridge| self.drafts[*self.index.get(&bridge)?].decoded.buses);
                let (Some(bridge), Some(buses)) = (bridge, buses) else {
                    self.notes.push(Note::AddressNotKnown { line });
                    self.limit_notes();
                    return Ok(());
                };
                (Bdf { domain: bridge.domain, bus: buses.secondary, device, function }, Some(bridge))
            }
        };
        if token.contains('/') {
            self.paths.insert(token, bdf);
        }
        let draft = self.draft(bdf)?;
        draft.above = above.or(draft.above);
        let (rest, joined) = rest.split_at(dump::joined_rows(rest).unwrap_or(rest.len()));
        let keys = FIRST_KEYS.iter().filter_map(|key| rest.find(key)).min();
        let (description, details) = rest.split_at(keys.unwrap_or(rest.len()));
        let wraps = joined.is_empty() && details.is_empty() && content.len() >= WRAPPED_LINE_AT_LEAST;
        let mut open = Open {
            bdf,
            line,
            indent,
            wrapped: if wraps { 0 } else { WRAPPED_LINES_AT_MOST },
            description: description.trim().to_owned(),
            stanza: StanzaReader::default(),
            rows: Rows::default(),
        };
        open.stanza.line(details);
        if !joined.is_empty() {
            open.rows.push(bdf, line, line, joined);
        }
        self.open = Some(open);
        Ok(())
    }

    /// The draft of a function, made if it is new.
    fn draft(&mut self, bdf: Bdf) -> Result<&mut Draft, ListingError> {
        let limit = Listing::FUNCTIONS_AT_MOST;
        let at = *self.index.entry(bdf).or_insert(self.drafts.len());
        if at == self.drafts.len() {
            if at == limit {
                return Err(ListingError::TooManyFunctions { limit, line: self.line });
            }
            self.drafts.push(Draft::new(bdf));
        }
        Ok(&mut self.drafts[at])
    }

    /// Ends the function that is open.
    fn close(&mut self, follows: Follows) -> Result<(), ListingError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Open { bdf, description, stanza, rows, .. } = open;
        let dumped = if rows.lines.is_empty() { Ok(Vec::new()) } else { dump::read(&rows.text) };
        let mut configs = dumped.unwrap_or_else(|error| {
            let error = in_text(error, &rows);
            self.notes.push(Note::UnreadableRows { bdf, error });
            Vec::new()
        });
        let own = configs.iter().position(|function| function.bdf == bdf).map(|at| configs.remove(at));
        if let Some(repair) = own.as_ref().and_then(|function| function.repairs.first()) {
            self.notes.push(Note::RepairedRows { bdf, line: rows.line(repair.line) });
        }
        self.merge(bdf, &description, stanza.finish(follows), own.map(|function| function.config))?;
        // Functions whose device lines were joined to the rows.
        for DumpedFunction { bdf, description, config, .. } in configs {
            self.merge(bdf, &description, Decoded::default(), Some(config))?;
        }
        self.limit_notes();
        Ok(())
    }

    fn merge(&mut self, bdf: Bdf, description: &str, decoded: Decoded, config: Option<ConfigSpace>) -> Result<(), ListingError> {
        let draft = self.draft(bdf)?;
        if draft.named_by == NamedBy::Tree || draft.description.is_empty() || class_of(description).is_some() {
            draft.description = description.to_owned();
            draft.named_by = NamedBy::DeviceLine;
        }
        let earlier = std::mem::replace(&mut draft.decoded, decoded);
        draft.config = config.or(draft.config.take());
        let differing = draft.decoded.complete_from(earlier);
        self.notes.extend(differing.into_iter().map(|field| Note::ShownTwice { bdf, field }));
        Ok(())
    }

    fn limit_notes(&mut self) {
        if self.notes.len() > Listing::NOTES_AT_MOST {
            self.notes.truncate(Listing::NOTES_AT_MOST);
            self.notes.push(Note::More);
        }
    }

    fn finish(mut self) -> Result<Listing, ListingError> {
        self.close(Follows::Nothing)?;
        if self.drafts.is_empty() {
            return Err(ListingError::NoFunction);
        }
        let mut listing = Listing { tree: self.trees.finish(), index: self.index, ..Listing::default() };
        let mut notes = Vec::new();
        let first = |condition: &dyn Fn(&Draft) -> bool| self.drafts.iter().find(|draft| condition(draft)).map(|draft| draft.bdf);
        notes.extend(first(&|draft| draft.decoded.access == Access::Denied).map(|bdf| Note::AccessDenied { bdf }));
        let old = first(&|draft| draft.decoded.lacks_atomic_lines && draft.config.is_none());
        notes.extend(old.map(|bdf| Note::AtomicOpsNotPrinted { bdf }));
        notes.append(&mut self.notes);
        let mut virtual_functions = Vec::new();
        for draft in self.drafts {
            listing.tree.above.extend(draft.above.map(|above| (draft.bdf, above)));
            virtual_functions.push((draft.bdf, draft.decoded.virtual_functions));
            let function = draft.close(&mut notes);
            if let Some(buses) = function.buses.filter(|buses| buses.secondary > function.bdf.bus) {
                listing.bridge_above.entry((function.bdf.domain, buses.secondary)).or_insert(listing.functions.len());
            }
            listing.functions.push(function);
        }
        for (physical, functions) in virtual_functions {
            for bdf in functions.below(physical) {
                if let Some(&at) = listing.index.get(&bdf) {
                    listing.functions[at].hop.physical_function = Some(physical);
                }
            }
        }
        if notes.len() > Listing::NOTES_AT_MOST {
            notes.truncate(Listing::NOTES_AT_MOST - 1);
            notes.push(Note::More);
        }
        listing.notes = notes;
        Ok(listing)
    }
}

/// Whether a line below a device line at its indentation is the rest of it.
fn continues_device_line(content: &str) -> bool {
    let first = content.split_whitespace().next().unwrap_or_default();
    let is_key = first.ends_with(':')
        || content.split_once(':').is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_alphabetic() || c == ' '));
    let is_prompt = first.contains('@') || matches!(first, "$" | "#");
    !(is_key || is_prompt || first.starts_with("```"))
}

/// The error with its line in the text instead of the line among the rows.
fn in_text(error: DumpError, rows: &Rows) -> DumpError {
    match error {
        DumpError::NoFunction | DumpError::NoRows { .. } => error,
        DumpError::RowsWithoutFunction { line } => DumpError::RowsWithoutFunction { line: rows.line(line) },
        DumpError::Row { line, label, fault } => DumpError::Row { line: rows.line(line), label, fault },
        DumpError::TooShort { line, bdf, known } => DumpError::TooShort { line: rows.line(line), bdf, known },
    }
}
