//! The log of an ended turn is kept for a while; later the stored message answers, and says so.

use crate::support::{World, WorldOptions};
use docent::store::segments;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn after_its_time_a_log_is_answered_by_the_stored_message() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("a.md", b"# Counting\n\nOne counts from zero.").await;
    let answer = anna.ask("How does one count?").await;
    let (database, provider) = (world.database.clone(), world.provider.clone());
    world.stop().await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let anna = world.back(&anna);
    let forget = async |seconds: f64| {
        let mut tx = world.db().system().await.unwrap();
        segments::delete_old(&mut tx, seconds).await.unwrap();
        tx.commit().await.unwrap();
    };
    forget(600.0).await;
    assert_eq!(anna.attach(&answer.turn, -1).await.answer().await.events, answer.events);
    forget(0.0).await;
    let snapshot = anna.attach(&answer.turn, -1).await.answer().await;
    assert_eq!(snapshot.of("data-snapshot")[0]["data"], json!({"state": "complete"}));
    assert_eq!((snapshot.text(), snapshot.end()), (answer.text(), answer.end()));
    assert_eq!(snapshot.citations(), answer.citations());
    assert_eq!(snapshot.usage(), answer.usage());
    assert_eq!(snapshot.of("start"), answer.of("start"));
    // Its offsets are not those of the log: a reader from the middle gets all of it, too.
    assert_eq!(anna.attach(&answer.turn, 5).await.answer().await.events, snapshot.events);
    let mut socket = anna.socket().await;
    socket.send(json!({"type": "attach", "turn_id": answer.turn, "after": 5})).await;
    assert_eq!(socket.turn().await.len(), snapshot.parts().len());
}
