//! The PCIe path from the device to host memory, decided on live config space.
