//! The keyspace's log against a real `redis-server` 7: Redis loads our logs, annotations included,
//! and our keyspace loads those of Redis, value for value. The tests run with `FOREIGN_ENGINES=1`;
//! otherwise, and without a `redis-server`, they print that they are skipped.
#![expect(clippy::print_stdout, reason = "prints what was compared, or why a test was skipped")]

mod redis_commands;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sims::engines::aof::{
    Bytes, Database, Entry, Fsync, Keyspace, LOG, Value, export_plain_log, replay_aof,
};
use tempfile::TempDir;

use redis_commands::commands;

/// The number of workloads in each direction.
const WORKLOADS: u64 = 40;
/// The size of each workload, in draws.
const STEPS: usize = 120;

/// A server that the test starts and kills.
struct Server {
    child: Child,
    stream: BufReader<UnixStream>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A reply of the server.
#[derive(Debug)]
enum Reply {
    Nil,
    Text(Bytes),
    Many(Vec<Reply>),
}

impl Reply {
    fn bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text,
            other => panic!("expected a text, found {other:?}"),
        }
    }

    fn list(self) -> Vec<Bytes> {
        match self {
            Self::Many(all) => all.into_iter().map(Self::bytes).collect(),
            other => panic!("expected a list, found {other:?}"),
        }
    }

    fn pairs(self) -> Vec<(Bytes, Bytes)> {
        self.list().chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    fn number(self) -> i64 {
        String::from_utf8(self.bytes()).expect("text").parse().expect("a number")
    }
}

impl Server {
    /// Starts a server in a directory; prints why and returns `None` if it cannot be started.
    fn start(dir: &Path) -> Option<Self> {
        if std::env::var_os("FOREIGN_ENGINES").is_none() {
            println!("skipped: FOREIGN_ENGINES=1 starts a redis-server");
            return None;
        }
        let socket = dir.join("socket");
        let spawned = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .args(["--aof-use-rdb-preamble", "no", "--aof-load-truncated", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                println!("skipped: redis-server cannot be started: {error}");
                return None;
            }
        };
        for _ in 0..400 {
            if let Ok(stream) = UnixStream::connect(&socket) {
                return Some(Self { child, stream: BufReader::new(stream) });
            }
            if child.try_wait().expect("a child").is_some() {
                let mut output = String::new();
                let _ = child.stdout.take().map(|mut out| out.read_to_string(&mut output));
                panic!("redis-server ended: {output}");
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("redis-server does not listen");
    }

    fn ask(&mut self, words: &[&[u8]]) -> Reply {
        let mut text = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            text.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            text.extend_from_slice(word);
            text.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&text).expect("sends");
        match self.reply() {
            Reply::Text(text) if text.starts_with(b"LOADING") => {
                std::thread::sleep(Duration::from_millis(20));
                self.ask(words)
            }
            reply => reply,
        }
    }

    fn reply(&mut self) -> Reply {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("answers");
        let text = line[1..].trim_ascii_end().to_vec();
        let number = || -> i64 { String::from_utf8_lossy(&text).parse().expect("a length") };
        match line[0] {
            b'+' | b':' | b'-' => Reply::Text(text),
            b'$' if number() < 0 => Reply::Nil,
            b'$' => {
                let mut bytes = vec![0; number() as usize + 2];
                self.stream.read_exact(&mut bytes).expect("a text");
                bytes.truncate(bytes.len() - 2);
                Reply::Text(bytes)
            }
            b'*' => Reply::Many((0..number()).map(|_| self.reply()).collect()),
            other => panic!("the server's reply begins with {}", char::from(other)),
        }
    }

    /// All keys with their values and deadlines.
    fn dump(&mut self) -> BTreeMap<Bytes, Entry> {
        let mut keys = self.ask(&[b"KEYS", b"*"]).list();
        keys.sort();
        keys.into_iter().map(|key| (key.clone(), self.entry(&key))).collect()
    }

    fn entry(&mut self, key: &[u8]) -> Entry {
        let value = match self.ask(&[b"TYPE", key]).bytes().as_slice() {
            b"string" => Value::Str(self.ask(&[b"GET", key]).bytes()),
            b"hash" => Value::Hash(self.ask(&[b"HGETALL", key]).pairs().into_iter().collect()),
            b"list" => Value::List(self.ask(&[b"LRANGE", key, b"0", b"-1"]).list().into()),
            b"set" => Value::Set(self.ask(&[b"SMEMBERS", key]).list().into_iter().collect()),
            b"zset" => {
                let scored = self.ask(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]).pairs();
                let score = |text: Bytes| -> f64 {
                    String::from_utf8(text).expect("text").parse().expect("a score")
                };
                Value::ZSet(scored.into_iter().map(|(m, text)| (m, score(text))).collect())
            }
            other => panic!("a key of type {}", String::from_utf8_lossy(other)),
        };
        let deadline = self.ask(&[b"PEXPIRETIME", key]).number();
        Entry { value, deadline: u64::try_from(deadline).ok() }
    }
}

fn slices(words: &[Bytes]) -> Vec<&[u8]> {
    words.iter().map(Vec::as_slice).collect()
}

fn entries(keyspace: &Keyspace) -> BTreeMap<Bytes, Entry> {
    keyspace.entries().map(|(key, entry)| (key.clone(), entry.clone())).collect()
}

/// Asserts that both hold the same entries, with the same bits in scores except for the sign of
/// zero, which Redis does not keep in a small set.
fn assert_same(ours: &BTreeMap<Bytes, Entry>, theirs: &BTreeMap<Bytes, Entry>) {
    assert_eq!(ours, theirs);
    for (key, entry) in ours {
        if let (Value::ZSet(one), Value::ZSet(other)) = (&entry.value, &theirs[key].value) {
            let bits = |scores: &BTreeMap<Bytes, f64>| -> Vec<u64> {
                scores.values().map(|score| (score + 0.0).to_bits()).collect()
            };
            assert_eq!(bits(one), bits(other), "scores of {}", String::from_utf8_lossy(key));
        }
    }
}

/// Copies a log to where Redis finds it at its start, and moves it into its own folder.
fn place_log(dir: &TempDir, log: &Path) {
    std::fs::copy(log, dir.path().join("appendonly.aof")).expect("copies");
}

#[test]
fn redis_loads_our_logs_with_annotations_and_without() {
    let (mut keys, mut count) = (0, 0);
    for seed in 0..WORKLOADS {
        let (ours, redis) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        let mut store = Database::open(ours.path(), Fsync::No).expect("opens");
        let commands = commands(seed, STEPS);
        for (number, words) in commands.iter().enumerate() {
            store.execute(&slices(words)).expect("executes");
            // The log is rewritten, names snapshots, and is reopened.
            match number % 40 {
                13 => drop(store.rewrite().expect("rewrites")),
                26 => store.snapshot().expect("saves"),
                39 => {
                    store.close().expect("closes");
                    store = Database::open(ours.path(), Fsync::No).expect("opens");
                }
                _ => {}
            }
        }
        let wanted: BTreeMap<Bytes, Entry> =
            store.entries().map(|(key, entry)| (key.clone(), entry.clone())).collect();
        store.close().expect("closes");
        let plain = ours.path().join("plain");
        let log = if seed % 4 == 3 {
            let mut keyspace = Keyspace::default();
            replay_aof(&mut keyspace, &ours.path().join(LOG)).expect("replays");
            export_plain_log(&keyspace, &plain).expect("exports");
            plain
        } else {
            ours.path().join(LOG)
        };
        let annotated = std::fs::read(&log).expect("reads").starts_with(b"#aof ");
        assert_eq!(annotated, seed % 4 != 3);
        place_log(&redis, &log);
        let Some(mut server) = Server::start(redis.path()) else { return };
        let mut found = server.dump();
        if !annotated {
            // The plain form has the time left to live, not the deadline.
            for (key, entry) in &mut found {
                let (Some(found), Some(wanted)) = (entry.deadline, wanted[key].deadline) else {
                    continue;
                };
                assert!(found.abs_diff(wanted) < 60_000, "{found} and {wanted}");
                entry.deadline = Some(wanted);
            }
        }
        assert_same(&wanted, &found);
        keys += wanted.len();
        count += commands.len();
    }
    assert!(keys > 200, "only {keys} keys were compared");
    println!("redis loaded {WORKLOADS} of our logs, {count} commands: the same {keys} keys");
}

/// The files of Redis' log, in the order in which its manifest loads them.
fn files(dir: &Path) -> Vec<PathBuf> {
    let folder = dir.join("appendonlydir");
    let manifest = std::fs::read_to_string(folder.join("appendonly.aof.manifest"));
    let manifest = manifest.expect("a manifest");
    let name = |line: &str| {
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("file"));
        let name = words.next().expect("a name").to_owned();
        (!line.ends_with("type h")).then(|| folder.join(name))
    };
    manifest.lines().filter_map(name).collect()
}

#[test]
fn our_keyspace_loads_the_logs_of_redis() {
    let (mut keys, mut count) = (0, 0);
    for seed in 0..WORKLOADS {
        let redis = tempfile::tempdir().expect("a directory");
        let Some(mut server) = Server::start(redis.path()) else { return };
        let commands = commands(1000 + seed, STEPS);
        for (number, words) in commands.iter().enumerate() {
            let reply = server.ask(&slices(words));
            let refused = matches!(&reply, Reply::Text(text) if text.starts_with(b"ERR"));
            assert!(!refused, "{words:?}: {reply:?}");
            if number == commands.len() / 2 && seed % 2 == 0 {
                server.ask(&[b"BGREWRITEAOF"]);
            }
        }
        // Commands that Redis rewrites when it logs them.
        for line in [
            "MULTI",
            "SET m 1",
            "INCRBYFLOAT m 0.25",
            "EXEC",
            "SETEX e 1000 v",
            "EXPIRE m 5000",
            "SADD p a b c d",
            "SPOP p",
            "GETEX m PERSIST",
            "HSET f x 1.5",
            "HINCRBYFLOAT f x 0.25",
            "SET gone 7 PX 30",
            "LPUSH q a b c",
            "LPOP q 2",
            "GETSET m 9",
            "RENAME e e2",
            "ZADD w NX 3 a",
            "UNLINK f",
            "HMSET f a 1 b 2",
            "LTRIM q 0 0",
            "ZADD w XX 4 a",
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let reply = server.ask(&words);
            let refused = matches!(&reply, Reply::Text(text) if text.starts_with(b"ERR"));
            assert!(!refused, "{line}: {reply:?}");
        }
        std::thread::sleep(Duration::from_millis(60));
        server.ask(&[b"INCRBY", b"gone", b"2"]);
        while server
            .ask(&[b"INFO", b"persistence"])
            .bytes()
            .windows(26)
            .any(|line| line == b"aof_rewrite_in_progress:1\r")
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        let wanted = server.dump();
        drop(server);
        let mut keyspace = Keyspace::default();
        for file in files(redis.path()) {
            replay_aof(&mut keyspace, &file).expect("replays");
        }
        assert_same(&entries(&keyspace), &wanted);
        assert_eq!(wanted[&b"gone"[..]].value, Value::Str(b"2".to_vec()));
        keys += wanted.len();
        count += commands.len() + 22;
    }
    println!("we loaded {WORKLOADS} logs of redis, {count} commands: the same {keys} keys");
}
