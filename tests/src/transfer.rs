//! Large files from and to the web servers, verified by digests made at both ends.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};

use crate::digest::{Digest, Hasher};
use crate::namespace::Namespace;
use crate::nginx::Nginx;
use crate::scratch::Scratch;

/// Longest silence before a transfer counts as hanging: several retransmissions of what got lost.
const PATIENCE: Duration = Duration::from_secs(8);

/// Bytes moved at once.
const CHUNK: usize = 256 * 1024;

/// A mebibyte is too much, if one wants to have sent 100 MB.
pub const MB: u64 = 1_000_000;

/// What a transfer was like.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Bytes of the file.
    pub bytes: u64,
    /// From the request to the last byte.
    pub took: Duration,
    /// Bytes of the largest segments that the client's end sends, when it was over.
    pub segment: u32,
}

impl std::fmt::Display for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.took.as_secs_f64();
        write!(
            f,
            "{} bytes in {seconds:.2} s, {:.0} MB/s",
            self.bytes,
            self.bytes as f64 / seconds / 1e6
        )
    }
}

/// A file of noise, and its digest.
#[derive(Debug)]
pub struct Blob {
    scratch: Scratch,
    bytes: u64,
    digest: Digest,
    patience: Duration,
}

impl Blob {
    /// Makes one of so many bytes, the same each time.
    pub fn new(bytes: u64) -> Result<Self> {
        let scratch = Scratch::new("blob")?;
        write_noise(&scratch.join("blob"), bytes)?;
        let digest = Digest::of_file(&scratch.join("blob"))?;
        Ok(Self {
            scratch,
            bytes,
            digest,
            patience: PATIENCE,
        })
    }

    /// Another silence than eight seconds that counts as hanging.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Downloads it from the web server behind `vip`, port 80, and compares the digests.
    pub fn download(&self, client: &Namespace, nginx: &Nginx, vip: IpAddr) -> Result<Transfer> {
        let (name, bytes) = ("down", self.bytes);
        std::fs::hard_link(self.scratch.join("blob"), nginx.file(name))
            .context("cannot offer a file")?;
        let (got, transfer) = client
            .enter(|| get(self.open(vip)?, name, bytes))
            .with_context(|| format!("cannot download {bytes} bytes from {vip}"))?;
        ensure!(
            got == self.digest,
            "{bytes} bytes downloaded from {vip} have the digest {got}, at the server {}",
            self.digest
        );
        std::fs::remove_file(nginx.file(name))?;
        Ok(transfer)
    }

    /// Uploads it to the web server behind `vip`, port 80, and compares the digests.
    pub fn upload(&self, client: &Namespace, nginx: &Nginx, vip: IpAddr) -> Result<Transfer> {
        let (name, bytes) = ("up", self.bytes);
        let file = File::open(self.scratch.join("blob"))?;
        let transfer = client
            .enter(|| put(self.open(vip)?, name, &file, bytes))
            .with_context(|| format!("cannot upload {bytes} bytes to {vip}"))?;
        let got = Digest::of_file(&nginx.file(name))?;
        ensure!(
            got == self.digest,
            "{bytes} bytes uploaded to {vip} have the digest {got} there, {} at the client",
            self.digest
        );
        std::fs::remove_file(nginx.file(name))?;
        Ok(transfer)
    }

    fn open(&self, vip: IpAddr) -> Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&SocketAddr::new(vip, 80), self.patience)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        Ok(stream)
    }
}

fn write_noise(path: &Path, bytes: u64) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(bytes);
    let mut file = BufWriter::new(File::create(path)?);
    let mut chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let now = CHUNK.min(usize::try_from(left)?);
        random.fill_bytes(&mut chunk[..now]);
        file.write_all(&chunk[..now])?;
        left -= now as u64;
    }
    file.flush().context("cannot write a file to transfer")
}

fn get(stream: TcpStream, name: &str, bytes: u64) -> Result<(Digest, Transfer)> {
    let start = Instant::now();
    write!(
        &stream,
        "GET /files/{name} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
    )?;
    let mut reader = BufReader::with_capacity(CHUNK, &stream);
    let head = read_head(&mut reader)?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "the answer is {head:?}");
    let (mut hasher, mut got) = (Hasher::new()?, 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => {
                hasher.update(&chunk[..length])?;
                got += length as u64;
            }
            Err(error) => return Err(hanging(error, got, bytes)),
        }
    }
    ensure!(
        got == bytes,
        "the connection ended after {got} of {bytes} bytes"
    );
    Ok((hasher.finish()?, outcome(&stream, start, bytes)?))
}

fn put(mut stream: TcpStream, name: &str, mut file: &File, bytes: u64) -> Result<Transfer> {
    let start = Instant::now();
    write!(
        &stream,
        "PUT /files/{name} HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
    )?;
    let mut chunk = vec![0; CHUNK];
    let mut put = 0;
    loop {
        let length = file.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        stream
            .write_all(&chunk[..length])
            .map_err(|error| hanging(error, put, bytes))?;
        put += length as u64;
    }
    let head = read_head(&mut stream).map_err(|error| error.context("no answer to the upload"))?;
    ensure!(
        head.starts_with("HTTP/1.1 201 ") || head.starts_with("HTTP/1.1 204 "),
        "the answer is {head:?}"
    );
    outcome(&stream, start, bytes)
}

fn read_head(reader: &mut impl std::io::Read) -> Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match reader.read(&mut byte) {
            Ok(0) => bail!("the connection ended before an answer"),
            Ok(_) => head.push(byte[0]),
            Err(error) => return Err(error).context("it hangs before an answer"),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn hanging(error: std::io::Error, done: u64, bytes: u64) -> anyhow::Error {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
        anyhow::anyhow!("it hangs after {done} of {bytes} bytes")
    } else {
        anyhow::Error::new(error).context(format!("failed after {done} of {bytes} bytes"))
    }
}

fn outcome(stream: &TcpStream, start: Instant, bytes: u64) -> Result<Transfer> {
    Ok(Transfer {
        bytes,
        took: start.elapsed(),
        segment: segment(stream)?,
    })
}

/// The kernel's `TCP_MAXSEG` of a connection: what it sends at most, options not counted.
fn segment(stream: &TcpStream) -> Result<u32> {
    use std::os::fd::AsRawFd as _;
    let mut segment: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of_val(&segment))?;
    // SAFETY: both pointers are of live variables, and the length is that of the first.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MAXSEG,
            (&raw mut segment).cast(),
            &raw mut length,
        )
    };
    ensure!(
        done == 0,
        "no TCP_MAXSEG: {}",
        std::io::Error::last_os_error()
    );
    Ok(u32::try_from(segment)?)
}
