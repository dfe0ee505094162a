//! Channels whose two ends do not keep step.

use std::net::TcpListener;

use rustix::pipe::PipeFlags;

use super::*;

/// A transport whose other end nobody reads.
fn transport() -> (Transport, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (here, _) = listener.accept().unwrap();
    (Transport::new(here).unwrap(), there)
}

/// A channel whose data goes into a pipe.
fn into_pipe() -> (Channel, OwnedFd) {
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let (reader, writer) = rustix::pipe::pipe_with(flags).unwrap();
    let end = End::Stream {
        socket: TcpStream::from(writer),
        reads: true,
        writes: true,
    };
    (Channel::new(7, 0, 1024, true, end), reader)
}

/// `ssh host 'cat >slow disk' <image`: the client is always ahead, so what waits is never nothing.
#[test]
fn a_program_slower_than_its_client_costs_no_more_memory_than_a_window() {
    let (mut transport, _there) = transport();
    let (mut channel, reader) = into_pipe();
    let mut sent = 0_u64;
    let mut read = 0_u64;
    let mut block = [0; 48 * 1024];
    while sent < 64 * 1024 * 1024 {
        while channel.granted > 0 {
            let count = (channel.granted as usize).min(40_000);
            let data: Vec<u8> = (sent..sent + count as u64)
                .map(|n| (n % 251) as u8)
                .collect();
            channel.receive(&data, &mut transport).unwrap();
            sent += count as u64;
        }
        let count = rustix::io::read(&reader, &mut block).unwrap();
        assert!(
            (read..)
                .zip(&block[..count])
                .all(|(n, b)| *b == (n % 251) as u8),
            "what comes out is not what went in"
        );
        read += count as u64;
        channel.feed(&mut transport);
        assert!(channel.input.capacity() <= 4 * WINDOW as usize);
    }
}
