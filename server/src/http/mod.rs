//! What all that is served over HTTP has in common.

mod body;
mod problem;

pub(crate) use self::{
    body::{Body, body},
    problem::Problem,
};
