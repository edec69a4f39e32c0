//! Several embedding models in one server, and a tenant that is moved from one to another while it asks,
//! uploads, and nodes are killed.

use crate::recovery::{expire_leases, left_behind};
use crate::support::{
    Database, Gate, Node, Provider, Script, User, World, WorldOptions, provider_vectors,
};
use docent::llm::router::load_models;
use reqwest::Method;
use serde_json::{Value, json};

const TOKEN: &str = "the-operators-own-token";
const FACTS: [(&str, &str); 3] = [
    ("How much is parking?", "The parking garage costs five euros a day."),
    ("Who waters the plants?", "A gardener waters the plants every second Tuesday."),
    ("When is the fire drill?", "The fire drill is held in April, without a warning."),
];
/// Two models of the scripted provider.
const RED: &str = "words-64";
const BLUE: &str = "words-96";

fn options() -> WorldOptions {
    let settings = vec![("OPERATOR_TOKEN", TOKEN.to_owned())];
    WorldOptions { settings, ..WorldOptions::default() }
}

/// A world in which the provider's models can be had.
async fn world() -> World {
    let world = World::with(options()).await;
    offer_models(&world).await;
    world
}

async fn offer_models(world: &World) {
    let entry = |model: &str| {
        let dimensions = model.rsplit('-').next().unwrap();
        format!("[[embedding]]\nprovider = 'words'\nmodel = '{model}'\ndimensions = {dimensions}\n")
    };
    let provider = &world.provider.url;
    let list = format!(
        "[[provider]]\nname = 'words'\nkind = 'openai'\nbase_url = '{provider}'\n{}{}",
        entry(RED),
        entry(BLUE)
    );
    load_models(&world.db(), &list).await.unwrap();
}

/// As the operator, of the tenant acme.
async fn operate(world: &World, method: Method, body: Value) -> (u16, Value) {
    let url = format!("{}/v1/operator/tenants/acme/embeddings", world.base);
    let request = world.http.request(method, url).bearer_auth(TOKEN);
    let request = request.header("content-type", "application/json").body(body.to_string());
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

async fn begin_move(world: &World, model: &str) -> (u16, Value) {
    operate(world, Method::PUT, json!({"model": model})).await
}

async fn status(world: &World) -> Value {
    operate(world, Method::GET, json!({})).await.1
}

/// The number of a model.
async fn id_of(database: &Database, model: &str) -> i64 {
    let sql = format!("SELECT id::bigint AS n FROM embedding_models WHERE model = '{model}'");
    database.number(&sql).await
}

/// Waits until the tenant is there, and no vector of another model.
async fn until_moved(database: &Database, user: &User, model: &str) {
    let (tenant, id) = (&user.tenant_id, id_of(database, model).await);
    database
        .until(&format!(
            "SELECT count(*) AS n FROM tenant_embeddings WHERE tenant_id = '{tenant}' AND model_id = {id}
               AND next_model_id IS NULL AND old_model_id IS NULL"
        ))
        .await;
    let wrong = format!(
        "SELECT count(*) AS n FROM chunks c FULL JOIN embeddings e ON e.chunk_id = c.id
         WHERE coalesce(c.tenant_id, e.tenant_id) = '{tenant}'
           AND (c.id IS NULL OR e.chunk_id IS NULL OR e.model_id <> {id})"
    );
    assert_eq!(database.number(&wrong).await, 0, "each chunk has one vector, of {model}");
    let jobs = "SELECT count(*) AS n FROM jobs WHERE kind = 'embed'";
    assert_eq!(database.number(jobs).await, 0);
}

async fn embedding_tokens(world: &World) -> i64 {
    let sql = "SELECT coalesce(sum(quantity), 0)::bigint AS n FROM usage_ledger WHERE meter = 'embedding_tokens'";
    world.database.number(sql).await
}

async fn knows_the_facts(user: &User) -> Vec<String> {
    let mut ids = Vec::new();
    for (n, (_, fact)) in FACTS.iter().enumerate() {
        let file = user.has_document(&format!("{n}.md"), fact.as_bytes()).await;
        ids.push(file["id"].as_str().unwrap().to_owned());
    }
    ids
}

async fn finds_the_facts(user: &User) {
    for (question, fact) in FACTS {
        let found = user.ask(question).await.citations();
        assert_eq!(found[0]["snippet"], fact, "{question}");
    }
}

fn questions(world: &World) -> usize {
    let asked = |text: &String| FACTS.iter().any(|(question, _)| text == question);
    world.provider.embedded().iter().flatten().filter(|text| asked(text)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_moved_while_it_asks_and_uploads() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    let files = knows_the_facts(&anna).await;
    let blue = id_of(&world.database, BLUE).await;
    let condition = format!("NEW.model_id = {blue} AND NEW.document_id = '{}'", files[1]);
    let gate = Gate::at(&world.database, "BEFORE INSERT ON embeddings", &condition).await;
    assert_eq!(begin_move(&world, BLUE).await, (202, json!({"queued": 3})));
    gate.until_reached().await;

    // Under way: the old vectors answer, and what is uploaded is found at once and moves along.
    finds_the_facts(&anna).await;
    let file = anna.has_document("later.md", b"Lost umbrellas are kept in the lodge.").await;
    let found = anna.ask("Where are lost umbrellas kept?").await.citations();
    assert_eq!(found[0]["file_name"], "later.md");
    assert_eq!(questions(&world), 0, "the built-in model answers");
    let both = format!(
        "SELECT (count(*) = 2)::int::bigint AS n FROM embeddings WHERE document_id = '{}'",
        file["id"].as_str().unwrap()
    );
    world.database.until(&both).await;
    let said = status(&world).await;
    assert_eq!(said["model"]["name"], "hashed-ngram-384");
    assert_eq!((&said["next"]["name"], &said["left"]), (&json!("words-96-96"), &json!(1)));
    assert_eq!(begin_move(&world, RED).await.0, 409, "one after the other");
    let before = embedding_tokens(&world).await;
    gate.open().await;
    until_moved(&world.database, &anna, BLUE).await;
    assert_eq!(embedding_tokens(&world).await, before, "the operator's move is on no bill");

    finds_the_facts(&anna).await;
    assert_eq!(questions(&world), 3, "the new model answers");
    let asked: usize = FACTS.iter().map(|(question, _)| provider_vectors::tokens(question)).sum();
    assert_eq!(embedding_tokens(&world).await - before, i64::try_from(asked).unwrap());
    let said = status(&world).await;
    assert_eq!((&said["model"]["name"], &said["next"]), (&json!("words-96-96"), &Value::Null));
    assert_eq!(begin_move(&world, BLUE).await.0, 409, "it is there");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_moved_under_is_searched_again() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    knows_the_facts(&anna).await;
    // Stands between the question's admission and its search.
    let gate = Gate::at(&world.database, "AFTER INSERT ON turns", "true").await;
    let asking = tokio::spawn({
        let anna = anna.clone();
        async move { anna.ask(FACTS[0].0).await }
    });
    gate.until_reached().await;
    assert_eq!(begin_move(&world, BLUE).await.0, 202);
    until_moved(&world.database, &anna, BLUE).await;
    gate.open().await;
    assert_eq!(asking.await.unwrap().citations()[0]["snippet"], FACTS[0].1);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_moved_under_is_embedded_again() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    anna.has_document("first.md", FACTS[0].1.as_bytes()).await;
    let gate =
        Gate::at(&world.database, "BEFORE UPDATE ON documents", "NEW.stage = 'indexing'").await;
    let (status, file) = anna.upload("second.md", FACTS[1].1.as_bytes()).await;
    assert_eq!(status, 202, "{file}");
    gate.until_reached().await;
    assert_eq!(begin_move(&world, BLUE).await.0, 202);
    until_moved(&world.database, &anna, BLUE).await;
    gate.open().await;
    let file = anna.ingested(file["id"].as_str().unwrap()).await;
    assert_eq!(file["status"], "ready");
    until_moved(&world.database, &anna, BLUE).await;
    let billed = format!(
        "SELECT model || ' ' || quantity AS t FROM usage_ledger WHERE meter = 'embedding_tokens'
           AND document_id = '{}'",
        file["id"].as_str().unwrap()
    );
    let tokens = provider_vectors::tokens(FACTS[1].1);
    assert_eq!(world.database.texts(&billed).await, [format!("words-96 {tokens}")]);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_of_two_models_share_a_server_and_no_vector() {
    let world = world().await;
    let (anna, zoe) = (world.user("anna@acme.test").await, world.user("zoe@globex.test").await);
    // Without a document it is there at once.
    assert_eq!(begin_move(&world, RED).await, (202, json!({"queued": 0})));
    knows_the_facts(&anna).await;
    knows_the_facts(&zoe).await;
    assert_eq!(begin_move(&world, BLUE).await, (202, json!({"queued": 3})));
    until_moved(&world.database, &anna, BLUE).await;
    let models = "SELECT DISTINCT t.slug || ' ' || m.name AS t FROM embeddings e
                  JOIN tenants t USING (tenant_id) JOIN embedding_models m ON m.id = e.model_id ORDER BY 1";
    assert_eq!(world.database.texts(models).await, ["acme words-96-96", "globex hashed-ngram-384"]);
    finds_the_facts(&anna).await;
    assert_eq!(questions(&world), 3);
    finds_the_facts(&zoe).await;
    assert_eq!(questions(&world), 3, "hers are embedded here");
    for (user, name) in [(&anna, "words-96-96"), (&zoe, "hashed-ngram-384")] {
        let (_, list) = user.get("/v1/models").await;
        let names = list["data"].as_array().unwrap();
        assert!(names.iter().any(|model| model["id"] == name), "{list}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_embedded_and_billed_once_for_a_tenant() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    begin_move(&world, RED).await;
    knows_the_facts(&anna).await;
    let before = embedding_tokens(&world).await;
    for _ in 0..3 {
        assert_eq!(anna.ask(FACTS[0].0).await.citations()[0]["snippet"], FACTS[0].1);
    }
    let once = i64::try_from(provider_vectors::tokens(FACTS[0].0)).unwrap();
    assert_eq!((questions(&world), embedding_tokens(&world).await - before), (1, once));
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_texts_go_in_batches_and_come_back_in_order() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    begin_move(&world, RED).await;
    let (program, _) = anna.key(json!({"name": "bot", "scopes": ["chat"]})).await;
    let texts: Vec<String> = (0..700).map(|n| format!("text number {n}")).collect();
    let slow = Script { headers: "retry-after-ms: 5\r\n".into(), ..Script::error(429, "busy") };
    world.provider.next_embedding(slow);
    let body = json!({"model": "words-64", "input": texts});
    let (status, list) = program.post("/v1/embeddings", body).await;
    assert_eq!(status, 200, "{list}");
    for (text, item) in texts.iter().zip(list["data"].as_array().unwrap()) {
        let vector: Vec<f64> = serde_json::from_value(item["embedding"].clone()).unwrap();
        assert_eq!(vector, provider_vectors::vector(RED, text, 64), "{text}");
    }
    let mut batches: Vec<usize> = world.provider.embedded().iter().map(Vec::len).collect();
    batches.sort_unstable();
    assert_eq!(batches, [60, 128, 128, 128, 128, 128, 128], "and one of them twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_does_not_work_changes_nothing_for_those_who_ask() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    knows_the_facts(&anna).await;
    for _ in FACTS {
        world.provider.next_embedding(Script::error(400, "no_such_model"));
    }
    assert_eq!(begin_move(&world, BLUE).await.0, 202);
    let failed = "SELECT (count(*) = 3)::int::bigint AS n FROM jobs WHERE kind = 'embed' AND state = 'failed'";
    world.database.until(failed).await;
    let said = status(&world).await;
    assert_eq!((&said["left"], &said["failed"]), (&json!(3), &json!(3)));
    assert!(said["last_error"].as_str().unwrap().contains("no_such_model"), "{said}");
    finds_the_facts(&anna).await;

    // Taken back, it leaves nothing behind; begun again, it ends.
    assert_eq!(operate(&world, Method::DELETE, json!({})).await.0, 204);
    assert_eq!(operate(&world, Method::DELETE, json!({})).await.0, 409);
    let hashed = "hashed-ngram-384";
    until_moved(&world.database, &anna, hashed).await;
    world.provider.next_embedding(Script::error(400, "no_such_model"));
    assert_eq!(begin_move(&world, BLUE).await.0, 202);
    let rest = "SELECT (count(*) = 1)::int::bigint AS n FROM jobs WHERE kind = 'embed' AND state <> 'done'";
    world.database.until(rest).await;
    world.database.until(&failed.replace("= 3", "= 1")).await;
    assert_eq!(begin_move(&world, BLUE).await.0, 202, "what was given up is tried again");
    until_moved(&world.database, &anna, BLUE).await;
    finds_the_facts(&anna).await;

    assert_eq!(begin_move(&world, "nonsense").await.0, 400);
    let noted = "SELECT count(*) AS n FROM audit_log WHERE action LIKE 'embeddings%'";
    assert_eq!(world.database.number(noted).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_can_be_shortened() {
    let world = world().await;
    let anna = world.user("anna@acme.test").await;
    knows_the_facts(&anna).await;
    let wanted = json!({"model": BLUE, "dimensions": 32});
    assert_eq!(operate(&world, Method::PUT, wanted).await.0, 202);
    world
        .database
        .until("SELECT count(*) AS n FROM embeddings e WHERE vector_dims(embedding) = 32")
        .await;
    let moved = "SELECT (count(*) = 3)::int::bigint AS n FROM embeddings e JOIN tenant_embeddings t
                 USING (tenant_id, model_id) WHERE vector_dims(embedding) = 32 AND next_model_id IS NULL";
    world.database.until(moved).await;
    finds_the_facts(&anna).await;
    let longer = json!({"model": BLUE, "dimensions": 97});
    assert_eq!(operate(&world, Method::PUT, longer).await.0, 400);
}

/// A text of more than a batch of chunks.
fn long_text() -> String {
    let line = |i: usize| {
        let (a, b) = (i * 7919, i * 104_729);
        format!(
            "Rule {i} of the handbook: locker {a} opens with key {b}, and with no other key.\n\n"
        )
    };
    (0..1000).map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_uploads_does_not_wait_for_a_move() {
    let mut options = options();
    options.settings.push(("INGEST_CONCURRENCY", "1".into()));
    let world = World::with(options).await;
    offer_models(&world).await;
    let (anna, eve) = (world.user("anna@acme.test").await, world.user("eve@globex.test").await);
    anna.has_document("handbook.txt", long_text().as_bytes()).await;
    let blue = id_of(&world.database, BLUE).await;
    let first = format!("NEW.model_id = {blue}");
    let gate = Gate::at(&world.database, "BEFORE INSERT ON embeddings", &first).await;
    begin_move(&world, BLUE).await;
    gate.until_reached().await;
    // The only loop is at work on the first batch.
    let (_, hers) = eve.upload("fact.md", FACTS[0].1.as_bytes()).await;
    let hers = hers["id"].as_str().unwrap();
    gate.open().await;
    assert_eq!(eve.ingested(hers).await["status"], "ready");
    until_moved(&world.database, &anna, BLUE).await;
    let between = format!(
        "SELECT (max(e.xmin::text::bigint) FILTER (WHERE e.document_id = '{hers}')
             < min(e.xmin::text::bigint) FILTER (WHERE e.model_id = {blue} AND c.seq = 70))::int::bigint AS n
         FROM embeddings e JOIN chunks c ON c.id = e.chunk_id"
    );
    assert_eq!(world.database.number(&between).await, 1, "it was written before the second batch");
}

/// Kills a node where `event` fits `condition` while it moves a long document, and lets another one end it.
async fn survives(event: &str, condition: impl Fn(i64, &str) -> String) -> (Provider, usize) {
    let (database, provider, anna) = left_behind().await;
    let world = World::on(database.clone(), provider.clone(), options()).await;
    offer_models(&world).await;
    let anna = world.back(&anna);
    anna.has_document("handbook.txt", long_text().as_bytes()).await;
    world.stop().await;
    let chunks = database.number("SELECT count(*) AS n FROM chunks").await;
    assert!(chunks > 80, "more than a batch: {chunks}");
    let late = database.texts("SELECT id::text AS t FROM chunks WHERE seq = 70").await.remove(0);
    let condition = condition(id_of(&database, BLUE).await, &late);
    let node = Node::with(&database, &provider, &[("OPERATOR_TOKEN", TOKEN)]).await;
    let gate = Gate::at(&database, event, &condition).await;
    let url = format!("{}/v1/operator/tenants/acme/embeddings", node.base);
    let body = json!({"model": BLUE}).to_string();
    let request = anna.http.put(url).bearer_auth(TOKEN).header("content-type", "application/json");
    assert_eq!(request.body(body).send().await.unwrap().status(), 202);
    gate.until_reached().await;
    node.kill().await;
    gate.open().await;
    expire_leases(&database).await;
    let world = World::on(database.clone(), provider.clone(), options()).await;
    until_moved(&database, &anna, BLUE).await;
    let found = world.back(&anna).ask("Which key opens locker 79190?").await.citations();
    assert!(!found.is_empty());
    world.database.check_books().await;
    (provider, usize::try_from(chunks).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_survives_kill_9_between_two_batches() {
    let late =
        |blue: i64, chunk: &str| format!("NEW.model_id = {blue} AND NEW.chunk_id = '{chunk}'");
    let (provider, chunks) = survives("BEFORE INSERT ON embeddings", late).await;
    let sent: usize =
        provider.embedded().iter().filter(|texts| texts.len() > 1).map(Vec::len).sum();
    assert!(
        sent > chunks && sent <= 2 * chunks - 64,
        "the first batch was kept: {sent} of {chunks}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_survives_kill_9_where_the_tenant_is_switched() {
    let switched =
        |blue: i64, _: &str| format!("NEW.model_id = {blue} AND NEW.old_model_id IS NOT NULL");
    survives("BEFORE UPDATE ON tenant_embeddings", switched).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_survives_kill_9_while_old_vectors_are_deleted() {
    let tidied = |blue: i64, _: &str| format!("NEW.model_id = {blue} AND NEW.old_model_id IS NULL");
    survives("BEFORE UPDATE ON tenant_embeddings", tidied).await;
}
