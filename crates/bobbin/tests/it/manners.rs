//! Requests that mean ill, are slow, are many, or come twice.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fake_kustomer::Simulator;
use serde_json::{Value, json};

use crate::api::Serving;
use crate::people::{Answer, Page, add, files, login, password, send, start, user};
use crate::setup::empty;
use crate::support::{Desk, tiny};

/// `failures.md` 4.4: names that lead here, what is too long, what never comes to an end.
#[test]
fn requests_that_mean_ill_are_refused() {
    let sim = Simulator::start(tiny(71)).unwrap();
    let desk = empty(&sim);
    let wrong = desk.run(&["serve", "--allow-host", "http://x"]);
    wrong.assert(2, &["only the name"]);
    let named = ["--listen", "127.0.0.1:0", "--allow-host", "bobbin.example"];
    let serving = Serving::start_with(&desk, &named);
    let by = |serving: &Serving, host: &str| {
        send(serving, ("GET", "/health"), &[("Host", host)], "").status
    };
    for (host, status) in [
        ("bobbin.example", 200),
        ("Bobbin.Example:443", 200),
        ("localhost", 200),
        ("127.0.0.1:9", 200),
        ("evil.example", 421),
        ("bobbin.example.evil.example", 421),
        ("10.0.0.1", 421),
    ] {
        assert_eq!(by(&serving, host), status, "{host}");
    }
    // Behind a proxy with TLS.
    add(&desk, "anna", "viewer");
    let tls = [
        ("Host", "bobbin.example"),
        ("Origin", "https://bobbin.example"),
        ("X-Forwarded-Proto", "https"),
    ];
    let answer = send(&serving, ("POST", "/api/v1/session"), &tls, user("anna").to_string());
    assert!(answer.assert(201).header("set-cookie").unwrap().ends_with("; Secure"));
    send(&serving, ("POST", "/api/v1/session"), &tls[..2], user("anna").to_string()).assert(403);

    // A body that is too long, told as such, with and without its length; a head that is.
    let long = json!({ "name": "x".repeat(70_000), "password": "y" }).to_string();
    send(&serving, ("POST", "/api/v1/session"), &[], long.as_str()).assert(413);
    let bearer = [("Authorization", serving.bearer.as_str())];
    send(&serving, ("POST", "/api/v1/keys"), &bearer, long.as_str()).assert(413);
    let raw = |text: &str| {
        let mut stream = TcpStream::connect(&serving.address).unwrap();
        // The answer may come before all of it is sent.
        let _ = stream.write_all(text.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.split("\r\n").next().unwrap().to_owned()
    };
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    let chunked = format!(
        "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        chunk.repeat(3)
    );
    assert!(raw(&chunked).contains("413"), "{}", raw(&chunked));
    let head = format!(
        "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    assert!(raw(&head).contains("431"), "{}", raw(&head));
    serving.stop();

    // For other machines: addresses, and names that are allowed.
    let mut serving =
        Serving::start_with(&desk, &["--listen", "0.0.0.0:0", "--allow-host", "bobbin"]);
    let port = serving.address.rsplit(':').next().unwrap().to_owned();
    serving.address = format!("127.0.0.1:{port}");
    for (host, status) in [
        ("10.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("localhost", 200),
        ("bobbin:8087", 200),
        ("evil.example", 421),
        ("10.0.0.1.nip.io", 421),
    ] {
        assert_eq!(by(&serving, host), status, "{host}");
    }
    let answer = login(&serving, &user("anna")).assert(201);
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"), "it is not local");
    serving.stop();
}

/// Who never says what is wanted keeps nobody else from it for long.
#[test]
fn slow_heads_are_given_up() {
    let (_sim, _desk, serving) = start();
    let since = Instant::now();
    let mut slow: Vec<TcpStream> =
        (0..64).map(|_| TcpStream::connect(&serving.address).unwrap()).collect();
    let mut dripping = slow.swap_remove(0);
    dripping.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    dripping.write_all(b"GET /health HTTP/1.1\r\nX: ").unwrap();
    // Each byte is new; the end of the head is what counts.
    let mut buffer = [0; 512];
    loop {
        assert!(since.elapsed() < Duration::from_secs(25), "it may drip for ever");
        if dripping.write_all(b"x").is_err() {
            break;
        }
        match dripping.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    assert!(since.elapsed() > Duration::from_secs(10));
    send(&serving, ("GET", "/health"), &[], "").assert(200);
    drop(slow);
    serving.stop();
}

/// Sixteen follow a log; one more may when one has left, though nothing is written that they look for.
#[test]
fn so_many_follow_a_log_and_whoever_leaves_makes_room() {
    let mut config = tiny(72);
    config.latency_ms = 2_000;
    let sim = Simulator::start(config).unwrap();
    let desk = Desk::new(&sim);
    let serving = Serving::start(&desk);
    let jobs = "/api/v1/connections/kustomer/jobs";
    let until = Instant::now() + Duration::from_secs(20);
    let job = loop {
        if let Some(job) = serving.get(jobs)["data"][0]["id"].as_str() {
            break job.to_owned();
        }
        assert!(Instant::now() < until, "no job began");
        std::thread::sleep(Duration::from_millis(50));
    };
    let follow = || {
        let mut stream = TcpStream::connect(&serving.address).unwrap();
        let head = format!(
            "GET {jobs}/{job}/log?format=events&search=nowhere HTTP/1.1\r\nHost: localhost\r\n\
             Connection: close\r\nAuthorization: {}\r\n\r\n",
            serving.bearer
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut buffer = [0; 512];
        let read = stream.read(&mut buffer).unwrap();
        (stream, String::from_utf8_lossy(&buffer[..read]).to_lowercase())
    };
    let mut followers: Vec<_> = (0..16).map(|_| follow()).collect();
    assert!(followers.iter().all(|(_, head)| head.contains(" 200 ")), "{followers:?}");
    let (_, head) = follow();
    assert!(head.contains(" 503 ") && head.contains("retry-after: 10"), "{head}");
    followers.truncate(15);
    let since = Instant::now();
    while !follow().1.contains(" 200 ") {
        assert!(since.elapsed() < Duration::from_secs(5), "nobody noticed who left");
        std::thread::sleep(Duration::from_millis(100));
    }
    // Whoever asks otherwise is answered all the while.
    assert_eq!(serving.ask("GET", &format!("{jobs}/{job}/log")).0, 200);
    serving.stop();
}

/// A destination that hangs holds up some of those who ask for it, and nobody else.
#[test]
fn a_destination_that_hangs_holds_up_nobody_else() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::with("");
    let file = format!(
        "[sources.pushed]\ntype = \"import_api\"\n\
         [destinations.warehouse]\ntype = \"postgres\"\nhost = \"127.0.0.1\"\nport = {}\n\
         database = \"x\"\nuser = \"x\"\nconnect_timeout_seconds = 9\n\
         [connections.kustomer]\nsource = \"pushed\"\ndestination = \"warehouse\"\n\
         schedule = {{ frequency_minutes = 600 }}\n",
        deaf.local_addr().unwrap().port()
    );
    fs::write(desk.path("bobbin.toml"), file).unwrap();
    let serving = Serving::start(&desk);
    let bearer = [("Authorization", serving.bearer.as_str())];
    let rejected = "/api/v1/connections/kustomer/rejected";
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| send(&serving, ("GET", rejected), &bearer, "")))
            .collect();
        std::thread::sleep(Duration::from_secs(1));
        let since = Instant::now();
        send(&serving, ("GET", "/ready"), &[], "").assert(200);
        send(&serving, ("GET", "/api/v1/connections"), &bearer, "").assert(200);
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
        let answers: Vec<Answer> = all.into_iter().map(|thread| thread.join().unwrap()).collect();
        let later = answers.iter().filter(|answer| answer.header("retry-after") == Some("10"));
        assert_eq!(later.count(), 7, "{answers:?}");
        assert!(answers.iter().all(|answer| answer.status == 503), "{answers:?}");
    });
    serving.stop();
}

/// What is asked again with the same key is done once.
#[test]
fn what_is_asked_twice_with_a_key_is_done_once() {
    let (_sim, desk, serving) = start();
    let bearer = serving.bearer.clone();
    let ask = |method: &str, path: &str, key: &str, body: &Value| {
        let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", key)];
        send(&serving, (method, path), &headers, body.to_string())
    };
    let replayed = |answer: &Answer| answer.header("idempotent-replayed") == Some("true");
    let anna = json!({ "name": "anna", "role": "viewer", "password": password("anna") });

    // At once: one is done, the others are told to wait or answered as it was.
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..4).map(|_| scope.spawn(|| ask("POST", "/api/v1/users", "one", &anna))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let first: Vec<_> =
        answers.iter().filter(|answer| answer.status == 201 && !replayed(answer)).collect();
    assert_eq!(first.len(), 1, "{answers:?}");
    for answer in &answers {
        assert!(matches!(answer.status, 201 | 409), "{answer:?}");
        assert_eq!(answer.status == 409, answer.header("retry-after") == Some("1"));
    }

    // After, and after the service was started anew.
    let again = ask("POST", "/api/v1/users", "one", &anna).assert(201);
    assert!(replayed(&again) && again.text == first[0].text, "{again:?}");
    assert_eq!(again.header("content-type"), Some("application/json"));
    let mut other = anna.clone();
    other["name"] = "bert".into();
    let refused = ask("POST", "/api/v1/users", "one", &other).assert(422);
    assert!(!replayed(&refused));
    ask("POST", "/api/v1/users?x=1", "one", &anna).assert(422);
    ask("PATCH", "/api/v1/users/anna", "one", &anna).assert(422);
    let refused = ask("POST", "/api/v1/users", "two", &anna).assert(409);
    let again = ask("POST", "/api/v1/users", "two", &anna).assert(409);
    assert!(replayed(&again) && again.text == refused.text);
    assert_eq!(again.header("content-type"), Some("application/problem+json"));
    // Somebody else's key is another one; a look has none.
    let page = Page::open(&serving, &user("anna"));
    let headers = [
        ("Cookie", page.cookie.as_str()),
        ("X-Bobbin-CSRF", page.csrf.as_str()),
        ("Idempotency-Key", "one"),
    ];
    let body = json!({ "old": password("anna"), "new": "another long one" }).to_string();
    let own = ("PUT", "/api/v1/me/password");
    send(&serving, own, &headers, body.as_str()).assert(200);
    // Though the old one is wrong by now.
    assert!(replayed(&send(&serving, own, &headers, body.as_str()).assert(200)));
    assert!(!replayed(&send(&serving, own, &headers[..2], body.as_str()).assert(422)));
    assert!(!replayed(&ask("GET", "/api/v1/users", "one", &Value::Null)));
    // Who may not any more is not answered as before.
    ask("DELETE", "/api/v1/users/anna", "three", &Value::Null).assert(200);
    assert!(replayed(&ask("DELETE", "/api/v1/users/anna", "three", &Value::Null).assert(200)));
    send(&serving, own, &headers, body.as_str()).assert(401);

    // What is no key, what holds a secret, what is too long.
    for (wrong, good) in
        [("", false), ("a b", false), (&*"k".repeat(256), false), (&*"k".repeat(255), true)]
    {
        let answer = ask("POST", "/api/v1/connections/none/stop", wrong, &Value::Null);
        assert_eq!(answer.status, if good { 404 } else { 400 }, "{wrong}: {answer:?}");
    }
    let key = json!({ "description": "x", "role": "viewer" });
    let refused = ask("POST", "/api/v1/keys", "four", &key).assert(400);
    assert!(refused.text.contains("holds a secret"), "{refused:?}");
    let headers = [("Idempotency-Key", "five")];
    let body = json!({ "token": bearer.trim_start_matches("Bearer ") }).to_string();
    send(&serving, ("POST", "/api/v1/session"), &headers, body).assert(400);
    let long = json!({ "name": "x".repeat(70_000) });
    ask("POST", "/api/v1/users", "six", &long).assert(413);
    let (status, _) = serving.send("POST", "/v4/destinations", &json!({}));
    let answer = ask("POST", "/v4/destinations", "a b", &json!({}));
    assert_eq!(answer.status, status, "Stitch knows no such header");

    let told = files(&desk);
    serving.stop();
    for (name, bytes) in told.iter().chain(&files(&desk)) {
        for secret in [password("anna"), "another long one".to_owned()] {
            let there = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!there, "{secret} is in {name}");
        }
    }
    let serving = Serving::start(&desk);
    let headers = [("Authorization", serving.bearer.as_str()), ("Idempotency-Key", "one")];
    let answer = send(&serving, ("POST", "/api/v1/users"), &headers, anna.to_string()).assert(201);
    assert!(replayed(&answer));
    serving.stop();
}
