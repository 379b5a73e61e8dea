//! The embedded default device: the Fiji of the founding experiment behind a completing root port.
