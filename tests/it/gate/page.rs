//! The page as it is served.

use crate::support::World;

/// The values of an attribute in a piece of HTML.
fn attributes<'a>(html: &'a str, name: &str) -> Vec<&'a str> {
    html.split(&format!(" {name}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_whole_and_under_its_policy() {
    let world = World::start().await;
    let get = |path: &str| world.http.get(format!("{}{path}", world.base)).send();
    let index = get("/").await.unwrap();
    assert_eq!(index.status(), 200);
    let header = |name: &str| index.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("referrer-policy"), "no-referrer");
    let policy = header("content-security-policy");
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|said| said == rule), "{rule} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");

    let html = index.text().await.unwrap();
    let mut parts = attributes(&html, "src");
    parts.extend(attributes(&html, "href").into_iter().filter(|href| !href.starts_with('#')));
    assert!(parts.len() > 5, "{parts:?}");
    for part in parts {
        assert!(part.starts_with('/'), "{part} is our own");
        let served = get(part).await.unwrap();
        assert_eq!(served.status(), 200, "{part}");
        assert_eq!(served.headers()["x-content-type-options"], "nosniff");
        let kind = served.headers()["content-type"].to_str().unwrap().to_owned();
        let expected = match part.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => continue,
        };
        assert_eq!(kind, expected, "{part}");
    }
    for inline in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
        assert!(!html.contains(inline), "the policy would block {inline}");
    }
    for script in html.split("<script").skip(1) {
        assert!(script.split('>').next().unwrap().contains("src="), "no script is inline");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_asked_for_again_and_sent_once() {
    let world = World::start().await;
    let url = format!("{}/static/app.css", world.base);
    let first = world.http.get(&url).send().await.unwrap();
    let tag = first.headers()["etag"].clone();
    let again = world.http.get(&url).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_page_is_served_from_its_folder() {
    let world = World::start().await;
    for path in ["../Cargo.toml", "..%2fCargo.toml", "%2e%2e/Cargo.toml", "", "js", "no-such.js"] {
        let response =
            world.http.get(format!("{}/static/{path}", world.base)).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
    }
}
