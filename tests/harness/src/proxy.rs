//! A way to a server on loopback that can be blocked: whoever uses it hears nothing any more, and isn't told.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Threads that pass bytes on until this is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asks: Passage,
    answers: Passage,
    is_over: bool,
    streams: Vec<TcpStream>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Passage {
    #[default]
    Open,
    Blocked,
}

#[derive(Clone, Copy)]
enum Direction {
    Asks,
    Answers,
}

impl State {
    fn is_open(&self, direction: Direction) -> bool {
        let passage = match direction {
            Direction::Asks => self.asks,
            Direction::Answers => self.answers,
        };
        self.is_over || passage == Passage::Open
    }

    fn cut(&mut self) {
        for stream in self.streams.drain(..) {
            // Its peer may have closed it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Proxy {
    /// A way to that server.
    pub fn to(server: &str) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let (shared, server) = (Arc::<Shared>::default(), server.to_string());
        let of_thread = shared.clone();
        thread::spawn(move || accept(&listener, &server, &of_thread));
        Proxy { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Nothing passes from now on; connections stay, and are still taken.
    pub fn block(&self) {
        self.set(|state| (state.asks, state.answers) = (Passage::Blocked, Passage::Blocked));
    }

    /// What is asked arrives, and the answers don't.
    pub fn block_answers(&self) {
        self.set(|state| state.answers = Passage::Blocked);
    }

    /// Ends all connections, with what was held back. New ones are taken.
    pub fn cut(&self) {
        self.set(State::cut);
    }

    /// What was held back arrives, and everything after it.
    pub fn unblock(&self) {
        self.set(|state| (state.asks, state.answers) = (Passage::Open, Passage::Open));
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().expect("no thread panics with it"));
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(|state| {
            state.is_over = true;
            state.cut();
        });
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, server: &str, shared: &Arc<Shared>) {
    while let Ok((near, _)) = listener.accept() {
        let mut state = shared.state.lock().expect("no thread panics with it");
        if state.is_over {
            return;
        }
        // Where the server is away, so is the way to it.
        let Ok(far) = TcpStream::connect(server) else { continue };
        for (from, to, direction) in [(&near, &far, Direction::Asks), (&far, &near, Direction::Answers)] {
            let ends = from.try_clone().and_then(|from| Ok((from, to.try_clone()?)));
            let (from, to) = ends.expect("there are few streams");
            let shared = shared.clone();
            thread::spawn(move || pass(from, to, direction, &shared));
        }
        state.streams.extend([near, far]);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, direction: Direction, shared: &Shared) {
    let mut bytes = [0; 16 << 10];
    while let Ok(count) = from.read(&mut bytes) {
        let state = shared.state.lock().expect("no thread panics with it");
        let state = shared.changed.wait_while(state, |state| !state.is_open(direction));
        let is_over = state.expect("no thread panics with it").is_over;
        if is_over || count == 0 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
