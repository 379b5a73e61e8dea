use super::{Listing, ListingError};
pub(super) fn read(_text: &str) -> Result<Listing, ListingError> {
    Err(ListingError::NoFunction)
}
