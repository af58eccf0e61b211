//! A server for the cases: the one named by `ZEPHCAST_TEST_REDIS_URL`, or one of their own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::prelude::*;

/// A server of its own, killed when dropped.
pub(crate) struct Server {
    process: Option<Child>,
    directory: Option<tempfile::TempDir>,
    pub(crate) port: u16,
    url: String,
}

impl Server {
    /// Any server will do.
    pub(crate) fn any() -> Self {
        match std::env::var("ZEPHCAST_TEST_REDIS_URL") {
            Ok(url) => Self { process: None, directory: None, port: 0, url },
            Err(_) => Self::own(&[]),
        }
    }

    /// A server of its own, for cases that change or break it.
    pub(crate) fn own(options: &[&str]) -> Self {
        let mut server = Self::idle();
        server.start(options);
        server
    }

    /// One that was not started.
    pub(crate) fn idle() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let url = format!("redis://127.0.0.1:{port}");
        Self { process: None, directory: Some(directory), port, url }
    }

    /// Starts it (again) on its port.
    pub(crate) fn start(&mut self, options: &[&str]) {
        let memory = ["--save", "", "--appendonly", "no"];
        self.start_with(None, &[&memory[..], options].concat());
    }

    /// Starts it with a configuration file.
    pub(crate) fn start_with(&mut self, config: Option<&std::path::Path>, options: &[&str]) {
        let directory = self.directory.as_ref().expect("a server of its own").path();
        let process = Command::new("redis-server")
            .args(config)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(directory)
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("redis-server cannot be started ({error}): install it (Debian: apt-get install redis-server) or set ZEPHCAST_TEST_REDIS_URL")
            });
        self.process = Some(process);
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "redis-server did not come up on port {}", self.port);
            std::thread::yield_now();
        }
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("a server of its own");
        let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal} failed");
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.as_ref().expect("a server of its own").path()
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig::from_url(&self.url).expect("the URL of the server")
    }

    pub(crate) async fn driver(&self) -> Arc<RedisDriver> {
        RedisDriver::connect(self.config()).await.expect("a connection to the server")
    }

    /// What `redis-cli` prints: an independent witness.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-u", &self.url, "--no-auth-warning"]).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("redis-cli cannot be run ({error}): install redis-tools"));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Below the ports that the system hands out, so that a restart finds its port free.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let seed = std::process::id() * 7;
    loop {
        let port = 20_000 + ((seed + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A name that no other case uses, also on a shared server.
pub(crate) fn unique_stream(name: &str) -> StreamName {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    let text = format!("{name}-{}-{}", since.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed));
    StreamName::new(text).expect("a valid name")
}
