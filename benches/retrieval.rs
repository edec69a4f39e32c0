//! Where a tenant's own HNSW index begins to pay: an exact scan of the shared partition beside the
//! index, by the tenant's size. And what full-text search costs beside a search that reads every chunk.
//! Run with `cargo bench --bench retrieval`, or with `-- text` for the second alone.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::disallowed_methods,
    reason = "a load program: a failure ends it"
)]

mod support;

use diesel_async::RunQueryDsl;
use docent::retrieval::give_own_index;
use docent::store::{Db, HalfVec, chunks, embeddings};
use docent::types::TenantId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use support::{World, fill_chunks, percentile};

const DIMENSIONS: usize = 384;
const QUESTIONS: usize = 100;
const TOP: usize = 10;

async fn search(db: &Db, tenant: TenantId, model: i32, v: &HalfVec) -> (HashSet<String>, Duration) {
    let started = Instant::now();
    let tx = db.tenant(tenant).await.unwrap();
    let found = embeddings::nearest(&tx, (tenant, model), v, 10, false).await.unwrap();
    tx.commit().await.unwrap();
    (found.iter().map(|n| n.chunk_id.to_string()).collect(), started.elapsed())
}

#[tokio::main]
async fn main() {
    let world = World::start().await;
    let db = world.db();
    if !std::env::args().any(|argument| argument == "text") {
        vectors(&world, &db).await;
    }
    text(&world, &db).await;
}

async fn vectors(world: &World, db: &Db) {
    println!(
        "| chunks | exact p50 ms | exact p99 | own index p50 ms | own index p99 | recall@{TOP} |"
    );
    println!("|---|---|---|---|---|---|");
    for (n, size) in [1_000, 5_000, 10_000, 20_000, 50_000].into_iter().enumerate() {
        let user = world.user(&format!("anna@tenant{n}.test")).await;
        user.has_document("a.txt", b"one").await;
        let model =
            world.database.number("SELECT max(id)::bigint AS n FROM embedding_models").await;
        let model = i32::try_from(model).unwrap();
        fill_chunks(&world.database, &user, size).await;
        world.database.run("ANALYZE embeddings").await;
        let tenant: TenantId = user.tenant_id.parse().unwrap();
        // Questions lie near chunks: a chunk's vector with a little noise.
        let near = format!(
            "SELECT embedding::text AS t FROM embeddings WHERE tenant_id = '{tenant}'
             ORDER BY md5(chunk_id::text) LIMIT {QUESTIONS}"
        );
        let mut noise = StdRng::seed_from_u64(7);
        let questions: Vec<HalfVec> = world
            .database
            .texts(&near)
            .await
            .iter()
            .map(|text| {
                let values: Vec<f32> = serde_json::from_str(text).unwrap();
                let noisy: Vec<f32> =
                    values.iter().map(|v| v + noise.random_range(-0.2..0.2)).collect();
                HalfVec::new(&noisy)
            })
            .filter(|vector| vector.dimensions() == DIMENSIONS)
            .collect();
        let mut exact = Vec::new();
        for question in &questions {
            exact.push(search(db, tenant, model, question).await);
        }
        give_own_index(db, tenant, model, DIMENSIONS, 1).await.unwrap();
        world.database.run("ANALYZE embeddings").await;
        let mut indexed = Vec::new();
        for question in &questions {
            indexed.push(search(db, tenant, model, question).await);
        }
        let hits: usize =
            exact.iter().zip(&indexed).map(|(a, b)| a.0.intersection(&b.0).count()).sum();
        let recall = hits as f64 / (questions.len() * TOP) as f64;
        let times =
            |runs: &[(HashSet<String>, Duration)]| runs.iter().map(|run| run.1).collect::<Vec<_>>();
        println!(
            "| {size} | {:.2} | {:.2} | {:.2} | {:.2} | {recall:.2} |",
            percentile(times(&exact), 50),
            percentile(times(&exact), 99),
            percentile(times(&indexed), 50),
            percentile(times(&indexed), 99),
        );
    }
}

/// Texts of 150 words: 40 stop words, the others of 100,000 by Zipf's law, the n-th of which is in about 10/n
/// of the chunks.
const TEXTS: &str = "
    INSERT INTO chunks (tenant_id, id, document_id, seq, page, page_end, tokens, content)
    SELECT tenant_id, gen_random_uuid(), id, n + 10, 1, 1, 200, repeat('and the of is ', 10) ||
      (SELECT string_agg('w' || translate(exp(random() * ln(100000) + 0 * n + 0 * w)::int::text, '0123456789', 'abcdefghij') || 'k', ' ')
       FROM generate_series(1, 110) w)
    FROM (SELECT tenant_id, id FROM documents WHERE tenant_id = '{tenant}' LIMIT 1) d, generate_series(1, {count}) n";

/// What docent did before: every chunk that has a word of the question is ranked.
const EVERY: &str = "
    WITH q AS (SELECT replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery AS words)
    SELECT c.id FROM chunks c, q WHERE c.tenant_id = $2 AND c.tsv @@ q.words
    ORDER BY ts_rank_cd(c.tsv, q.words, 1 | 32) DESC, c.id LIMIT 30";

/// A question of so many words, which are the `from`-th to the `to`-th by how common they are.
fn question(dice: &mut StdRng, count: usize, from: f64, to: f64) -> String {
    let word = |_| {
        let n = dice.random_range(from.ln()..to.ln()).exp().round().to_string();
        let letters: String = n.bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
        format!("w{letters}k")
    };
    let words: Vec<String> = (0..count).map(word).collect();
    words.join(" ")
}

async fn text(world: &World, db: &Db) {
    println!("| chunks | words | p50 ms | p99 | every chunk ranked p50 ms | p99 |");
    println!("|---|---|---|---|---|---|");
    for (n, size) in [1_000, 10_000, 100_000].into_iter().enumerate() {
        let user = world.user(&format!("zoe@tenant{n}.text")).await;
        user.has_document("a.txt", b"one").await;
        let texts =
            TEXTS.replace("{tenant}", &user.tenant_id).replace("{count}", &size.to_string());
        world.database.run(&texts).await;
        world.database.run("VACUUM ANALYZE chunks").await;
        let tenant: TenantId = user.tenant_id.parse().unwrap();
        let mut tx = db.tenant(tenant).await.unwrap();
        chunks::count_words(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        world.database.run("ANALYZE common_words").await;
        let mut dice = StdRng::seed_from_u64(7);
        for (kind, count, from, to) in [
            ("6 rare", 6, 5_000.0, 100_000.0),
            ("8 as in the text", 8, 1.0, 100_000.0),
            ("6 in every tenth chunk or more", 6, 1.0, 100.0),
        ] {
            let questions: Vec<String> =
                (0..QUESTIONS).map(|_| question(&mut dice, count, from, to)).collect();
            let (mut times, mut every) = (Vec::new(), Vec::new());
            for question in &questions {
                let started = Instant::now();
                let tx = db.tenant(tenant).await.unwrap();
                chunks::search(&tx, question, 30, &[]).await.unwrap();
                tx.commit().await.unwrap();
                times.push(started.elapsed());
            }
            for question in questions.iter().step_by(5) {
                let started = Instant::now();
                let mut tx = db.tenant(tenant).await.unwrap();
                let all = diesel::sql_query(EVERY)
                    .bind::<diesel::sql_types::Text, _>(question)
                    .bind::<diesel::sql_types::Uuid, _>(tenant);
                all.execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
                every.push(started.elapsed());
            }
            println!(
                "| {size} | {kind} | {:.1} | {:.1} | {:.1} | {:.1} |",
                percentile(times.clone(), 50),
                percentile(times, 99),
                percentile(every.clone(), 50),
                percentile(every, 99),
            );
        }
    }
}
