//! Room aql.
