//! A scripted HTTP server, as faulty as a test needs it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A received request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// What stands in its first line between the method and the version.
    pub(crate) target: String,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where the range that it asks for begins.
    pub(crate) fn from(&self) -> usize {
        self.header("range")
            .and_then(|it| it.strip_prefix("bytes="))
            .and_then(|it| it.strip_suffix('-'))
            .map_or(0, |it| it.parse().unwrap())
    }
}

/// What to answer to the n-th request, counted from 0: it writes what it likes.
pub(crate) type Answers = dyn Fn(usize, &Request, &mut TcpStream) + Send + Sync;

/// The server. It ends when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    has_ended: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(
        answers: impl Fn(usize, &Request, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            has_ended: Arc::default(),
        };
        let (requests, has_ended) = (server.requests.clone(), server.has_ended.clone());
        let answers: Arc<Answers> = Arc::new(answers);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if has_ended.load(Ordering::SeqCst) {
                    return;
                }
                let (requests, answers) = (requests.clone(), answers.clone());
                thread::spawn(move || serve(stream, &requests, &*answers));
            }
        });
        server
    }

    /// A server of this file, which knows ranges.
    pub(crate) fn of(content: &'static [u8]) -> Self {
        Self::start(move |_, request, stream| whole(request, stream, content, "\"v1\""))
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests until now.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, requests: &Mutex<Vec<Request>>, answers: &Answers) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let mut request = Request {
        target: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        ..Request::default()
    };
    for line in lines.map_while(Result::ok) {
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        let name = name.to_ascii_lowercase();
        request.headers.insert(name, value.to_owned());
    }
    let number = {
        let mut all = requests.lock().unwrap();
        all.push(request.clone());
        all.len() - 1
    };
    answers(number, &request, &mut stream);
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

/// Answers with these headers, and this.
pub(crate) fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n");
    // A client may well go before the end.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
}

/// Answers with the file or the requested range (RFC 9110).
pub(crate) fn whole(request: &Request, stream: &mut TcpStream, content: &[u8], tag: &str) {
    let from = request.from();
    let is_same = request.header("if-range").is_none_or(|it| it == tag);
    if from == 0 || !is_same {
        let headers = format!("etag: {tag}\r\ncontent-length: {}\r\n", content.len());
        return reply(stream, "200 OK", &headers, content);
    }
    if from >= content.len() {
        return reply(
            stream,
            "416 Range Not Satisfiable",
            "content-length: 0\r\n",
            b"",
        );
    }
    let headers = format!(
        "etag: {tag}\r\ncontent-length: {}\r\ncontent-range: bytes {from}-{}/{}\r\n",
        content.len() - from,
        content.len() - 1,
        content.len()
    );
    reply(stream, "206 Partial Content", &headers, &content[from..]);
}

/// Announces the whole file, sends its first `after` bytes, and closes.
pub(crate) fn cut(stream: &mut TcpStream, content: &[u8], after: usize, tag: &str) {
    let headers = format!("etag: {tag}\r\ncontent-length: {}\r\n", content.len());
    reply(stream, "200 OK", &headers, &content[..after]);
}

/// Redirects.
pub(crate) fn redirect(stream: &mut TcpStream, to: &str) {
    let headers = format!("location: {to}\r\ncontent-length: 0\r\n");
    reply(stream, "302 Found", &headers, b"");
}
