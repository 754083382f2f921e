//! What all that is served over HTTP has in common.

mod problem;

pub(crate) use problem::Problem;
