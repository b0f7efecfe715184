//! Sends heartbeats as fast as they are answered: `heartbeats TARGET SECONDS CONNECTIONS < BODIES`.
//!
//! The target is an address for HTTP or the path of a socket for JSON-RPC. The bodies are lines, sent in rotation. Every
//! connection stays open and has one request in flight, like that of a real agent. Prints the number of answers, the number
//! of successes, and the duration. `daemon_load.py` measures the server meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a measurement")]
#![allow(clippy::disallowed_methods, reason = "a measurement asks the real clock")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [target, seconds, connections] = arguments.as_slice() else {
        return println!("usage: heartbeats TARGET SECONDS CONNECTIONS < BODIES");
    };
    let time = Duration::from_secs(seconds.parse().expect("a number"));
    let bodies = std::io::read_to_string(std::io::stdin()).expect("text");
    let over_socket = target.starts_with('/');
    let requests: Vec<String> = bodies.lines().map(if over_socket { as_line } else { as_request }).collect();
    let connections = connections.parse().expect("a number");
    let mut streams: Vec<Box<dyn Stream>> = (0..connections).map(|_| connect(target, over_socket)).collect();
    let (end, success): (&[u8], &[u8]) =
        if over_socket { (b"}\n", br#"{"jsonrpc":"2.0","id":1,"result""#) } else { (b"}", b"HTTP/1.1 200") };
    let mut next = requests.iter().cycle();
    let (began, mut answered, mut good) = (Instant::now(), 0_u64, 0_u64);
    while began.elapsed() < time {
        for stream in &mut streams {
            stream.write_all(next.next().expect("a body").as_bytes()).expect("the server reads");
        }
        for stream in &mut streams {
            good += u64::from(answer(stream, end, success));
            answered += 1;
        }
    }
    println!("{{\"answered\":{answered},\"good\":{good},\"seconds\":{}}}", began.elapsed().as_secs_f64());
}

fn as_line(body: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"heartbeat\",\"params\":{body}}}\n")
}

fn as_request(body: &str) -> String {
    let head = "POST /heartbeat HTTP/1.1\r\nhost: daemon\r\ncontent-type: application/json";
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn connect(target: &str, over_socket: bool) -> Box<dyn Stream> {
    if over_socket {
        return Box::new(UnixStream::connect(target).expect("the server listens"));
    }
    let stream = TcpStream::connect(target).expect("the server listens");
    stream.set_nodelay(true).expect("an option");
    Box::new(stream)
}

/// Reads one answer. Returns whether it reports success.
fn answer(stream: &mut impl Read, end: &[u8], success: &[u8]) -> bool {
    let (mut buffer, mut length) = ([0; 4096], 0);
    while !buffer[..length].ends_with(end) {
        let read = stream.read(&mut buffer[length..]).expect("an answer");
        assert!(read > 0, "the server has closed the connection");
        length += read;
    }
    buffer.starts_with(success)
}
