//! Captured trees, and the program run on them.

use std::fs;
use std::path::Path;

use aqlprobe::pci::tree::{BridgeImage, BusNumbers, Completers, TreeBuilder};
use aqlprobe::pci::{Bdf, dump};
use tempfile::TempDir;

pub const GPU: &str = "0b:00.0";

pub fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

pub fn data(name: &str) -> String {
    format!("{}/tests/data/lspci/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A GPU out of a dump behind a root port; Fiji's dumps have it at 0b:00.0, whatever stands in the text.
pub fn behind_root_port(file: &str, completers: Completers) -> TempDir {
    behind(file, |port| port.completers(completers))
}

/// The same behind a root port as it is made here.
pub fn behind(file: &str, port: impl Fn(BridgeImage) -> BridgeImage) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let image = port(BridgeImage::root_port(BusNumbers { primary: 0, secondary: 0x0b, subordinate: 0x0b }));
    let gpu = dump::read(&fs::read_to_string(data(file)).unwrap()).unwrap().remove(0);
    TreeBuilder::new(directory.path()).root_port(bdf("00:03.0"), image.build()).endpoint(bdf(GPU), gpu.config).write().unwrap();
    directory
}

/// Leaves of every config space what Linux shows to everybody.
pub fn without_privileges(root: &Path) {
    for device in ["0000:00:03.0", "0000:0b:00.0"] {
        let file = root.join("bus/pci/devices").join(device).join("config");
        fs::write(&file, &fs::read(&file).unwrap()[..64]).unwrap();
    }
}

/// A file of KFD's directory.
pub fn kfd_file(root: &Path, file: &str, text: &str) {
    let path = root.join("class/kfd/kfd").join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub fn program(arguments: &[&str]) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_aqlprobe"));
    command.args(arguments).env_remove("CLICOLOR_FORCE").timeout(std::time::Duration::from_secs(60));
    command
}
