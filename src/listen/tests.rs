#![allow(clippy::unwrap_used)]

mod tls;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use axum::routing::get;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

struct Listening {
    address: SocketAddr,
    /// Told when a request has begun.
    begun: Arc<Notify>,
    /// Lets requests finish.
    finish: Arc<Semaphore>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Stopped>,
}

/// A listener whose `/slow` waits to be let go.
async fn listening(options: ListenOptions) -> Listening {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let slow = {
        let (begun, finish) = (begun.clone(), finish.clone());
        move || async move {
            begun.notify_one();
            drop(finish.acquire().await);
            "done"
        }
    };
    let large = async || vec![0; 64 << 20];
    let router =
        Router::new().route("/slow", get(slow)).route("/fast", get(async || "done")).route("/large", get(large));
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(serve(listener, router, options, async { stopped.await.unwrap_or_default() }));
    Listening { address, begun, finish, stop, ended }
}

async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    // A listener that drops the connection resets it; then there is no answer.
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("an end");
    answer
}

#[tokio::test]
async fn a_stop_lets_requests_under_way_finish_and_takes_no_more() {
    for workers in [None, some_workers()] {
        stop_while_a_request_is_under_way(workers).await;
    }
}

fn some_workers() -> Option<Arc<Workers>> {
    Some(Arc::new(Workers::start(2, || async {}).unwrap()))
}

async fn stop_while_a_request_is_under_way(workers: Option<Arc<Workers>>) {
    let listening = listening(ListenOptions { stop_grace: DEADLINE, workers, ..ListenOptions::default() }).await;
    let address = listening.address;
    let idle = TcpStream::connect(address).await.unwrap();
    let asked = tokio::spawn(async move { ask(address, "/slow").await });
    listening.begun.notified().await;
    listening.stop.send(()).unwrap();
    // New connections are refused from now on, while the old one is still served.
    let deadline = Instant::now() + DEADLINE;
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "it still accepts");
    }
    assert!(!listening.ended.is_finished());
    listening.finish.add_permits(1);
    assert!(asked.await.unwrap().ends_with("done"));
    assert_eq!(timeout(DEADLINE, listening.ended).await.unwrap().unwrap(), Stopped { cut: 0 });
    drop(idle);
}

#[tokio::test]
async fn a_stop_ends_though_a_request_does_not() {
    for workers in [None, some_workers()] {
        let options = ListenOptions { stop_grace: Duration::from_millis(50), workers, ..ListenOptions::default() };
        let listening = listening(options).await;
        let address = listening.address;
        let asked = tokio::spawn(async move { ask(address, "/slow").await });
        listening.begun.notified().await;
        listening.stop.send(()).unwrap();
        assert_eq!(timeout(DEADLINE, listening.ended).await.unwrap().unwrap(), Stopped { cut: 1 });
        assert_eq!(asked.await.unwrap(), "");
    }
}

#[tokio::test]
async fn a_connection_that_takes_nothing_of_its_answer_is_closed() {
    let options =
        ListenOptions { take_timeout: Duration::from_millis(100), max_connections: 1, ..ListenOptions::default() };
    let listening = listening(options).await;
    let mut stuck = TcpStream::connect(listening.address).await.unwrap();
    stuck.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    stuck.readable().await.unwrap();
    // There is room for another only when it is gone.
    let deadline = Instant::now() + DEADLINE;
    while !ask(listening.address, "/fast").await.ends_with("done") {
        assert!(Instant::now() < deadline, "it is still there");
    }
    let mut rest = Vec::new();
    assert_eq!(stuck.read_to_end(&mut rest).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

/// Who goes on taking an answer gets all of it, also when that takes longer than one may take nothing.
#[tokio::test]
async fn a_connection_that_takes_its_answer_slowly_is_served() {
    let take_timeout = Duration::from_secs(2);
    let began = Instant::now();
    let options = ListenOptions { take_timeout, ..ListenOptions::default() };
    let listening = listening(options).await;
    let mut slow = TcpStream::connect(listening.address).await.unwrap();
    slow.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let (mut piece, mut taken) = (vec![0; 1 << 20], 0);
    loop {
        match slow.read(&mut piece).await.unwrap() {
            0 => break,
            bytes => taken += bytes,
        }
        sleep(Duration::from_millis(40)).await;
    }
    assert!(taken > 64 << 20, "{taken}");
    assert!(began.elapsed() > take_timeout);
}

#[tokio::test]
async fn only_connections_on_the_wanted_addresses_are_taken() {
    let subnet: ipnet::IpNet = "127.0.0.2/31".parse().unwrap();
    for only_local in [OnlyLocal::Subnet(subnet), OnlyLocal::name("127.0.0.2")] {
        let options = ListenOptions { only_local: Some(only_local), ..ListenOptions::default() };
        let listening = listening(options).await;
        let port = listening.address.port();
        assert!(ask(SocketAddr::from(([127, 0, 0, 2], port)), "/fast").await.ends_with("done"));
        assert_eq!(ask(listening.address, "/fast").await, "");
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_nothing_lets_nobody_in() {
    let options = ListenOptions { only_local: Some(OnlyLocal::name("nobody.invalid")), ..ListenOptions::default() };
    let listening = listening(options).await;
    assert_eq!(ask(listening.address, "/fast").await, "");
}

#[test]
fn what_is_beside_the_connections_goes_before_most_of_them() {
    const TASKS: usize = 1_000;
    let (wake, before) = (Arc::new(Notify::new()), Arc::new(Mutex::new(None)));
    let done = Arc::new(AtomicUsize::new(0));
    let (begin, begun) = mpsc::channel();
    let beside = || {
        let (wake, done, before, begin) = (wake.clone(), done.clone(), before.clone(), begin.clone());
        async move {
            begin.send(()).unwrap();
            wake.notified().await;
            *before.lock().unwrap() = Some(done.load(Ordering::SeqCst));
        }
    };
    let workers = Workers::start(1, beside).unwrap();
    let (hold, held) = mpsc::channel::<()>();
    let (ended, end) = mpsc::channel();
    let runtime = workers.next();
    begun.recv_timeout(DEADLINE).unwrap();
    runtime.spawn(async move {
        begin.send(()).unwrap();
        let _ = held.recv();
    });
    begun.recv_timeout(DEADLINE).unwrap();
    for _ in 0..TASKS {
        let (done, ended) = (done.clone(), ended.clone());
        runtime.spawn(async move {
            done.fetch_add(1, Ordering::SeqCst);
            ended.send(()).unwrap();
        });
    }
    wake.notify_one();
    hold.send(()).unwrap();
    for _ in 0..TASKS {
        end.recv_timeout(DEADLINE).unwrap();
    }
    let before = before.lock().unwrap().expect("it was told before the tasks could run");
    assert!(before < 100, "after {before} of {TASKS}");
}
