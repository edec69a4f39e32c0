//! Composition: the parts are built once, run, and shut down in order.

mod build;
mod demo;
mod dev;
mod error;
mod listener;
mod models;
mod serve;
mod shutdown;

pub use build::{App, AppOptions};
pub use demo::{DEMO_EMAIL, DEMO_TENANT};
pub use dev::{DevOptions, dev};
pub use error::AppError;
pub use serve::serve;
