use super::*;
use crate::pci::dump;
use crate::pci::sysfs::SysfsRoot;
use std::fs;

const FIJI_BEFORE: &str = include_str!("../../../tests/data/lspci/01-fiji-before.txt");
/// Where the published dumps have Device Control 2.
const DEVCTL2: usize = 0x80;
/// A process id that Linux never gives (the largest possible limit is 2^22).
const NOBODY: u32 = 1 << 30;

/// A directory with a Fiji's config space as a file and a place for its journal.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn with(changes: &[(usize, u8)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut bytes = dump::read(FIJI_BEFORE).unwrap().remove(0).config.bytes().to_vec();
        for (at, value) in changes {
            bytes[*at] = *value;
        }
        fs::write(directory.path().join("config"), bytes).unwrap();
        Self { directory }
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    fn journal(&self) -> PathBuf {
        self.directory.path().join("state/fiji.journal")
    }

    fn open(&self) -> Result<RequesterSwitch, RequesterError> {
        RequesterSwitch::open(&self.config(), bdf(), &self.journal())
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.config()).unwrap()
    }

    /// As if the process that holds the switch had been killed.
    fn killed_after(&self, state: RequesterState) {
        let mut switch = self.open().unwrap();
        switch.set(state).unwrap();
        std::mem::forget(switch);
        let text = fs::read_to_string(self.journal()).unwrap();
        let mut journal: serde_json::Value = serde_json::from_str(&text).unwrap();
        journal["pid"] = NOBODY.into();
        fs::write(self.journal(), journal.to_string()).unwrap();
    }
}

fn bdf() -> Bdf {
    "0b:00.0".parse().unwrap()
}

#[test]
fn setting_changes_bit_6_alone() {
    let bench = Bench::with(&[(DEVCTL2, 0x80), (DEVCTL2 + 1, 0x04)]);
    let before = bench.bytes();
    let mut switch = bench.open().unwrap();
    assert_eq!(switch.original(), RequesterState::Disabled);
    assert_eq!(switch.set(RequesterState::Enabled).unwrap(), Outcome::Holds);
    assert_eq!(switch.state().unwrap(), RequesterState::Enabled);
    let mut expected = before;
    expected[DEVCTL2] = 0xc0;
    assert_eq!(bench.bytes(), expected);
}

#[test]
fn dropping_puts_back_the_original_and_removes_the_journal() {
    let bench = Bench::with(&[(DEVCTL2, 0x40)]);
    let before = bench.bytes();
    let mut switch = bench.open().unwrap();
    switch.set(RequesterState::Disabled).unwrap();
    assert!(bench.journal().exists());
    assert_eq!(bench.bytes()[DEVCTL2], 0);
    drop(switch);
    assert_eq!(bench.bytes(), before);
    assert!(!bench.journal().exists());
}

#[test]
fn restoring_twice_is_restoring_once() {
    let bench = Bench::with(&[]);
    let mut switch = bench.open().unwrap();
    switch.set(RequesterState::Enabled).unwrap();
    switch.restore().unwrap();
    // Somebody else's change after the restore is theirs.
    let mut bytes = bench.bytes();
    bytes[DEVCTL2] = 0x40;
    fs::write(bench.config(), &bytes).unwrap();
    switch.restore().unwrap();
    drop(switch);
    assert_eq!(bench.bytes()[DEVCTL2], 0x40);
}

#[test]
fn a_state_that_is_there_already_writes_neither_journal_nor_config() {
    let bench = Bench::with(&[]);
    let mut switch = bench.open().unwrap();
    assert_eq!(switch.set(RequesterState::Disabled).unwrap(), Outcome::Holds);
    assert!(!bench.journal().exists());
}

#[test]
fn a_killed_process_is_repaired_from_its_journal() {
    let bench = Bench::with(&[]);
    let before = bench.bytes();
    bench.killed_after(RequesterState::Enabled);
    assert_ne!(bench.bytes(), before);
    let restored = restore_from_journal(&bench.journal()).unwrap();
    assert_eq!(restored, Restored { bdf: bdf(), state: RequesterState::Disabled });
    assert_eq!(bench.bytes(), before);
    assert!(!bench.journal().exists());
}

#[test]
fn a_journal_left_behind_stops_the_next_run_and_names_the_command() {
    let bench = Bench::with(&[]);
    bench.killed_after(RequesterState::Enabled);
    let journal = fs::read(bench.journal()).unwrap();
    let error = bench.open().unwrap_err();
    assert!(matches!(error, RequesterError::LeftChanged { pid: NOBODY, .. }), "{error}");
    assert!(error.to_string().contains("aqlprobe atomics restore"));
    assert_eq!(fs::read(bench.journal()).unwrap(), journal);
}

#[test]
fn the_journal_of_a_running_process_is_neither_taken_over_nor_restored() {
    let bench = Bench::with(&[]);
    let mut switch = bench.open().unwrap();
    switch.set(RequesterState::Enabled).unwrap();
    assert!(matches!(bench.open(), Err(RequesterError::HeldByProcess { .. })));
    assert!(matches!(restore_from_journal(&bench.journal()), Err(RequesterError::HeldByProcess { .. })));
    assert_eq!(switch.state().unwrap(), RequesterState::Enabled);
}

#[test]
fn two_switches_opened_before_either_writes_cannot_both_change_the_bit() {
    let bench = Bench::with(&[]);
    let (mut first, mut second) = (bench.open().unwrap(), bench.open().unwrap());
    first.set(RequesterState::Enabled).unwrap();
    assert_eq!(second.set(RequesterState::Enabled).unwrap(), Outcome::Holds);
    assert!(matches!(second.set(RequesterState::Disabled), Err(RequesterError::HeldByProcess { .. })));
    drop(second);
    assert_eq!(first.state().unwrap(), RequesterState::Enabled);
}

#[test]
fn a_card_put_in_since_is_not_touched() {
    let bench = Bench::with(&[]);
    bench.killed_after(RequesterState::Enabled);
    let mut bytes = bench.bytes();
    bytes[2] = 0x01;
    fs::write(bench.config(), &bytes).unwrap();
    let error = restore_from_journal(&bench.journal()).unwrap_err();
    assert!(matches!(error, RequesterError::AnotherDevice { recorded: 0x7300_1002, found: 0x7301_1002, .. }), "{error}");
    assert_eq!(bench.bytes(), bytes);
}

#[test]
fn a_file_that_is_no_journal_is_refused() {
    let bench = Bench::with(&[]);
    fs::create_dir_all(bench.journal().parent().unwrap()).unwrap();
    for text in ["", "{}", "hello", r#"{"version":2}"#] {
        fs::write(bench.journal(), text).unwrap();
        assert!(matches!(restore_from_journal(&bench.journal()), Err(RequesterError::NotAJournal { .. })), "{text}");
        assert!(matches!(bench.open(), Err(RequesterError::NotAJournal { .. })), "{text}");
    }
    let absent = bench.directory.path().join("absent");
    assert!(matches!(restore_from_journal(&absent), Err(RequesterError::NotAJournal { .. })));
}

#[test]
fn a_journal_that_cannot_be_written_leaves_the_bit_alone() {
    let bench = Bench::with(&[]);
    let before = bench.bytes();
    let below_a_file = bench.config().join("journal");
    let mut switch = RequesterSwitch::open(&bench.config(), bdf(), &below_a_file).unwrap();
    assert!(matches!(switch.set(RequesterState::Enabled), Err(RequesterError::Journal { .. })));
    assert_eq!(bench.bytes(), before);
}

#[test]
fn a_version_1_capability_and_a_missing_one_have_no_bit() {
    for change in [(0x5a, 0x11), (0x51, 0)] {
        assert!(matches!(Bench::with(&[change]).open(), Err(RequesterError::NoRegister { .. })));
    }
}

#[test]
fn config_space_of_64_bytes_means_no_permission() {
    let bench = Bench::with(&[]);
    fs::write(bench.config(), &bench.bytes()[..64]).unwrap();
    let error = bench.open().unwrap_err();
    assert!(matches!(error, RequesterError::NeedsRoot { .. }) && error.to_string().contains("root"));
}

#[test]
fn a_device_that_is_gone_is_an_error_with_its_address() {
    let bench = Bench::with(&[]);
    fs::remove_file(bench.config()).unwrap();
    let error = bench.open().unwrap_err();
    assert!(matches!(error, RequesterError::ConfigSpace { .. }) && error.to_string().contains("0000:0b:00.0"));
}

#[test]
fn a_bit_that_does_not_stick_is_a_finding() {
    // Config space that takes every write and keeps none.
    let bench = Bench::with(&[]);
    let mut switch = bench.open().unwrap();
    switch.register.file = OpenOptions::new().read(true).write(true).open("/dev/zero").unwrap();
    assert_eq!(switch.set(RequesterState::Enabled).unwrap(), Outcome::DidNotStick { read_back: 0 });
    switch.restore().unwrap();
    assert!(!bench.journal().exists());
}

#[test]
fn journals_of_a_tree_stay_in_the_tree() {
    let bench = Bench::with(&[]);
    let root = SysfsRoot::new(bench.directory.path());
    let path = journal_path(&root, &bdf());
    assert!(path.starts_with(bench.directory.path()));
    assert_eq!(pending_journals(&root), Vec::<PathBuf>::new());
    let mut switch = RequesterSwitch::open(&bench.config(), bdf(), &path).unwrap();
    switch.set(RequesterState::Enabled).unwrap();
    assert_eq!(pending_journals(&root), [path]);
}
