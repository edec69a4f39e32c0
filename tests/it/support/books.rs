//! The books, and what must be true of them whatever happened before: twelve rules, each with a name.
//!
//! Most are questions to the database whose right answer is nothing ([`RULES`]); [`wrong`] asks them all in
//! one snapshot. What the database cannot know, its witnesses say:
//!
//! | | | |
//! |---|---|---|
//! | L6 | what a provider reported is billed, and nothing else as exact | [`against_provider`] |
//! | L7 | a provider is paid for no call that nobody asked for | [`against_provider`] |
//! | L9 | what a client saw is how the stored answer begins | [`against_readers`] |
//! | L12 | who reads while others write sees books that are right | [`Auditor`] |

use super::{Call, Database, Provider};
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use docent::llm::tokens;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::interval;

/// Something that must be true.
#[derive(Debug)]
pub struct Rule {
    pub name: &'static str,
    pub means: &'static str,
    /// What is wrong, a line each, in the column `t`.
    sql: &'static str,
}

/// Every rule that the database can answer for itself.
pub const RULES: &[Rule] = &[
    Rule {
        name: "L1",
        means: "what counters say is used is the sum of the ledger, by tenant, user and period",
        sql: "SELECT d::text AS t FROM billing.differences_v1 d WHERE used <> ledger",
    },
    Rule {
        name: "L2",
        means: "what counters hold is the sum of the open reservations, and none outlives its time",
        sql: "SELECT d::text AS t FROM billing.differences_v1 d WHERE reserved <> open_reservations
              UNION ALL
              SELECT r::text FROM reservations r WHERE state = 'open' AND expires_at < now()",
    },
    Rule {
        name: "L3",
        means: "a turn is settled once: when it has ended, not before, and each meter once",
        sql: "SELECT format('turn %s is %s, its reservation %s', t.id, t.state, coalesce(r.state, 'missing')) AS t
                FROM turns t LEFT JOIN reservations r ON r.tenant_id = t.tenant_id AND r.turn_id = t.id
                WHERE r.state IS DISTINCT FROM CASE t.state WHEN 'running' THEN 'open' ELSE 'settled' END
              UNION ALL
              SELECT format('turn %s runs and is billed', t.id) FROM turns t
                WHERE t.state = 'running' AND EXISTS (
                  SELECT FROM usage_ledger l WHERE l.tenant_id = t.tenant_id AND l.turn_id = t.id)
              UNION ALL
              SELECT format('turn %s is %s and was not billed', t.id, t.state) FROM turns t
                WHERE t.state IN ('complete', 'stopped') AND NOT EXISTS (
                  SELECT FROM usage_ledger l WHERE l.tenant_id = t.tenant_id AND l.turn_id = t.id)
              UNION ALL
              SELECT format('%s of %s was billed %s times', meter, coalesce(turn_id, document_id), count(*))
                FROM usage_ledger WHERE kind IN ('usage', 'adjustment')
                GROUP BY tenant_id, turn_id, document_id, step, meter HAVING count(*) > 1
              UNION ALL
              SELECT format('turn %s is %s requests', turn_id, coalesce(sum(quantity) FILTER (WHERE meter = 'requests'), 0))
                FROM usage_ledger WHERE turn_id IS NOT NULL AND kind IN ('usage', 'adjustment')
                GROUP BY tenant_id, turn_id
                HAVING sum(quantity) FILTER (WHERE meter = 'requests') IS DISTINCT FROM 1",
    },
    Rule {
        name: "L4",
        means: "what is billed or held is billed to who used it, and to their tenant",
        sql: "SELECT format('%s of turn %s is billed to another', l.event_id, t.id) AS t
                FROM usage_ledger l JOIN turns t ON t.id = l.turn_id
                WHERE (t.tenant_id, t.user_id) <> (l.tenant_id, l.user_id)
              UNION ALL
              SELECT format('%s of document %s is billed to another', l.event_id, d.id)
                FROM usage_ledger l JOIN documents d ON d.id = l.document_id WHERE d.tenant_id <> l.tenant_id
              UNION ALL
              SELECT format('%s is of a user of another tenant', l.event_id)
                FROM usage_ledger l JOIN users u ON u.id = l.user_id WHERE u.tenant_id <> l.tenant_id
              UNION ALL
              SELECT format('turn %s holds from another', t.id)
                FROM reservations r JOIN turns t ON t.id = r.turn_id
                WHERE (t.tenant_id, t.user_id) <> (r.tenant_id, r.user_id)",
    },
    Rule {
        name: "L5",
        means: "nothing is over a hard limit, but by what a provider read and wrote past a reservation",
        sql: "WITH past AS (
                SELECT r.tenant_id, r.user_id, r.month_start, r.day_start,
                       greatest(sum(l.quantity) FILTER (WHERE l.meter IN ('input_tokens', 'cached_input_tokens',
                         'output_tokens', 'reasoning_tokens')) - r.tokens, 0) AS tokens,
                       greatest(sum(l.cost_nano_usd) - r.cost_nano_usd, 0) AS cost
                FROM reservations r JOIN usage_ledger l ON l.tenant_id = r.tenant_id AND l.turn_id = r.turn_id
                WHERE r.state = 'settled' GROUP BY r.tenant_id, r.turn_id)
              SELECT q::text AS t FROM billing.quotas_v1 q
              WHERE hard AND used + reserved > max_amount + coalesce((
                SELECT sum(CASE q.meter WHEN 'tokens' THEN p.tokens WHEN 'cost_nano_usd' THEN p.cost END) FROM past p
                WHERE p.tenant_id = q.tenant_id AND q.scope_id IN (p.tenant_id, p.user_id)
                  AND q.period_start = CASE q.period WHEN 'month' THEN p.month_start ELSE p.day_start END), 0)",
    },
    Rule {
        name: "L8",
        means: "whatever runs is run by a node that lives",
        sql: "SELECT format('turn %s runs on node %s', t.id, t.owner) AS t FROM turns t
              WHERE t.state = 'running' AND NOT EXISTS (
                SELECT FROM nodes n WHERE n.id = t.owner AND n.lease_until >= now())",
    },
    Rule {
        name: "L9",
        means: "an ended turn has one answer, its log has no gap, and both say the same",
        sql: "SELECT format('turn %s is %s and has %s answers', t.id, t.state, count(m.id)) AS t
                FROM turns t LEFT JOIN messages m ON m.tenant_id = t.tenant_id AND m.turn_id = t.id
                  AND m.role = 'assistant' AND m.status = t.state
                WHERE t.state <> 'running' GROUP BY t.tenant_id, t.id HAVING count(m.id) <> 1
              UNION ALL
              SELECT format('the log of turn %s has a gap before %s', turn_id, first_offset) FROM (
                SELECT turn_id, first_offset, lag(first_offset + lines, 1, 0) OVER (
                  PARTITION BY tenant_id, turn_id ORDER BY first_offset) AS due FROM (
                    SELECT *, length(parts) - length(replace(parts, E'\\n', '')) AS lines FROM turn_segments) s) s
                WHERE first_offset <> due
              UNION ALL
              SELECT format('the log of turn %s says something else than the answer', m.turn_id)
                FROM messages m JOIN turns t ON t.tenant_id = m.tenant_id AND t.id = m.turn_id
                JOIN LATERAL (
                  SELECT string_agg(line::json ->> 'delta', '' ORDER BY s.first_offset, place)
                    FILTER (WHERE line::json ->> 'type' = 'text-delta') AS text
                  FROM turn_segments s, regexp_split_to_table(s.parts, E'\\n') WITH ORDINALITY lines (line, place)
                  WHERE s.tenant_id = m.tenant_id AND s.turn_id = m.turn_id AND line <> '' HAVING count(*) > 0) log ON true
                WHERE m.role = 'assistant' AND t.state <> 'running' AND coalesce(log.text, '') <> m.content",
    },
    Rule {
        name: "L10",
        means: "no role of the program can change or delete what was billed",
        sql: "SELECT format('%s may %s %s', r.role, p.privilege, c.relname) AS t
              FROM unnest(ARRAY['docent_app', 'docent_system', 'docent_ledger', 'docent_billing']) r (role),
                   unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) p (privilege),
                   pg_class c
              WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
                AND c.relname ~ '^(usage_ledger|ledger_seals|audit_log)'
                AND (has_table_privilege(r.role, c.oid, p.privilege)
                  OR p.privilege = 'UPDATE' AND has_any_column_privilege(r.role, c.oid, 'UPDATE'))",
    },
    Rule {
        name: "L11",
        means: "counters that are made anew from ledger and reservations are those that are there",
        sql: "WITH facts (tenant_id, user_id, month, day, what, amount) AS (
                SELECT tenant_id, user_id, period_start, day_start, v.what, v.amount
                  FROM usage_ledger, LATERAL (VALUES ('cost used', cost_nano_usd), (CASE
                    WHEN meter IN ('requests', 'pages', 'stored_bytes') THEN meter || ' used'
                    WHEN meter IN ('input_tokens', 'cached_input_tokens', 'output_tokens', 'reasoning_tokens')
                      THEN 'tokens used' END, quantity)) v (what, amount)
                UNION ALL
                SELECT tenant_id, user_id, month_start, day_start, v.what, v.amount
                  FROM reservations, LATERAL (VALUES ('requests held', requests), ('tokens held', tokens),
                    ('cost held', cost_nano_usd)) v (what, amount) WHERE state = 'open'
                UNION ALL
                SELECT tenant_id, NULL, NULL, NULL, 'stored_bytes used', base_stored_bytes FROM ledger_heads),
              rebuilt AS (
                SELECT tenant_id, k.scope_id, k.period, k.start, what, sum(amount) AS amount
                FROM facts, LATERAL (VALUES (tenant_id, 'month', month), (user_id, 'month', month),
                  (tenant_id, 'day', day), (user_id, 'day', day), (tenant_id, 'total', 'epoch')) k (scope_id, period, start)
                WHERE k.scope_id IS NOT NULL AND (what = 'stored_bytes used') = (k.period = 'total')
                GROUP BY 1, 2, 3, 4, 5 HAVING sum(amount) <> 0),
              there AS (
                SELECT tenant_id, scope_id, period, period_start, v.what, sum(v.amount) AS amount
                FROM quota_counters, LATERAL (VALUES ('requests used', requests_used), ('tokens used', tokens_used),
                  ('cost used', cost_used), ('pages used', pages_used), ('stored_bytes used', stored_bytes_used),
                  ('requests held', requests_reserved), ('tokens held', tokens_reserved),
                  ('cost held', cost_reserved)) v (what, amount)
                GROUP BY 1, 2, 3, 4, 5 HAVING sum(v.amount) <> 0),
              apart AS ((TABLE rebuilt EXCEPT TABLE there) UNION ALL (TABLE there EXCEPT TABLE rebuilt))
              SELECT a::text AS t FROM apart a
              WHERE period = 'total' OR start >= (SELECT kept_from FROM ledger_state)",
    },
];

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    t: String,
}

/// What is wrong, a line each that begins with the name of its rule: all in one snapshot.
pub async fn wrong(conn: &mut AsyncPgConnection) -> Vec<String> {
    broken(conn, RULES.iter()).await
}

async fn broken(
    conn: &mut AsyncPgConnection,
    rules: impl Iterator<Item = &'static Rule>,
) -> Vec<String> {
    let ask = |rule: &Rule| {
        let Rule { name, means, sql } = rule;
        format!("SELECT '{name}: {means}: ' || t AS t FROM ({sql}) {name}")
    };
    let sql = rules.map(ask).collect::<Vec<_>>().join("\nUNION ALL\n");
    let lines: Vec<Line> = diesel::sql_query(&sql).load(conn).await.expect("the books can be read");
    lines.into_iter().map(|line| line.t).collect()
}

/// A turn as the books have it, next to what was said of it.
#[derive(Deserialize)]
struct Billed {
    turn: String,
    question: String,
    state: String,
    answer: Option<String>,
    /// Meter, quantity, provenance and step.
    rows: Vec<(String, i64, String, i16)>,
}

impl Billed {
    async fn all(database: &Database) -> Vec<Self> {
        let turns = database
            .texts(
                "SELECT json_build_object('turn', t.id, 'question', q.content, 'state', t.state, 'answer', a.content,
                   'rows', coalesce((SELECT json_agg(json_build_array(meter, quantity, provenance, step))
                     FROM usage_ledger l WHERE l.tenant_id = t.tenant_id AND l.turn_id = t.id
                       AND kind IN ('usage', 'adjustment')), '[]'))::text AS t
                 FROM turns t JOIN messages q ON q.tenant_id = t.tenant_id AND q.id = t.question_id
                 LEFT JOIN messages a ON a.tenant_id = t.tenant_id AND a.turn_id = t.id AND a.role = 'assistant'",
            )
            .await;
        turns.iter().map(|turn| serde_json::from_str(turn).expect("a turn")).collect()
    }

    /// The tokens of one direction: how many were billed, and whether as exact.
    fn tokens(&self, meters: [&str; 2]) -> Option<(i64, bool)> {
        let rows = self.rows.iter().filter(|(meter, ..)| meters.contains(&meter.as_str()));
        let last = rows.clone().map(|(.., step)| *step).max()?;
        let exact = rows
            .clone()
            .filter(|(.., step)| *step == last)
            .all(|(_, _, provenance, _)| provenance == "exact");
        Some((rows.map(|(_, quantity, ..)| quantity).sum(), exact))
    }

    /// What differs from the one call that was made for it.
    fn compare(&self, call: &Call) -> Vec<String> {
        let mut found = Vec::new();
        let mut must = |right: bool, what: String| {
            if !right {
                found.push(format!("L6: turn {} ({}): {what}", self.turn, self.state));
            }
        };
        let answer = self.answer.as_deref().unwrap_or_default();
        must(
            call.text.starts_with(answer),
            format!("stored {answer:?}, the provider said {:?}", call.text),
        );
        let input = self.tokens(["input_tokens", "cached_input_tokens"]);
        let output = self.tokens(["output_tokens", "reasoning_tokens"]);
        for (what, billed, said) in [
            ("input", input, call.usage.map(|usage| usage.0)),
            ("output", output, call.usage.map(|usage| usage.1)),
        ] {
            let Some((billed, true)) = billed else { continue };
            let said = said.map(|n| i64::try_from(n).unwrap());
            must(
                said == Some(billed),
                format!("billed {billed} of {what} as exact, reported were {said:?}"),
            );
        }
        if let Some((billed, false)) = output {
            // Between what was kept and what was sent: a turn closed by another node may know more.
            let count = |text: &str| i64::from(tokens::count(text));
            let fits = (count(answer)..=count(&call.text) + 1).contains(&billed);
            must(fits, format!("billed {billed} for {answer:?} of {:?}", call.text));
        }
        found
    }
}

/// L6 and L7: the books, compared with what the provider says it did. Every question must be asked in
/// words of its own.
pub async fn against_provider(database: &Database, provider: &Provider) -> Vec<String> {
    let mut calls: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    for call in provider.answered() {
        calls.entry(call.question.clone()).or_default().push(call);
    }
    let mut found = Vec::new();
    for turn in Billed::all(database).await {
        let mut calls = calls.remove(&turn.question).unwrap_or_default();
        if calls.len() > 1 {
            calls.retain(|call| !call.reset || !call.text.is_empty());
        }
        match calls.as_slice() {
            [] => {
                let ended = turn.state == "complete" || turn.answer.is_some_and(|a| !a.is_empty());
                if ended {
                    found.push(format!("L7: turn {} is {} without a call", turn.turn, turn.state));
                }
            }
            [call] => found.extend(turn.compare(call)),
            several => found.push(format!("L7: turn {}: {} calls", turn.turn, several.len())),
        }
    }
    let unasked = calls.into_keys();
    found.extend(unasked.map(|question| format!("L7: no turn of its own asked {question:?}")));
    found
}

/// L9: what clients saw of turns is how the stored answers begin.
pub async fn against_readers(database: &Database, seen: &[(String, String)]) -> Vec<String> {
    let stored: BTreeMap<String, String> = Billed::all(database)
        .await
        .into_iter()
        .map(|turn| (turn.turn, turn.answer.unwrap_or_default()))
        .collect();
    let begins = |(turn, text): &&(String, String)| {
        !stored.get(turn).is_some_and(|stored| stored.starts_with(text))
    };
    let tell = |(turn, text): &(String, String)| {
        format!("L9: of turn {turn} was seen {text:?}, stored is {:?}", stored.get(turn))
    };
    seen.iter().filter(begins).map(tell).collect()
}

/// L12: somebody in accounting who looks again and again while others write. Every look is one
/// snapshot, with the rights of a billing system, and sees sums that fit (L1, L2, L11) and limits that
/// hold (L5).
pub struct Auditor {
    stop: oneshot::Sender<()>,
    looks: JoinHandle<(usize, Vec<String>)>,
}

/// What a billing system can see.
const SEEN: [&str; 4] = ["L1", "L2", "L5", "L11"];

impl Auditor {
    pub async fn start(database: &Database) -> Self {
        let mut conn = database.connect().await;
        conn.batch_execute("SET ROLE docent_billing").await.expect("who accounts may read");
        let (stop, mut stopped) = oneshot::channel();
        let looks = tokio::spawn(async move {
            let mut again = interval(Duration::from_millis(50));
            for looks in 1.. {
                again.tick().await;
                let last = stopped.try_recv() != Err(oneshot::error::TryRecvError::Empty);
                let rules = RULES.iter().filter(|rule| SEEN.contains(&rule.name));
                let found = broken(&mut conn, rules).await;
                if last || !found.is_empty() {
                    return (looks, found);
                }
            }
            unreachable!("nobody counts so far")
        });
        Self { stop, looks }
    }

    /// Looks once more; what was wrong at the first look at which something was.
    pub async fn finish(self) -> Vec<String> {
        let _ended = self.stop.send(());
        let (looks, found) = self.looks.await.expect("it looks");
        found.into_iter().map(|line| format!("L12: at look {looks}: {line}")).collect()
    }
}
