//! The composition root: options → wiring → listener, and the server's life.
//!
//! Only this module names concrete backends. [`Server::start`] makes everything and answers a
//! [`Running`] server; many can run in one process.
//!
//! # Invariants
//! - Everything a server needs is in its [`options::ServerOptions`]; nothing is read from the
//!   environment, nothing is global.
//! - A request runs in a task of its own: a client that goes away does not stop a write half-way
//!   and cannot keep it out of the record.

pub mod bootstrap;
pub mod client;
pub mod health;
mod http;
mod idle;
mod index;
mod listener;
pub mod options;
pub mod pki;
mod root;
mod senders;
mod tls;
mod wiring;

mod life;

pub use life::{Running, Server, StartError};
pub use wiring::Wired;
