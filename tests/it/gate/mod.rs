//! What must agree with each other: migrations and the code's idea of the tables, routes and their
//! description, the page and its policy.

mod description;
mod page;
mod schema;
