//! What somebody with all rights changes behind our back, the check finds and names.

use super::Books;

/// Books with two tenants, three documents each, all sealed.
async fn sealed() -> (Books, Vec<String>) {
    let books = Books::of(&["acme", "globex"]).await;
    let mut events = Vec::new();
    for tenant in ["acme", "globex", "acme", "globex", "acme", "globex"] {
        events.push(books.bill(tenant, 7).await);
    }
    books.seal().await;
    assert_eq!(books.are_right().await, "12 rows of 2 tenants verified");
    (books, events)
}

/// The lines that name an event.
fn naming<'a>(lines: &'a [String], event: &str) -> Vec<&'a String> {
    lines.iter().filter(|line| line.contains(event)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_changed_is_named() {
    let (books, events) = sealed().await;
    let quietly = format!(
        "UPDATE usage_ledger SET occurred_at = occurred_at - interval '1 s' WHERE event_id = '{}'",
        events[2]
    );
    books.database.run(&quietly).await;
    let lines = books.are_wrong().await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(&events[2]) && lines[0].contains("another hash"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quantity_that_was_changed_shows_in_every_sum() {
    let (books, events) = sealed().await;
    let cheaper = format!("UPDATE usage_ledger SET quantity = 6 WHERE event_id = '{}'", events[3]);
    books.database.run(&cheaper).await;
    let lines = books.are_wrong().await;
    assert!(naming(&lines, &events[3])[0].contains("another hash"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("used 21, the ledger says 20")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("usage_daily says 21")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_deleted_is_named() {
    let (books, events) = sealed().await;
    books.database.run(&format!("DELETE FROM usage_ledger WHERE event_id = '{}'", events[0])).await;
    let lines = books.are_wrong().await;
    assert!(naming(&lines, &events[0])[0].contains("not in usage_ledger"), "{lines:?}");
    // With its seal, too: now its numbers are missing.
    books.database.run(&format!("DELETE FROM ledger_seals WHERE event_id = '{}'", events[0])).await;
    let lines = books.are_wrong().await;
    assert!(lines.iter().any(|line| line.contains("rows 1 to 1 of tenant")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("numbers 1 to 1 of the ledger")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_row_cannot_be_cut_off() {
    let (books, _) = sealed().await;
    books
        .database
        .run("DELETE FROM usage_ledger WHERE event_id IN (SELECT event_id FROM ledger_seals WHERE ledger_seq = 12);
              DELETE FROM ledger_seals WHERE ledger_seq = 12")
        .await;
    let lines = books.are_wrong().await;
    assert!(lines.iter().any(|line| line.contains("numbers 12 to 12 of the ledger")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("ends at row 5")), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rows_that_changed_places_are_named() {
    let (books, events) = sealed().await;
    let [a, b] = [&events[0], &events[4]];
    books
        .database
        .run(&format!(
            "CREATE TEMPORARY TABLE two AS SELECT * FROM ledger_seals WHERE event_id IN ('{a}', '{b}');
             DELETE FROM ledger_seals WHERE event_id IN ('{a}', '{b}');
             INSERT INTO ledger_seals (tenant_id, tenant_seq, month, event_id, ledger_seq, day, hash)
               SELECT tenant_id, tenant_seq, month,
                      CASE event_id WHEN '{a}' THEN '{b}'::uuid ELSE '{a}' END, ledger_seq, day, hash FROM two"
        ))
        .await;
    let lines = books.are_wrong().await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(naming(&lines, a).len() == 1 && naming(&lines, b).len() == 1, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_came_by_the_back_door_is_named() {
    let (books, _) = sealed().await;
    books
        .database
        .run("INSERT INTO usage_ledger (tenant_id, event_id, month, meter, quantity, provenance, period_start,
                day_start, occurred_at)
              SELECT tenant_id, 'abad1dea-0000-4000-8000-000000000000', month, 'embedding_tokens', 1, 'exact',
                     period_start, day_start, now() - interval '2 minutes' FROM usage_ledger LIMIT 1")
        .await;
    let lines = books.are_wrong().await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("abad1dea") && lines[0].contains("not sealed"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_was_changed_is_named() {
    let (books, _) = sealed().await;
    books.database.run("UPDATE quota_counters SET pages_used = 1 WHERE period = 'month' AND pages_used > 0 AND tenant_id = (SELECT tenant_id FROM tenants WHERE slug = 'acme')").await;
    let lines = books.are_wrong().await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("pages of tenant") && lines[0].contains("used 1, the ledger says 21"),
        "{lines:?}"
    );
    let (code, out) = super::verify(&books.database, &["--tenant", "globex"]).await;
    assert_eq!((code, out.trim()), (Some(0), "6 rows of 1 tenants verified"));
    assert_eq!(super::verify(&books.database, &["--tenant", "acme"]).await.0, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_was_changed_afterwards_is_named() {
    let (books, _) = sealed().await;
    books
        .database
        .run("INSERT INTO prices (version, model, valid_from, input) VALUES ('m@1', 'm', now(), 1000000);
              INSERT INTO usage_ledger (tenant_id, event_id, month, meter, quantity, provenance, model, price_version,
                cost_nano_usd, period_start, day_start)
              SELECT tenant_id, 'abad1dea-0000-4000-8000-000000000000', month, 'embedding_tokens', 12, 'exact', 'm',
                     'm@1', 12, period_start, day_start FROM usage_ledger LIMIT 1;
              INSERT INTO ledger_batches (tenant_id, month, event_ids)
              SELECT tenant_id, month, ARRAY[event_id] FROM usage_ledger WHERE model = 'm';
              UPDATE quota_counters SET cost_used = 12 WHERE period IN ('day', 'month') AND slice = 0
                AND tenant_id = (SELECT tenant_id FROM usage_ledger WHERE model = 'm')")
        .await;
    books.seal().await;
    books.are_right().await;
    books.database.run("UPDATE prices SET input = 2000000 WHERE version = 'm@1'").await;
    let lines = books.are_wrong().await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("abad1dea")
            && lines[0].contains("costs 12, and by its price (m@1) it should be 24"),
        "{lines:?}"
    );
}
