//! The SSH server of a simulated device: public keys only, and each command in a real `sh`.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, Command};

use crate::simulated::Simulated;

/// Connections of one device that may be open at once; one more is closed at once.
const CONNECTIONS: usize = 64;
/// Bytes of output that one command may send; one that has more is cut off there.
const OUTPUT: u64 = 16 << 20;
/// A command that has not ended by then is ended.
const LIMIT: Duration = Duration::from_secs(300);
/// Time limit of greeting each other.
const GREETING: Duration = Duration::from_secs(10);
/// How long a command runs whose connection is dropped in the middle of it.
const MIDDLE: Duration = Duration::from_millis(100);

/// How the server shows itself with a host key.
pub(crate) fn config(key: &PrivateKey) -> Arc<server::Config> {
    Arc::new(server::Config {
        keys: vec![key.clone()],
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        inactivity_timeout: None,
        nodelay: true,
        ..server::Config::default()
    })
}

/// Accepts connections whenever the device is up. The first listener is there already, so that the port is known to be free.
pub(crate) async fn serve(device: Arc<Simulated>, first: TcpListener) {
    let mut listener = Some(first);
    let mut up = device.up();
    loop {
        if up.wait_for(|up| *up).await.is_err() {
            return;
        }
        let bound = match listener.take() {
            Some(listener) => listener,
            None => match TcpListener::bind((device.address(), device.port())).await {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::warn!(device = device.name(), %error, "cannot listen again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        loop {
            tokio::select! {
                accepted = bound.accept() => if let Ok((stream, _)) = accepted {
                    tokio::spawn(connection(device.clone(), stream));
                },
                down = up.wait_for(|up| !*up) => if down.is_err() { return } else { break },
            }
        }
    }
}

async fn connection(device: Arc<Simulated>, stream: TcpStream) {
    let stop = device.fleet().stop.clone();
    let talk = async {
        // The copy is what the connection is cut by.
        let Ok(stream) = stream.into_std() else { return };
        let Some(wire) = stream.try_clone().ok().and_then(|wire| device.opened(wire, CONNECTIONS)) else { return };
        let session = Talk { device: device.clone(), wire, channels: HashMap::new() };
        if let Ok(stream) = TcpStream::from_std(stream)
            && let Ok(Ok(running)) = tokio::time::timeout(GREETING, server::run_stream(device.config(), stream, session)).await
        {
            let _ = running.await;
        }
        device.closed(wire);
    };
    stop.run_until_cancelled(talk).await;
}

/// One connection.
struct Talk {
    device: Arc<Simulated>,
    wire: u64,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

impl server::Handler for Talk {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let known = key.public_key.key_data() == self.device.fleet().authorized.key_data();
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, _: &mut Session) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    /// A device is a jump host to the others, and to nothing else.
    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let inside = host.parse::<Ipv4Addr>().ok().filter(|address| address.octets()[..2] == self.device.address().octets()[..2]);
        if let (Some(address), Ok(port)) = (inside, u16::try_from(port))
            && let Ok(mut other) = TcpStream::connect((address, port)).await
        {
            reply.accept().await;
            let stop = self.device.fleet().stop.clone();
            tokio::spawn(async move {
                let mut stream = channel.into_stream();
                stop.run_until_cancelled(tokio::io::copy_bidirectional(&mut stream, &mut other)).await;
            });
        }
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let (Some(channel), Ok(command)) = (self.channels.remove(&id), String::from_utf8(command.to_vec())) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let (device, wire) = (self.device.clone(), self.wire);
        tokio::spawn(async move {
            let stop = device.fleet().stop.clone();
            stop.run_until_cancelled(exec(&device, wire, channel, &command)).await;
        });
        Ok(())
    }
}

async fn exec(device: &Arc<Simulated>, wire: u64, channel: Channel<Msg>, command: &str) {
    let Ok(_permit) = device.fleet().commands.acquire().await else { return };
    let orders = device.orders();
    tokio::time::sleep(orders.slow).await;
    device.count_on();
    let (mut input, answer) = channel.split();
    let spawned = device.command(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        let _ = answer.close().await;
        return;
    };
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    if orders.drop {
        feed(&mut input, stdin).await;
        let ended = tokio::time::timeout(MIDDLE, child.wait()).await.is_ok();
        device.cut_one(wire);
        if !ended {
            end(&mut child).await;
        }
        return;
    }
    let talk = async {
        let (out, err) = (answer.make_writer(), answer.make_writer_ext(Some(1)));
        // What comes in is taken until the command has ended: a client may close its side before or after that.
        let feeding = async {
            feed(&mut input, stdin).await;
            std::future::pending::<()>().await;
        };
        let telling = async {
            tokio::join!(tell(stdout, out), tell(stderr, err));
        };
        tokio::select! {
            () = feeding => {}
            () = telling => {}
        }
    };
    talk.await;
    if let Some(code) = end(&mut child).await {
        let _ = answer.exit_status(code).await;
    }
    let _ = answer.eof().await;
    let _ = answer.close().await;
}

/// What the client sends goes to the command, until it says that there is no more.
async fn feed(input: &mut ChannelReadHalf, stdin: Option<ChildStdin>) {
    let mut stdin = stdin;
    while let Some(message) = input.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                // A command that reads no more is not in the way of what follows.
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(&data).await.is_err()
                {
                    stdin = None;
                }
            }
            ChannelMsg::Eof | ChannelMsg::Close => break,
            _ => {}
        }
    }
}

/// What the command says goes to the client, as fast as that takes it.
async fn tell(from: Option<impl AsyncRead + Unpin>, mut to: impl AsyncWrite + Unpin) {
    if let Some(from) = from {
        let _ = tokio::io::copy(&mut from.take(OUTPUT), &mut to).await;
    }
}

/// Waits for a command's end, no longer than the limit. Returns its exit code; as a shell says it, where a signal ended it.
async fn end(child: &mut Child) -> Option<u32> {
    if let Ok(Ok(status)) = tokio::time::timeout(LIMIT, child.wait()).await {
        return status.code().or_else(|| Some(128 + status.signal()?)).and_then(|code| u32::try_from(code).ok());
    }
    if let Some(group) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    None
}

/// A command in a device's root, in a process group of its own, with nothing of our environment.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).env_clear().process_group(0).kill_on_drop(true);
    command
}
