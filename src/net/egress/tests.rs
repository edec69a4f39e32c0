//! Every way to write an address that we know of.

use super::*;
use crate::net::script::{Reply, Script};
use std::sync::Mutex;

/// What names stand for here; each lookup is noted.
fn guard(allow: &[&str]) -> (Egress, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |host, port| {
        noted.lock().unwrap().push(host.clone());
        let addresses: &[&str] = match host.as_str() {
            "public.test" => &["93.184.216.34", "2606:2800:220:1::1"],
            "loopback.test" | "allowed.test" => &["127.0.0.1"],
            "loopback6.test" => &["::1"],
            "private.test" => &["10.1.2.3"],
            "metadata.test" => &["169.254.169.254"],
            "mapped.test" => &["::ffff:10.0.0.1"],
            "rebind.test" => &["93.184.216.34", "127.0.0.1"],
            "rebind6.test" => &["2606:2800:220:1::1", "fd00::1"],
            "nowhere.test" => &[],
            _ => return Box::pin(async { Err(io::ErrorKind::NotFound.into()) }),
        };
        let found: Vec<SocketAddr> =
            addresses.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect();
        Box::pin(async move { Ok(found) })
    });
    let allow: Vec<String> = allow.iter().map(|host| (*host).to_owned()).collect();
    (Egress { lookup, ..Egress::new(&allow) }, asked)
}

/// None of these may be asked.
const INSIDE: &[&str] = &[
    "http://127.0.0.1/",
    "http://127.1/",
    "http://127.000.000.001/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://017700000001/",
    "http://0177.0.0.01/",
    "http://0/",
    "http://0.0.0.0:8080/",
    "http://127.0.0.1:5432/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://%31%32%37.0.0.1/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://loopback.test/",
    "http://LOOPBACK.test/",
    "http://loopback6.test/",
    "http://private.test/",
    "http://metadata.test/",
    "http://mapped.test/",
    "http://rebind.test/",
    "http://rebind6.test/",
    "http://public.test@127.0.0.1/",
    "http://public.test:80@private.test/",
    "http://user:password@public.test/",
    "http://user@public.test/",
    "http://127.0.0.1./",
    "http://public.test./",
    "http://public.test:22/",
    "http://public.test:25/",
    "file:///etc/passwd",
    "gopher://public.test/",
    "ftp://public.test/",
    "data:text/plain,hello",
    "unix:/var/run/docker.sock",
];

#[tokio::test]
async fn no_way_to_write_an_address_leads_inside() {
    let (guard, _) = guard(&[]);
    for text in INSIDE {
        let url = Url::parse(text).unwrap_or_else(|error| panic!("{text} is a URL: {error}"));
        let refused = guard.resolve(&url).await;
        assert!(matches!(refused, Err(EgressError::Refused(_))), "{text}: {refused:?}");
    }
    for text in ["http://nowhere.test/", "http://unknown.test/"] {
        assert_eq!(guard.resolve(&Url::parse(text).unwrap()).await, Err(EgressError::Unknown));
    }
}

#[tokio::test]
async fn the_public_internet_is_reached() {
    let (guard, _) = guard(&["allowed.test:8080", "10.9.9.9"]);
    for text in [
        "https://public.test/",
        "https://PUBLIC.test:8443/a?b#c",
        "http://93.184.216.34/",
        "http://[2606:2800:220:1::1]/",
        "http://172.32.0.1/",
        "http://100.128.0.1/",
        "http://allowed.test:8080/",
        "http://10.9.9.9/",
    ] {
        let found = guard.resolve(&Url::parse(text).unwrap()).await;
        assert!(found.is_ok(), "{text}: {found:?}");
    }
    for text in ["http://allowed.test/", "http://10.9.9.8/", "http://x.allowed.test:8080/"] {
        assert!(guard.resolve(&Url::parse(text).unwrap()).await.is_err(), "{text}");
    }
}

fn get(url: &str) -> Outgoing {
    let (headers, url) = (HeaderMap::new(), Url::parse(url).unwrap());
    Outgoing { method: Method::GET, url, headers, body: None }
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_looked_at() {
    let server = Script::start(vec![Reply::json(200, "", "{}")]).await;
    let port = Url::parse(&server.url("/")).unwrap().port().unwrap();
    let (guard, asked) = guard(&["allowed.test"]);
    // No resolver of the machine knows this name: only the one answer that was checked is left to use.
    let answer = guard.send(get(&format!("http://allowed.test:{port}/x")), 100).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()));
    assert_eq!(*asked.lock().unwrap(), ["allowed.test"], "it is asked once");
    assert!(
        server.requests()[0].contains(&format!("host: allowed.test:{port}")),
        "{:?}",
        server.requests()
    );
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let location = "location: http://169.254.169.254/latest/meta-data/\r\n";
    let server = Script::start(vec![Reply::json(307, location, "secret")]).await;
    let port = Url::parse(&server.url("/")).unwrap().port().unwrap();
    let (guard, asked) = guard(&["allowed.test"]);
    let answer = guard.send(get(&format!("http://allowed.test:{port}/")), 100).await.unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!((server.requests().len(), asked.lock().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn no_more_is_read_than_was_asked_for() {
    let server = Script::start(vec![Reply::json(200, "", "0123456789")]).await;
    let port = Url::parse(&server.url("/")).unwrap().port().unwrap();
    let (guard, _) = guard(&["allowed.test"]);
    let answer = guard.send(get(&format!("http://allowed.test:{port}/")), 4).await.unwrap();
    assert_eq!((answer.body.as_slice(), answer.cut), (b"0123".as_slice(), true));
    let refused = guard.send(get("http://allowed.test:1/"), 4).await.unwrap_err();
    assert_eq!(refused, EgressError::Failed, "nobody listens there");
}
