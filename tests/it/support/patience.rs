//! How long a test waits for what should come at once: a machine may be slow, but nothing waits for ever.

use std::future::Future;
use std::time::Duration;

/// Silence of this length is a failure with a name, rather than a suite that never ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `future` yields.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(yielded) => yielded,
        Err(_) => panic!("waited {} s for {what}", PATIENCE.as_secs()),
    }
}
