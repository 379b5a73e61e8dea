#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BusTree;
