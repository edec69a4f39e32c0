//! Rate limits: they protect the machine and fairness between users, not the bill (`metering`).

mod attempts;
mod cells;
mod charge;
mod connections;
mod limits;
mod plans;
mod rate_limiter;
mod times;

pub use attempts::Attempts;
pub use charge::Charge;
pub use connections::{Connection, Connections, TooManyConnections};
pub use limits::{Headroom, Limited, PlanLimits};
pub use plans::Plans;
pub use rate_limiter::RateLimiter;
