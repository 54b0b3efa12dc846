//! A web server on loopback with one file.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// A thread that serves until this is dropped.
pub struct WebServer {
    address: SocketAddr,
    path: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    served: AtomicUsize,
    over: AtomicBool,
}

impl WebServer {
    /// Serves `content` at `/name`, and 404 anywhere else.
    pub fn with(name: &str, content: impl Into<Vec<u8>>) -> WebServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let (path, content, shared) = (format!("/{name}"), content.into(), Arc::<Shared>::default());
        let of_thread = (path.clone(), shared.clone());
        let thread = std::thread::spawn(move || serve(&listener, &of_thread.0, &content, &of_thread.1));
        WebServer { address, path, shared, thread: Some(thread) }
    }

    /// The file's URI.
    pub fn uri(&self) -> String {
        format!("http://{}{}", self.address, self.path)
    }

    /// How often the file was fetched.
    pub fn served(&self) -> usize {
        self.shared.served.load(Ordering::SeqCst)
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes it; it may have ended by an error.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().expect("taken only here").join();
    }
}

fn serve(listener: &TcpListener, path: &str, content: &[u8], shared: &Shared) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        // A client that goes away in the middle is its own affair.
        let _ = answer(stream, path, content, shared);
    }
}

fn answer(mut stream: TcpStream, path: &str, content: &[u8], shared: &Shared) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let found = request.split(' ').nth(1) == Some(path);
    let (status, body) = if found { ("200 OK", content) } else { ("404 Not Found", &b"nothing here\n"[..]) };
    if found {
        shared.served.fetch_add(1, Ordering::SeqCst);
    }
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(body)
}
