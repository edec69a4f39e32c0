//! Search: a small tenant is scanned exactly, a large one has an index of its own, and models do
//! not mix.

use crate::support::{User, World};
use docent::retrieval::give_own_index;
use docent::store::embedding_models::{EmbeddingModel, NewEmbeddingModel};
use docent::store::embeddings::{self, NewEmbedding};
use docent::store::{Conn, HalfVec, collections};
use docent::types::TenantId;
use serde_json::Value;

const FACTS: [(&str, &str); 4] = [
    ("How much is parking?", "The parking garage costs five euros a day."),
    ("Who waters the plants?", "A gardener waters the plants every second Tuesday."),
    ("When is the fire drill?", "The fire drill is held in April, without a warning."),
    ("Where are lost umbrellas kept?", "Lost umbrellas are kept in the porter's lodge."),
];
/// The built-in embedder's.
const DIMENSIONS: usize = 384;

async fn knows_the_facts(user: &User) {
    for (n, (_, fact)) in FACTS.iter().enumerate() {
        user.has_document(&format!("{n}.md"), fact.as_bytes()).await;
    }
}

/// What each question finds.
async fn findings(user: &User) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    for (question, fact) in FACTS {
        let found = user.ask(question).await.citations();
        assert_eq!(found[0]["snippet"], fact, "{question}");
        all.push(found);
    }
    all
}

/// The row of the built-in embedder.
async fn built_in(world: &World) -> i32 {
    let sql = "SELECT id::bigint AS n FROM embedding_models WHERE name = 'hashed-ngram-384'";
    world.database.number(sql).await.try_into().unwrap()
}

/// The row of a model, made when it is not there.
async fn model(conn: &mut Conn, name: &str, dimensions: i32) -> i32 {
    let new = NewEmbeddingModel::new("openai", name, dimensions, false);
    new.put(conn).await.unwrap();
    EmbeddingModel::named(conn, new.name(), None).await.unwrap().unwrap().id
}

async fn own_index(world: &World, user: &User, threshold: i64) -> bool {
    let (db, tenant) = (world.db(), user.tenant_id.parse().unwrap());
    give_own_index(&db, tenant, built_in(world).await, DIMENSIONS, threshold).await.unwrap()
}

fn partition(user: &User) -> String {
    format!("embeddings_{}", user.tenant_id.replace('-', ""))
}

/// How the statements of `store::embeddings` are planned as they are run: in the role and for the tenant.
async fn plan(world: &World, user: &User, filter: &str, exact: bool) -> String {
    world
        .database
        .run(
            "CREATE OR REPLACE FUNCTION plan_of(query text) RETURNS TABLE (t text) LANGUAGE plpgsql AS
               $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || query; END $$",
        )
        .await;
    let (tenant, model) = (user.tenant_id.as_str(), built_in(world).await);
    let question = format!("'[{}]'::halfvec({DIMENSIONS})", vec!["0.1"; DIMENSIONS].join(","));
    let distance = format!("(embedding::halfvec({DIMENSIONS}) <=> {question})");
    let sql = format!(
        "SELECT chunk_id, {distance} AS distance FROM embeddings
         WHERE tenant_id = '{tenant}' AND model_id = {model} AND {filter}"
    );
    let sql = match exact {
        true => format!("SELECT * FROM ({sql} OFFSET 0) x ORDER BY distance LIMIT 30"),
        false => format!("{sql} ORDER BY {distance} LIMIT 30"),
    };
    let sql = format!("SELECT t FROM plan_of($$ {sql} $$)");
    world.database.texts_as_app(Some(tenant), &sql).await.join("\n")
}

/// Chunks with random vectors (`seq * 0` makes them differ: it ties the draw to the row).
async fn has_much_more(world: &World, user: &User, chunks: u32) {
    let (tenant, model) = (&user.tenant_id, built_in(world).await);
    world
        .database
        .run(&format!(
            "INSERT INTO chunks (tenant_id, id, document_id, seq, page, page_end, tokens, content)
             SELECT tenant_id, gen_random_uuid(), document_id, 1000 + n, 1, 1, 3, 'Filler ' || n
             FROM (SELECT tenant_id, id AS document_id FROM documents
                   WHERE tenant_id = '{tenant}' LIMIT 1) AS d, generate_series(1, {chunks}) AS n;
             INSERT INTO embeddings
             SELECT tenant_id, {model}, id, document_id,
                    ARRAY(SELECT random() - 0.5 + seq * 0
                          FROM generate_series(1, {DIMENSIONS}))::real[]::halfvec
             FROM chunks WHERE tenant_id = '{tenant}' AND seq >= 1000;
             ANALYZE chunks; ANALYZE embeddings"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_index_changes_where_vectors_lie_and_nothing_else() {
    let world = World::start().await;
    let (anna, zoe) = (world.user("anna@acme.test").await, world.user("zoe@other.test").await);
    knows_the_facts(&anna).await;
    knows_the_facts(&zoe).await;
    let before = (findings(&anna).await, findings(&zoe).await);
    assert!(!own_index(&world, &anna, 5).await, "four vectors are below a threshold of five");
    assert!(own_index(&world, &anna, 4).await);
    assert!(!own_index(&world, &anna, 1).await, "it has one: nothing is left to be moved");
    assert_eq!((findings(&anna).await, findings(&zoe).await), before);
    let in_table = async |table: &str| {
        world.database.number(&format!("SELECT count(*) AS n FROM {table}")).await
    };
    assert_eq!((in_table(&partition(&anna)).await, in_table("embeddings_shared").await), (4, 4));
    let late = anna.has_document("late.md", b"The lift carries eight persons.").await;
    zoe.has_document("late.md", b"The lift carries nine persons.").await;
    assert_eq!((in_table(&partition(&anna)).await, in_table("embeddings_shared").await), (5, 5));
    let found = anna.ask("How many persons does the lift carry?").await.citations();
    assert_eq!(found[0]["document_id"], late["id"]);
    let path = format!("/v1/files/{}", late["id"].as_str().unwrap());
    assert_eq!(anna.delete(&path).await.0, 204);
    assert_eq!(in_table(&partition(&anna)).await, 4, "deleting reaches it there, too");
    assert!(own_index(&world, &zoe, 1).await, "the next tenant gets one as well");
    assert_eq!(findings(&zoe).await[0][0]["snippet"], FACTS[0].1);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_model_is_indexed_in_the_partition_that_is_there() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    knows_the_facts(&anna).await;
    assert!(own_index(&world, &anna, 1).await);
    let db = world.db();
    let mut tx = db.system().await.unwrap();
    let later = model(&mut tx, "later", 384).await;
    tx.commit().await.unwrap();
    let copy = format!(
        "INSERT INTO embeddings SELECT tenant_id, {later}, chunk_id, document_id, embedding FROM embeddings"
    );
    world.database.run(&copy).await;
    let tenant = anna.tenant_id.parse().unwrap();
    assert!(!give_own_index(&db, tenant, later, DIMENSIONS, 5).await.unwrap(), "four are too few");
    assert!(give_own_index(&db, tenant, later, DIMENSIONS, 4).await.unwrap());
    assert!(!give_own_index(&db, tenant, later, DIMENSIONS, 4).await.unwrap(), "it is there");
    let indexes = format!(
        "SELECT count(*) AS n FROM pg_indexes WHERE tablename = '{}' AND indexdef LIKE '%hnsw%'",
        partition(&anna)
    );
    assert_eq!(world.database.number(&indexes).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_security_holds_on_an_own_partition() {
    let world = World::start().await;
    let (anna, zoe) = (world.user("anna@acme.test").await, world.user("zoe@other.test").await);
    knows_the_facts(&anna).await;
    knows_the_facts(&zoe).await;
    assert!(own_index(&world, &anna, 1).await);
    for (table, tenant, rows) in [
        ("embeddings", None, 0),
        ("embeddings", Some(&anna), 4),
        ("embeddings", Some(&zoe), 4),
        (partition(&anna).as_str(), None, 0),
        (&partition(&anna), Some(&anna), 4),
        (&partition(&anna), Some(&zoe), 0),
    ] {
        let tenant = tenant.map(|user| user.tenant_id.as_str());
        let sql = format!("SELECT chunk_id::text AS t FROM {table}");
        let seen = world.database.texts_as_app(tenant, &sql).await;
        assert_eq!(seen.len(), rows, "{table} as {tenant:?}");
    }
    world.db().check_isolation().await.expect("a server would start on this");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_tenant_is_searched_by_its_index_and_a_small_one_exactly() {
    let world = World::start().await;
    let (anna, zoe) = (world.user("anna@acme.test").await, world.user("zoe@other.test").await);
    knows_the_facts(&anna).await;
    knows_the_facts(&zoe).await;
    let small = findings(&zoe).await;
    has_much_more(&world, &anna, 3000).await;
    assert!(own_index(&world, &anna, 3000).await);
    world.database.run("ANALYZE embeddings").await;
    let large = plan(&world, &anna, "true", false).await;
    let small_plan = plan(&world, &zoe, "true", false).await;
    let index = format!("Index Scan using {}_{}", partition(&anna), built_in(&world).await);
    assert!(large.contains(&index), "{large}");
    assert!(!small_plan.contains(&partition(&anna)), "{small_plan}");
    assert_eq!(findings(&zoe).await, small);
    // The index may miss a fact among random vectors; then its words find it, beside a filler as near.
    for (question, fact) in FACTS {
        let found = anna.ask(question).await.citations();
        assert!(found.iter().any(|passage| passage["snippet"] == fact), "{question}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_collection_is_searched_exactly_and_a_large_one_by_the_index() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    knows_the_facts(&anna).await;
    has_much_more(&world, &anna, 3000).await;
    let file =
        "UPDATE documents d SET collection = CASE WHEN d.id = (SELECT document_id FROM chunks
                  WHERE seq >= 1000 LIMIT 1) THEN 'large' ELSE 'small' END";
    world.database.run(file).await;
    assert!(own_index(&world, &anna, 3000).await);
    world.database.run("ANALYZE embeddings; ANALYZE documents").await;
    let among = |name: &str| {
        let tenant = &anna.tenant_id;
        format!(
            "document_id IN (SELECT id FROM documents
               WHERE tenant_id = '{tenant}' AND collection = ANY('{{{name}}}'))"
        )
    };
    let index = format!("Index Scan using {}_{}", partition(&anna), built_in(&world).await);
    let small = plan(&world, &anna, &among("small"), true).await;
    let large = plan(&world, &anna, &among("large"), false).await;
    assert!(!small.contains(&index), "{small}");
    assert!(large.contains(&index), "{large}");

    let key: (TenantId, i32) = (anna.tenant_id.parse().unwrap(), built_in(&world).await);
    let question = HalfVec::new(&[0.5; DIMENSIONS]);
    let tx = world.db().tenant(key.0).await.unwrap();
    for (name, most) in [("small", 3), ("large", 30), ("nothing", 0)] {
        let names = [name.to_owned()];
        for exact in [true, false] {
            let near = embeddings::nearest_among(&tx, key, &question, 30, &names, exact).await;
            assert_eq!(near.unwrap().len(), most, "{name}");
        }
    }
    let few = collections::chunks(&tx, key.0, &["small".to_owned()]).await;
    assert_eq!(few.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_two_models_never_meet() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let file = anna.has_document("a.md", FACTS[0].1.as_bytes()).await;
    let found = anna.ask(FACTS[0].0).await.citations();
    let tenant: TenantId = anna.tenant_id.parse().unwrap();
    let (db, first) = (world.db(), built_in(&world).await);
    let mut tx = db.system().await.unwrap();
    let second = model(&mut tx, "another", 3).await;
    assert_eq!((model(&mut tx, "another", 3).await, second != first), (second, true));
    assert_ne!(model(&mut tx, "another", 4).await, second, "other dimensions, another model");
    tx.commit().await.unwrap();
    let chunk = world.database.texts("SELECT id::text AS t FROM chunks").await.remove(0);
    let mut tx = db.tenant(tenant).await.unwrap();
    let row = NewEmbedding {
        tenant_id: tenant,
        model_id: second,
        chunk_id: chunk.parse().unwrap(),
        document_id: file["id"].as_str().unwrap().parse().unwrap(),
        embedding: HalfVec::new(&[1.0, 0.0, 0.0]),
    };
    embeddings::insert(&mut tx, &[row]).await.unwrap();
    let question = HalfVec::new(&[1.0, 0.0, 0.0]);
    let near = embeddings::nearest(&tx, (tenant, second), &question, 9, false).await.unwrap();
    assert_eq!((near.len(), near[0].distance), (1, 0.0));
    let question = HalfVec::new(&[0.5; DIMENSIONS]);
    let near = embeddings::nearest(&tx, (tenant, first), &question, 9, false).await.unwrap();
    assert_eq!(near.len(), 1, "only the first model's vector, and no error");
    tx.commit().await.unwrap();
    assert_eq!(anna.ask(FACTS[0].0).await.citations(), found);
    // The index of the first model's vectors is not in the way of the second's.
    assert!(own_index(&world, &anna, 1).await);
    assert_eq!(anna.ask(FACTS[0].0).await.citations(), found);
}
