//! Whoever is told: an HTTP server and a mail server that keep what they hear.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// What was posted: its head and its body.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// An HTTP server that answers with the statuses it was given, then with 200.
pub(crate) struct Web {
    pub(crate) address: SocketAddr,
    heard: Arc<Mutex<Vec<Posted>>>,
    statuses: Arc<Mutex<VecDeque<u16>>>,
}

impl Web {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let web = Self { address, heard: Arc::default(), statuses: Arc::default() };
        let (heard, statuses) = (Arc::clone(&web.heard), Arc::clone(&web.statuses));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while stream.read_line(&mut head).unwrap() > 2 {}
                let length = head
                    .lines()
                    .find_map(|line| {
                        line.to_lowercase().strip_prefix("content-length: ")?.parse().ok()
                    })
                    .unwrap_or(0);
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                heard
                    .lock()
                    .unwrap()
                    .push(Posted { head, body: serde_json::from_slice(&body).unwrap() });
                let status = statuses.lock().unwrap().pop_front().unwrap_or(200);
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        web
    }

    pub(crate) fn answer(&self, statuses: &[u16]) {
        self.statuses.lock().unwrap().extend(statuses);
    }

    /// What was heard since the last time.
    pub(crate) fn take(&self) -> Vec<Posted> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

/// A mail server that takes every mail.
pub(crate) struct Post {
    pub(crate) address: SocketAddr,
    mails: Arc<Mutex<Vec<String>>>,
}

impl Post {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mails: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&mails);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mail = take_mail(&stream.unwrap());
                kept.lock().unwrap().push(mail);
            }
        });
        Self { address, mails }
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.mails.lock().unwrap())
    }
}

fn take_mail(stream: &TcpStream) -> String {
    let mut out = stream;
    let mut lines = BufReader::new(stream).lines();
    let mut mail = String::new();
    out.write_all(b"220 here\r\n").unwrap();
    while let Some(Ok(line)) = lines.next() {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        let answer: &[u8] = match word.as_str() {
            "DATA" => {
                out.write_all(b"354 go on\r\n").unwrap();
                for line in lines.by_ref() {
                    let line = line.unwrap();
                    if line == "." {
                        break;
                    }
                    mail += &line;
                    mail += "\n";
                }
                b"250 taken\r\n"
            }
            "QUIT" => {
                out.write_all(b"221 bye\r\n").unwrap();
                break;
            }
            _ => {
                mail += &line;
                mail += "\n";
                b"250 ok\r\n"
            }
        };
        out.write_all(answer).unwrap();
    }
    mail
}
