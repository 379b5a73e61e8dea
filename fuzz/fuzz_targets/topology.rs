//! Any bytes as the files of a KFD topology: the properties of a node and of its link, apart by a zero byte.

use std::cell::LazyCell;
use std::fs;

use aqlprobe::kfd::topology;

thread_local! {
    static ROOT: LazyCell<tempfile::TempDir> = LazyCell::new(|| {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir_all(root.path().join("nodes/1/io_links/0")).expect("a directory of our own");
        root
    });
}

pub fn run(bytes: &[u8]) {
    let mut files = bytes.splitn(2, |byte| *byte == 0);
    ROOT.with(|root| {
        let node = root.path().join("nodes/1");
        for file in ["properties", "io_links/0/properties"] {
            fs::write(node.join(file), files.next().unwrap_or_default()).expect("a file of our own");
        }
        match topology::nodes(root.path()) {
            Ok(nodes) => {
                assert_eq!(nodes.len(), 1);
                assert!(nodes[0].pci_address.is_none() || nodes[0].target.is_some());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}
