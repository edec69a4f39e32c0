//! The server exports by itself, and says how far it is.

use super::desk::Desk;
use super::ledger::Ledger;
use super::vendor_webhook::{Receiver, SECRET};
use crate::support::{Node, Provider};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_exports_and_shows_how_far_it_is() {
    let ledger = Ledger::open().await;
    ledger.grow(40).await;
    let desk = Desk::open(Receiver::new(SECRET)).await;
    let provider = Provider::start().await;
    let url = format!("{}/hook?key=canary", desk.url);
    let env = [("EXPORT_WEBHOOK_URL", url.as_str()), ("EXPORT_WEBHOOK_SECRET", SECRET)];
    let node = Node::with(&ledger.database, &provider, &env).await;
    let done =
        "SELECT count(*) AS n FROM export_cursors WHERE exporter = 'webhook' AND ledger_seq = 40";
    ledger.database.until(done).await;
    assert_eq!(desk.book(|book| book.sums()), ledger.sums("webhook").await);

    let http = docent::net::client(&docent::net::ClientOptions::default()).unwrap();
    let metrics = http.get(format!("{}/metrics", node.base)).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "docent_exported_total{exporter=\"webhook\"} 40",
        "docent_export_parked{exporter=\"webhook\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is missing in:\n{metrics}");
    }
    assert!(metrics.contains("docent_export_lag_rows{exporter=\"webhook\"}"), "{metrics}");

    let (code, log) = node.terminate().await;
    assert_eq!(code, Some(0));
    let leaked: Vec<&String> =
        log.iter().filter(|line| line.contains("canary") || line.contains(&SECRET[6..])).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    let free = "SELECT count(*) AS n FROM export_cursors WHERE lease_until > now()";
    assert_eq!(ledger.database.number(free).await, 0, "another node goes on at once");
}
