//! The listener of a simulated agent. It passes requests on to the API, which listens elsewhere, unless an act answers them.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use smol::LocalExecutor;

use super::acts::Act;
use super::state::Simulation;
use ops_http::server::bind;
use ops_runtime::clock::within;

/// The maximum number of open connections. More are closed at once.
const MAX_CONNECTIONS: usize = 512;
/// The size limit of a request head that an act reads, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// The size limit of an answer that an act keeps, in bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// How long the API may take to answer an act, and a peer to close the connection after an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept or bind.
const RETRY: Duration = Duration::from_millis(50);

struct Front {
    simulation: Simulation,
    upstream: SocketAddr,
    open: Cell<usize>,
}

/// Starts to accept connections on `listener`.
///
/// # Errors
///
/// The reactor cannot register the listener.
pub(super) fn start(
    simulation: &Simulation,
    executor: &Rc<LocalExecutor<'static>>,
    listener: TcpListener,
    upstream: SocketAddr,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let front = Rc::new(Front { simulation: simulation.clone(), upstream, open: Cell::new(0) });
    let first = Async::new(listener)?;
    executor.spawn(accept(Rc::clone(executor), front, first, address)).detach();
    Ok(())
}

async fn accept(
    executor: Rc<LocalExecutor<'static>>,
    front: Rc<Front>,
    first: Async<TcpListener>,
    address: SocketAddr,
) {
    let mut listener = Some(first);
    loop {
        if front.simulation.find(closes).is_some() {
            listener = None;
            front.simulation.forget_listener();
            front.simulation.until(|acts| !acts.iter().any(closes)).await;
        }
        let Some(open) = &listener else {
            match bind(address).map_err(io::Error::other).and_then(Async::new) {
                Ok(again) => {
                    front.simulation.share_listener(again.get_ref());
                    listener = Some(again);
                }
                Err(_) => drop(Timer::after(RETRY).await),
            }
            continue;
        };
        let closed = async {
            front.simulation.until(|acts| acts.iter().any(closes)).await;
            None
        };
        match async { Some(open.accept().await) }.or(closed).await {
            Some(Ok((client, _))) if front.open.get() < MAX_CONNECTIONS => {
                let front = Rc::clone(&front);
                front.open.set(front.open.get() + 1);
                executor.spawn(async move { front.serve(client).await }).detach();
            }
            Some(Ok(_)) | None => {}
            Some(Err(_)) => drop(Timer::after(RETRY).await),
        }
    }
}

fn closes(act: &Act) -> bool {
    act.behaviour().closes_listener()
}

impl Front {
    async fn serve(&self, client: Async<TcpStream>) {
        let closed = async {
            self.simulation.until(|acts| acts.iter().any(closes)).await;
            Ok(())
        };
        // An error ends the connection, as the peer sees.
        let _ = self.converse(&client).or(closed).await;
        self.open.set(self.open.get() - 1);
    }

    /// Passes requests on, until the connection ends or an act takes over.
    async fn converse(&self, client: &Async<TcpStream>) -> io::Result<()> {
        let upstream = Async::<TcpStream>::connect(self.upstream).await?;
        let requests = async {
            let (mut from, mut to) = (client, &upstream);
            let mut chunk = vec![0; MAX_HEAD];
            loop {
                let length = from.read(&mut chunk).await?;
                let read = chunk.get(..length).unwrap_or_default();
                if read.is_empty() {
                    upstream.get_ref().shutdown(Shutdown::Write)?;
                    return pending().await;
                }
                if let Some(act) = self.simulation.find(|act| act.behaviour().http().is_some()) {
                    return Ok(Some((act, read.to_vec())));
                }
                to.write_all(read).await?;
            }
        };
        let answers = async {
            futures_lite::io::copy(&upstream, client).await?;
            Ok(None)
        };
        let taken: io::Result<_> = requests.or(answers).await;
        let Some((act, request)) = taken? else { return Ok(()) };
        drop(upstream);
        let Some(behaviour) = act.behaviour().http() else { return Ok(()) };
        let exchange = Exchange { client, request, upstream: self.upstream };
        let over = async {
            self.simulation.ended(&act).await;
            Ok(())
        };
        behaviour.answer(exchange).or(over).await?;
        client.get_ref().shutdown(Shutdown::Write)?;
        // Without this, the peer could get a reset instead of the answer.
        let mut rest = client;
        within(TIMEOUT, futures_lite::io::copy(&mut rest, futures_lite::io::sink())).await.transpose()?;
        Ok(())
    }
}

/// A request that an act answers.
pub(crate) struct Exchange<'a> {
    client: &'a Async<TcpStream>,
    /// What was read of it.
    request: Vec<u8>,
    upstream: SocketAddr,
}

impl Exchange<'_> {
    /// Sends bytes to the peer.
    pub(crate) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut client = self.client;
        client.write_all(bytes).await
    }

    /// The API's answer to the request, up to the end of the connection.
    pub(crate) async fn true_answer(&mut self) -> io::Result<Vec<u8>> {
        let answer = within(TIMEOUT, self.ask()).await;
        answer.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn ask(&mut self) -> io::Result<Vec<u8>> {
        let mut client = self.client;
        let mut chunk = [0; 1024];
        let end = loop {
            if let Some(end) = self.request.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            let length = client.read(&mut chunk).await?;
            if length == 0 || self.request.len() > MAX_HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.request.extend_from_slice(chunk.get(..length).unwrap_or_default());
        };
        // The answer ends with the connection.
        let close = b"\r\nconnection: close";
        self.request.splice(end..end, close.iter().copied());
        let mut upstream = Async::<TcpStream>::connect(self.upstream).await?;
        upstream.write_all(&self.request).await?;
        let mut answer = Vec::new();
        upstream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}
