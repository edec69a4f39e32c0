//! What holds of every exporter, told once for all vendors.

use super::desk::Mood;
use super::scene::Scene;
use docent::export::Round;

/// Everything arrives, and arrives once.
pub async fn everything_arrives_once(scene: Scene) {
    scene.ledger.grow(250).await;
    let node = scene.node();
    scene.export(&node).await;
    scene.agree().await;
    scene.ledger.grow(7).await;
    scene.export(&node).await;
    scene.agree().await;
    assert_eq!(scene.desk.book(|book| book.again), 0);
    assert_eq!(scene.ledger.cursor(scene.exporter).await, 257);
    let status = scene.operator("export status").await;
    let says = format!("{}: at 257, 0 behind, 0 parked", scene.exporter);
    assert_eq!(status.trim(), says);
}

/// The node dies after the vendor took something and before the cursor moved.
pub async fn a_crash_after_the_vendor_took_it_bills_nothing_twice(scene: Scene) {
    scene.ledger.grow(120).await;
    scene.desk.mood([Mood::Well, Mood::Hang]);
    let first = scene.node();
    let dying = tokio::spawn(async move { while first.round().await.unwrap() != Round::Idle {} });
    scene.desk.called(2).await;
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());

    let second = scene.node();
    assert_eq!(second.round().await.unwrap(), Round::Idle, "the lease is the dead node's");
    scene.ledger.grow(5).await;
    scene.ledger.a_minute_passes().await;
    scene.export(&second).await;
    assert!(scene.desk.book(|book| book.again) > 0, "it was sent again");
    scene.agree().await;
}

/// One row that the vendor will never take.
pub async fn a_poisonous_row_parks_itself_and_nothing_else(scene: Scene) {
    scene.ledger.grow(48).await;
    let poison = scene.ledger.event(17).await;
    scene.desk.book(|book| book.poison.insert(poison.clone()));
    let node = scene.node();
    scene.export(&node).await;
    let parked = scene.ledger.parked(scene.exporter).await;
    assert!(parked.len() == 1 && parked[0].starts_with("17 "), "{parked:?}");
    assert!(!scene.desk.book(|book| book.events.contains_key(&poison)));
    assert_eq!(scene.ledger.cursor(scene.exporter).await, 48);
    let shown = scene.operator(&format!("export parked {}", scene.exporter)).await;
    assert!(shown.starts_with(&format!("17  {poison}  ")), "{shown}");

    let retry = format!("export retry {} 17", scene.exporter);
    assert!(scene.operator(&retry).await.starts_with("1 parked row"));
    scene.export(&node).await;
    let shown = scene.operator(&format!("export parked {}", scene.exporter)).await;
    assert!(shown.contains("(2 attempts)"), "refused once more: {shown}");

    scene.desk.book(|book| book.poison.clear());
    scene.operator(&retry).await;
    scene.export(&node).await;
    scene.agree().await;
}

/// The vendor is down, slow to come back, and asks for patience.
pub async fn a_vendor_that_was_away_gets_everything_when_it_is_back(scene: Scene) {
    scene.ledger.grow(60).await;
    let away = [Mood::Down(503, ""), Mood::Down(502, ""), Mood::Down(401, ""), Mood::Cut];
    scene.desk.mood(away.iter().cycle().take(40).cloned());
    let node = scene.node();
    for call in 1..=40 {
        assert_eq!(node.round().await.unwrap(), Round::Held);
        assert_eq!(scene.desk.calls(), call, "one request, and then it waits");
    }
    assert_eq!(scene.ledger.cursor(scene.exporter).await, 0);
    scene.ledger.grow(60).await;

    scene.desk.mood([Mood::Down(429, "retry-after: 3600\r\n")]);
    assert_eq!(node.round().await.unwrap(), Round::Held);
    let calls = scene.desk.calls();
    let other = scene.node();
    for node in [&node, &other] {
        assert_eq!(node.round().await.unwrap(), Round::Idle, "it was asked to wait an hour");
    }
    assert_eq!(scene.desk.calls(), calls);
    scene
        .ledger
        .database
        .run("UPDATE export_cursors SET not_before = not_before - interval '1 h'")
        .await;
    scene.export(&node).await;
    scene.agree().await;
}

/// Two nodes export at once.
pub async fn two_nodes_send_nothing_twice(scene: Scene) {
    scene.ledger.grow(200).await;
    let (one, other) = (scene.node(), scene.node());
    let all = async |node: docent::export::Exporter| {
        let done = "SELECT count(*) AS n FROM export_cursors WHERE ledger_seq = 200";
        while scene.ledger.database.number(done).await == 0 {
            node.round().await.unwrap();
        }
    };
    crate::support::within("the export", async { tokio::join!(all(one), all(other)) }).await;
    assert_eq!(scene.desk.book(|book| book.again), 0);
    scene.agree().await;
}

/// A test of each story with the scene that `$scene` sets.
macro_rules! stories {
    ($scene:path) => {
        $crate::exports::stories::stories! { $scene:
            everything_arrives_once
            a_crash_after_the_vendor_took_it_bills_nothing_twice
            a_poisonous_row_parks_itself_and_nothing_else
            a_vendor_that_was_away_gets_everything_when_it_is_back
            two_nodes_send_nothing_twice
        }
    };
    ($scene:path: $($story:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $story() {
            $crate::exports::stories::$story($scene().await).await;
        }
    )+};
}
pub(super) use stories;
