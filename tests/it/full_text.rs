//! Full-text search: rare words count, work is bounded, and no tenant sees another's.

use crate::support::{User, World};
use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use docent::store::{Tx, chunks};
use docent::types::TenantId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// As many as the retriever asks for.
const MOST: i32 = 30;

/// Puts texts into a document of their own, in a collection.
async fn holds(world: &World, user: &User, collection: &str, texts: &[String]) {
    let (tenant, owner, count) = (&user.tenant_id, &user.id, texts.len());
    let texts: Vec<String> = texts.iter().map(|text| format!("'{text}'")).collect();
    let texts = texts.join(", ");
    world
        .database
        .run(&format!(
            "WITH d AS (
               INSERT INTO documents (tenant_id, id, user_id, name, media_type, bytes, sha256, status, chunks, collection)
               SELECT '{tenant}', id, '{owner}', 'd', 'text/plain', 1, uuid_send(id), 'ready', {count}, '{collection}'
               FROM gen_random_uuid() id RETURNING id)
             INSERT INTO chunks (tenant_id, id, document_id, seq, page, page_end, tokens, content)
             SELECT '{tenant}', gen_random_uuid(), d.id, n, 1, 1, 9, content
             FROM d, unnest(ARRAY[{texts}]) WITH ORDINALITY t (content, n)"
        ))
        .await;
    let mut tx = tx(world, user).await;
    chunks::count_words(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
}

async fn tx(world: &World, user: &User) -> Tx {
    let tenant: TenantId = user.tenant_id.parse().unwrap();
    world.db().tenant(tenant).await.unwrap()
}

/// The texts that a question finds, best first.
async fn finds(world: &World, user: &User, question: &str, among: &[&str]) -> Vec<String> {
    let among: Vec<String> = among.iter().map(|name| (*name).to_owned()).collect();
    let tx = tx(world, user).await;
    let found = chunks::search(&tx, question, MOST, &among).await.unwrap();
    let mut texts = Vec::new();
    for id in found {
        let text = format!("SELECT content AS t FROM chunks WHERE id = '{id}'");
        texts.extend(world.database.texts(&text).await);
    }
    texts
}

/// So many texts that differ in nothing that is a word.
fn alike(count: usize) -> Vec<String> {
    vec!["The notice period of this contract is ninety days.".to_owned(); count]
}

/// What a transaction did so far.
async fn counted(tx: &mut Tx, what: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    diesel::sql_query(format!("SELECT {what}::bigint AS n")).get_result::<Row>(tx).await.unwrap().n
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rare_word_is_found_among_thousands_of_chunks_without_reading_them() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut texts = alike(6000);
    texts[4321] = "The notice period of this contract is ninety fribbles.".to_owned();
    holds(&world, &anna, "all", &texts).await;
    let mut tx = tx(&world, &anna).await;
    let question = "What is the notice period of the contract in fribbles?";
    let found = chunks::search(&tx, question, MOST, &[]).await.unwrap();
    let by_index = counted(&mut tx, "pg_stat_get_xact_numscans('chunks_words'::regclass)").await;
    let read = counted(
        &mut tx,
        "pg_stat_get_xact_tuples_returned('chunks'::regclass)
           + pg_stat_get_xact_tuples_fetched('chunks'::regclass)",
    )
    .await;
    assert!(by_index > 0, "it asked the index of words");
    assert!(read < 100, "{read} chunks were read");
    let first = format!("SELECT content AS t FROM chunks WHERE id = '{}'", found[0]);
    assert_eq!(world.database.texts(&first).await, [texts[4321].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passage_with_the_rarer_word_comes_first() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let mut texts = alike(20);
    texts.push("Parking is behind the house.".to_owned());
    holds(&world, &anna, "all", &texts).await;
    let found = finds(&world, &anna, "Is there a notice on parking?", &[]).await;
    assert_eq!((found[0].as_str(), found.len()), ("Parking is behind the house.", 21));
    // One word, said once and said twice.
    texts = vec!["Parking costs. Ask for parking.".to_owned()];
    holds(&world, &anna, "all", &texts).await;
    assert_eq!(finds(&world, &anna, "parkings", &[]).await[0], texts[0], "its stem counts");
    for odd in ["", "the of and", "it's \\ ' & | ! <-> :* 100% (", "zzz"] {
        assert_eq!(finds(&world, &anna, odd, &[]).await, Vec::<String>::new(), "{odd}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_are_all_common_still_find_something() {
    let world = World::start().await;
    let (anna, zoe) = (world.user("anna@acme.test").await, world.user("zoe@other.test").await);
    holds(&world, &anna, "all", &alike(3000)).await;
    assert_eq!(finds(&world, &anna, "contract", &[]).await.len(), 30);
    assert_eq!(finds(&world, &anna, "How long is the notice period?", &[]).await.len(), 30);
    // With more, only those count that say it often.
    let mut texts = alike(6000);
    texts[17] = "Notice: a notice is a notice in writing.".to_owned();
    holds(&world, &zoe, "all", &texts).await;
    let found = finds(&world, &zoe, "How long is the notice period?", &[]).await;
    assert_eq!(found, [texts[17].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_stays_in_its_tenant_and_its_collections() {
    let world = World::start().await;
    let (anna, zoe) = (world.user("anna@acme.test").await, world.user("zoe@other.test").await);
    let one = |text: &str| vec![text.to_owned()];
    holds(&world, &anna, "rules", &one("Vinegar is forbidden.")).await;
    holds(&world, &anna, "recipes", &one("Vinegar goes well with salt.")).await;
    holds(&world, &anna, "contracts", &alike(2000)).await;
    holds(&world, &anna, "drafts", &one("The notice period is wrong.")).await;
    holds(&world, &zoe, "rules", &one("Zoe has a vinegar called fribble.")).await;
    assert_eq!(finds(&world, &anna, "vinegar", &["rules"]).await, ["Vinegar is forbidden."]);
    assert_eq!(finds(&world, &anna, "vinegar", &["rules", "recipes"]).await.len(), 2);
    assert_eq!(finds(&world, &anna, "vinegar", &[]).await.len(), 2);
    assert_eq!(finds(&world, &anna, "vinegar", &["nothing"]).await, Vec::<String>::new());
    // Its words are common, but it is small.
    let found = finds(&world, &anna, "Which notice period?", &["drafts"]).await;
    assert_eq!(found, ["The notice period is wrong."]);
    assert_eq!(finds(&world, &anna, "Which notice period?", &["contracts"]).await.len(), 30);
    assert_eq!(finds(&world, &anna, "fribble", &[]).await, Vec::<String>::new());
    assert_eq!(finds(&world, &zoe, "fribble", &[]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_not_found_and_does_not_count() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let file = anna.has_document("a.md", b"The lift carries eight persons.").await;
    holds(&world, &anna, "all", &alike(150)).await;
    let common = "SELECT count(*) AS n FROM common_words";
    assert_eq!(world.database.number(common).await, 5, "notice, period, contract, ninety, days");
    assert_eq!(finds(&world, &anna, "lift", &[]).await.len(), 1);
    world.database.run("DELETE FROM documents WHERE collection = 'all'").await;
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(anna.delete(&path).await.0, 204);
    assert_eq!(finds(&world, &anna, "lift", &[]).await, Vec::<String>::new());
    assert_eq!(world.database.number(common).await, 0);
}

/// The scores of all chunks, by the same weights, from the text alone.
const EXACT: &str = "
    WITH lexeme AS (
      SELECT w, to_tsquery('simple', w) AS q FROM unnest(tsvector_to_array(to_tsvector('english', '{question}'))) w),
    weighed AS (
      SELECT q, ln(1 + (SELECT count(*) FROM chunks)::float8 / count(*)) AS weight
      FROM lexeme, chunks WHERE tsv @@ q GROUP BY q)
    SELECT id || ' ' || round(sum(weight * ts_rank(tsv, q, 1))::numeric, 5) AS t
    FROM chunks, weighed WHERE tsv @@ q GROUP BY id";

#[tokio::test(flavor = "multi_thread")]
async fn a_small_tenant_is_ranked_as_by_an_exact_search() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let words = ["apple", "bread", "cheese", "dill", "egg", "fig", "grape", "honey", "ice", "jam"];
    let mut dice = StdRng::seed_from_u64(11);
    let mut draw = |most: usize| {
        let picked: Vec<&str> = (0..dice.random_range(1..=most))
            .map(|_| words[dice.random_range(0..words.len()).min(dice.random_range(0..20))])
            .collect();
        picked.join(" ")
    };
    let texts: Vec<String> = (0..90).map(|_| draw(12)).collect();
    holds(&world, &anna, "all", &texts).await;
    for _ in 0..40 {
        let question = draw(5);
        let exact = world.database.texts(&EXACT.replace("{question}", &question)).await;
        let score = |id: &str| -> f64 {
            let line = exact.iter().find(|line| line.starts_with(id)).expect("it has a word");
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        let mut best: Vec<f64> = exact.iter().map(|line| score(&line[..36])).collect();
        best.sort_by(|a, b| b.total_cmp(a));
        best.truncate(30);
        let tx = tx(&world, &anna).await;
        let found = chunks::search(&tx, &question, MOST, &[]).await.unwrap();
        let found: Vec<f64> = found.iter().map(|id| score(&id.to_string())).collect();
        assert_eq!(found, best, "{question}");
    }
}
