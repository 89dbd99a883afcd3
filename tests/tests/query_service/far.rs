//! A server that is far away: bytes take their time in both directions.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

/// The address of a proxy to `url` on which every byte arrives `delay` later, in order. Its threads
/// end with the connections they serve, and the last with the process.
pub(crate) fn proxy(url: &str, delay: Duration) -> Result<String> {
    let server = url.trim_start_matches("nats://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("nats://{}", listener.local_addr()?);
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(&server) else { return };
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
            }
            let (from_near, from_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            pipe(from_near, far, delay);
            pipe(from_far, near, delay);
        }
    });
    Ok(address)
}

fn pipe(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + delay, buffer[..n].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
