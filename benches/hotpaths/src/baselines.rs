//! What the hot paths are compared with: the same work without this project's code, and work that never changes.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Instant;

use async_io::Async;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use smol_hyper::rt::FuturesIo;

use crate::product::{heartbeat, peer_at};
use crate::{cpu, report, timed, timed_after_pauses};

/// The size of a typical status file.
const STATUS_FILE: usize = 1400;

/// Work of the same kind that no change of this project affects: JSON, text, hashes, allocations.
pub(crate) fn reference(count: u32, _: &str) {
    let text = serde_json::to_string(&heartbeat()).expect("JSON");
    let mut sum = 0;
    for _ in 0..count {
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let again = serde_json::to_vec(&value).expect("JSON");
        sum = crc32fast::hash(&again).wrapping_add(std::hint::black_box(sum));
    }
    std::hint::black_box(sum);
}

/// The five system calls of a durable replacement of a file, and the close.
pub(crate) fn bare_write(count: u32, directory: &str) {
    with_writes(directory, |write| timed(|| (0..count).for_each(|_| write())));
}

/// The same with the pauses of `status_write_after_pause`: an idle disk takes longer.
pub(crate) fn bare_write_after_pause(count: u32, directory: &str) {
    with_writes(directory, |write| timed_after_pauses(count, write));
}

fn with_writes(directory: &str, measure: impl FnOnce(&dyn Fn())) {
    let directory = Path::new(directory);
    let (temp, file) = (directory.join("bare.tmp"), directory.join("bare"));
    let content = [b'x'; STATUS_FILE];
    let open = File::open(directory).expect("a directory");
    measure(&|| {
        let mut fresh = File::create(&temp).expect("a disk");
        fresh.write_all(&content).expect("a disk");
        fresh.sync_all().expect("a disk");
        fs::rename(&temp, &file).expect("a disk");
        open.sync_all().expect("a disk");
    });
}

/// A heartbeat's bytes through hyper alone, on one connection that stays open.
pub(crate) fn hyper_client(count: u32, url: &str) {
    let (_peer, url) = peer_at(url);
    let address: SocketAddr =
        url.trim_start_matches("http://").trim_end_matches("/heartbeat").parse().expect("an address");
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(async {
        let stream = Async::<TcpStream>::connect(address).await.expect("the peer listens");
        stream.get_ref().set_nodelay(true).expect("an option");
        let (mut requests, connection) = handshake(FuturesIo::new(stream)).await.expect("a connection");
        executor.spawn(async move { drop(connection.await) }).detach();
        let (started, before) = (Instant::now(), cpu());
        for _ in 0..count {
            let body = serde_json::to_vec(&heartbeat()).expect("JSON");
            let request = Request::post("/heartbeat")
                .header("host", address.to_string())
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body)))
                .expect("a request");
            let answer = requests.send_request(request).await.expect("an answer");
            answer.into_body().collect().await.expect("a body");
        }
        report(cpu() - before, started.elapsed());
    }));
}
