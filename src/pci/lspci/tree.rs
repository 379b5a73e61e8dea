//! The trees of `lspci -t` and `-tv`.

use super::Note;
use super::header::device_function;
use crate::pci::Bdf;
use std::collections::{HashMap, HashSet};

/// Who is above whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BusTree {
    /// The bridge above each function that is not on a root bus.
    pub above: HashMap<Bdf, Bdf>,
    /// Functions on root buses: there is nothing above them.
    pub on_root_bus: HashSet<Bdf>,
}

/// A function in a tree, with its name if the tree has names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub bdf: Bdf,
    pub name: String,
}

/// Where a branch of a tree hangs.
#[derive(Clone, Copy, Debug)]
enum Level {
    /// Root buses hang here.
    Domains,
    /// Functions hang here, below a bridge unless this is a root bus.
    Bus { domain: u32, bus: u8, bridge: Option<Bdf> },
}

/// Reads trees line by line; a branch is recognised by its column.
#[derive(Debug, Default)]
pub(super) struct TreeReader {
    open: bool,
    branches: Vec<(usize, Level)>,
    tree: BusTree,
    leaves: Vec<Leaf>,
}

impl TreeReader {
    /// Takes in a line if it belongs to a tree; otherwise the tree ends. Gives back the functions of the line.
    pub fn line(&mut self, raw: &str, line: usize, notes: &mut Vec<Note>) -> Option<Vec<Leaf>> {
        let start = raw.find(|mark: char| mark != '>' && !mark.is_whitespace())?;
        let text = &raw[start..];
        let begins = text.starts_with("-[") || text.starts_with("-+-[");
        if begins {
            self.branches.clear();
            self.open = true;
            self.walk(raw.as_bytes(), start, Level::Domains, line, notes);
        } else if self.open && text.starts_with(['|', '+', '\\']) {
            self.continuation(raw.as_bytes(), start, line, notes);
        } else {
            self.open = false;
            return None;
        }
        Some(std::mem::take(&mut self.leaves))
    }

    /// The tree as read.
    pub fn finish(self) -> BusTree {
        self.tree
    }

    fn continuation(&mut self, text: &[u8], start: usize, line: usize, notes: &mut Vec<Note>) {
        let Some(column) = (start..text.len()).find(|&at| !matches!(text[at], b'|' | b' ')) else { return };
        while self.branches.last().is_some_and(|(other, _)| *other > column) {
            self.branches.pop();
        }
        match self.branches.last() {
            Some(&(at, level)) if at == column && matches!(text[column], b'+' | b'\\') => {
                if text[column] == b'\\' {
                    self.branches.pop();
                }
                self.walk(text, column + 1, level, line, notes);
            }
            _ => notes.push(Note::TreeBroken { line }),
        }
    }

    /// Follows a line from left to right.
    fn walk(&mut self, text: &[u8], mut at: usize, mut level: Level, line: usize, notes: &mut Vec<Note>) {
        let mut bridge = None;
        while let Some(&byte) = text.get(at) {
            match (byte, level) {
                (b'-', _) => at += 1,
                (b'+', _) => {
                    self.branches.push((at, level));
                    at += 1;
                }
                (b'[', _) => {
                    let length = text[at..].iter().take(16).position(|&byte| byte == b']');
                    let bus = length.and_then(|length| bus(&text[at + 1..at + length]));
                    let (Some(length), Some((domain, bus))) = (length, bus) else { break };
                    level = match level {
                        Level::Domains => Level::Bus { domain: domain.unwrap_or(0), bus, bridge: None },
                        Level::Bus { domain, .. } if bridge.is_some() => Level::Bus { domain, bus, bridge },
                        Level::Bus { .. } => break,
                    };
                    at += length + 1;
                }
                (_, Level::Bus { domain, bus, bridge: above }) => {
                    let end = text.len().min(at + 4);
                    let Some((device, function)) = std::str::from_utf8(&text[at..end]).ok().and_then(device_function) else {
                        break;
                    };
                    let bdf = Bdf { domain, bus, device, function };
                    match above {
                        Some(above) => _ = self.tree.above.insert(bdf, above),
                        None => _ = self.tree.on_root_bus.insert(bdf),
                    }
                    let rest = String::from_utf8_lossy(&text[end..]);
                    let is_bridge = rest.starts_with('-');
                    let name = if is_bridge { String::new() } else { rest.trim().to_owned() };
                    self.leaves.push(Leaf { bdf, name });
                    if !is_bridge {
                        return;
                    }
                    bridge = Some(bdf);
                    at = end;
                }
                _ => break,
            }
        }
        if !text[at.min(text.len())..].iter().all(u8::is_ascii_whitespace) {
            notes.push(Note::TreeBroken { line });
        }
    }
}

/// `0000:00`, `02`, `02-0a` or `0000:02-0a`.
fn bus(text: &[u8]) -> Option<(Option<u32>, u8)> {
    let text = std::str::from_utf8(text).ok()?;
    let (domain, buses) = match text.split_once(':') {
        Some((domain, buses)) => (Some(u32::from_str_radix(domain, 16).ok()?), buses),
        None => (None, text),
    };
    let first = buses.split('-').next()?;
    let bus = if first.len() == 2 { u8::from_str_radix(first, 16).ok()? } else { return None };
    Some((domain, bus))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (BusTree, Vec<String>, Vec<Note>) {
        let (mut reader, mut notes, mut names) = (TreeReader::default(), Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let leaves = reader.line(line, index + 1, &mut notes).unwrap_or_default();
            names.extend(leaves.into_iter().map(|leaf| format!("{} {}", leaf.bdf.short(), leaf.name)));
        }
        (reader.finish(), names, notes)
    }

    fn above(tree: &BusTree, below: &str) -> Option<String> {
        tree.above.get(&below.parse().unwrap()).map(Bdf::short)
    }

    const X570: &str = "\
-[0000:00]-+-00.0  Root Complex
           +-01.2-[02-0a]----00.0-[03-0a]--+-02.0-[06]--+-00.0  Baffin
           |                               |            \\-00.1  Baffin HDMI/DP Audio
           |                               \\-05.0-[07]--
           \\-03.1-[08]----00.0  Navi
";

    #[test]
    fn every_function_hangs_below_the_bridge_whose_bus_it_is_on() {
        let (tree, names, notes) = read(X570);
        assert_eq!(notes, []);
        assert_eq!(above(&tree, "06:00.1").as_deref(), Some("03:02.0"));
        assert_eq!(above(&tree, "03:05.0").as_deref(), Some("02:00.0"));
        assert_eq!(above(&tree, "02:00.0").as_deref(), Some("00:01.2"));
        assert_eq!(above(&tree, "08:00.0").as_deref(), Some("00:03.1"));
        assert!(tree.on_root_bus.contains(&"00:03.1".parse().unwrap()) && above(&tree, "00:03.1").is_none());
        assert!(names.contains(&"08:00.0 Navi".to_owned()) && names.contains(&"03:02.0 ".to_owned()));
    }

    #[test]
    fn several_domains_have_a_root_bus_each() {
        let (tree, _, notes) = read("-+-[0001:00]---00.0-[01]----00.0\n \\-[0000:00]-+-00.0\n             \\-01.0-[01]--\n");
        assert_eq!(notes, []);
        assert_eq!(above(&tree, "0001:01:00.0").as_deref(), Some("0001:00:00.0"));
        assert!(tree.on_root_bus.contains(&"00:01.0".parse().unwrap()));
    }

    #[test]
    fn quotation_shifts_all_columns_alike() {
        let quoted: String = X570.lines().map(|line| format!("> {line}\n")).collect();
        assert_eq!(read(&quoted).0, read(X570).0);
    }

    #[test]
    fn a_line_on_no_branch_is_noted_and_not_guessed() {
        let (tree, _, notes) = read("-[0000:00]-+-00.0\n     +-01.0-[01]----00.0\n");
        assert_eq!(notes, [Note::TreeBroken { line: 2 }]);
        assert!(tree.above.is_empty());
    }
}
