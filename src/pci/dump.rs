//! Reads the hex dumps of `lspci -x`, `-xxx` and `-xxxx`, also when mail or a web page has mangled them.
//!
//! Repaired is what leaves one reading only: quote marks, indentation, carriage returns, spaces lost between bytes, rows (and
//! the device line) joined into one line. Every repair of the rows is recorded. Anything else is an error with its line: a
//! byte read from the wrong offset would be worse than no answer.

mod rows;
#[cfg(test)]
mod tests;

use super::{Bdf, ConfigOffset, ConfigSpace};
pub use rows::RowFault;
use rows::{Row, looks_like_rows, rows};
use thiserror::Error;

/// A function found in a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpedFunction {
    /// Its address, from the device line.
    pub bdf: Bdf,
    /// The rest of the device line.
    pub description: String,
    /// Its config space, as far as the rows go.
    pub config: ConfigSpace,
    /// What had to be repaired to read it.
    pub repairs: Vec<Repair>,
}

/// A place where the text was mangled in a way that leaves one reading only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Line in the text, from 1.
    pub line: usize,
    /// Offset of the row in config space.
    pub offset: ConfigOffset,
    /// What was mangled.
    pub kind: RepairKind,
}

/// What was mangled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairKind {
    /// Spaces between the bytes of a row were lost.
    LostSpaces,
    /// Several rows, or the device line and rows, stand in one line.
    JoinedLines,
}

/// Why a dump cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DumpError {
    /// No device line in the text.
    #[error(
        "the text has no device line such as `0b:00.0 Display controller: ...`; take the whole output of `lspci -xxx -s BDF` as root"
    )]
    NoFunction,
    /// Device lines, but no hex rows.
    #[error("the text lists {functions} PCI functions but has no hex rows; take the dump with `lspci -xxx` as root")]
    NoRows {
        /// Number of device lines.
        functions: usize,
    },
    /// Hex rows before any device line.
    #[error("line {line}: hex rows without a device line above them; keep the line that lspci prints before the rows")]
    RowsWithoutFunction {
        /// Line in the text, from 1.
        line: usize,
    },
    /// A row that cannot be read, or stands at the wrong place.
    #[error("line {line}, row {label}: {fault}; copy the row again from lspci's output")]
    Row {
        /// Line in the text, from 1.
        line: usize,
        /// The row's offset as the text has it.
        label: String,
        /// What is wrong.
        fault: RowFault,
    },
    /// Too few rows for a header.
    #[error("line {line}: the dump of {bdf} has {known} bytes, a header needs 64; take the dump with `lspci -xxx` as root")]
    TooShort {
        /// Line of the device line, from 1.
        line: usize,
        /// The function.
        bdf: Bdf,
        /// Number of bytes the rows have.
        known: usize,
    },
}

/// Reads every function of which the text holds hex rows, in the order of the text. Device lines without rows are passed over.
///
/// # Errors
/// [`DumpError`] names the line, the row and what is wrong there; nothing is ever guessed.
pub fn read(text: &str) -> Result<Vec<DumpedFunction>, DumpError> {
    let mut reader = Reader::default();
    for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        reader.line(index + 1, raw)?;
    }
    reader.finish()
}

/// A function whose rows are still being read.
struct Open {
    line: usize,
    indent: usize,
    bdf: Bdf,
    description: String,
    bytes: Vec<u8>,
    repairs: Vec<Repair>,
}

#[derive(Default)]
struct Reader {
    functions: Vec<Open>,
}

impl Reader {
    fn line(&mut self, line: usize, raw: &str) -> Result<(), DumpError> {
        let content = raw.trim_start_matches(|mark: char| mark == '>' || mark.is_whitespace()).trim_end();
        let indent = raw.len() - raw.trim_start_matches(|mark: char| mark == '>' || mark.is_whitespace()).len();
        if let Some((bdf, rest)) = device_line(content) {
            return self.function(line, indent, bdf, rest);
        }
        if looks_like_rows(content, self.functions.is_empty()) {
            return match self.rows(line, content)? {
                Some((bdf, rest)) => self.function(line, indent, bdf, rest),
                None => Ok(()),
            };
        }
        self.wrapped_description(line, indent, content);
        Ok(())
    }

    /// Reads a device line and whatever rows and device lines are joined to it.
    fn function(&mut self, line: usize, indent: usize, bdf: Bdf, rest: &str) -> Result<(), DumpError> {
        let mut next = Some((bdf, rest));
        while let Some((bdf, rest)) = next {
            let (description, joined) = rest.split_at(joined_rows(rest).unwrap_or(rest.len()));
            let description = description.trim().to_owned();
            self.functions.push(Open { line, indent, bdf, description, bytes: Vec::new(), repairs: Vec::new() });
            next = if joined.is_empty() { None } else { self.rows(line, joined)? };
        }
        Ok(())
    }

    /// Reads rows up to the end of the line or to the next device line that was joined to it, which it gives back.
    fn rows<'t>(&mut self, line: usize, content: &'t str) -> Result<Option<(Bdf, &'t str)>, DumpError> {
        let next = tokens(content).find_map(|(at, token)| Some((at, address(token)?, at + token.len())));
        let (content, next) = match next {
            Some((at, bdf, end)) => (&content[..at], Some((bdf, &content[end..]))),
            None => (content, None),
        };
        let open = self.functions.last_mut().ok_or(DumpError::RowsWithoutFunction { line })?;
        let fault = |label: &str, fault| DumpError::Row { line, label: label.to_owned(), fault };
        let rows = rows(content).map_err(|(label, kind)| fault(&label, kind))?;
        let on_device_line = open.line == line;
        let joined = (on_device_line || rows.len() > 1 || next.is_some()).then_some(RepairKind::JoinedLines);
        if let (Some(kind), Some(first)) = (joined, rows.first()) {
            open.repairs.push(Repair { line, offset: ConfigOffset(first.offset), kind });
        }
        for row in rows {
            open.append(line, &row).map_err(|kind| fault(&row.label, kind))?;
        }
        Ok(next)
    }

    /// A mail client wraps the device line; what it wrapped is no deeper than the line itself, unlike lspci's details.
    fn wrapped_description(&mut self, line: usize, indent: usize, content: &str) {
        if let Some(open) = self.functions.last_mut()
            && open.line + 1 == line
            && open.indent == indent
            && open.bytes.is_empty()
            && !content.is_empty()
        {
            open.description.push(' ');
            open.description.push_str(content);
        }
    }

    fn finish(self) -> Result<Vec<DumpedFunction>, DumpError> {
        let functions = self.functions.len();
        let dumped: Vec<DumpedFunction> =
            self.functions.into_iter().filter(|open| !open.bytes.is_empty()).map(Open::close).collect::<Result<_, _>>()?;
        match (functions, dumped.is_empty()) {
            (0, _) => Err(DumpError::NoFunction),
            (_, true) => Err(DumpError::NoRows { functions }),
            (_, false) => Ok(dumped),
        }
    }
}

impl Open {
    fn append(&mut self, line: usize, row: &Row) -> Result<(), RowFault> {
        let expected = self.bytes.len();
        if expected >= ConfigSpace::EXTENDED_SIZE {
            return Err(RowFault::PastConfigSpace);
        }
        let expected = ConfigOffset(expected as u16);
        if row.offset > expected.0 {
            return Err(RowFault::Gap { expected });
        }
        if row.offset < expected.0 {
            return Err(RowFault::Backwards { expected });
        }
        if row.spaces_lost {
            self.repairs.push(Repair { line, offset: expected, kind: RepairKind::LostSpaces });
        }
        self.bytes.extend_from_slice(&row.bytes);
        Ok(())
    }

    fn close(self) -> Result<DumpedFunction, DumpError> {
        let Self { line, bdf, description, bytes, repairs, .. } = self;
        if bytes.len() < ConfigSpace::HEADER_SIZE {
            return Err(DumpError::TooShort { line, bdf, known: bytes.len() });
        }
        Ok(DumpedFunction { bdf, description, config: ConfigSpace::from_bytes(bytes), repairs })
    }
}

/// Whether a line below a device line is a row, well formed or not.
pub(super) fn is_row(content: &str) -> bool {
    looks_like_rows(content, false)
}

/// Where the rows start in a device line that was joined with them.
pub(super) fn joined_rows(device_line: &str) -> Option<usize> {
    rows::start_in(device_line)
}

/// The device line of `lspci`: an address, then the class and name.
fn device_line(content: &str) -> Option<(Bdf, &str)> {
    let token = content.split_whitespace().next()?;
    Some((address(token)?, &content[token.len()..]))
}

/// An address, also at the end of a path as `lspci -PP` prints it (`00:03.0/0b:00.0`).
fn address(token: &str) -> Option<Bdf> {
    token.rsplit('/').next()?.parse().ok()
}

/// The words of a text with where they stand.
fn tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace().map(|token| (token.as_ptr().addr() - text.as_ptr().addr(), token))
}
