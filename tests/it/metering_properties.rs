//! The books under random load: tasks reserve, settle, settle again, forget to, give up and hang up
//! in mid-statement. The test keeps its own books of what was committed; nothing is ever over a
//! limit, and at the end both books agree.

use crate::support::Database;
use diesel::QueryResult;
use diesel_async::RunQueryDsl;
use docent::accounts::{NewTenant, add_user, create_tenant};
use docent::metering::{self, Ask, Bill, Item, Prices, ReserveError, Source, StepBill};
use docent::runtime::Tasks;
use docent::store::assistants::Assistant;
use docent::store::conversations::NewConversation;
use docent::store::messages::NewMessage;
use docent::store::prices::Price;
use docent::store::turns::NewTurn;
use docent::store::{Conn, Db, DbOptions};
use docent::types::{
    AssistantId, ConversationId, Ctx, DocumentId, MessageId, Meter, NodeId, Provenance, Role,
    TenantId, TurnId, UserId,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TASKS: u64 = 4;
const STEPS: usize = 100;
const LIMITS: &str = "INSERT INTO plans VALUES ('tiny', 1000, 1000, 1000000, 1000000, 100, 100, 3);
    INSERT INTO plan_quotas VALUES
      ('tiny', 'tenant', 'month', 'requests', 110), ('tiny', 'user', 'day', 'requests', 60),
      ('tiny', 'tenant', 'day', 'tokens', 26000), ('tiny', 'user', 'month', 'tokens', 13000),
      ('tiny', 'tenant', 'month', 'cost_nano_usd', 9000000),
      ('tiny', 'user', 'day', 'cost_nano_usd', 4000000),
      ('tiny', 'tenant', 'month', 'pages', 25)";

/// A turn whose reservation was committed.
#[derive(Clone, Copy)]
struct Held {
    turn: TurnId,
    user: UserId,
    input: i64,
    output: i64,
    cost: i64,
}

/// What the test knows to be committed.
#[derive(Default)]
struct OwnBooks {
    held: Vec<Held>,
    /// Items by turn or document; the first commit is the only one that may count.
    billed: BTreeMap<uuid::Uuid, Vec<Item>>,
    refused: usize,
    given_up: usize,
}

pub struct Office {
    pub db: Db,
    pub database: Database,
    pub tenant: TenantId,
    assistant: AssistantId,
    pub people: Vec<UserId>,
    documents: Vec<DocumentId>,
    price: Price,
    models: [String; 1],
    books: Mutex<OwnBooks>,
}

impl Office {
    pub async fn open() -> Self {
        let database = Database::fresh().await;
        database.run(LIMITS).await;
        let options = DbOptions {
            url: database.url.clone(),
            max_connections: 6,
            acquire: Duration::from_secs(30),
        };
        let db = Db::open(&options, &Tasks::current());
        let new = NewTenant {
            slug: "acme".into(),
            name: "Acme".into(),
            plan: "tiny".into(),
            allow_signup: false,
            time_zone: "UTC".into(),
        };
        let tenant = create_tenant(&db, new).await.unwrap();
        let mut people = Vec::new();
        for name in ["anna", "ben", "carl"] {
            let email = format!("{name}@acme.test");
            people.push(add_user(&db, &tenant, &email, name, Role::Member).await.unwrap().id);
        }
        let mut tx = db.tenant(tenant.id).await.unwrap();
        let assistant = Assistant::pick(&tx, tenant.id, None).await.unwrap().unwrap().id;
        let price = Price::of(&mut tx, tenant.id, "gpt-4o-mini").await.unwrap().unwrap();
        tx.commit().await.unwrap();
        let documents = (0..15).map(|_| DocumentId::new()).collect();
        let (tenant, books) = (tenant.id, Mutex::default());
        let models = ["gpt-4o-mini".to_owned()];
        Self { db, database, tenant, assistant, people, documents, price, models, books }
    }

    fn books<T>(&self, look: impl FnOnce(&mut OwnBooks) -> T) -> T {
        look(&mut self.books.lock().unwrap())
    }

    async fn step(&self, dice: &mut StdRng) {
        match dice.random_range(0..100) {
            0..45 => self.reserve(dice).await,
            45..80 => self.settle(dice).await,
            80..91 => self.bill_document(dice).await,
            91..95 => self.spread_differently(dice).await,
            _ => self.nothing_is_over_its_limit().await,
        }
    }

    /// The operator changes over how many rows the tenant's counters are spread.
    async fn spread_differently(&self, dice: &mut StdRng) {
        let slices = dice.random_range(1..6);
        let sql = format!("UPDATE plans SET counter_slices = {slices} WHERE name = 'tiny'");
        self.database.run(&sql).await;
    }

    async fn reserve(&self, dice: &mut StdRng) {
        let user = self.people[dice.random_range(0..self.people.len())];
        let output = dice.random_range(1..300);
        let least = dice.random_range(1..=output);
        let ask = self.ask(dice.random_range(0..600), output, least);
        let (turn, ctx) = (TurnId::new(), Ctx::new(self.tenant, user, Role::Member));
        let mut tx = self.db.tenant(self.tenant).await.unwrap();
        self.begin_turn(&mut tx, turn, user).await.unwrap();
        if dice.random_bool(0.1) {
            // The caller hangs up somewhere in the middle.
            let moments = dice.random_range(1..20);
            tokio::select! {
                biased;
                _ = metering::reserve(&tx, ctx, turn, NodeId::new(), ask) => {}
                () = some(moments) => {}
            }
            return self.books(|books| books.given_up += 1);
        }
        let grant = match metering::reserve(&tx, ctx, turn, NodeId::new(), ask).await {
            Ok(grant) => grant,
            Err(ReserveError::Exceeded(why)) => {
                let needed = match why.meter.as_str() {
                    "requests" => 1,
                    "tokens" => ask.input + ask.least_output,
                    "cost_nano_usd" => ask.input * 150 + ask.least_output * 600 + 4,
                    other => panic!("turns do not use {other}"),
                };
                assert!(
                    why.limit - why.used - why.reserved < needed,
                    "refused for a reason: {why:?}"
                );
                return self.books(|books| books.refused += 1);
            }
            Err(error) => panic!("{error:?}"),
        };
        assert!((ask.least_output..=ask.output).contains(&grant.output), "{ask:?} {grant:?}");
        if dice.random_bool(0.15) {
            return self.books(|books| books.given_up += 1); // dropped: rolled back
        }
        tx.commit().await.unwrap();
        let cost = grant.cost_nano_usd.unwrap();
        let held = Held { turn, user, input: ask.input, output: grant.output, cost };
        self.books(|books| books.held.push(held));
    }

    pub fn ask(&self, input: i64, output: i64, least_output: i64) -> Ask<'_> {
        Ask {
            assistant: Some(self.assistant),
            models: &self.models,
            embedding_model: "none",
            input,
            output,
            least_output,
            embedding: 3,
        }
    }

    pub async fn begin_turn(&self, tx: &mut Conn, turn: TurnId, user: UserId) -> QueryResult<()> {
        let conversation = ConversationId::new();
        let new = NewConversation {
            client_id: None,
            tenant_id: self.tenant,
            id: conversation,
            user_id: user,
            assistant_id: self.assistant,
            title: "Books",
            kind: "chat",
        };
        new.insert(tx).await?;
        let question = MessageId::new();
        let new = NewTurn {
            tenant_id: self.tenant,
            id: turn,
            conversation_id: conversation,
            user_id: user,
            question_id: question,
            answer_id: MessageId::new(),
            idempotency_key: None,
            request_hash: &[],
            provider: "test",
            model: "gpt-4o-mini",
            owner: NodeId::new(),
        };
        new.insert(tx).await?;
        let new = NewMessage {
            tenant_id: self.tenant,
            id: question,
            conversation_id: conversation,
            parent_id: None,
            turn_id: turn,
            role: "user",
            status: "complete",
            content: "Well?",
        };
        new.insert(tx).await
    }

    /// Settles any turn that was ever held, settled before or not.
    async fn settle(&self, dice: &mut StdRng) {
        let held = self.books(|books| {
            let any = dice.random_range(0..books.held.len().max(1));
            books.held.get(any).copied()
        });
        let Some(held) = held else { return };
        let items = vec![
            Item::exact(Meter::Requests, 1),
            Item::exact(Meter::InputTokens, dice.random_range(0..=held.input)),
            Item {
                meter: Meter::OutputTokens,
                quantity: dice.random_range(0..=held.output),
                provenance: Provenance::Estimated,
            },
            Item::exact(Meter::EmbeddingTokens, dice.random_range(0..50)),
        ];
        let bill = self.bill(held.user, Source::Turn(held.turn), items);
        let tx = self.db.tenant(self.tenant).await.unwrap();
        if dice.random_bool(0.1) {
            let moments = dice.random_range(1..20);
            tokio::select! {
                biased;
                _ = metering::settle_turn(&tx, held.turn, &bill) => {}
                () = some(moments) => {}
            }
            return self.books(|books| books.given_up += 1);
        }
        // The model has a price: whoever settles is told the cost, and nobody else.
        let settled = metering::settle_turn(&tx, held.turn, &bill).await.unwrap().is_some();
        if dice.random_bool(0.15) {
            return self.books(|books| books.given_up += 1);
        }
        tx.commit().await.unwrap();
        if settled {
            let twice = self
                .books(|books| books.billed.insert(held.turn.uuid(), bill.steps[0].items.clone()));
            assert!(twice.is_none(), "{} was settled twice", held.turn);
        }
    }

    async fn bill_document(&self, dice: &mut StdRng) {
        let document = self.documents[dice.random_range(0..self.documents.len())];
        let pages = Item::exact(Meter::Pages, dice.random_range(1..5));
        let bill = self.bill(self.people[0], Source::Document(document), vec![pages]);
        let mut tx = self.db.tenant(self.tenant).await.unwrap();
        if let Err(why) = metering::bill_now(&mut tx, &bill).await.unwrap() {
            assert_eq!((why.meter.as_str(), why.scope.as_str()), ("pages", "tenant"));
            return self.books(|books| books.refused += 1);
        }
        if dice.random_bool(0.2) {
            return self.books(|books| books.given_up += 1);
        }
        // Noted while the rows are locked: of two bills for one document the first one counts.
        self.books(|books| {
            books.billed.entry(document.uuid()).or_insert(bill.steps[0].items.clone());
        });
        tx.commit().await.unwrap();
    }

    pub fn bill(&self, user: UserId, source: Source, items: Vec<Item>) -> Bill {
        let model = Some(self.models[0].clone());
        Bill {
            tenant: self.tenant,
            user,
            assistant: None,
            source,
            embedding_model: None,
            prices: Prices {
                chat: model.iter().map(|model| (model.clone(), Some(self.price.clone()))).collect(),
                embedding: None,
            },
            first_step: 0,
            steps: vec![StepBill { model, items }],
        }
    }

    async fn nothing_is_over_its_limit(&self) {
        let over = "SELECT count(*) AS n FROM billing.quotas_v1 WHERE used + reserved > max_amount";
        assert_eq!(self.database.number(over).await, 0);
    }

    /// The database's books, compared with the test's own.
    async fn audit(&self) {
        self.nothing_is_over_its_limit().await;
        let differences = "SELECT d::text AS t FROM billing.differences_v1 d";
        assert_eq!(self.database.texts(differences).await, Vec::<String>::new());
        let twice = "SELECT count(*) AS n FROM (SELECT FROM usage_ledger
                     GROUP BY coalesce(turn_id, document_id), meter HAVING count(*) > 1) x";
        assert_eq!(self.database.number(twice).await, 0);
        for (meter, billed, held) in self.books(|books| books.sums(&self.price)) {
            let of = format!(
                "FROM billing.quotas_v1 WHERE scope = 'tenant' AND period = 'month' AND meter = '{meter}'"
            );
            let used = format!("SELECT coalesce(sum(used), 0)::bigint AS n {of}");
            assert_eq!(self.database.number(&used).await, billed, "{meter} used");
            let reserved = format!("SELECT coalesce(sum(reserved), 0)::bigint AS n {of}");
            assert_eq!(self.database.number(&reserved).await, held, "{meter} reserved");
        }
    }
}

impl OwnBooks {
    /// Meter, used and held.
    fn sums(&self, price: &Price) -> [(&'static str, i64, i64); 4] {
        let of = |meters: &[Meter]| -> i64 {
            let items = self.billed.values().flatten();
            items.filter(|item| meters.contains(&item.meter)).map(|item| item.quantity).sum()
        };
        let items = self.billed.values().flatten();
        let cost = items.filter(|item| item.meter != Meter::EmbeddingTokens);
        let cost: i64 = cost.filter_map(|item| price.cost(item.meter, item.quantity)).sum();
        let open = || self.held.iter().filter(|held| !self.billed.contains_key(&held.turn.uuid()));
        [
            ("requests", of(&[Meter::Requests]), i64::try_from(open().count()).unwrap()),
            (
                "tokens",
                of(&[Meter::InputTokens, Meter::OutputTokens]),
                open().map(|held| held.input + held.output).sum(),
            ),
            ("cost_nano_usd", cost, open().map(|held| held.cost).sum()),
            ("pages", of(&[Meter::Pages]), 0),
        ]
    }
}

/// Lets others go first so many times.
async fn some(moments: usize) {
    for _ in 0..moments {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_are_right_whatever_happens() {
    let office = Arc::new(Office::open().await);
    let work = (0..TASKS).map(|seed| {
        let office = Arc::clone(&office);
        #[expect(clippy::disallowed_methods, reason = "a test's own tasks")]
        tokio::spawn(async move {
            let mut dice = StdRng::seed_from_u64(seed);
            for _ in 0..STEPS {
                office.step(&mut dice).await;
            }
        })
    });
    for outcome in futures_util::future::join_all(work).await {
        outcome.expect("no task fails");
    }
    office.audit().await;
    let (held, billed) = office.books(|books| (books.held.len(), books.billed.len()));
    let (refused, given_up) = office.books(|books| (books.refused, books.given_up));
    let everything = held > 30 && billed > 20 && refused > 5 && given_up > 10;
    assert!(everything, "not much happened: {held} {billed} {refused} {given_up}");

    // Whatever was forgotten is settled in the end, and then nothing is held any more.
    for turn in office.books(|books| books.held.clone()) {
        let tx = office.db.tenant(office.tenant).await.unwrap();
        let bill = office.bill(turn.user, Source::Turn(turn.turn), Vec::new());
        metering::settle_turn(&tx, turn.turn, &bill).await.unwrap();
        tx.commit().await.unwrap();
        office.books(|books| {
            books.billed.entry(turn.turn.uuid()).or_default();
        });
    }
    office.audit().await;
    assert_eq!(
        office.database.number("SELECT sum(reserved)::bigint AS n FROM billing.quotas_v1").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_needs_its_turn() {
    let office = Office::open().await;
    let ctx = Ctx::new(office.tenant, office.people[0], Role::Member);
    let ask = office.ask(10, 10, 1);
    let tx = office.db.tenant(office.tenant).await.unwrap();
    metering::reserve(&tx, ctx, TurnId::new(), NodeId::new(), ask).await.unwrap();
    assert!(tx.commit().await.is_err(), "nobody could ever settle it");
    office.audit().await;
    let mut tx = office.db.tenant(office.tenant).await.unwrap();
    diesel::sql_query("SELECT 1")
        .execute(&mut *tx)
        .await
        .expect("the connection is as good as new");
}
