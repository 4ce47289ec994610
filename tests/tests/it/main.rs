//! Tests with real processes. One binary: it links once, and its tests share the installed clients.

mod proton;
mod scenarios;
