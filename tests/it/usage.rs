//! What people see of their usage: by day and group, as CSV, and before they ask.

use crate::isolation::fingerprint;
use crate::support::{Database, Provider, Script, User, World, WorldOptions};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Anna of acme, who may see the whole organisation.
async fn owner(world: &World) -> User {
    world.user("anna@acme.test").await;
    world.database.run("UPDATE users SET role = 'owner' WHERE email = 'anna@acme.test'").await;
    world.user("anna@acme.test").await
}

async fn daily(user: &User, query: &str) -> Vec<Value> {
    let (status, usage) = user.get(&format!("/v1/usage?{query}")).await;
    assert_eq!(status, 200, "{usage}");
    usage["daily"].as_array().unwrap().clone()
}

/// A limit of every user's month.
async fn limit(world: &World, meter: &str, amount: i64) {
    let plan = format!("('enterprise', 'user', 'month', '{meter}', {amount})");
    world.database.run(&format!("INSERT INTO plan_quotas VALUES {plan}")).await;
}

/// The cells of a table without line breaks in it.
fn cells(csv: &str) -> Vec<Vec<String>> {
    let line = |line: &str| {
        let (mut cells, mut quoted) = (vec![String::new()], false);
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.next_if_eq(&'"').is_some() => {
                    cells.last_mut().unwrap().push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                c => cells.last_mut().unwrap().push(c),
            }
        }
        cells
    };
    assert!(csv.ends_with("\r\n"), "{csv}");
    csv.trim_end().split("\r\n").map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_add_up_and_the_csv_says_the_same() {
    let world = World::start().await;
    let (anna, ben) = (owner(&world).await, world.user("ben@acme.test").await);
    world.database.run("UPDATE assistants SET name = '=HYPERLINK(\"x\",\"Docs\")'").await;
    world.provider.next(Script::text(&["One."], 100, 7));
    anna.ask("One?").await;
    world.provider.next(Script::text(&["Two."], 200, 9));
    ben.ask("Two?").await;
    anna.has_document("notice.md", b"# Notice\n\nNinety days.").await;

    let whole = &daily(&anna, "").await[0];
    assert_eq!(whole["totals"]["input_tokens"], 300);
    for group in ["assistant", "model", "user"] {
        let query = format!("group={group}");
        let lines = daily(&anna, &query).await;
        assert!(lines.len() > 1, "{group}: {lines:?}");
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for (meter, n) in lines.iter().flat_map(|line| line["totals"].as_object().unwrap()) {
            *sums.entry(meter).or_default() += n.as_i64().unwrap();
        }
        assert_eq!(json!(sums), whole["totals"], "{group}");
        for sum in ["cost_nano_usd", "unpriced_tokens"] {
            let all: i64 = lines.iter().map(|line| line[sum].as_i64().unwrap()).sum();
            assert_eq!(all, whole[sum], "{group}: {sum}");
        }
        let (status, csv) = anna.get(&format!("/v1/usage.csv?{query}")).await;
        assert_eq!(status, 200);
        let table = cells(csv.as_str().unwrap());
        assert_eq!(table.len(), lines.len() + 1, "{csv}");
        for (row, line) in table[1..].iter().zip(&lines) {
            let said: BTreeMap<_, _> = table[0].iter().map(String::as_str).zip(row).collect();
            assert_eq!(json!(said["day"]), line["day"]);
            assert_eq!(said["key"], line["key"].as_str().unwrap_or_default());
            let name = line["name"].as_str().unwrap_or_default();
            let guarded = if name.starts_with('=') { format!("'{name}") } else { name.to_owned() };
            assert_eq!(*said["name"], guarded);
            for (meter, n) in line["totals"].as_object().unwrap() {
                assert_eq!(*said[meter.as_str()], n.to_string(), "{meter}");
            }
            assert_eq!(*said["cost_nano_usd"], line["cost_nano_usd"].to_string());
        }
    }
    let names: Vec<_> =
        daily(&anna, "group=user").await.iter().map(|l| l["name"].clone()).collect();
    assert!(names.contains(&json!("anna@acme.test")) && names.contains(&json!("ben@acme.test")));
    let file = anna.request(Method::GET, "/v1/usage.csv?group=user").send().await.unwrap();
    let header = |name: &str| file.headers()[name].to_str().unwrap().to_owned();
    assert!(header("content-type").starts_with("text/csv; charset=utf-8"));
    let name = "attachment; filename=\"docent-usage-tenant-by-user.csv\"";
    assert_eq!(header("content-disposition"), name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_shown_nobody_else() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.user("ben@acme.test").await.ask("What is mine?").await;
    for path in ["/v1/usage", "/v1/usage.csv"] {
        let (status, problem) = anna.get(&format!("{path}?scope=tenant")).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{path}");
        assert_eq!(anna.get(&format!("{path}?group=user")).await.0, 400, "{path}");
    }
    assert_eq!(daily(&anna, "group=model").await, Vec::<Value>::new());
    let (_, csv) = anna.get("/v1/usage.csv?group=model").await;
    assert_eq!(cells(csv.as_str().unwrap()).len(), 1, "a head and no line: {csv}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_days_are_shown_as_are_asked_for() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    for ago in [0, 6, 7, 29, 30] {
        let nil = "'00000000-0000-0000-0000-000000000000'";
        world
            .database
            .run(&format!(
                "INSERT INTO usage_daily VALUES ('{}', (now() AT TIME ZONE 'UTC')::date - {ago}, '{}', {nil}, '',
                   'input_tokens', 1, 1, 0, 1)",
                anna.tenant_id, anna.id
            ))
            .await;
    }
    for (days, lines) in [("7", 2), ("8", 3), ("30", 4), ("400", 5)] {
        assert_eq!(daily(&anna, &format!("days={days}")).await.len(), lines, "{days}");
    }
    assert_eq!(daily(&anna, "").await.len(), 4, "30 unless said");
    assert_eq!(anna.get("/v1/usage").await.1["last_7d"]["totals"]["input_tokens"], 2);
    for wrong in ["6", "401", "-1", "many"] {
        assert_eq!(anna.get(&format!("/v1/usage?days={wrong}")).await.0, 400, "{wrong}");
    }
}

/// Noon in Greenwich on the last of March is April in Auckland.
#[tokio::test(flavor = "multi_thread")]
async fn days_and_months_are_those_of_the_tenants_calendar() {
    let database = Database::fresh().await;
    database
        .run(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET docent.now = ''2026-03-31 12:00+00''',
               current_database()); END $$",
        )
        .await;
    let world = World::on(database, Provider::start().await, WorldOptions::default()).await;
    world.user("anna@acme.test").await;
    world.user("eve@globex.test").await;
    let move_away = "UPDATE tenants SET time_zone = 'Pacific/Auckland' WHERE slug = 'acme'";
    world.database.run(move_away).await;
    for (who, day, begins, ends) in [
        ("anna@acme.test", "2026-04-01", "2026-03-31T11:00:00Z", "2026-04-30T12:00:00Z"),
        ("eve@globex.test", "2026-03-31", "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"),
    ] {
        let user = world.user(who).await;
        user.ask("What day is it?").await;
        let (_, usage) = user.get("/v1/usage").await;
        assert_eq!(usage["daily"][0]["day"], day, "{who}");
        assert_eq!(usage["today"]["totals"]["requests"], 1, "{who}");
        assert_eq!(
            (&usage["period"]["start"], &usage["period"]["end"]),
            (&json!(begins), &json!(ends))
        );
        let (_, csv) = user.get("/v1/usage.csv").await;
        assert_eq!(cells(csv.as_str().unwrap())[1][0], day, "{who}");
    }
}

async fn estimate(user: &User, body: &Value) -> Value {
    let (status, estimate) = user.post("/v1/chat/estimate", body.clone()).await;
    assert_eq!(status, 200, "{estimate}");
    estimate
}

/// What the turn that runs holds: tokens, and nano-dollars.
async fn held(database: &Database) -> (i64, i64) {
    let of = |column: &str| {
        format!(
            "SELECT coalesce(sum({column}), 0)::bigint AS n FROM reservations WHERE state = 'open'"
        )
    };
    (database.number(&of("tokens")).await, database.number(&of("cost_nano_usd")).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_is_what_the_turn_then_holds() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    world.provider.next(Script::text(&["Twelve months, from the day of purchase."], 300, 10));
    let first = anna.ask("How long is the warranty?").await;
    let (conversation, id) = (&first.conversation, |n: usize, all: &[Value]| all[n]["id"].clone());
    let messages = anna.messages(conversation).await;
    for body in [
        json!({"text": "And what is the notice period?"}),
        json!({"text": "And of the seals?", "conversation_id": conversation}),
        json!({"text": "How long?", "conversation_id": conversation, "edit_of": id(0, &messages)}),
        json!({"conversation_id": conversation, "regenerate": id(1, &messages)}),
    ] {
        let said = estimate(&anna, &body).await;
        world.provider.next(Script::held(3, 1));
        let mut stream = anna.stream(body.clone()).await;
        stream.until_text("w0").await;
        let most = |of: &str| said[of]["most"].as_i64().unwrap();
        let tokens = most("input_tokens") + most("output_tokens");
        assert_eq!(held(&world.database).await, (tokens, most("cost_nano_usd")), "{body}");
        let quoted = "SELECT price_version AS t FROM reservations WHERE state = 'open'";
        assert_eq!(json!(world.database.texts(quoted).await[0]), said["price_version"]);
        assert_eq!((&said["allowed"], &said["quota"]), (&json!(true), &Value::Null));
        world.provider.release();
        stream.rest().await;
    }
    let typical = estimate(&anna, &json!({"text": "Hello?"})).await;
    let input = typical["input_tokens"]["typical"].as_i64().unwrap();
    assert!(input > 0 && input < typical["input_tokens"]["most"].as_i64().unwrap(), "{typical}");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_takes_nothing_and_leaves_nothing() {
    let world = World::with(WorldOptions { plan: "tiny", ..WorldOptions::default() }).await;
    let plan = "INSERT INTO plans VALUES ('tiny', 10, 1, 10000000, 10000000, 1000, 1000)";
    world.database.run(plan).await;
    let anna = world.user("anna@acme.test").await;
    let eve = world.user("eve@globex.test").await;
    let before = fingerprint(&world.database).await;
    for _ in 0..3 {
        let said = estimate(&anna, &json!({"text": "How much would it be?"})).await;
        assert_eq!(said["input_tokens"]["typical"], Value::Null, "nothing was asked yet");
    }
    assert_eq!(before, fingerprint(&world.database).await);
    assert_eq!(world.provider.calls(), 0);
    let asked = anna.ask("How much is it?").await; // one a minute, and it is still there
    let foreign = json!({"text": "And theirs?", "conversation_id": asked.conversation});
    assert_eq!(eve.post("/v1/chat/estimate", foreign).await.0, 404);
    assert_eq!(anna.post("/v1/chat/estimate", json!({"text": " "})).await.0, 400);
    world.database.run("UPDATE users SET role = 'billing' WHERE email = 'eve@globex.test'").await;
    let eve = world.user("eve@globex.test").await;
    assert_eq!(eve.post("/v1/chat/estimate", json!({"text": "Hello?"})).await.0, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_names_the_limit_that_would_refuse() {
    let world = World::start().await;
    limit(&world, "requests", 1).await;
    let anna = world.user("anna@acme.test").await;
    anna.ask("One?").await;
    let body = json!({"text": "Two?"});
    let said = estimate(&anna, &body).await;
    let (_, problem) = anna.refused(body).await;
    assert_eq!((&said["allowed"], &said["quota"]), (&json!(false), &problem["quota"]));
    assert_eq!(
        (&said["output_tokens"]["most"], &said["cost_nano_usd"]["most"]),
        (&json!(0), &Value::Null)
    );

    world.database.run("UPDATE plan_quotas SET hard = false WHERE meter = 'requests'").await;
    let said = estimate(&anna, &json!({"text": "Two?"})).await;
    assert_eq!((&said["allowed"], &said["over_quota"]), (&json!(true), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_price_is_estimated_in_tokens() {
    let settings = vec![("CHAT_MODEL", "house-blend".to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let anna = world.user("anna@acme.test").await;
    let said = estimate(&anna, &json!({"text": "Hello?"})).await;
    assert_eq!((&said["model"], &said["price_version"]), (&json!("house-blend"), &Value::Null));
    assert_eq!((&said["cost_nano_usd"]["most"], &said["allowed"]), (&Value::Null, &json!(true)));
    limit(&world, "cost_nano_usd", 1_000_000_000).await;
    let said = estimate(&anna, &json!({"text": "Hello?"})).await;
    assert_eq!((&said["allowed"], &said["quota"]), (&json!(false), &Value::Null));
    assert_eq!(anna.refused(json!({"text": "Hello?"})).await.1["code"], "model_unpriced");
}

/// The parameters of each item of a list of structured fields, its name under `""`.
fn items(field: &str) -> Vec<BTreeMap<&str, &str>> {
    field
        .split(", ")
        .map(|item| {
            let (name, parameters) = item.split_once(';').unwrap();
            let parameters = parameters.split(';').map(|one| one.split_once('=').unwrap());
            parameters.chain([("", name)]).collect()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_where_the_quotas_stand() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let asked = json!({"text": "Hello?"}).to_string();
    let send = || anna.request(Method::POST, "/v1/chat/send").body(asked.clone()).send();
    let field = |response: &Response| {
        let field = response.headers().get("docent-quota");
        field.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(field(&send().await.unwrap()), None, "nothing is limited");
    limit(&world, "tokens", 1_000_000).await;
    limit(&world, "requests", 4).await;
    world.provider.next(Script::held(3, 1));
    let mut stream = anna.stream(json!({"text": "Count."})).await;
    let streamed = stream.header("docent-quota").to_owned();
    world.provider.release();
    stream.rest().await;
    let said = items(&streamed);
    assert_eq!(said.len(), 2, "{streamed}");
    for (key, value) in [
        ("", "user"),
        ("period", "month"),
        ("meter", "requests"),
        ("limit", "4"),
        ("used", "1"),
        ("reserved", "1"),
    ] {
        assert_eq!(said[0][key], value, "{key} in {streamed}");
    }
    assert_eq!((said[1]["meter"], said[1]["limit"]), ("tokens", "1000000"));
    assert!(said[1]["reset"].parse::<i64>().unwrap() > 0);
    let sent = field(&send().await.unwrap()).unwrap();
    let said = items(&sent);
    assert_eq!((said[0]["used"], said[0]["reserved"]), ("3", "0"), "{sent}");
    let keyed = || {
        let asked = anna.request(Method::POST, "/v1/chat/stream").body(asked.clone());
        asked.header("idempotency-key", "once").send()
    };
    let first = field(&keyed().await.unwrap()).unwrap();
    assert!(first.contains("meter=requests;limit=4;used=3;reserved=1;"), "{first}");
    assert!(field(&keyed().await.unwrap()).is_some(), "a repeat asks where the quotas stand now");
}
