//! A chat with a task for each client, on tokio: what most people would write. It follows tokio's
//! own example (`examples/chat.rs` in its repository): the peers behind a mutex, for each of them
//! an unbounded channel into its task, lines by a codec.
//!
//! It differs from the example where that would make the comparison unfair: TCP_NODELAY is set, as
//! it is on the other servers; it says nothing when somebody comes or goes, which is quadratic; it
//! answers a nick instead of asking for it; and lines end with `\r\n`. Its runtime is the one with
//! one thread, because that is what it is compared with.
//!
//! As in the example, each line is a write of its own. [`Writes::AllAtOnce`] is the same chat as
//! somebody writes it who has seen a profile of the first: a task takes all lines that wait in its
//! channel and writes them together.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

/// How a task writes the lines that wait for its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    EachLine,
    AllAtOnce,
}

/// The way to each peer's task.
#[derive(Debug, Default)]
struct Shared {
    peers: HashMap<SocketAddr, mpsc::UnboundedSender<String>>,
}

impl Shared {
    fn broadcast(&self, sender: SocketAddr, message: &str) {
        for (addr, peer) in &self.peers {
            if *addr != sender {
                // A peer that has left takes itself out.
                let _ = peer.send(message.to_owned());
            }
        }
    }
}

/// Serves until `stop` is sent or dropped.
pub(crate) fn run(
    listener: TcpListener,
    writes: Writes,
    stop: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            result = serve(listener, writes) => result,
            _ = stop => Ok(()),
        }
    })
}

async fn serve(listener: TcpListener, writes: Writes) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let state = Arc::new(Mutex::new(Shared::default()));
    loop {
        let (stream, addr) = listener.accept().await?;
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // A peer that breaks off has left.
            let _ = process(&state, stream, addr, writes).await;
            state.lock().await.peers.remove(&addr);
        });
    }
}

/// One peer, from its nick to its end.
async fn process(
    state: &Mutex<Shared>,
    stream: TcpStream,
    addr: SocketAddr,
    writes: Writes,
) -> Result<(), LinesCodecError> {
    let mut lines = Framed::new(stream, LinesCodec::new());
    let Some(Ok(nick)) = lines.next().await else {
        return Ok(());
    };
    let (sender, mut receiver) = mpsc::unbounded_channel();
    state.lock().await.peers.insert(addr, sender);
    lines.send("* yes\r").await?;
    loop {
        tokio::select! {
            Some(message) = receiver.recv() => {
                lines.feed(message).await?;
                while writes == Writes::AllAtOnce
                    && let Ok(message) = receiver.try_recv()
                {
                    lines.feed(message).await?;
                }
                SinkExt::<String>::flush(&mut lines).await?;
            }
            line = lines.next() => match line {
                Some(line) => {
                    let message = format!("{nick}: {}\r", line?);
                    state.lock().await.broadcast(addr, &message);
                }
                None => return Ok(()),
            },
        }
    }
}
