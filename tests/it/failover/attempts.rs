//! Which models a turn asked: for the tenant's owners and admins, and for nobody else.

use super::{Case, Fault, Matrix};
use crate::support::Script;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn owners_and_admins_see_who_was_asked_and_nobody_else_does() {
    let faults = Fault::late();
    let matrix = Matrix::new(&faults).await;
    let world = &matrix.world;
    let cut = faults.iter().find(|fault| fault.name == "reset").unwrap();
    let case = Case { fault: cut, all: false, after_cut: "continue" };
    world.provider.next(Script::text(&["and goes on."], 200, 4));
    let answer = matrix.ask(&case).await;
    let path = format!("/v1/turns/{}/attempts", answer.turn);
    let (status, told) = matrix.anna.get(&path).await;
    assert_eq!((status, &told["state"]), (200, &json!("complete")), "{told}");
    let [broke, answered] = told["data"].as_array().unwrap().as_slice() else { panic!("{told}") };
    assert_eq!((&broke["step"], &answered["step"]), (&json!(0), &json!(1)), "as in the receipt");
    assert_eq!(
        (&broke["error"], &broke["tokens"]["input"]),
        (&json!("model_cut_off"), &Value::Null)
    );
    assert_eq!((&answered["error"], &answered["provider"]), (&Value::Null, &json!("well")));
    assert_eq!(answered["tokens"]["input"], 200);
    assert!(answered["started"].as_str().unwrap() > broke["started"].as_str().unwrap());

    world.user("ben@acme.test").await;
    world.database.run("UPDATE users SET role = 'admin' WHERE email LIKE 'ben@%'").await;
    world.database.run("UPDATE users SET role = 'billing' WHERE email LIKE 'mia@%'").await;
    let (ben, mia) = (world.user("ben@acme.test").await, world.user("mia@acme.test").await);
    assert_eq!(ben.get(&path).await.0, 200, "whoever asked");
    world.user("eve@globex.test").await;
    world.database.run("UPDATE users SET role = 'owner' WHERE email LIKE 'eve@%'").await;
    let eve = world.user("eve@globex.test").await;
    for other in [&matrix.mia, &mia, &eve] {
        let (status, problem) = other.get(&path).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
    }
    let asked = matrix.mia.ask("Me, too?").await;
    let own = format!("/v1/turns/{}/attempts", asked.turn);
    assert_eq!(matrix.mia.get(&own).await.0, 404, "not of one's own question either");
    assert_eq!(ben.get(&own).await.0, 200);
    let (program, _) = matrix.anna.key(json!({"name": "p", "scopes": ["chat"]})).await;
    assert_eq!(program.get(&path).await.0, 403, "that is not chatting");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_passed_over_is_told_with_the_reason() {
    let faults: Vec<Fault> =
        Fault::early().into_iter().filter(|fault| fault.name == "429-seconds").collect();
    let matrix = Matrix::new(&faults).await;
    let case = Case { fault: &faults[0], all: false, after_cut: "continue" };
    matrix.ask(&case).await;
    let answer = matrix.ask(&case).await;
    assert_eq!(answer.end(), "finish");
    let (_, told) = matrix.anna.get(&format!("/v1/turns/{}/attempts", answer.turn)).await;
    let skipped = &told["data"][0];
    assert_eq!((&skipped["error"], &skipped["because"]), (&json!("skipped"), &json!("model_busy")));
    assert_eq!(told["data"][1]["model"], "well");
}
