//! A port that leads to a chatd, and leaves out a line.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::spawn;

/// What each numbered line of a crowd has.
const NUMBERED: &str = "......................";
/// Which of them is left out.
const LEFT_OUT: usize = 50;

/// A port that leads to a chatd, where each connection is not given one of the lines that it should hear.
pub fn leak(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(to).unwrap();
            let (mut client_too, mut server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            spawn(move || {
                let _ = std::io::copy(&mut client_too, &mut server_too);
                let _ = server_too.shutdown(Shutdown::Write);
            });
            spawn(move || pass_on_all_but_one(server, client));
        }
    });
    address
}

fn pass_on_all_but_one(server: TcpStream, mut client: TcpStream) {
    let mut numbered = 0;
    for line in BufReader::new(server).lines().map_while(Result::ok) {
        numbered += usize::from(line.contains(NUMBERED));
        let is_left_out = line.contains(NUMBERED) && numbered == LEFT_OUT;
        if !is_left_out && client.write_all(format!("{line}\n").as_bytes()).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}
