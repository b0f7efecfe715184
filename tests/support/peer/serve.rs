//! One connection of a peer: reads requests, and answers them as the behaviour demands.

use std::io::{self, BufRead, BufReader, Write as _};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::stream::Stream;
use super::{Behaviour, Received, Shared};

pub(super) fn serve(stream: Stream, shared: &Shared) {
    let mut inner = shared.lock();
    inner.connections += 1;
    let connection = inner.connections;
    // A connection that was accepted while the peer vanished is closed too.
    if inner.behaviour == Behaviour::CloseOnAccept || inner.listener.is_none() {
        return;
    }
    inner.open.push(stream.try_clone());
    drop(inner);
    let _ = exchange(&stream, connection, shared);
    stream.shut();
}

fn exchange(stream: &Stream, connection: usize, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone());
    loop {
        drop(shared.changed.wait_while(shared.lock(), |inner| inner.behaviour == Behaviour::NeverRead).unwrap());
        let (head, body) = match stream {
            Stream::Tcp(_) => read_request(&mut reader)?,
            Stream::Unix(_) => (String::new(), read_line(&mut reader)?),
        };
        let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        let id = body.get("id").cloned();
        let mut inner = shared.lock();
        inner.received.push(Received { head, body, connection });
        let behaviour = inner.behaviour.clone();
        drop(inner);
        shared.changed.notify_all();
        answer(stream, &behaviour, id.as_ref(), shared)?;
    }
}

fn answer(mut stream: &Stream, behaviour: &Behaviour, id: Option<&Value>, shared: &Shared) -> io::Result<()> {
    match behaviour {
        Behaviour::Acknowledge => match (stream, id) {
            (Stream::Tcp(_), _) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 32\r\n\r\n{\"message\":\"heartbeat received\"}")
            }
            (Stream::Unix(_), Some(id)) => {
                stream.write_all(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n").as_bytes())
            }
            (Stream::Unix(_), None) => Ok(()),
        },
        Behaviour::Answer(bytes) => stream.write_all(&with_id(bytes, id)),
        Behaviour::Dribble(bytes) => with_id(bytes, id).iter().try_for_each(|byte| {
            thread::sleep(Duration::from_millis(20));
            stream.write_all(&[*byte])
        }),
        Behaviour::Flood(bytes) => {
            stream.write_all(&with_id(bytes, id))?;
            (0..1 << 14).try_for_each(|_| {
                stream.write_all(&[b'x'; 1 << 16])?;
                shared.lock().flooded += 1 << 16;
                Ok(())
            })
        }
        Behaviour::Repeat(first, again) => {
            stream.write_all(first)?;
            let block = again.repeat((1 << 16) / again.len());
            (0..1 << 14).try_for_each(|_| stream.write_all(&block))
        }
        Behaviour::Hang | Behaviour::NeverRead => {
            // Until the client closes.
            io::copy(&mut stream, &mut io::sink())?;
            Err(io::ErrorKind::UnexpectedEof.into())
        }
        Behaviour::CloseOnAccept | Behaviour::CloseOnRequest => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

fn with_id(bytes: &[u8], id: Option<&Value>) -> Vec<u8> {
    match (id, std::str::from_utf8(bytes)) {
        (Some(id), Ok(text)) => text.replace("$id", &id.to_string()).into_bytes(),
        _ => bytes.to_vec(),
    }
}

fn read_request(reader: &mut impl BufRead) -> io::Result<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok((head, body))
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.ends_with(b"\n") { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
