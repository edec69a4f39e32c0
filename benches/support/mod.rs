//! What the load programs share: the tests' helpers, a server process without limits, floors in
//! processes of their own, and what a process used.
#![expect(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::print_stdout,
    reason = "no program uses all of it"
)]

#[path = "../../tests/it/support/mod.rs"]
mod helpers;

pub use helpers::*;

use docent::retrieval::give_own_index;
use docent::runtime::Tasks;
use docent::store::{Db, DbOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// Takes the limits of the plans away.
pub const NO_LIMITS: &str =
    "UPDATE plans SET tenant_requests_per_minute = 2000000000, user_requests_per_minute = 2000000000,
       tenant_tokens_per_minute = 2000000000, user_tokens_per_minute = 2000000000,
       tenant_concurrent_turns = 2000000000, user_concurrent_turns = 2000000000";

/// A server in a process of its own, and people who are logged in there.
pub struct Stage {
    pub database: Database,
    pub provider: Provider,
    pub node: Node,
    pub people: Vec<User>,
}

impl Stage {
    pub async fn with(people: usize) -> Self {
        let world = World::start().await;
        world.database.run(NO_LIMITS).await;
        let mut logged_in = Vec::new();
        for n in 0..people {
            logged_in.push(world.user(&format!("user{n}@acme.test")).await);
        }
        logged_in[0].has_document("a.md", b"# Notice\n\nThe notice period is ninety days.").await;
        let (database, provider) = (world.database.clone(), world.provider.clone());
        world.stop().await;
        let node = node(&database, &provider, &[]).await;
        let people = logged_in.iter().map(|user| node.user(user)).collect();
        Self { database, provider, node, people }
    }

    /// With so many chunks more in the tenant, and the index that so many get.
    pub async fn with_chunks(people: usize, chunks: usize) -> Self {
        let stage = Self::with(people).await;
        fill_chunks(&stage.database, &stage.people[0], chunks).await;
        let url = stage.database.url.clone();
        let options = DbOptions { url, max_connections: 2, acquire: Duration::from_secs(10) };
        let db = Db::open(&options, &Tasks::current());
        let tenant = stage.people[0].tenant_id.parse().unwrap();
        let model = "SELECT max(id)::bigint AS n FROM embedding_models";
        let model = i32::try_from(stage.database.number(model).await).unwrap();
        give_own_index(&db, tenant, model, 384, 1).await.unwrap();
        let mut tx = db.tenant(tenant).await.unwrap();
        docent::store::chunks::count_words(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        stage.database.run("VACUUM ANALYZE").await;
        stage
    }

    /// One more node, which meets others in this Redis.
    pub async fn node_with(&self, redis: &Redis) -> Node {
        node(&self.database, &self.provider, &[("REDIS_URL", &redis.url)]).await
    }
}

async fn node(database: &Database, provider: &Provider, settings: &[(&str, &str)]) -> Node {
    let usual = [
        ("CONNECTIONS_PER_USER", "100000"),
        ("DATABASE_CONNECTIONS", "20"),
        // Nobody reads the log of the process.
        ("LOG", "docent::app=info,error"),
    ];
    Node::with(database, provider, &[&usual, settings].concat()).await
}

/// This program again, as the floor that `main` makes of this argument. It ends with us.
pub struct Floor {
    child: Child,
    /// What it printed first: where it listens.
    pub address: String,
}

impl Floor {
    pub async fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next_line().await.unwrap().expect("the floor listens");
        Self { child, address }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }
}

/// The processor time that a process has used (Linux counts it in hundredths of a second).
pub fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may contain anything, the 12th and 13th field.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// The memory that a process has in use, in bytes.
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Lets this process, and those it starts, have as many connections as the system allows.
pub fn raise_file_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// Sends a request on a connection of its own, and leaves it to the caller to read: cheaply, the
/// clients share the machine with what is measured.
pub async fn send(base: &str, request_line: &str, token: &str, body: &str) -> TcpStream {
    let address = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{request_line} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// `clients` ask one question after the other for as long as `lasts`; they begin evenly over the length of an
/// answer. What each asking gave.
pub async fn one_after_the_other<F: Future>(
    clients: usize,
    (length, lasts): (Duration, Duration),
    ask: impl Fn(usize) -> F,
) -> Vec<F::Output> {
    let began = Instant::now();
    let work = (0..clients).map(|n| {
        let ask = &ask;
        async move {
            tokio::time::sleep(length.mul_f64(n as f64 / clients as f64)).await;
            let mut gave = Vec::new();
            while began.elapsed() < lasts {
                gave.push(ask(n).await);
            }
            gave
        }
    });
    futures_util::future::join_all(work).await.into_iter().flatten().collect()
}

/// In milliseconds.
pub fn percentile(mut values: Vec<Duration>, p: usize) -> f64 {
    values.sort();
    values[(values.len() * p / 100).min(values.len() - 1)].as_secs_f64() * 1e3
}

/// The floor: a connection to the provider for each client, and bytes passed on.
pub async fn relay(provider: String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let provider = provider.clone();
        tokio::spawn(async move {
            let mut upstream = TcpStream::connect(provider).await.unwrap();
            upstream.set_nodelay(true).unwrap();
            client.set_nodelay(true).unwrap();
            copy_bidirectional(&mut client, &mut upstream).await
        });
    }
}

/// Chunks of documents lie in clusters, so these do too: 200 topics with noise around them; each has some
/// fifty words of two thousand.
const FILL: &str = "
    WITH topic AS (
      SELECT t, array_agg(random() - 0.5) AS v FROM generate_series(1, 200) t,
        generate_series(1, 384) GROUP BY t),
    point AS (
      SELECT gen_random_uuid() AS id, n, 1 + n % 200 AS t FROM generate_series(1, {count}) n),
    chunk AS (
      INSERT INTO chunks (tenant_id, id, document_id, seq, page, page_end, tokens, content)
      SELECT '{tenant}', id, '{document}', n + 10, 1, 1, 60,
        (SELECT string_agg('word' || (random() * 2000 + 0 * n + 0 * w)::int, ' ') FROM generate_series(1, 50) w) || ' rule ' || n
      FROM point)
    INSERT INTO embeddings (tenant_id, model_id, chunk_id, document_id, embedding)
    SELECT '{tenant}', {model}, point.id, '{document}',
      (SELECT array_agg(x + 0.6 * (random() - 0.5) + 0 * point.n) FROM unnest(topic.v) x)::vector::halfvec
    FROM point JOIN topic ON topic.t = point.t";

/// Gives a user's tenant so many chunks more, all of one of its documents.
pub async fn fill_chunks(database: &Database, user: &User, count: usize) {
    let model = database.number("SELECT max(id)::bigint AS n FROM embedding_models").await;
    let document = format!(
        "SELECT id::text AS t FROM documents WHERE tenant_id = '{}' LIMIT 1",
        user.tenant_id
    );
    let document = database.texts(&document).await.remove(0);
    let fill = FILL.replace("{count}", &count.to_string()).replace("{tenant}", &user.tenant_id);
    let fill = fill.replace("{document}", &document).replace("{model}", &model.to_string());
    database.run(&fill).await;
}
