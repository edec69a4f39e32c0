//! Notices of the outbox go out by the webhook, each as a message of its own.

use super::desk::Mood;
use super::scene::Scene;
use super::vendor_webhook::{Inbox, Receiver, SECRET, with};
use diesel_async::SimpleAsyncConnection;
use docent::export::Round;
use docent::store::Conn;

async fn scene() -> (Scene, Inbox) {
    let receiver = Receiver::new(SECRET);
    let inbox = Inbox::clone(&receiver.inbox);
    (with("notices", receiver).await, inbox)
}

/// Writes a notice as the program does: in the role of a tenant's work, in a transaction.
async fn warn(conn: &mut Conn, percent: u32) {
    let sql = format!(
        "BEGIN;
         SELECT set_config('docent.tenant_id', tenant_id::text, true) FROM tenants WHERE slug = 'acme';
         SET LOCAL ROLE docent_app;
         INSERT INTO outbox (tenant_id, id, type, data)
           VALUES (current_tenant(), gen_random_uuid(), 'quota.warning', '{{\"percent\": {percent}}}')"
    );
    conn.batch_execute(&sql).await.unwrap();
}

fn told(inbox: &Inbox) -> Vec<i64> {
    let inbox = inbox.lock().unwrap();
    inbox.iter().map(|(_, told)| told["data"]["notice"]["percent"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_is_told_once_and_in_order() {
    let (scene, inbox) = scene().await;
    let mut conn = scene.ledger.database.connect().await;
    for percent in [80, 90, 100] {
        warn(&mut conn, percent).await;
        conn.batch_execute("COMMIT").await.unwrap();
    }
    scene.desk.mood([Mood::Down(503, ""), Mood::Cut]);
    let node = scene.node();
    for _ in 0..2 {
        assert_eq!(node.round().await.unwrap(), Round::Held);
    }
    scene.export(&node).await;
    scene.export(&scene.node()).await;
    assert_eq!(told(&inbox), [80, 90, 100]);
    let (_, first) = inbox.lock().unwrap()[0].clone();
    assert_eq!(
        (&first["type"], &first["data"]["tenant"]),
        (&"quota.warning".into(), &"acme".into())
    );
    assert!(first["timestamp"].is_string() && first["data"]["id"].is_string(), "{first}");
    assert_eq!(scene.desk.book(|book| book.again), 1, "the one that was cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_was_written_first_and_committed_last_is_not_missed() {
    let (scene, inbox) = scene().await;
    let (mut slow, mut quick) =
        (scene.ledger.database.connect().await, scene.ledger.database.connect().await);
    warn(&mut slow, 80).await;
    warn(&mut quick, 90).await;
    quick.batch_execute("COMMIT").await.unwrap();
    let node = scene.node();
    scene.export(&node).await;
    assert_eq!(told(&inbox), [90]);
    slow.batch_execute("COMMIT").await.unwrap();
    scene.export(&node).await;
    assert_eq!(told(&inbox), [90, 80]);
}
