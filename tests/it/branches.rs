//! Questions edited, answers regenerated, and turning from one branch to another.

use crate::isolation::fingerprint;
use crate::recovery::{expire_leases, left_behind, until_journaled};
use crate::support::{Answer, Node, Provider, Script, Stream, User, World, WorldOptions};
use serde_json::{Value, json};

/// A conversation, and who has it.
struct Talk {
    user: User,
    provider: Provider,
    id: String,
}

impl Talk {
    /// Begins one with questions that are answered in turn.
    async fn of(world: &World, user: &User, exchanges: &[(&str, &str)]) -> Self {
        let (user, provider) = (user.clone(), world.provider.clone());
        let mut talk = Self { user, provider, id: String::new() };
        for (question, answer) in exchanges {
            let asked = match talk.id.as_str() {
                "" => json!({"text": question}),
                id => json!({"text": question, "conversation_id": id}),
            };
            talk.provider.next(Script::text(&[answer], 10, 1));
            talk.id = talk.user.stream(asked).await.answer().await.conversation;
        }
        talk
    }

    /// Asks in it, with these fields.
    async fn ask(&self, fields: Value) -> Stream {
        let stream = self.user.stream(self.with(fields)).await;
        assert_eq!(stream.status, 200);
        stream
    }

    /// Asks in it, and is answered this.
    async fn hears(&self, fields: Value, answer: &str) -> Answer {
        self.provider.next(Script::text(&[answer], 10, 1));
        let heard = self.ask(fields).await.answer().await;
        assert_eq!((heard.text().as_str(), heard.end().as_str()), (answer, "finish"));
        heard
    }

    fn with(&self, mut fields: Value) -> Value {
        fields["conversation_id"] = json!(self.id);
        fields
    }

    fn path(&self, end: &str) -> String {
        format!("/v1/conversations/{}{end}", self.id)
    }

    async fn shown(&self) -> Value {
        let (status, list) = self.user.get(&self.path("/messages")).await;
        assert_eq!(status, 200, "{list}");
        list
    }

    /// Turns to the branch through a message; returns what is shown then.
    async fn turn_to(&self, message: &str) -> Value {
        let turned = json!({"message_id": message});
        let (status, list) = self.user.put(&self.path("/branch"), turned).await;
        assert_eq!(status, 200, "{list}");
        assert_eq!(list, self.shown().await, "it stays");
        list
    }

    /// The id of the message with this text, on whatever branch.
    async fn id(&self, text: &str) -> String {
        let (_, list) = self.user.get(&self.path("/messages?all=true")).await;
        let found = list["data"].as_array().unwrap().iter().find(|one| one["text"] == text);
        found.unwrap_or_else(|| panic!("{text} in {list}"))["id"].as_str().unwrap().to_owned()
    }

    /// What the model was told the last time, without the instructions.
    fn told(&self) -> Vec<String> {
        let request = self.provider.requests().pop().expect("the model was asked");
        let messages = request["messages"].as_array().unwrap();
        messages[2..].iter().map(|one| one["content"].as_str().unwrap().to_owned()).collect()
    }
}

/// The branch as texts, each with its place among its siblings: `Two? 1/2`.
fn texts(list: &Value) -> Vec<String> {
    let mut parent = Value::Null;
    let mut seen = Vec::new();
    for one in list["data"].as_array().unwrap() {
        assert_eq!(one["parent_id"], parent, "a branch: {list}");
        parent = one["id"].clone();
        seen.push(format!("{} {}", one["text"].as_str().unwrap(), place(one, &one["id"])));
    }
    seen
}

fn place(one: &Value, id: &Value) -> String {
    let siblings = one["siblings"].as_array().unwrap();
    let n = siblings.iter().position(|sibling| sibling == id).expect("itself is one of them");
    format!("{}/{}", n + 1, siblings.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_question_stands_beside_the_old_one() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let exchanges = [("One?", "Eins."), ("Two?", "Zwei."), ("Three?", "Drei.")];
    let talk = Talk::of(&world, &anna, &exchanges).await;
    let two = talk.id("Two?").await;
    talk.hears(json!({"text": "Deux?", "edit_of": two}), "Zwei!").await;
    assert_eq!(talk.told(), ["One?", "Eins.", "Deux?"], "what was asked after it is not there");
    let shown = talk.shown().await;
    assert_eq!(texts(&shown), ["One? 1/1", "Eins. 1/1", "Deux? 2/2", "Zwei! 1/1"]);
    assert_eq!(shown["running"], Value::Null);
    talk.hears(json!({"text": "Trois?"}), "Drei!").await;
    assert_eq!(talk.told(), ["One?", "Eins.", "Deux?", "Zwei!", "Trois?"], "the branch goes on");
    let one = talk.id("One?").await;
    talk.hears(json!({"text": "Un?", "edit_of": one}), "Eins!").await;
    assert_eq!(talk.told(), ["Un?"]);
    assert_eq!(texts(&talk.shown().await), ["Un? 2/2", "Eins! 1/1"]);
    let (_, tree) = anna.get(&talk.path("/messages?all=true")).await;
    assert_eq!(tree["data"].as_array().unwrap().len(), 12, "nothing is lost: {tree}");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_regenerated_beside_the_old_one() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let talk = Talk::of(&world, &anna, &[("One?", "Eins."), ("Two?", "Zwei.")]).await;
    let (question, answer) = (talk.id("Two?").await, talk.id("Zwei.").await);
    let again = talk.hears(json!({"regenerate": answer}), "Zwo.").await;
    assert_eq!(talk.told(), ["One?", "Eins.", "Two?"], "as it was asked the first time");
    let shown = talk.shown().await;
    assert_eq!(texts(&shown), ["One? 1/1", "Eins. 1/1", "Two? 1/1", "Zwo. 2/2"]);
    assert_eq!(shown["data"][3]["id"], again.of("start")[0]["messageId"]);
    assert_eq!(shown["data"][3]["turn_id"], again.turn);
    assert_eq!(shown["data"][3]["usage"], again.usage());
    talk.hears(json!({"regenerate": question}), "Due.").await;
    assert_eq!(texts(&talk.shown().await).last().unwrap(), "Due. 3/3", "its question will do");
    let billed = "SELECT sum(quantity)::bigint AS n FROM usage_ledger WHERE meter = 'requests'";
    assert_eq!(world.database.number(billed).await, 4, "each is a turn of its own");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_turns_back_to_a_branch_and_goes_on_there() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let talk = Talk::of(&world, &anna, &[("One?", "Eins."), ("Two?", "Zwei.")]).await;
    talk.hears(json!({"text": "Three?"}), "Drei.").await;
    let (two, eins) = (talk.id("Two?").await, talk.id("Eins.").await);
    talk.hears(json!({"text": "Deux?", "edit_of": two}), "Deux!").await;
    let old = talk.turn_to(&two).await;
    let expected = ["One? 1/1", "Eins. 1/1", "Two? 1/2", "Zwei. 1/1", "Three? 1/1", "Drei. 1/1"];
    assert_eq!(texts(&old), expected, "down to its end");
    talk.hears(json!({"text": "Four?"}), "Vier.").await;
    assert_eq!(talk.told()[2..], ["Two?", "Zwei.", "Three?", "Drei.", "Four?"]);
    talk.turn_to(&talk.id("Deux!").await).await;
    talk.hears(json!({"text": "Trois?"}), "Trois!").await;
    assert_eq!(talk.told()[2..], ["Deux?", "Deux!", "Trois?"]);
    talk.turn_to(&two).await;
    let newest = talk.turn_to(&eins).await;
    assert_eq!(texts(&newest).last().unwrap(), "Trois! 1/1", "the newest end below a message");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_may_look_elsewhere_while_an_answer_is_written() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let talk = Talk::of(&world, &anna, &[("One?", "Eins.")]).await;
    let old = talk.id("Eins.").await;
    world.provider.next(Script::held(6, 3));
    let mut stream = talk.ask(json!({"regenerate": old})).await;
    stream.until_text("w2").await;

    let shown = talk.shown().await;
    assert_eq!(texts(&shown), ["One? 1/1"], "the answer is not there yet");
    let running = &shown["running"];
    assert_eq!(running["turn_id"], stream.turn());
    assert_eq!(running["parent_id"], shown["data"][0]["id"], "it belongs here");
    assert_eq!(place(running, &running["message_id"]), "2/2");
    let new = running["message_id"].as_str().unwrap();

    let elsewhere = talk.turn_to(&old).await;
    assert_eq!(texts(&elsewhere), ["One? 1/1", "Eins. 1/2"]);
    assert_eq!(&elsewhere["running"], running, "it goes on where it is");
    let (status, problem) = anna.refused(talk.with(json!({"text": "Two?"}))).await;
    assert_eq!((status, &problem["code"]), (409, &json!("turn_in_progress")));
    assert_eq!(talk.turn_to(new).await, shown, "and can be turned to");
    assert_eq!(talk.turn_to(&talk.id("One?").await).await, shown, "as the newest one");
    talk.turn_to(&old).await;

    world.provider.release();
    stream.rest().await;
    assert_eq!(texts(&talk.shown().await), ["One? 1/1", "Eins. 1/2"], "nobody is pulled away");
    let text = "w0 w1 w2 w3 w4 w5 ";
    assert_eq!(texts(&talk.turn_to(new).await), ["One? 1/1".into(), format!("{text} 2/2")]);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_sent_twice_is_one_edit() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let talk = Talk::of(&world, &anna, &[("One?", "Eins."), ("Two?", "Zwei.")]).await;
    let (one, two, zwei) = (talk.id("One?").await, talk.id("Two?").await, talk.id("Zwei.").await);
    for (key, same, others) in [
        (
            "an edit",
            json!({"text": "Deux?", "edit_of": two}),
            vec![json!({"text": "Deux?", "edit_of": one}), json!({"text": "Deux?"})],
        ),
        (
            "a new answer",
            json!({"regenerate": zwei}),
            vec![json!({"regenerate": one}), json!({"text": "Zwei.", "edit_of": two})],
        ),
    ] {
        let first = anna.stream_once(key, talk.with(same.clone())).await.answer().await;
        let again = anna.stream_once(key, talk.with(same.clone())).await.answer().await;
        assert_eq!(again.events, first.events);
        let mut socket = anna.socket().await;
        let mut frame = talk.with(same);
        (frame["type"], frame["idempotency_key"]) = (json!("send"), json!(key));
        socket.send(frame).await;
        assert_eq!(socket.next().await["turn_id"], first.turn, "on every transport");
        for other in others {
            let refused = anna.stream_once(key, talk.with(other.clone())).await;
            assert_eq!(refused.status, 422, "{other}");
        }
    }
    assert_eq!(world.provider.calls(), 4);
    assert_eq!(world.database.number("SELECT count(*) AS n FROM messages").await, 7);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_contradict_each_other_are_refused_everywhere() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let talk = Talk::of(&world, &anna, &[("One?", "Eins.")]).await;
    let one = talk.id("One?").await;
    let mut socket = anna.socket().await;
    for (asked, said) in [
        (json!({"text": "Un?", "edit_of": one}), "`conversation_id`"),
        (json!({"regenerate": one}), "`conversation_id`"),
        (talk.with(json!({"regenerate": one, "text": "Un?"})), "leave out `text`"),
        (talk.with(json!({"regenerate": one, "edit_of": one})), "leave out `text`"),
        (talk.with(json!({"edit_of": one})), "`text` is empty"),
        (talk.with(json!({})), "`text` is empty"),
    ] {
        let (status, problem) = anna.refused(asked.clone()).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_request")), "{asked}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
        let mut frame = asked;
        frame["type"] = json!("send");
        socket.send(frame).await;
        assert_eq!(socket.next().await["problem"]["detail"], problem["detail"]);
    }
    assert_eq!(world.provider.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_others_are_not_there() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let hers = Talk::of(&world, &anna, &[("One?", "Eins."), ("Two?", "Zwei.")]).await;
    let elsewhere = Talk::of(&world, &anna, &[("Uno?", "Un.")]).await;
    let (one, eins) = (hers.id("One?").await, hers.id("Eins.").await);
    let mut talks = vec![elsewhere]; // her own, but another conversation
    for somebody in ["ben@acme.test", "eve@globex.test"] {
        let user = world.user(somebody).await;
        talks.push(Talk::of(&world, &user, &[("Mine?", "Yours.")]).await);
    }
    let before = fingerprint(&world.database).await;
    let invented = uuid::Uuid::now_v7().to_string();
    for talk in &talks {
        for id in [&one, &eins, &invented] {
            for fields in [json!({"text": "Un?", "edit_of": id}), json!({"regenerate": id})] {
                let (status, problem) = talk.user.refused(talk.with(fields.clone())).await;
                assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{fields}");
                assert_eq!(problem["detail"], "There is no such message.");
            }
            let turned = json!({"message_id": id});
            assert_eq!(talk.user.put(&talk.path("/branch"), turned).await.0, 404);
        }
    }
    for talk in &talks[1..] {
        for fields in [json!({"text": "Un?", "edit_of": one}), json!({"regenerate": eins})] {
            assert_eq!(talk.user.refused(hers.with(fields)).await.0, 404, "in her conversation");
        }
        let turned = json!({"message_id": one});
        assert_eq!(talk.user.put(&hers.path("/branch"), turned).await.0, 404);
    }
    let (status, _) = anna.refused(hers.with(json!({"text": "Un?", "edit_of": eins}))).await;
    assert_eq!(status, 404, "an answer is no question");
    assert_eq!(before, fingerprint(&world.database).await, "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_answer_that_is_stopped_stands_beside_the_old_one() {
    let world = World::start().await;
    let anna = world.user("anna@acme.test").await;
    let talk = Talk::of(&world, &anna, &[("One?", "Eins.")]).await;
    world.provider.next(Script::held(6, 3));
    let mut stream = talk.ask(json!({"regenerate": talk.id("Eins.").await})).await;
    stream.until_text("w2").await;
    assert_eq!(anna.stop(&stream.turn()).await, 202);
    stream.rest().await;
    let shown = talk.shown().await;
    assert_eq!(texts(&shown), ["One? 1/1", "w0 w1 w2  2/2"]);
    assert_eq!(shown["data"][1]["status"], "stopped");
    talk.hears(json!({"text": "Two?"}), "Zwei.").await;
    assert_eq!(talk.told(), ["One?", "w0 w1 w2 ", "Two?"]);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_answer_cut_by_kill_9_stands_beside_the_old_one() {
    let (database, provider, anna) = left_behind().await;
    let node = Node::start(&database, &provider).await;
    let there = node.user(&anna);
    provider.next(Script::text(&["Eins."], 10, 1));
    let id = there.ask("One?").await.conversation;
    let talk = Talk { user: there, provider: provider.clone(), id };
    provider.next(Script::held(40, 20));
    let mut stream = talk.ask(json!({"regenerate": talk.id("Eins.").await})).await;
    stream.until_text("w19").await;
    until_journaled(&database, &stream, "w19").await;
    node.kill().await;
    expire_leases(&database).await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    let talk = Talk { user: world.back(&anna), ..talk };
    let answer = talk.user.attach(&stream.turn(), -1).await.answer().await;
    assert_eq!(answer.end(), "error");
    let shown = talk.shown().await;
    assert_eq!(texts(&shown), ["One? 1/1".into(), format!("{} 2/2", answer.text())]);
    assert_eq!(shown["data"][1]["status"], "failed");
    assert_eq!(texts(&talk.turn_to(&talk.id("Eins.").await).await)[1], "Eins. 1/2");
    world.database.check_books().await;
}
