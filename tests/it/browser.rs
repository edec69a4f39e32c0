//! The page, as somebody in front of a browser meets it.

use crate::recovery::expire_leases;
use crate::support::{Browser, Node, Provider, Relay, Script, User, World, WorldOptions};
use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::{Value, json};
use std::fs;

const ADDRESS: &str = "anna@acme.test";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_uploads_asks_and_opens_the_cited_page() {
    let world = World::start().await;
    let anna = world.user(ADDRESS).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notice.md");
    let page = "# Contract\n\nThe kitchen closes at nine.\n\nThe notice period is ninety days.\n";
    fs::write(&file, page).unwrap();
    let browser = logged_in(&world.base).await;
    let row = browser.upload(&file, "ready").await.text().await.unwrap();
    assert!(row.contains("1 page"), "{row}");
    world.provider.next(Script::text(&["**Ninety**", " days", " [1]."], 200, 5));
    browser.ask("How long is the notice period?").await;
    let answer = browser.answer("complete", "Ninety").await;
    assert_eq!(words(&answer.text().await.unwrap()), ["Ninety", "days", "1", "."]);
    assert_eq!(answer.find(Locator::Css("strong")).await.unwrap().text().await.unwrap(), "Ninety");
    browser.click("citation").await;
    let marked = browser.find("//*[@data-testid='sources-panel']//mark").await;
    assert!(marked.text().await.unwrap().contains("The notice period is ninety days"));
    assert!(browser.see("sources-panel").await.text().await.unwrap().contains("notice.md"));
    assert_eq!(stored(&anna).await["text"], "**Ninety** days [1].");
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_reloaded_in_mid_answer_shows_all_of_it_once() {
    let world = World::start().await;
    let anna = world.user(ADDRESS).await;
    let browser = logged_in(&world.base).await;
    read_half(&browser, &world.provider).await;
    browser.reload().await;
    browser.answer("streaming", "w19").await;
    world.provider.release();
    let shown = browser.answer("complete", "w59").await.text().await.unwrap();
    assert_shows(&shown, &stored(&anna).await, "complete");
    assert_eq!(world.provider.calls(), 1);
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_resumes_an_answer_when_the_network_was_cut() {
    let world = World::start().await;
    let anna = world.user(ADDRESS).await;
    let relay = Relay::to(&world.base).await;
    let browser = logged_in(&relay.base).await;
    read_half(&browser, &world.provider).await;
    relay.cut();
    browser.find("//*[contains(@class, 'waiting')][contains(., 'Reconnecting')]").await;
    world.provider.release();
    let shown = browser.answer("complete", "w59").await.text().await.unwrap();
    assert_shows(&shown, &stored(&anna).await, "complete");
    assert_eq!(world.provider.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_shows_what_kill_9_left_of_an_answer_and_asks_again() {
    let world = World::start().await;
    let anna = world.user(ADDRESS).await;
    let relay = Relay::to(&world.base).await;
    let browser = logged_in(&relay.base).await;
    let (database, provider) = (world.database.clone(), world.provider.clone());
    world.stop().await;
    let node = Node::start(&database, &provider).await;
    relay.lead_to(&node.base);
    read_half(&browser, &provider).await;
    node.kill().await;
    // As if it had died before it wrote down the last of what was seen.
    database
        .run(
            "DELETE FROM turn_segments WHERE first_offset > 0
               AND first_offset = (SELECT max(first_offset) FROM turn_segments)",
        )
        .await;
    expire_leases(&database).await;
    let world = World::on(database, provider, WorldOptions::default()).await;
    relay.lead_to(&world.base);
    browser.answer("failed", "").await;
    let left = stored(&world.back(&anna)).await;
    let text = words(left["text"].as_str().unwrap()).join(" ");
    browser.find(&format!("//*[@class='markdown'][normalize-space()='{text}']")).await;
    browser.find("//button[contains(., 'Ask again')]").await.click().await.unwrap();
    browser.answer("complete", "Forty-two").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_stops_an_answer() {
    let world = World::start().await;
    let anna = world.user(ADDRESS).await;
    let browser = logged_in(&world.base).await;
    read_half(&browser, &world.provider).await;
    browser.click("stop").await;
    let shown = browser.answer("stopped", "w19").await.text().await.unwrap();
    world.provider.until_closed().await;
    assert_shows(&shown, &stored(&anna).await, "stopped");
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_edits_a_question_and_turns_between_answers() {
    let world = World::start().await;
    world.user(ADDRESS).await;
    let browser = logged_in(&world.base).await;
    for (question, answer) in [("One?", "Eins."), ("Two?", "Zwei.")] {
        world.provider.next(Script::text(&[answer], 10, 1));
        browser.ask(question).await;
        browser.answer("complete", answer).await;
    }
    browser.edit(&format!("Never mind{}", char::from(Key::Escape))).await;
    browser.find("(//*[@data-testid='message-user'])[last()][contains(., 'Two?')]").await;
    world.provider.next(Script::text(&["Zwei!"], 10, 1));
    browser.edit(&format!("Deux?{}", char::from(Key::Enter))).await;
    browser.answer("complete", "Zwei!").await;
    browser.question("Deux?", "2/2").await;

    world.provider.next(Script::held(60, 20));
    browser.click_last("regenerate").await;
    browser.answer("streaming", "w19").await;
    browser.reload().await;
    browser.answer("streaming", "w19").await;
    browser.click_last("sibling-before").await;
    browser.answer("complete", "Zwei!").await;
    browser.click_last("sibling-after").await;
    browser.answer("streaming", "w19").await;
    world.provider.release();
    browser.answer("complete", "w59").await;

    browser.click("sibling-before").await; // the question's, above the answer's
    browser.question("Two?", "1/2").await;
    browser.answer("complete", "Zwei.").await;
    browser.click("sibling-after").await;
    browser.question("Deux?", "2/2").await;
    browser.answer("complete", "w59").await;
    assert_eq!(world.provider.calls(), 4);
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
    world.database.check_books().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_shows_what_is_asked_on_another_device() {
    let world = World::start().await;
    let anna = world.user(ADDRESS).await;
    let browser = logged_in(&world.base).await;
    let first = anna.ask("How does one count?").await; // on the phone
    let listed = "//*[@data-testid='conversation-item'][contains(., 'How does one count?')]";
    browser.find(&format!("{listed}//button")).await.click().await.unwrap();
    browser.answer("complete", "Forty-two").await;
    world.provider.next(Script::held(60, 20));
    let ask = json!({"text": "And aloud?", "conversation_id": first.conversation});
    let mut phone = anna.stream(ask).await;
    browser.answer("streaming", "w19").await;
    world.provider.release();
    browser.answer("complete", "w59").await;
    phone.rest().await;
    let path = format!("/v1/conversations/{}", first.conversation);
    let aloud = anna.messages(&first.conversation).await[3]["id"].clone();
    world.provider.next(Script::text(&["Sixty."], 10, 1));
    let again = json!({"conversation_id": first.conversation, "regenerate": aloud});
    anna.stream(again).await.rest().await;
    browser.answer("complete", "Sixty.").await;
    assert_eq!(anna.put(&format!("{path}/branch"), json!({"message_id": aloud})).await.0, 200);
    browser.answer("complete", "w59").await;
    assert_eq!(anna.patch(&path, json!({"title": "Numbers"})).await.0, 200);
    browser.find("//h1[contains(., 'Numbers')]").await;
    assert_eq!(anna.delete(&path).await.0, 204);
    browser.find("//h1[contains(., 'New chat')]").await;
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_makes_a_key_shows_it_once_and_revokes_it() {
    let world = World::start().await;
    let anna = world.user(ADDRESS).await;
    let browser = logged_in(&world.base).await;
    browser.click("keys-open").await;
    let name = format!("My bot{}", char::from(Key::Enter));
    browser.see("key-name").await.send_keys(&name).await.unwrap();
    let secret = browser.see("key-secret").await.prop("value").await.unwrap().unwrap();
    let program = User { token: secret, ..anna };
    assert_eq!(program.ask("How does one count?").await.end(), "finish");
    let row = browser.find("//*[@data-testid='key-row'][contains(., 'My bot')]").await;
    assert!(row.text().await.unwrap().contains("chat"), "what it may do is said");
    browser.click("key-revoke").await;
    browser.click("confirm-yes").await;
    browser.find("//*[@data-testid='key-list'][not(*)]").await;
    assert_eq!(program.get("/v1/me").await.0, 401);
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_warns_of_a_limit_and_keeps_the_question_that_was_refused() {
    let world = World::start().await;
    let limit = "INSERT INTO plan_quotas VALUES ('enterprise', 'user', 'month', 'requests', 5)";
    world.database.run(limit).await;
    let anna = world.user(ADDRESS).await;
    for _ in 0..3 {
        anna.ask("On the phone?").await;
    }
    let browser = logged_in(&world.base).await;
    let gauge = |text: &str| format!("//*[@data-testid='usage-gauge'][contains(., '{text}')]");
    let warning = |text: &str| format!("//*[@data-testid='quota-warning'][contains(., '{text}')]");
    browser.find(&gauge("Questions 60 %")).await;
    browser.ask("The fourth?").await;
    browser
        .find(&warning(
            "80 % of your monthly limit of 5 questions is used (4 of 5). It starts anew on",
        ))
        .await;
    browser.find(&gauge("80 % used")).await;
    browser.click("quota-warning-close").await;
    browser.find("//div[@class='warning'][@hidden]").await;
    browser.reload().await;
    browser.find(&gauge("80 % used")).await;
    browser.find("//div[@class='warning'][@hidden]").await; // once put away, it stays away
    browser.ask("The fifth?").await;
    browser.find(&warning("Your monthly limit of 5 questions is used up (5 of 5).")).await;
    browser.find(&gauge("Limit reached")).await;

    browser.ask("The sixth?").await;
    let refused = "//*[@data-testid='refused'][not(@hidden)]\
        [contains(., 'This would exceed your monthly limit of 5 questions: 5 are used. It starts anew on')]";
    browser.find(refused).await;
    let kept = browser.see("composer").await.prop("value").await.unwrap();
    assert_eq!(kept.as_deref(), Some("The sixth?"));
    world.database.run("UPDATE plan_quotas SET max_amount = 50 WHERE meter = 'requests'").await;
    browser.ask("").await; // Enter
    browser.find("(//*[@data-testid='message-user'])[last()][contains(., 'The sixth?')]").await;
    browser.answer("complete", "Forty-two").await;
    browser.find(&gauge("Questions 12 %")).await;
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_shows_an_owner_who_used_what_and_saves_it() {
    let world = World::start().await;
    for (who, output) in [(ADDRESS, 1_000), ("ben@acme.test", 21_000)] {
        world.provider.next(Script::text(&["Forty-two."], 2_000, output));
        world.user(who).await.ask("Who pays?").await;
    }
    world.database.run("UPDATE assistants SET name = 'Librarian'").await;
    world.database.run("UPDATE users SET role = 'owner' WHERE email = 'anna@acme.test'").await;
    let browser = logged_in(&world.base).await;
    browser.on_a_phone().await;
    let gauge = browser.see("usage-gauge").await;
    gauge.send_keys(&char::from(Key::Enter).to_string()).await.unwrap(); // without a mouse
    let used = |what: &str| format!("//*[@data-testid='usage-used']{what}");
    for (who, tokens, cost) in
        [(ADDRESS, "3,000", "$0.0009"), ("ben@acme.test", "23,000", "$0.013")]
    {
        let row = format!("//tr[contains(., '{who}')][td='{tokens}'][contains(., '{cost}')]");
        browser.find(&used(&row)).await;
    }
    browser.find(&used("//*[@data-testid='usage-chart']//*[name()='rect']")).await;
    assert_eq!(browser.overflow().await, 0, "nothing is wider than the phone");
    browser.choose("usage-group", "assistant").await;
    browser.find(&used("//tr[contains(., 'Librarian')]")).await;
    browser.click("usage-csv").await;
    let csv = browser.downloaded("docent-usage-tenant-by-assistant.csv").await;
    assert!(csv.starts_with("day,key,name,requests,") && csv.contains("Librarian"), "{csv}");
    browser.choose("usage-scope", "user").await;
    browser.find("//*[@data-testid='usage-group'][not(option[@value='user'])]").await;
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_makes_an_assistant_tries_it_and_publishes_it_to_a_member() {
    let world = World::start().await;
    crate::assistants::owner(&world, ADDRESS).await;
    let system = || world.provider.requests().pop().unwrap()["messages"][0]["content"].to_string();
    let write = async |browser: &Browser, field: &str, text: &str| {
        let field = browser.see(&format!("assistant-{field}")).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    };
    let browser = logged_in(&world.base).await;
    for button in ["assistants-open", "assistant-new"] {
        browser.click(button).await;
    }
    for (field, text) in [
        ("name", "Pirate"),
        ("greeting", "Ahoy, what do you seek?"),
        ("instructions", "Talk like a pirate."),
        ("temperature", "hot"),
    ] {
        write(&browser, field, text).await;
    }
    browser.click("assistant-try").await;
    browser.find("//*[@id='assistant-temperature-wrong'][contains(., 'Temperature is not')]").await;
    assert_eq!(browser.complaints().await.len(), 1, "the browser notes the 400");
    write(&browser, "temperature", "0,5").await;
    browser.click("assistant-try").await;
    browser.find("//h2[contains(., 'Ahoy, what do you seek?')]").await;
    browser.find("//*[@data-testid='assistant-shown'][contains(., 'Draft: Pirate')]").await;
    world.provider.next(Script::text(&["Arr!"], 10, 1));
    browser.ask("Where is the treasure?").await;
    browser.answer("complete", "Arr!").await;
    assert!(system().contains("Talk like a pirate."), "{}", system());
    write(&browser, "note", "The first one").await;
    browser.click("assistant-publish").await;
    browser.find("//*[@data-testid='assistant-standing'][.='Version 1']").await;
    browser.find("//*[@data-testid='assistant-versions']/..//summary").await.click().await.unwrap();
    browser.find("//*[@data-testid='assistant-versions']//li[contains(., 'The first one')]").await;
    assert_eq!(browser.complaints().await, Vec::<Value>::new());

    world.user("ben@acme.test").await;
    let browser = Browser::open(&world.base).await;
    browser.log_in("acme", "ben@acme.test").await;
    browser.on_a_phone().await;
    browser.find("//*[@data-testid='assistant-picker']/option[@value='pirate']").await;
    browser.choose("assistant-picker", "pirate").await;
    browser.find("//h2[contains(., 'Ahoy, what do you seek?')]").await;
    world.provider.next(Script::text(&["Shiver me timbers!"], 10, 1));
    browser.ask("Where is the treasure?").await;
    browser.answer("complete", "Shiver me timbers!").await;
    browser.find("//*[@data-testid='assistant-shown'][.='Pirate']").await;
    assert!(system().contains("Talk like a pirate."), "{}", system());
    assert_eq!(browser.overflow().await, 0, "nothing is wider than the phone");
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
}

/// A browser whose user has logged in.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_asks_nobody_else_whatever_an_answer_says() {
    let world = World::start().await;
    world.user(ADDRESS).await;
    let browser = logged_in(&world.base).await;
    let spy = Provider::start().await;
    let payloads = [
        "![a]({}/1.png?secret)",
        "<img src={}/2.png>",
        "[![a]({}/3.png)]({}/4)",
        "![a][r]\n\n[r]: {}/5.png",
        "<link rel=preload href={}/6 as=image>",
        "<style>@import url({}/7)</style>",
        "<svg><image href={}/8></svg>",
        "<iframe src={}/9></iframe>",
        "<meta http-equiv=refresh content='0;url={}/10'>",
        "`{}/11` and {}/12",
        "<video poster={}/13 src={}/14></video>",
        "| ![a]({}/15) |\n|---|\n| <img srcset='{}/16 2x'> |",
        "```html\n<img src={}/17>\n```",
        "<{}/18>",
    ];
    let text = payloads.join("\n\n").replace("{}", &spy.url) + "\n\nThat is all.";
    // Letter by letter: what is half there is drawn, too.
    let pieces: Vec<String> = text.chars().map(String::from).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    world.provider.next(Script::text(&pieces, 10, 10));
    browser.ask("Show me").await;
    browser.answer("complete", "That is all.").await;
    assert_eq!(spy.heads(), Vec::<String>::new(), "no request left the page");
    assert_eq!(browser.complaints().await, Vec::<Value>::new(), "and none was tried");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Chromium and ChromeDriver; .ci/run has them"]
async fn browser_shows_what_a_call_would_send_and_makes_it_when_approved() {
    let settings = vec![("EGRESS_ALLOW", "127.0.0.1".to_owned())];
    let world = World::with(WorldOptions { settings, ..WorldOptions::default() }).await;
    let shop = Provider::start().await;
    let anna = crate::assistants::owner(&world, ADDRESS).await;
    let tool = json!({"name": "refund", "description": "Pays back.", "method": "POST",
        "parameters": {"type": "object"}, "url": format!("{}/refunds", shop.url)});
    assert_eq!(anna.post("/v1/tools", tool).await.0, 201);
    let (_, list) = anna.get("/v1/assistants").await;
    let path = format!("/v1/assistants/{}", list["data"][0]["id"].as_str().unwrap());
    assert_eq!(anna.patch(&path, json!({"tools": ["refund"]})).await.0, 200);
    assert_eq!(anna.post(&format!("{path}/publish"), json!({})).await.0, 200);
    world.provider.next(Script::calls("", &[("c1", "refund", r#"{"order": 4711}"#)], 10, 1));
    world.provider.next(Script::text(&["It is paid back."], 10, 3));
    let browser = logged_in(&world.base).await;
    browser.ask("My money back").await;
    assert!(browser.see("approval").await.text().await.unwrap().contains("4711"));
    browser.reload().await;
    assert!(browser.see("approval").await.text().await.unwrap().contains("4711"));
    assert_eq!(shop.calls(), 0);
    browser.click("approve").await;
    browser.answer("complete", "It is paid back.").await;
    assert_eq!(shop.requests(), [json!({"order": 4711})]);
    assert_eq!(browser.complaints().await, Vec::<Value>::new());
}

async fn logged_in(base: &str) -> Browser {
    let browser = Browser::open(base).await;
    browser.log_in("acme", ADDRESS).await;
    browser
}

/// Asks, and returns when the first twenty words of sixty are there and the provider waits.
async fn read_half(browser: &Browser, provider: &Provider) {
    provider.next(Script::held(60, 20));
    browser.ask("Count.").await;
    browser.answer("streaming", "w19").await;
}

/// The newest answer of the only conversation, as the API has it.
async fn stored(user: &User) -> Value {
    let (_, conversations) = user.get("/v1/conversations").await;
    let id = conversations["data"][0]["id"].as_str().expect("a conversation");
    let (_, messages) = user.get(&format!("/v1/conversations/{id}/messages")).await;
    let data = messages["data"].as_array().expect("messages");
    assert_eq!(data.len(), 2, "one question, one answer: {messages}");
    data[1].clone()
}

fn assert_shows(shown: &str, stored: &Value, status: &str) {
    assert_eq!(stored["status"], status);
    assert_eq!(words(shown), words(stored["text"].as_str().unwrap()));
}

/// A browser lays white space out as it likes.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}
