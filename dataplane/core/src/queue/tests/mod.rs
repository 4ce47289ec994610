//! Tests of one queue: facts by name, and random operations against a simple model.

mod consumers;
mod facts;
mod model;
mod random;
mod support;
