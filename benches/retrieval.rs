//! Where a tenant's own HNSW index begins to pay: an exact scan of the shared partition beside the
//! index, by the tenant's size. Run with `cargo bench --bench retrieval`.
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

use docent::retrieval::give_own_index;
use docent::store::{Db, HalfVec, embeddings};
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
    let mut tx = db.tenant(tenant).await.unwrap();
    let found = embeddings::nearest(&mut tx, tenant, model, v, 10).await.unwrap();
    tx.commit().await.unwrap();
    (found.iter().map(|n| n.chunk_id.to_string()).collect(), started.elapsed())
}

#[tokio::main]
async fn main() {
    let world = World::start().await;
    let db = world.db().await;
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
            exact.push(search(&db, tenant, model, question).await);
        }
        give_own_index(&db, tenant, model, DIMENSIONS, 1).await.unwrap();
        world.database.run("ANALYZE embeddings").await;
        let mut indexed = Vec::new();
        for question in &questions {
            indexed.push(search(&db, tenant, model, question).await);
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
