//! An HTTP server that hands each request to a test, and answers as the test says: well, badly, by half, or not at all.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// A request, whole.
pub(super) struct Request {
    pub(super) path: String,
    /// By their names in small letters.
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

/// What becomes of it.
pub(super) enum Answer {
    Reply(u16, &'static str, Vec<u8>),
    /// The beginning of an answer, and then the end of the connection.
    Half,
    /// Nothing, and then the end of the connection.
    HangUp,
    /// Nothing, until whoever asked gives up.
    Never,
}

/// Runs until the test ends.
pub(super) struct Front {
    pub(super) port: u16,
    /// How many requests came.
    pub(super) requests: Arc<Mutex<usize>>,
}

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Front {
    pub(super) fn start(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(0));
        let (answer, count) = (Arc::new(answer), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
                // What goes wrong here goes wrong for who asked, which is what the tests look at.
                thread::spawn(move || serve(stream?, &*answer, &count));
            }
        });
        Front { port, requests }
    }

    pub(super) fn count(&self) -> usize {
        *lock(&self.requests)
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(usize, &Request) -> Answer + Send + Sync),
    count: &Mutex<usize>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read_request(&mut reader)? {
        let number = {
            let mut count = lock(count);
            *count += 1;
            *count
        };
        match answer(number, &request) {
            Answer::Reply(status, headers, body) => {
                let length = body.len();
                write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n")?;
                stream.write_all(&body)?;
            }
            Answer::Half => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le")?;
                return stream.shutdown(Shutdown::Both);
            }
            Answer::HangUp => return stream.shutdown(Shutdown::Both),
            Answer::Never => {
                // Returns when who asked has gone.
                stream.set_read_timeout(None::<Duration>)?;
                let _ = stream.read(&mut [0; 1])?;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// `None` where the other side has closed.
pub(super) fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { path, headers, body }))
}
