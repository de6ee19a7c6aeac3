//! The metrics' server: whoever reaches its address may be anybody, and costs no more than this.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, serve_until};

/// Connections served at once; more of them wait.
const MAX_CONNECTIONS: usize = 16;
/// How long a request may take to come, and its answer to go.
const TURN_TIME: Duration = Duration::from_secs(10);

/// Answers `/metrics` with what `text` gives.
pub async fn serve<F>(
    listener: TcpListener,
    stop: CancellationToken,
    text: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> io::Result<()>
where
    F: Future<Output = Result<String, String>> + Send,
{
    let scrape = move || {
        let text = text();
        async move {
            match text.await {
                Ok(text) => {
                    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                    ([(header::CONTENT_TYPE, kind)], text).into_response()
                }
                Err(message) => (StatusCode::SERVICE_UNAVAILABLE, message).into_response(),
            }
        }
    };
    let scrapers = Scrapers {
        listener,
        room: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
    };
    let routes = Router::new().route("/metrics", get(scrape));
    let server =
        axum::serve(scrapers, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
    serve_until(&stop, "metrics", server).await
}

struct Scrapers {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Listener for Scrapers {
    type Io = Connection<TcpStream, OwnedSemaphorePermit>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let place = Arc::clone(&self.room)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        // axum's own way to accept: it waits a moment where the system is out of descriptors.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Connection::new(stream, place, TURN_TIME), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "test code")]

    use std::time::Instant;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::connection::GRACE;

    async fn begin() -> (
        SocketAddr,
        CancellationToken,
        tokio::task::JoinHandle<io::Result<()>>,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = serve(listener, stop.clone(), || async {
            Ok("# EOF\n".to_owned())
        });
        (address, stop, tokio::spawn(server))
    }

    async fn scrape(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn half_a_request_holds_up_the_end_for_no_longer_than_the_grace() {
        let (address, stop, server) = begin().await;
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(b"GET /metrics HTTP/1.1\r\nHost:")
            .await
            .unwrap();
        // Accepted in order: when this one is answered, the other is being served.
        assert!(scrape(address).await.contains("# EOF"));
        let told = Instant::now();
        stop.cancel();
        server.await.unwrap().unwrap();
        assert!(told.elapsed() < 2 * GRACE, "{:?}", told.elapsed());
        drop(half);
    }

    #[tokio::test]
    async fn silent_scrapers_make_room_for_others_in_the_end() {
        let (address, stop, server) = begin().await;
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let asked = Instant::now();
        assert!(scrape(address).await.contains("# EOF"));
        assert!(
            asked.elapsed() > TURN_TIME / 2,
            "there was room though every place was taken"
        );
        stop.cancel();
        server.await.unwrap().unwrap();
    }
}
