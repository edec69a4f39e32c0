//! What must not be in a log: a server works for a while, and then its log is read line by line.

use crate::support::{Database, Node, Provider, Script, Socket, User, World, WorldOptions};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_opens_a_door_or_was_said_in_confidence_is_logged() {
    let (database, provider) = (Database::fresh().await, Provider::start().await);
    let world = World::on(database.clone(), provider.clone(), WorldOptions::default()).await;
    let node = Node::start(&database, &provider).await;
    let anna = node.user(&world.user("anna@acme.test").await);
    let mut secrets = vec![anna.token.clone(), anna.refresh_token.clone()];
    secrets.push("a secret for tests that is long enough".into());
    secrets.push("anna@acme.test".into());

    let renew = json!({"refresh_token": anna.refresh_token});
    let (status, session) = anna.post("/v1/auth/refresh", renew.clone()).await;
    assert_eq!(status, 200);
    for name in ["access_token", "refresh_token"] {
        secrets.push(session[name].as_str().unwrap().to_owned());
    }
    assert_eq!(anna.post("/v1/auth/refresh", renew).await.0, 401, "this is warned about");
    let (_, ticket) = anna.post("/v1/ws-tickets", json!({})).await;
    let ticket = ticket["ticket"].as_str().unwrap().to_owned();
    let offer = format!("docent.v1, ticket.{ticket}");
    for expected in [None, Some(401)] {
        let opened = Socket::open(&anna.base, Some(&offer), &[]).await;
        assert_eq!(opened.err(), expected);
    }
    secrets.push(ticket);
    let turn = anna.ask("Which turn?").await.turn;
    let (_, ticket) = anna.post(&format!("/v1/turns/{turn}/ticket"), json!({})).await;
    let ticket = ticket["ticket"].as_str().unwrap().to_owned();
    for (turn, expected) in [(turn, 200), ("01a1fc31-a194-762d-88ea-fb54b000369f".into(), 401)] {
        let path = format!("{}/v1/turns/{turn}/stream?ticket={ticket}", anna.base);
        assert_eq!(anna.http.get(path).send().await.unwrap().status(), expected);
    }
    secrets.push(ticket);
    let thief = User { token: "stolen-token-canary".into(), ..anna.clone() };
    assert_eq!(thief.get("/v1/me?token=query-canary").await.0, 401);
    secrets.extend(["stolen-token-canary".into(), "query-canary".into()]);

    anna.has_document("plan.txt", b"The document-canary is buried.").await;
    provider.next(Script::text(&["The answer-canary."], 10, 3));
    assert_eq!(anna.ask("Where is the question-canary?").await.end(), "finish");
    provider.next(Script::error(401, "invalid_api_key"));
    assert_eq!(anna.ask("And the second question-canary?").await.end(), "error");
    let bad = anna.post("/v1/auth/verify-code", json!({"email": "body-canary", "code": "1"}));
    bad.await;
    secrets.extend(["document", "answer", "question", "body"].map(|what| format!("{what}-canary")));

    let (_, metrics) = anna.get("/metrics").await;
    let (code, log) = node.terminate().await;
    assert_eq!(code, Some(0));
    assert!(log.len() > 10, "there is a log: {log:?}");
    for secret in secrets {
        let line = log.iter().find(|line| line.contains(&secret));
        assert_eq!(line, None, "{secret}");
        assert!(!metrics.to_string().contains(&secret), "{secret} is a metric");
    }
}
