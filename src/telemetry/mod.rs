//! What the server says about itself: log lines and metrics. Never prompts, addresses, tokens.

mod logging;
mod metrics;

pub use logging::{Logging, init as init_logging};
pub use metrics::{MetricsPage, describe};
