//! What a tenant keeps out of questions and answers.

use crate::assistants::owner;
use crate::support::{Answer, Script, Step, Stream, User, World, WorldOptions};
use reqwest::Method;
use serde_json::{Value, json};

async fn defines(owner: &User, fields: Value) -> Value {
    let (status, made) = owner.post("/v1/filters", fields).await;
    assert_eq!(status, 201, "{made}");
    made
}

fn filter(stage: &str, pattern: &str, action: &str, text: &str) -> Value {
    json!({"name": format!("{stage} {pattern}"), "stage": stage, "pattern": pattern,
        "action": action, "text": text})
}

/// An owner whose tenant has these filters.
async fn guarded(filters: &[Value]) -> (World, User) {
    let world = World::start().await;
    let olga = owner(&world, "olga@acme.test").await;
    for fields in filters {
        defines(&olga, fields.clone()).await;
    }
    (world, olga)
}

/// All that the model was ever told, as one text.
fn told(world: &World) -> String {
    world.provider.requests().iter().map(ToString::to_string).collect()
}

fn notices(answer: &Answer) -> Vec<Value> {
    answer.of("data-notice").into_iter().map(|part| part["data"].clone()).collect()
}

fn blocked(text: &str) -> Vec<Value> {
    vec![json!({"code": "output_blocked", "text": text})]
}

/// Asks in the way of OpenAI's clients; status and text of the answer.
async fn completes(user: &User, body: Value) -> (u16, String) {
    let request = user.request(Method::POST, "/v1/chat/completions").body(body.to_string());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn in_their_words(text: &str, stream: bool) -> Value {
    json!({"model": "default", "stream": stream, "messages": [{"role": "user", "content": text}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_question_is_refused_on_every_transport_and_costs_nothing() {
    let block = filter("input", "(?i)night ?fall", "block", "We do not talk about that.");
    let (world, olga) = guarded(&[block]).await;
    let ben = world.user("ben@acme.test").await;
    let wish = json!({"text": "What is Nightfall?"});
    for path in ["/v1/chat/stream", "/v1/chat/send", "/v1/chat/estimate"] {
        let (status, problem) = ben.post(path, wish.clone()).await;
        assert_eq!((status, &problem["code"]), (422, &json!("input_blocked")), "{path}");
        assert_eq!(problem["detail"], "We do not talk about that.");
    }
    let mut socket = ben.socket().await;
    socket.send(json!({"type": "send", "request_id": "q", "text": "nightfall?"})).await;
    let refused = socket.next().await;
    assert_eq!(refused["type"], "error", "{refused}");
    assert!(refused.to_string().contains("input_blocked"), "{refused}");

    let mut later = in_their_words("Go on.", true);
    let earlier = json!({"role": "user", "content": "Night fall it is."});
    later["messages"].as_array_mut().unwrap().insert(0, earlier);
    for body in [in_their_words("Nightfall?", false), later] {
        let (status, text) = completes(&ben, body).await;
        let error: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &error["error"]["code"]), (422, &json!("input_blocked")), "{text}");
        assert_eq!(error["error"]["type"], "invalid_request_error");
        assert_eq!(error["error"]["message"], "We do not talk about that.");
    }
    assert_eq!(world.provider.calls(), 0);
    for table in ["messages", "turns", "usage_ledger"] {
        let rows = format!("SELECT count(*) AS n FROM {table}");
        assert_eq!(world.database.number(&rows).await, 0, "{table}");
    }
    assert_eq!(ben.ask("Is it night already?").await.end(), "finish");

    let (_, list) = olga.get("/v1/filters").await;
    let path = format!("/v1/filters/{}", list["data"][0]["id"].as_str().unwrap());
    assert_eq!(olga.delete(&path).await.0, 204);
    assert_eq!(ben.ask("What is Nightfall?").await.end(), "finish", "from the next question on");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_redacted_of_a_question_is_neither_asked_nor_stored() {
    let cards = filter("input", r"\b\d{4}( ?\d{4}){3}\b", "redact", "<card>");
    let (world, olga) = guarded(&[cards]).await;
    let answer = olga.ask("Is 4111 1111 1111 1111 valid?").await;
    assert_eq!(answer.end(), "finish");
    let stored = olga.messages(&answer.conversation).await;
    assert_eq!(stored[0]["text"], "Is <card> valid?");
    let (_, list) = olga.get("/v1/conversations").await;
    assert_eq!(list["data"][0]["title"], "Is <card> valid?");
    let mut body = in_their_words("And 4111111111111111?", false);
    body["messages"].as_array_mut().unwrap().insert(
        0,
        json!({"role": "user", "content": [
            {"type": "text", "text": "Mine is 4111 1111 "}, {"type": "text", "text": "1111 1111."}]}),
    );
    assert_eq!(completes(&olga, body).await.0, 200);
    let told = told(&world);
    assert!(!told.contains("1111"), "{told}");
    assert!(told.contains("Is <card> valid?") && told.contains("Mine is <card>."), "{told}");

    // A question that was stored before there was a filter is looked at when it is asked again.
    world
        .database
        .run("UPDATE messages SET content = '4111 1111 1111 1111?' WHERE role = 'user'")
        .await;
    let again = json!({"conversation_id": answer.conversation, "regenerate": stored[0]["id"]});
    assert_eq!(olga.stream(again).await.answer().await.end(), "finish");
    assert!(!self::told(&world).contains("1111"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_is_redacted_wherever_the_model_cuts_it() {
    let world = World::start().await;
    let olga = owner(&world, "olga@acme.test").await;
    defines(&olga, filter("output", r"\bsk-[a-z]{4}\b", "redact", "[key]")).await;
    defines(&olga, filter("output", r"\[key\] \w+", "redact", "[all]")).await;
    let text = "Use sk-abcd now, not sk-abcde.";
    for at in 0..text.len() {
        let (head, tail) = text.split_at(at);
        world.provider.next(Script::text(&[head, tail], 10, 4));
        let answer = olga.ask("Which key?").await;
        assert_eq!(answer.text(), "Use [all], not sk-abcde.", "cut at {at}");
        assert_eq!(answer.end(), "finish");
    }
    let letters: Vec<String> = text.chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    world.provider.next(Script::text(&letters, 10, 4));
    let answer = olga.ask("Which key?").await;
    assert_eq!(answer.text(), "Use [all], not sk-abcde.");
    let stored = &olga.messages(&answer.conversation).await[1];
    assert_eq!(stored["text"], "Use [all], not sk-abcde.");
    assert_eq!(answer.usage()["provenance"], "exact");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_blocked_in_its_middle_for_who_is_there_and_who_comes_back() {
    let block = filter("output", "launch code", "block", "That is not for the chat.");
    let (world, olga) = guarded(&[block]).await;
    let deltas = ["The ", "launch ", "co"].map(|text| Step::Text(text.into()));
    let mut steps = deltas.to_vec();
    steps.extend([Step::Wait, Step::Text("de is 0000".into()), Step::Hang]);
    world.provider.next(Script::steps(steps));
    let mut stayed: Stream = olga.stream(json!({"text": "What is it?"})).await;
    let (turn, conversation) = (stayed.turn(), stayed.conversation());
    let seen = stayed.until_text("The ").await;
    world.provider.until_waiting(1).await;
    let mut resumed = olga.attach(&turn, 0).await;
    world.provider.release();
    world.provider.until_closed().await; // the model hangs: it is docent that hangs up
    let resumed = resumed.rest().await;
    let late = olga.attach(&turn, -1).await.answer().await;
    late.begins_with(&seen);
    assert_eq!((late.text().as_str(), late.end().as_str()), ("The ", "finish"));
    assert_eq!(notices(&late), blocked("That is not for the chat."));
    assert_eq!(late.of("data-finish")[0]["data"]["reason"], "content-filter");
    assert_eq!(stayed.rest().await.last(), resumed.last());
    let stored = &olga.messages(&conversation).await[1];
    assert_eq!((&stored["text"], &stored["status"]), (&json!("The "), &json!("complete")));

    let usage = late.usage();
    assert_eq!(usage["provenance"], "estimated", "the provider did not come to say");
    assert!(usage["output_tokens"].as_i64().unwrap() >= 4, "what was produced is billed: {usage}");
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thoughts_and_what_comes_at_the_very_end_are_looked_at_too() {
    let (world, olga) = guarded(&[filter("output", "secret$", "block", "No.")]).await;
    world.provider.next(Script::text(&["It is a ", "secret"], 10, 4));
    let answer = olga.ask("What is it?").await;
    assert_eq!((answer.text().as_str(), notices(&answer)), ("It is a ", blocked("No.")));
    assert_eq!(answer.usage()["provenance"], "exact", "the model had ended by itself");

    let thought = Step::Thought("They must not see the secret".into());
    let rest = [Step::Text("Hello.".into()), Step::Finish, Step::Usage(10, 9), Step::Done];
    world.provider.next(Script::steps([vec![thought], rest.to_vec()].concat()));
    let answer = olga.ask("What is it?").await;
    assert_eq!((answer.text().as_str(), notices(&answer)), ("", blocked("No.")));
    let thoughts: String = answer.of("reasoning-delta").iter().map(ToString::to_string).collect();
    assert!(thoughts.contains("They must not see the ") && !thoughts.contains("secret"));
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_openai_are_told_in_their_own_words() {
    let filters = [
        filter("output", "launch code", "block", "No."),
        filter("output", "[0-9]{4}", "redact", "####"),
    ];
    let (world, olga) = guarded(&filters).await;
    for stream in [true, false] {
        let script = Script::text(&["1", "23", "4 is no laun", "ch code", " at all"], 10, 5);
        world.provider.next(script);
        let (status, text) = completes(&olga, in_their_words("What is it?", stream)).await;
        assert_eq!(status, 200);
        assert!(text.contains(r#""finish_reason":"content_filter""#), "{text}");
        assert!(text.contains("####") && !text.contains("1234"), "{text}");
        assert!(!text.contains("laun") && !text.contains("at all"), "{text}");
    }
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_is_found_across_two_models() {
    let (world, _) = crate::steps::world().await;
    let olga = owner(&world, "olga@acme.test").await;
    defines(&olga, filter("output", "top secret", "redact", "[x]")).await;
    world.provider.next(Script::steps(vec![Step::Text("This is top".into()), Step::Reset]));
    world.provider.next(Script::text(&[" secret."], 10, 2));
    let answer = olga.ask("What is it?").await;
    assert_eq!((answer.text().as_str(), answer.end().as_str()), ("This is [x].", "finish"));
    let request = world.provider.requests().pop().unwrap();
    let [.., written, _] = request["messages"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!(written["content"], "This is top", "what was held back is gone on from, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_for_their_tenant_and_their_assistant() {
    let (world, olga) = guarded(&[]).await;
    let fields = json!({"slug": "clerk", "name": "Clerk"});
    let (_, made) = olga.post("/v1/assistants", fields).await;
    let publish = format!("/v1/assistants/{}/publish", made["id"].as_str().unwrap());
    assert_eq!(olga.post(&publish, json!({})).await.0, 200);
    let mut block = filter("input", "salary", "block", "Not here.");
    block["assistant_id"] = made["id"].clone();
    defines(&olga, block).await;
    let mut redact = filter("output", "Forty", "redact", "Some");
    redact["assistant_id"] = made["id"].clone();
    defines(&olga, redact).await;

    let clerk = |text: &str| json!({"text": text, "assistant": "clerk"});
    assert_eq!(olga.refused(clerk("My salary?")).await.1["code"], "input_blocked");
    let answer = olga.stream(clerk("How many?")).await.answer().await;
    assert_eq!(answer.text(), "Some-two. [1]");
    assert_eq!(olga.ask("My salary?").await.text(), "Forty-two. [1]", "another one may say it");

    defines(&olga, filter("input", "(?i)salary", "redact", "[x]")).await;
    let eve = world.user("eve@globex.test").await;
    let answer = eve.ask("My salary?").await;
    assert_eq!(eve.messages(&answer.conversation).await[0]["text"], "My salary?");
    let theirs = world.user("mia@globex.test").await;
    assert_eq!(theirs.ask("My salary?").await.text(), "Forty-two. [1]");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_and_admins_define_filters() {
    let (world, olga) = guarded(&[]).await;
    let fields = filter("input", "nightfall", "block", "No.");
    let made = defines(&olga, fields.clone()).await;
    let path = format!("/v1/filters/{}", made["id"].as_str().unwrap());
    let ben = world.user("ben@acme.test").await;
    assert_eq!(ben.get("/v1/filters").await.0, 403);
    assert_eq!(ben.post("/v1/filters", fields.clone()).await.0, 403);
    assert_eq!(ben.put(&path, fields.clone()).await.0, 403);
    assert_eq!(ben.delete(&path).await.0, 403);
    let (status, problem) = olga.post("/v1/filters", fields.clone()).await;
    assert_eq!((status, &problem["field"]), (409, &json!("name")), "the name is taken");
    for (field, wrong, why) in [
        ("pattern", "(", "not understood: unclosed group"),
        ("pattern", "x*", "matches the empty text"),
        ("pattern", r"(\w{90}){90}", "too large"),
        ("pattern", r"(a)\1", "backreferences are not supported"),
        ("text", "", "1 to 500 characters"),
        ("name", "", "1 to 100 characters"),
        ("assistant_id", "0190a1b2-0000-7000-8000-000000000000", "no such assistant"),
    ] {
        let mut fields = fields.clone();
        fields["name"] = "another".into();
        fields[field] = wrong.into();
        let (status, problem) = olga.post("/v1/filters", fields).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
    }
    let mut wider = fields.clone();
    wider["pattern"] = "(?i)nightfall".into();
    let (status, now) = olga.put(&path, wider).await;
    assert_eq!((status, &now["pattern"]), (200, &json!("(?i)nightfall")));
    assert_eq!(olga.delete(&path).await.0, 204);
    assert_eq!(olga.delete(&path).await.0, 404);
    let audit = "SELECT action || ' ' || (detail->>'name') AS t FROM audit_log
                 WHERE action LIKE 'filter-%' ORDER BY id";
    let noted = ["filter-created", "filter-changed", "filter-deleted"]
        .map(|action| format!("{action} input nightfall"));
    assert_eq!(world.database.texts(audit).await, noted);

    let many = "INSERT INTO filters (tenant_id, id, name, stage, pattern, action, text)
                SELECT tenant_id, gen_random_uuid(), n::text, 'input', 'x', 'block', 'No.'
                FROM tenants, generate_series(1, 50) n WHERE slug = 'acme'";
    world.database.run(many).await;
    let (status, problem) = olga.post("/v1/filters", fields).await;
    assert_eq!((status, &problem["code"]), (409, &json!("conflict")), "{problem}");
}

/// Somebody whose questions a provider judges before they are answered.
async fn watched(settings: &[(&'static str, &str)]) -> (World, User) {
    let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let mut settings: Vec<_> = settings.collect();
    settings.push(("MODERATION_MODEL", "watch".into()));
    settings.push(("OPENAI_API_KEY", "sk-of-the-operator".into()));
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let anna = world.user("anna@acme.test").await;
    (world, anna)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flagged_question_is_not_shown_to_the_model() {
    let (world, anna) = watched(&[]).await;
    anna.has_document("plan.txt", b"The attack of the model railway begins at nine.").await;
    let answer = anna.ask("When does the attack begin?").await;
    assert_eq!((answer.text().as_str(), answer.end().as_str()), ("", "finish"));
    assert_eq!(notices(&answer)[0]["code"], "moderated");
    assert_eq!(answer.of("data-finish")[0]["data"]["reason"], "content-filter");
    assert_eq!((answer.citations().len(), answer.of("data-usage").len()), (0, 0));
    assert_eq!(world.provider.calls(), 0);
    assert_eq!(
        world.provider.moderated(),
        [json!({"model": "watch", "input": ["When does the attack begin?"]})]
    );
    let rows = "SELECT DISTINCT meter AS t FROM usage_ledger WHERE turn_id IS NOT NULL ORDER BY t";
    assert_eq!(world.database.texts(rows).await, ["embedding_tokens", "requests"]);

    assert_eq!(anna.ask("When does it begin?").await.text(), "Forty-two. [1]");
    let (status, text) = completes(&anna, in_their_words("An attack?", true)).await;
    assert!(status == 200 && text.contains(r#""finish_reason":"content_filter""#), "{text}");
    let long = format!("{} attack", "x".repeat(15_000));
    assert_eq!(notices(&anna.ask(&long).await)[0]["code"], "moderated", "all of it is judged");
    assert_eq!(world.provider.calls(), 1);
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moderator_who_is_away_or_slow_is_not_waited_for() {
    let (world, anna) = watched(&[]).await;
    let mut nobody = Script::text(&[], 0, 0);
    nobody.steps = vec![Step::Raw(br#"{"results": []}"#.to_vec())];
    for script in [Script::error(500, "away"), Script::silence(), nobody] {
        world.provider.next_moderation(script);
        assert_eq!(anna.ask("Is it an attack?").await.text(), "Forty-two. [1]");
    }
    world.database.check_books().await;

    let (world, anna) = watched(&[("MODERATION_REQUIRED", "true")]).await;
    for script in [Script::error(500, "away"), Script::silence()] {
        world.provider.next_moderation(script);
        let answer = anna.ask("Is it an attack?").await;
        assert_eq!(answer.end(), "error");
        let error = &answer.of("data-error")[0]["data"];
        assert_eq!(error, &json!({"code": "moderation_failed", "retryable": true}));
    }
    assert_eq!(anna.ask("Is it nine?").await.text(), "Forty-two. [1]");
    assert_eq!(world.provider.calls(), 1);
    world.database.check_books().await;
}
