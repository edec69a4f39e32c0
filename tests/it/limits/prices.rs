//! Prices: a version is quoted when a turn begins, and its bill is made with it.

use super::bills::{claims, text};
use crate::support::{Script, Step, World};
use docent::metering::{PriceError, load_prices};
use serde_json::json;

fn list(model: &str, from: &str, input: &str, output: &str) -> String {
    format!(
        "[[price]]\nmodel = \"{model}\"\nfrom = \"{from}\"\ninput = \"{input}\"\ncached_input = \"0.01\"\noutput = \"{output}\""
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_billed_at_the_price_it_was_quoted() {
    let world = World::start().await;
    let (db, anna) = (world.db(), world.user("anna@acme.test").await);
    let model = "gpt-4o-mini";
    world.provider.next(Script::held(4, 2));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    stream.until_text("w1").await;
    // Dearer from today on; this answer was begun before.
    let dearer = list(model, "2026-02-01", "1.00", "2.00");
    assert_eq!(load_prices(&db, &dearer, None).await.unwrap(), 1);
    assert_eq!(load_prices(&db, &dearer, None).await.unwrap(), 0, "it is there");
    world.provider.release();
    stream.rest().await;
    let versions = "SELECT DISTINCT price_version AS t FROM usage_ledger
        WHERE price_version LIKE '%' AND meter = 'output_tokens' ORDER BY 1";
    assert_eq!(world.database.texts(versions).await, [format!("{model}@2026-01-01")]);
    world.provider.next(Script::text(&["Dear."], 100, 10));
    let dear = anna.ask("And now?").await;
    assert_eq!(dear.usage()["cost_nano_usd"], 100 * 1000 + 10 * 2000);

    // The tenant has a contract of its own.
    let tenant = anna.tenant_id.parse().unwrap();
    let own = list(model, "2026-03-01", "0.10", "0.20");
    assert_eq!(load_prices(&db, &own, Some(tenant)).await.unwrap(), 1);
    world.provider.next(Script::text(&["Cheap."], 100, 10));
    assert_eq!(anna.ask("And for us?").await.usage()["cost_nano_usd"], 100 * 100 + 10 * 200);
    let eve = world.user("eve@globex.test").await;
    world.provider.next(Script::text(&["Dear."], 100, 10));
    assert_eq!(eve.ask("And for others?").await.usage()["cost_nano_usd"], 100 * 1000 + 10 * 2000);

    let changed = load_prices(&db, &list(model, "2026-02-01", "1.00", "3.00"), None).await;
    assert!(
        matches!(changed, Err(PriceError::Changed(version)) if version.ends_with("@2026-02-01"))
    );
    let wrong = load_prices(&db, &list(model, "2026-04-01", "-1", "3"), None).await;
    assert!(wrong.is_err_and(|error| error.to_string().contains("`input` is no amount")));
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_and_reasoning_tokens_have_meters_and_prices_of_their_own() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let usage = json!({"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 80},
        "completion_tokens": 30, "completion_tokens_details": {"reasoning_tokens": 20}});
    let steps = vec![text("Thought over."), Step::Finish, claims(&usage.to_string()), Step::Done];
    world.provider.next(Script::steps(steps));
    let answer = anna.ask("Think!").await;
    let told = answer.usage();
    let of = |key: &str| told[key].as_i64().unwrap();
    assert_eq!((of("input_tokens"), of("cached_input_tokens")), (100, 80));
    assert_eq!((of("output_tokens"), of("reasoning_tokens")), (30, 20));
    // gpt-4o-mini: 150 and 75 nano-dollars a token in, 600 out.
    assert_eq!(of("cost_nano_usd"), 20 * 150 + 80 * 75 + 30 * 600);
    let rows = "SELECT meter || ' ' || quantity AS t FROM usage_ledger
        WHERE meter <> 'embedding_tokens' ORDER BY 1";
    let expected = [
        "cached_input_tokens 80",
        "input_tokens 20",
        "output_tokens 10",
        "reasoning_tokens 20",
        "requests 1",
    ];
    assert_eq!(world.database.texts(rows).await, expected);
    let stored = &anna.messages(&answer.conversation).await[1];
    assert_eq!(stored["usage"], told.clone(), "the stored message says the same");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_cost_is_limited_a_model_without_a_price_is_not_asked() {
    let world = super::Plan::monthly(&[("tenant", "cost_nano_usd", 1_000_000_000)]).world().await;
    let anna = world.user("anna@acme.test").await;
    world.database.run("UPDATE assistants SET model = 'nobody-knows'").await;
    let (status, problem) = anna.post("/v1/chat/send", json!({"text": "How much?"})).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("model_unpriced")), "{problem}");
    assert_eq!(world.provider.calls(), 0);
    world.database.run("UPDATE plan_quotas SET hard = false").await;
    assert_eq!(anna.post("/v1/chat/send", json!({"text": "How much?"})).await.0, 200);
    world.database.check_books().await;
}
