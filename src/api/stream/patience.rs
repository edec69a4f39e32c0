//! How long the server bears with a reader that does not keep up.

use std::time::Duration;

/// The limits; not settings, but a test may have shorter ones.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A frame that a WebSocket cannot take for this long: close it.
    pub stall: Duration,
    /// Reading, but never up to the end of what there is for this long: close it, it can resume.
    pub behind: Duration,
    /// Bytes that the peer's kernel does not take for this long: the connection is dead. Longer than
    /// `stall`, so that a WebSocket can still be told why.
    pub untaken: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { stall: seconds(30), behind: seconds(60), untaken: seconds(45) }
    }
}
