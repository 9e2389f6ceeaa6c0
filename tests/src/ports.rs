//! Free ports that stay free until the program under test binds them.
//!
//! Owns: a bound, never listening socket per port. `ringway` binds with SO_REUSEPORT, so it may bind beside
//! it; the kernel gives such a port to nobody who asks for port 0, so parallel tests never collide.
//! Must not: accept.
//! Read next: `gateway.rs`.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A loopback port that is kept for this test.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _held: Socket,
}

impl Port {
    /// Takes a free one.
    pub fn take() -> Self {
        Self::try_take().expect("a free loopback port exists")
    }

    fn try_take() -> std::io::Result<Self> {
        let held = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        held.set_reuse_port(true)?;
        held.set_reuse_address(true)?; // the gateway looks first whether the address is free of listeners
        held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = held.local_addr()?.as_socket().expect("an IPv4 socket has an IPv4 address");
        Ok(Self { address, _held: held })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A port where nobody listens: connecting is refused as long as this value lives.
    pub fn refusing() -> Self {
        Self::take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_taken_port_refuses_connections_and_is_given_to_nobody() {
        let port = Port::take();
        assert!(TcpStream::connect(port.address()).is_err());
        for _ in 0..200 {
            let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            assert_ne!(other.local_addr().unwrap(), port.address());
        }
    }
}
