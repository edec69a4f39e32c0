//! Coming in: a code by mail, five guesses, and the same answer for everybody.

use crate::support::{World, WorldOptions};
use serde_json::{Value, json};

/// Somebody at the door of a tenant.
struct Visitor<'a> {
    world: &'a World,
    tenant: &'a str,
    email: &'a str,
}

impl<'a> Visitor<'a> {
    fn new(world: &'a World, tenant: &'a str, email: &'a str) -> Self {
        Self { world, tenant, email }
    }

    async fn post(&self, path: &str, body: Value) -> reqwest::Response {
        let url = format!("{}{path}", self.world.base);
        let request = self.world.http.post(url).header("X-Tenant-ID", self.tenant);
        request.body(body.to_string()).send().await.unwrap()
    }

    async fn ask_for_code(&self) -> reqwest::Response {
        self.post("/v1/auth/request-code", json!({"email": self.email})).await
    }

    /// The code in the mail.
    async fn code(&self) -> String {
        let sent = self.ask_for_code().await;
        assert_eq!(sent.status(), 202);
        json_of(sent).await["dev_code"].as_str().unwrap().to_owned()
    }

    /// Types a code; returns the status and what came.
    async fn types(&self, code: &str) -> (u16, Value) {
        let body = json!({"email": self.email, "code": code});
        let verified = self.post("/v1/auth/verify-code", body).await;
        (verified.status().as_u16(), json_of(verified).await)
    }

    /// Types wrong codes, one after the other.
    async fn guesses(&self, right: &str, times: usize) {
        for _ in 0..times {
            let (status, problem) = self.types(&wrong(right)).await;
            assert_eq!((status, &problem["code"]), (401, &json!("unauthenticated")));
        }
    }
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// Six digits that are not `code`.
fn wrong(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000)
}

/// A tenant that anna belongs to and that takes nobody in by itself.
async fn invitation_only(world: &World) {
    world.user("anna@acme.test").await;
    world.database.run("UPDATE tenants SET allow_signup = false WHERE slug = 'acme'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_opens_the_door_once() {
    let world = World::start().await;
    world.user("ben@acme.test").await;
    let anna = Visitor::new(&world, "acme", "Anna@ACME.test ");
    let code = anna.code().await;
    let (status, session) = anna.types(&format!("{} {}", &code[..3], &code[3..])).await;
    assert_eq!(status, 200, "a space in the middle is forgiven: {session}");
    assert_eq!(session["token_type"], "Bearer");
    assert_eq!(session["user"]["email"], "anna@acme.test");
    assert_eq!(session["user"]["role"], "member");
    assert_eq!(session["tenant"]["slug"], "acme");
    assert_eq!(anna.types(&code).await.0, 401, "a code is used once");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_five_wrong_guesses_the_right_code_is_dead_and_a_new_one_lives() {
    let world = World::start().await;
    world.user("anna@acme.test").await;
    let anna = Visitor::new(&world, "acme", "anna@acme.test");
    let code = anna.code().await;
    anna.guesses(&code, 4).await;
    assert_eq!(anna.types(&code).await.0, 200, "the fifth guess still counts");
    let code = anna.code().await;
    anna.guesses(&code, 5).await;
    assert_eq!(anna.types(&code).await.0, 401);
    let code = anna.code().await;
    assert_eq!(anna.types(&code).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_code_voids_the_one_before() {
    let world = World::start().await;
    world.user("anna@acme.test").await;
    let anna = Visitor::new(&world, "acme", "anna@acme.test");
    let old = anna.code().await;
    let mut new = anna.code().await;
    while new == old {
        new = anna.code().await; // one in a million
    }
    assert_eq!(anna.types(&old).await.0, 401);
    assert_eq!(anna.types(&new).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_made_at_once_are_all_counted() {
    let world = World::start().await;
    world.user("anna@acme.test").await;
    let anna = Visitor::new(&world, "acme", "anna@acme.test");
    let code = anna.code().await;
    let guess = wrong(&code);
    let burst = futures_util::future::join_all((0..20).map(|_| anna.types(&guess))).await;
    assert!(burst.iter().all(|(status, _)| *status == 401));
    assert_eq!(anna.types(&code).await.0, 401, "five were compared, and no more will be");
    let counted = "SELECT (attempts * 100 + failures)::bigint AS n FROM login_codes";
    assert_eq!(world.database.number(counted).await, 505);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_code_typed_twice_at_once_opens_one_door() {
    let world = World::start().await;
    world.user("anna@acme.test").await;
    let anna = Visitor::new(&world, "acme", "anna@acme.test");
    let code = anna.code().await;
    let both = futures_util::future::join_all((0..4).map(|_| anna.types(&code))).await;
    assert_eq!(both.iter().filter(|(status, _)| *status == 200).count(), 1, "{both:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_codes_buy_no_more_than_thirty_wrong_guesses_a_day() {
    let world = World::start().await;
    world.user("anna@acme.test").await;
    let anna = Visitor::new(&world, "acme", "anna@acme.test");
    for _ in 0..6 {
        let code = anna.code().await;
        anna.guesses(&code, 5).await;
    }
    let code = anna.code().await;
    assert_eq!(anna.types(&code).await.0, 401, "today is over, even for the right code");
    world.database.run("UPDATE login_codes SET failures_day = failures_day - 1").await;
    let code = anna.code().await;
    assert_eq!(anna.types(&code).await.0, 200, "tomorrow is another day");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_code_is_dead() {
    let world = World::start().await;
    world.user("anna@acme.test").await;
    let anna = Visitor::new(&world, "acme", "anna@acme.test");
    let code = anna.code().await;
    let late = "UPDATE login_codes SET expires_at = expires_at - interval '10 minutes'";
    world.database.run(late).await;
    assert_eq!(anna.types(&code).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_answered_like_a_member_and_does_not_come_in() {
    let world = World::start().await;
    invitation_only(&world).await;
    let anna = Visitor::new(&world, "acme", "anna@acme.test").ask_for_code().await;
    let eve = Visitor::new(&world, "acme", "evil@acme.test").ask_for_code().await;
    assert_eq!(anna.status(), eve.status());
    let names = |response: &reqwest::Response| {
        let own = |name: &str| ["date", "x-request-id"].contains(&name);
        let headers = response.headers().iter().filter(|(name, _)| !own(name.as_str()));
        headers.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(&anna), names(&eve));
    let (mut anna, mut eve) = (json_of(anna).await, json_of(eve).await);
    let code = eve["dev_code"].take(); // only a server for development says it
    anna["dev_code"].take();
    assert_eq!(anna, eve);

    let eve = Visitor::new(&world, "acme", "evil@acme.test");
    let (status, right) = eve.types(code.as_str().unwrap()).await;
    let (_, mut wrong) = eve.types("000000").await;
    wrong["request_id"] = right["request_id"].clone();
    assert_eq!((status, right), (401, wrong), "the right code is no better than a wrong one");
    let users = "SELECT count(*) AS n FROM users WHERE email LIKE 'evil%'";
    assert_eq!(world.database.number(users).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_one_tenant_is_worthless_at_another() {
    let world = World::start().await;
    world.user("anna@acme.test").await;
    world.user("ben@globex.test").await;
    let at_acme = Visitor::new(&world, "acme", "anna@acme.test");
    let at_globex = Visitor::new(&world, "globex", "anna@acme.test");
    let code = at_acme.code().await;
    assert_eq!(at_globex.types(&code).await.0, 401, "no code was sent there");
    at_globex.code().await;
    assert_eq!(at_globex.types(&code).await.0, 401, "another code was sent there");
    assert_eq!(at_acme.types(&code).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_of_no_tenant_is_explained() {
    let world = World::start().await;
    let url = format!("{}/v1/auth/request-code", world.base);
    let body = json!({"email": "anna@acme.test"}).to_string();
    let nowhere = world.http.post(url).body(body).send().await.unwrap();
    assert_eq!(nowhere.status(), 400);
    let problem = json_of(nowhere).await;
    assert_eq!(problem["code"], "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("X-Tenant-ID"), "{problem}");

    let lost = Visitor::new(&world, "no-such", "anna@acme.test").ask_for_code().await;
    assert_eq!(lost.status(), 404);
    assert!(json_of(lost).await["detail"].as_str().unwrap().contains("no-such"));
    world.user("ben@acme.test").await;
    for nonsense in ["", "anna", "@acme.test", "a@b@c", "a b@acme.test"] {
        let asked = Visitor::new(&world, "acme", nonsense).ask_for_code().await;
        assert_eq!(asked.status(), 400, "{nonsense}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_sent_to_an_address_only_so_often() {
    let settings = vec![("LOGIN_CODES_PER_QUARTER_HOUR", "2".to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    world.user("ben@acme.test").await;
    let anna = Visitor::new(&world, "acme", "anna@acme.test");
    anna.code().await;
    let last = anna.code().await;
    let refused = anna.ask_for_code().await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait), "{wait}");
    let problem = json_of(refused).await;
    assert_eq!(problem["code"], "rate_limited");
    let ms = problem["retry_after_ms"].as_u64().unwrap();
    assert_eq!(ms.div_ceil(1000), wait);
    Visitor::new(&world, "acme", "carl@acme.test").code().await; // others are not held up
    assert_eq!(anna.types(&last).await.0, 200, "and the last code that was sent works");
}
