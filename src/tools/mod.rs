//! What assistants can do besides talking: search again, read a page, calculate, know the date, and make the
//! requests that their tenant defined.
//!
//! A [`Toolbox`] knows which tools there are and runs one call at a time; which calls are made, how many
//! and what becomes of their results is `chat`'s. What a tool gives back is data for the model, and what
//! it says when it fails is for the model and the user: neither holds anything of the server's inside.

mod builtin;
mod calculator;
mod definition;
mod offer;
mod own;
mod template;
mod toolbox;

pub use builtin::Builtin;
pub use definition::Definition;
pub use offer::Offer;
pub use toolbox::{Failed, Output, Scene, Toolbox};
