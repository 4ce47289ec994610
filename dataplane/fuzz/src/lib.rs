//! What the fuzz targets do with their input.
//!
//! The bodies are plain functions, so that the tests of the crates they exercise run them too, on random
//! input, without a fuzzer.

pub mod auth;
pub mod codec;
pub mod mesh;
pub mod mqtt;
pub mod pair;
pub mod peer;
pub mod proxy;
pub mod recovery;
pub mod selector;
pub mod websocket;
