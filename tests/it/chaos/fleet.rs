//! The nodes behind their balancer, and what happens to them.

use crate::outages::{address, behind};
use crate::support::{Balancer, Database, Node, Provider, Redis, Relay};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub struct Fleet<'a> {
    pub balancer: Balancer,
    pub nodes: Vec<Node>,
    /// Of each node, its id in the table `nodes`.
    ids: Vec<String>,
    /// The ids of those that were killed, or taken for dead.
    pub killed: Vec<String>,
    /// What happened, and how often.
    pub troubles: BTreeMap<&'static str, usize>,
    database: Database,
    /// Between the nodes and PostgreSQL.
    network: Relay,
    provider: Provider,
    redis: Option<&'a mut Redis>,
}

impl<'a> Fleet<'a> {
    pub async fn start(
        size: usize,
        database: &Database,
        provider: &Provider,
        redis: Option<&'a mut Redis>,
    ) -> Self {
        let mut fleet = Self {
            balancer: Balancer::before(&[]).await,
            nodes: Vec::new(),
            ids: Vec::new(),
            killed: Vec::new(),
            troubles: BTreeMap::new(),
            database: database.clone(),
            network: Relay::to(&address(&database.url)).await,
            provider: provider.clone(),
            redis,
        };
        for _ in 0..size {
            fleet.add().await;
        }
        fleet
    }

    /// One node more, behind the balancer.
    async fn add(&mut self) {
        let all = "SELECT id::text AS t FROM nodes";
        let before = self.database.texts(all).await;
        let log = "docent::app=info,error";
        // Logs stay until the end, when everybody's are compared.
        let mut env = vec![("DRAIN_TIMEOUT", "1"), ("LOG", log), ("TURN_RETENTION", "86400")];
        env.extend(self.redis.as_ref().map(|redis| ("REDIS_URL", redis.url.as_str())));
        let database = behind(&self.network, &self.database);
        let node = Node::with(&database, &self.provider, &env).await;
        let after = self.database.texts(all).await;
        let new: Vec<String> = after.into_iter().filter(|id| !before.contains(id)).collect();
        let [id] = &new[..] else { panic!("a node registers before it serves: {new:?}") };
        self.ids.push(id.clone());
        self.nodes.push(node);
        self.balance();
    }

    fn balance(&self) {
        let bases: Vec<&str> = self.nodes.iter().map(|node| node.base.as_str()).collect();
        self.balancer.set(&bases);
    }

    /// `kill -9`, and another one. Its lease is over at once: it would take ten seconds.
    async fn kill(&mut self, n: usize) {
        let (node, id) = (self.nodes.remove(n), self.ids.remove(n));
        node.kill().await;
        let expire = format!("UPDATE nodes SET lease_until = '-infinity' WHERE id = '{id}'");
        self.database.run(&expire).await;
        self.killed.push(id);
        self.balance();
        self.add().await;
    }

    /// It hangs for so long that the others take it for dead, and then goes on.
    async fn freeze(&mut self, n: usize) {
        let (node, id) = (&self.nodes[n], &self.ids[n]);
        node.pause();
        let expire = format!("UPDATE nodes SET lease_until = '-infinity' WHERE id = '{id}'");
        self.database.run(&expire).await;
        let closed = format!(
            "SELECT (NOT EXISTS (SELECT FROM turns WHERE state = 'running' AND owner = '{id}'))::int::bigint AS n"
        );
        self.database.until(&closed).await;
        node.resume();
        self.killed.push(id.clone());
    }

    /// SIGTERM, and another one. The balancer notices when the node refuses connections.
    async fn restart(&mut self, n: usize) {
        let (node, _) = (self.nodes.remove(n), self.ids.remove(n));
        let (code, log) = node.terminate().await;
        assert_eq!(code, Some(0), "{log:#?}");
        self.balance();
        self.add().await;
    }

    /// One trouble after the other.
    pub async fn suffer(&mut self, mut dice: StdRng, until: Instant) {
        while Instant::now() < until {
            sleep(Duration::from_millis(dice.random_range(200..1500))).await;
            let n = dice.random_range(0..self.nodes.len());
            let trouble = match dice.random_range(0..12) {
                0..3 => "killed",
                3..4 => "frozen",
                4..6 => "restarted",
                6..8 => "PostgreSQL cut",
                8..10 if self.redis.is_some() => "Redis restarted",
                _ => "clients cut",
            };
            match (trouble, &mut self.redis) {
                ("killed", _) => self.kill(n).await,
                ("frozen", _) => self.freeze(n).await,
                ("restarted", _) => self.restart(n).await,
                ("PostgreSQL cut", _) => self.network.cut(),
                ("Redis restarted", Some(redis)) => redis.restart().await,
                _ => self.balancer.cut(),
            }
            *self.troubles.entry(trouble).or_default() += 1;
        }
    }
}
