//! The listener for machines: `/healthz`, `/readyz` and `/metrics`, and nothing that changes anything.
//! Never names a person, a device or a target: what it says may be read by whoever reaches its address.

mod ready;
mod sampled;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bastion::Bastion;
use crate::meters;
use ready::Readiness;

/// The file that tells the bound address.
const LISTENING: &str = "listening.admin";
/// Conversations at once; one more is closed.
const CONVERSATIONS: usize = 16;
/// A whole conversation, from its first byte to its last.
const PATIENCE: Duration = Duration::from_secs(10);
/// Headers, in bytes.
const HEAD: usize = 16 << 10;
/// After a failed accept, so that a lack of file descriptors does not spin.
const BREATH: Duration = Duration::from_millis(100);
/// Between two times that measured values are put into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);
/// Bounds of the buckets of times, in seconds.
const TIMES: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {why}; choose another address in [admin] listen of bartizan.toml")]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        why: io::Error,
    },
    /// The file that tells the bound address cannot be written.
    #[error("cannot write {}: {why}", .path.display())]
    Listening {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// The numbers cannot be collected.
    #[error("the numbers cannot be collected: {0}")]
    Numbers(#[from] BuildError),
}

/// The listener, ready to answer.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    numbers: PrometheusHandle,
}

impl Admin {
    /// Binds the address and begins to count. To be called before anything happens that is counted.
    ///
    /// # Errors
    /// The address is not to be had.
    pub fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = bound.map_err(|why| AdminError::Bind { address, why })?;
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_sync_seconds".into()), TIMES)?
            .build_recorder();
        let numbers = recorder.handle();
        // A process has one recorder: it is there already only where two servers share a process, which tests alone do.
        let _ = metrics::set_global_recorder(recorder);
        meters::describe();
        Ok(Self { listener, numbers })
    }

    /// Answers until `closed`.
    ///
    /// # Errors
    /// The file that tells the address cannot be written.
    pub async fn serve(self, bastion: Arc<Bastion>, closed: CancellationToken) -> Result<(), AdminError> {
        let path = bastion.config.dir.join(LISTENING);
        let listener = tokio::net::TcpListener::from_std(self.listener).and_then(|listener| {
            std::fs::write(&path, format!("{}\n", listener.local_addr()?))?;
            Ok(listener)
        });
        let listener = listener.map_err(|why| AdminError::Listening { path: path.clone(), why })?;
        let desk = Arc::new(Desk { bastion, numbers: self.numbers, ready: Readiness::default() });
        let places = Arc::new(Semaphore::new(CONVERSATIONS));
        let mut upkeep = tokio::time::interval(UPKEEP);
        loop {
            let accepted = tokio::select! {
                () = closed.cancelled() => break,
                _ = upkeep.tick() => {
                    desk.numbers.run_upkeep();
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let Ok(place) = places.clone().try_acquire_owned() else { continue };
                    let desk = desk.clone();
                    tokio::spawn(async move {
                        let _ = timeout(PATIENCE, converse(desk, stream)).await;
                        drop(place);
                    });
                }
                Err(why) => {
                    tracing::warn!(%why, "the [admin] listener cannot accept");
                    sleep(BREATH).await;
                }
            }
        }
        let _ = std::fs::remove_file(path);
        Ok(())
    }
}

/// What answers.
struct Desk {
    bastion: Arc<Bastion>,
    numbers: PrometheusHandle,
    ready: Readiness,
}

/// One request, one answer.
async fn converse(desk: Arc<Desk>, stream: tokio::net::TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.answer(request.method(), request.uri().path()).await) }
    });
    let talk = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(why) = talk.await {
        tracing::debug!(%why, "a conversation at the [admin] listener ended");
    }
}

impl Desk {
    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return said(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".into());
        }
        match path {
            "/metrics" => {
                sampled::set(&self.bastion);
                let mut answer = said(StatusCode::OK, self.numbers.render());
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                answer
            }
            "/healthz" => verdict(ready::alive(&self.bastion)),
            "/readyz" => verdict(self.ready.asked(&self.bastion).await),
            _ => said(StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n".into()),
        }
    }
}

fn verdict(found: Result<(), &'static str>) -> Response<Full<Bytes>> {
    match found {
        Ok(()) => said(StatusCode::OK, "ok\n".into()),
        Err(why) => said(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn said(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
