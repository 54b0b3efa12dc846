//! The shell around the executor half: a socket for the applications of its machine, and a thread for each of them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mesos_plugin_api::Injector;

use crate::Line;

type Connections = Arc<Mutex<BTreeMap<u64, TcpStream>>>;

/// Opens the socket, writes its port into the file `port` of the sandbox, and gives where lines for applications go.
pub(crate) fn serve(injector: Injector) -> io::Result<impl FnMut(Vec<u8>) + Send> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    std::fs::write("port.new", listener.local_addr()?.port().to_string())?;
    std::fs::rename("port.new", "port")?;
    let connections = Connections::default();
    let (lines, waiting) = channel::<Vec<u8>>();
    let writers = connections.clone();
    // The half must not wait for an application that doesn't read.
    thread::spawn(move || waiting.into_iter().for_each(|line| write(&writers, &Line::decode(&line))));
    thread::spawn(move || {
        for (stream, connection) in listener.incoming().flatten().zip(1..) {
            let (injector, connections) = (injector.clone(), connections.clone());
            thread::spawn(move || read(stream, connection, &injector, &connections));
        }
    });
    Ok(sender(lines))
}

fn sender(lines: Sender<Vec<u8>>) -> impl FnMut(Vec<u8>) + Send {
    move |line| drop(lines.send(line))
}

fn read(stream: TcpStream, connection: u64, injector: &Injector, connections: &Connections) {
    let Ok(ours) = stream.try_clone() else { return };
    connections.lock().unwrap_or_else(PoisonError::into_inner).insert(connection, ours);
    for text in BufReader::new(stream).lines().map_while(Result::ok) {
        injector.inject(Line::encode(connection, text));
    }
    connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&connection);
}

fn write(connections: &Connections, line: &Line) {
    let stream = connections.lock().unwrap_or_else(PoisonError::into_inner);
    let stream = stream.get(&line.connection).and_then(|stream| stream.try_clone().ok());
    if let Some(mut stream) = stream {
        // Whoever has gone wants no answer.
        let _ = stream.write_all(format!("{}\n", line.text).as_bytes());
    }
}
