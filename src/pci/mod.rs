//! Room pci.
