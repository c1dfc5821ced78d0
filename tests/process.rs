//! Facts about processes: how a fork server and the processes that it forks begin, how they end,
//! and what they see.

#[path = "wild/space.rs"]
mod space;
mod wild;

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crashpoint::Time;
use crashpoint::inner::host::child::{Limits, run};
use crashpoint::inner::host::ending::{Abort, Ending, syscall_name};
use crashpoint::inner::host::fork_server::{CallError, ExplorerFn, ForkServer, Reply};
use crashpoint::inner::host::region::Region;
use crashpoint::inner::host::{PanicNote, last_panic, last_words};
use crashpoint::inner::log::{Mark, Payload, Record, records};

fn fork_server() -> ForkServer {
    ForkServer::start().expect("the fork server starts")
}

/// The frames that an explorer sends.
fn frames(fork_server: &mut ForkServer, entry: ExplorerFn, request: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    fork_server
        .call(entry, request, &mut |frame| frames.push(frame.to_vec()))
        .expect("the explorer finishes");
    frames
}

/// The one frame of text that an entry sends, in a fresh fork server.
fn answer(entry: ExplorerFn) -> String {
    let frames = frames(&mut fork_server(), entry, b"");
    assert_eq!(frames.len(), 1, "one frame");
    String::from_utf8(frames[0].clone()).expect("text")
}

fn region() -> Region {
    Region::with_capacity(1 << 20).expect("memory")
}

/// Runs a body in a child and sends its ending.
fn reply_ending(reply: &mut Reply<'_>, limits: &Limits, body: impl FnOnce() + Send) {
    let ending = run(&region(), limits, |_| body());
    reply.send(&serde_json::to_vec(&ending).expect("an ending serialises"));
}

/// The ending of the child that an entry runs, in a fresh fork server.
fn ending(entry: ExplorerFn) -> Ending {
    serde_json::from_str(&answer(entry)).expect("an ending")
}

/// Writes a note into a region's log.
fn observe(region: &Region, bytes: &[u8]) {
    let record = Record { at: Time(1), payload: Payload::Mark(Mark::Observed(bytes)) };
    region.append(&record).expect("the log has space");
}

/// The notes in a region's log.
fn observed(region: &Region) -> Vec<Vec<u8>> {
    let notes = records(region.bytes()).map(|record| match record.payload {
        Payload::Mark(Mark::Observed(bytes)) => bytes.to_vec(),
        other => panic!("no test notes {other:?}"),
    });
    notes.collect()
}

/// The text that a body returns in a child.
fn said_in_child(say: impl FnOnce() -> String + Send) -> String {
    let region = region();
    let ending = run(&region, &Limits::default(), |_| observe(&region, say().as_bytes()));
    assert_eq!(ending, Ending::Finished);
    String::from_utf8(observed(&region).concat()).expect("text")
}

mod endings {
    use super::*;

    #[test]
    fn a_body_that_returns_finishes() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            reply_ending(reply, &Limits::default(), || {});
        }
        assert_eq!(ending(entry), Ending::Finished);
    }

    #[test]
    fn a_panic_is_reported_with_its_message_and_its_line() {
        const LINE: u32 = line!() + 3;
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            reply_ending(reply, &Limits::default(), || {
                panic!("value {} is wrong", 7);
            });
        }
        let Ending::Panicked { message, location } = ending(entry) else {
            panic!("it panicked");
        };
        assert_eq!(message, "value 7 is wrong");
        assert_eq!(location, format!("{}:{LINE}", file!()));
    }

    #[test]
    fn a_caught_panic_is_no_ending_and_can_be_asked_for_once() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let said = said_in_child(|| {
                let caught = std::panic::catch_unwind(|| panic!("caught")).is_err();
                let PanicNote { message, location } = last_panic().expect("it was noted");
                format!("{caught} {message} {} {:?}", location.contains(file!()), last_panic())
            });
            reply.send(said.as_bytes());
        }
        assert_eq!(answer(entry), "true caught true None");
    }

    #[test]
    fn an_abort_is_reported_with_the_last_words() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            reply_ending(reply, &Limits::default(), || {
                let _ = io::stderr().write_all(b"to the descriptor\n");
                last_words(b"to the door\n");
                std::process::abort();
            });
        }
        let Ending::Aborted { by, last_words, backtrace } = ending(entry) else {
            panic!("it aborted");
        };
        assert_eq!(by, Abort::Signal(libc::SIGABRT));
        assert!(last_words.contains("to the door"), "{last_words}");
        assert!(last_words.contains("to the descriptor"), "{last_words}");
        assert!(!backtrace.is_empty());
    }

    #[test]
    fn a_chatty_engine_does_not_fill_the_memory_with_its_standard_error() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            reply_ending(reply, &Limits::default(), || {
                let size = || std::fs::metadata("/proc/self/fd/2").expect("it is open").len();
                let _ = io::stderr().write_all(&[b'x'; 2 << 20]);
                // The watch empties the file; if it does not, this uses up its CPU time.
                while size() >= 2 << 20 {
                    std::hint::spin_loop();
                }
            });
        }
        assert_eq!(ending(entry), Ending::Finished);
    }

    #[test]
    fn exit_is_an_abort_with_its_code_even_if_it_is_zero() {
        fn entry(request: &[u8], reply: &mut Reply<'_>) {
            let code = i32::from(request[0]);
            reply_ending(reply, &Limits::default(), || std::process::exit(code));
        }
        let mut fork_server = fork_server();
        for code in [3, 0, 70] {
            let frames = frames(&mut fork_server, entry, &[code]);
            let ending: Ending = serde_json::from_slice(&frames[0]).expect("an ending");
            let Ending::Aborted { by, .. } = ending else { panic!("it exited: {ending}") };
            assert_eq!(by, Abort::Exit(i32::from(code)));
        }
    }

    /// Recurses until the stack is full; the array makes sure that it is used.
    fn recurse(depth: u64) -> u64 {
        let space = std::hint::black_box([depth; 64]);
        if depth == u64::MAX { 0 } else { recurse(depth + 1) + space[7] }
    }

    #[test]
    fn a_full_stack_is_distinguished_from_a_wild_pointer() {
        fn overflow(_: &[u8], reply: &mut Reply<'_>) {
            reply_ending(reply, &Limits::default(), || {
                std::hint::black_box(recurse(0));
            });
        }
        fn null(_: &[u8], reply: &mut Reply<'_>) {
            reply_ending(reply, &Limits::default(), wild::write_to_null);
        }
        let overflow = ending(overflow);
        assert!(matches!(overflow, Ending::StackOverflow { .. }), "{overflow}");
        let null = ending(null);
        let Ending::Aborted { by, .. } = null else { panic!("it was a fault: {null}") };
        assert_eq!(by, Abort::Signal(libc::SIGSEGV));
    }

    #[test]
    fn a_full_stack_is_recognised_on_any_thread_with_an_alternate_one() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            reply_ending(reply, &Limits::default(), || {
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let _stack = crashpoint::inner::host::AltStack::new();
                        std::hint::black_box(recurse(0));
                    });
                });
            });
        }
        let overflow = ending(entry);
        assert!(matches!(overflow, Ending::StackOverflow { .. }), "{overflow}");
    }

    #[test]
    fn a_child_that_uses_up_its_memory_is_out_of_memory() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let limits = Limits { memory: 64 << 20, ..Limits::default() };
            reply_ending(reply, &limits, || {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(std::hint::black_box(vec![1u8; 1 << 20]));
                }
            });
        }
        let ending = ending(entry);
        let Ending::OutOfMemory { last_words } = ending else { panic!("no memory: {ending}") };
        assert!(last_words.contains("more than 64 MiB"), "{last_words}");
    }

    #[test]
    fn memory_that_the_explorer_holds_does_not_count_against_a_child() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let held = std::hint::black_box(vec![1u8; 100 << 20]);
            let limits = Limits { memory: 64 << 20, ..Limits::default() };
            reply_ending(reply, &limits, || {
                std::hint::black_box(vec![held[7]; 32 << 20]);
            });
        }
        assert_eq!(ending(entry), Ending::Finished);
    }

    #[test]
    fn a_spin_without_a_call_is_reported_with_a_backtrace() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let limits = Limits { cpu: Duration::from_millis(300), ..Limits::default() };
            reply_ending(reply, &limits, || {
                let mut turns = 0u64;
                loop {
                    turns = std::hint::black_box(turns.wrapping_add(1));
                }
            });
        }
        let ending = ending(entry);
        let Ending::HungSpin { backtrace } = ending else { panic!("it spins: {ending}") };
        assert!(backtrace.len() > 3, "{backtrace:?}");
    }

    #[test]
    fn a_spin_on_a_second_thread_is_seen() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let limits = Limits { cpu: Duration::from_millis(300), ..Limits::default() };
            reply_ending(reply, &limits, || {
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        loop {
                            std::hint::spin_loop()
                        }
                    });
                });
            });
        }
        let ending = ending(entry);
        assert!(matches!(ending, Ending::HungSpin { .. }), "{ending}");
    }

    fn short_sleep() -> Limits {
        Limits { asleep: Duration::from_millis(400), ..Limits::default() }
    }

    #[test]
    fn a_sleep_in_the_kernel_is_reported_with_the_name_of_the_call() {
        fn in_read(_: &[u8], reply: &mut Reply<'_>) {
            let (mut reader, _writer) = io::pipe().expect("a pipe");
            reply_ending(reply, &short_sleep(), || {
                let _ = reader.read(&mut [0]);
            });
        }
        fn in_futex(_: &[u8], reply: &mut Reply<'_>) {
            reply_ending(reply, &short_sleep(), || {
                loop {
                    std::thread::park()
                }
            });
        }
        for (entry, name) in [(in_read as ExplorerFn, "read"), (in_futex, "futex")] {
            let ending = ending(entry);
            let Ending::Asleep { syscall } = ending else { panic!("it sleeps: {ending}") };
            assert_eq!(syscall_name(syscall), Some(name));
            assert!(ending.to_string().contains(name), "{ending}");
        }
    }

    #[test]
    fn a_sleep_in_poll_is_reported_too() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let (reader, _writer) = io::pipe().expect("a pipe");
            reply_ending(reply, &short_sleep(), || {
                wild::poll_for_ever(reader.as_raw_fd());
            });
        }
        let ending = ending(entry);
        assert_eq!(ending, Ending::Asleep { syscall: libc::SYS_poll });
    }

    #[test]
    fn a_thread_that_works_keeps_a_child_from_being_asleep() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let limits = Limits { asleep: Duration::from_millis(300), ..Limits::default() };
            reply_ending(reply, &limits, || {
                // The first thread sleeps for all the time that the second one works.
                std::thread::scope(|scope| {
                    scope.spawn(|| wild::burn(Duration::from_millis(900)));
                });
            });
        }
        assert_eq!(ending(entry), Ending::Finished);
    }

    #[test]
    fn a_kill_from_outside_is_reported_as_such() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            reply_ending(reply, &Limits::default(), wild::kill_self);
        }
        assert_eq!(ending(entry), Ending::Killed { signal: libc::SIGKILL });
    }
}

mod children {
    use super::*;

    #[test]
    fn a_child_sees_the_memory_of_its_parent_and_cannot_change_it() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let mut value = vec![1, 2, 3];
            for _ in 0..3 {
                let said = said_in_child(|| {
                    value.push(4);
                    format!("{value:?}")
                });
                assert_eq!(said, "[1, 2, 3, 4]");
            }
            reply.send(format!("{value:?}").as_bytes());
        }
        assert_eq!(answer(entry), "[1, 2, 3]");
    }

    #[test]
    fn two_hundred_children_each_leave_their_own_log() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let mut region = region();
            for i in 0..200u32 {
                region.reset();
                let ending = run(&region, &Limits::default(), |_| {
                    for _ in 0..=i % 7 {
                        observe(&region, &i.to_le_bytes());
                    }
                });
                assert_eq!(ending, Ending::Finished);
                let expected = vec![i.to_le_bytes().to_vec(); i as usize % 7 + 1];
                assert_eq!(observed(&region), expected);
            }
            reply.send(b"200");
        }
        assert_eq!(answer(entry), "200");
    }

    #[test]
    fn the_log_of_a_child_that_died_is_kept_and_the_next_one_appends() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let region = region();
            let first = run(&region, &Limits::default(), |_| {
                observe(&region, b"before");
                std::process::abort();
            });
            assert!(matches!(first, Ending::Aborted { .. }), "{first}");
            let second = run(&region, &Limits::default(), |_| observe(&region, b" after"));
            assert_eq!(second, Ending::Finished);
            reply.send(&observed(&region).concat());
        }
        assert_eq!(answer(entry), "before after");
    }

    #[test]
    fn thread_locals_and_statics_are_fresh_in_each_child() {
        thread_local! {
            static LOCAL: Cell<u32> = const { Cell::new(0) };
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            LOCAL.set(5);
            let say = || {
                LOCAL.set(LOCAL.get() + 1);
                let count = COUNT.fetch_add(1, Ordering::Relaxed);
                format!("{} {count} {:?}", LOCAL.get(), std::thread::current().id())
            };
            let (first, second) = (said_in_child(say), said_in_child(say));
            assert_eq!(first, second);
            reply.send(first.as_bytes());
        }
        assert!(answer(entry).starts_with("1 0 "));
    }
}

mod fork_servers {
    use super::*;

    #[test]
    fn an_entry_may_be_generic() {
        trait Word {
            const WORD: &'static str;
        }
        struct One;
        struct Two;
        impl Word for One {
            const WORD: &'static str = "one";
        }
        impl Word for Two {
            const WORD: &'static str = "two";
        }
        fn entry<W: Word>(_: &[u8], reply: &mut Reply<'_>) {
            reply.send(W::WORD.as_bytes());
        }
        assert_eq!(answer(entry::<One>), "one");
        assert_eq!(answer(entry::<Two>), "two");
    }

    #[test]
    fn frames_arrive_in_order_whatever_their_length() {
        fn entry(request: &[u8], reply: &mut Reply<'_>) {
            for (i, length) in [0, 1, 40_000, 10 << 20, 3].into_iter().enumerate() {
                reply.send(&vec![request[0] + i as u8; length]);
            }
            (0..1000u32).for_each(|i| reply.send(&i.to_le_bytes()));
        }
        let frames = frames(&mut fork_server(), entry, &[10]);
        for (i, length) in [0, 1, 40_000, 10 << 20, 3].into_iter().enumerate() {
            assert!(frames[i] == vec![10 + i as u8; length], "frame {i}");
        }
        let numbers: Vec<Vec<u8>> = (0..1000u32).map(|i| i.to_le_bytes().to_vec()).collect();
        assert!(frames[5..] == numbers);
    }

    #[test]
    fn a_large_request_arrives_whole() {
        fn entry(request: &[u8], reply: &mut Reply<'_>) {
            let sum: u64 = request.iter().map(|&b| u64::from(b)).sum();
            reply.send(format!("{} {sum}", request.len()).as_bytes());
        }
        let request = vec![3; (5 << 20) + 1];
        let frames = frames(&mut fork_server(), entry, &request);
        assert_eq!(frames.concat(), b"5242881 15728643");
    }

    #[test]
    fn a_fork_server_survives_explorers_that_end_badly() {
        fn entry(request: &[u8], reply: &mut Reply<'_>) {
            reply.send(b"begun");
            match request[0] {
                0 => panic!("the harness is wrong"),
                1 => std::process::abort(),
                2 => std::process::exit(0),
                3 => wild::kill_self(),
                _ => reply.send(b"done"),
            }
        }
        let mut fork_server = fork_server();
        let endings = [
            "the explorer panicked at ",
            "the explorer aborted by SIGABRT",
            "the explorer ended the process with exit code 0",
            "the explorer killed from outside by SIGKILL",
        ];
        for (request, expected) in (0u8..).zip(endings) {
            let mut frames = Vec::new();
            let error = fork_server
                .call(entry, &[request], &mut |frame| frames.push(frame.to_vec()))
                .expect_err("it ends badly");
            assert!(matches!(error, CallError::Ended(_)), "{error}");
            assert!(error.to_string().starts_with(expected), "{error}");
            assert_eq!(frames, [b"begun"]);
        }
        assert_eq!(frames(&mut fork_server, entry, &[9]), [&b"begun"[..], b"done"]);
    }

    #[test]
    fn a_request_that_is_not_read_does_not_disturb_the_next() {
        fn entry(request: &[u8], reply: &mut Reply<'_>) {
            reply.send(&request.len().to_le_bytes());
        }
        let mut fork_server = fork_server();
        // More than an explorer may allocate: it dies before it has read its request.
        wild::limit_memory(fork_server.id(), Some(64 << 20));
        let request = vec![1; 80 << 20];
        let error = fork_server.call(entry, &request, &mut |_| {}).expect_err("no memory");
        assert!(error.to_string().contains("memory"), "{error}");
        wild::limit_memory(fork_server.id(), None);
        assert_eq!(frames(&mut fork_server, entry, b"abc"), [3usize.to_le_bytes()]);
    }

    #[test]
    fn every_explorer_of_a_fork_server_begins_in_the_same_state() {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            reply.send(format!("{count} {:p}", Box::new(7)).as_bytes());
        }
        fn panics(_: &[u8], _: &mut Reply<'_>) {
            panic!("{}", "long ".repeat(200));
        }
        let mut fork_server = fork_server();
        let first = frames(&mut fork_server, entry, b"");
        fork_server.call(panics, b"", &mut |_| {}).expect_err("it panics");
        assert_eq!(frames(&mut fork_server, entry, b""), first);
        frames(&mut fork_server, |_, _| {}, &[0; 100_000]);
        assert_eq!(frames(&mut fork_server, entry, b""), first);
    }

    #[test]
    fn a_call_that_a_panic_abandoned_does_not_leak_into_the_next() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            reply.send(b"a");
            reply.send(b"b");
        }
        let mut fork_server = fork_server();
        let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = fork_server.call(entry, b"", &mut |_| std::panic::resume_unwind(Box::new(())));
        }));
        assert!(left.is_err());
        let next = fork_server.call(entry, b"", &mut |_| {});
        assert!(matches!(next, Err(CallError::Left)));
    }

    #[test]
    fn a_fork_server_cannot_be_started_inside_another() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let error = ForkServer::start().err().expect("it is refused");
            reply.send(error.to_string().as_bytes());
        }
        assert_eq!(answer(entry), "a fork server cannot start another one");
    }
}

mod pristine {
    use super::*;

    /// Addresses in a child: of a static, on its stack, in its heap, of a map.
    fn addresses(_: &[u8], reply: &mut Reply<'_>) {
        static PLACE: u32 = 7;
        let here = 7;
        let outer = format!("{:p} {:p} {:p}", &PLACE, &here, Box::new(7));
        let inner = said_in_child(|| {
            let here = 7;
            let small: Vec<Box<u32>> = (0..100).map(Box::new).collect();
            let large = vec![1u8; 8 << 20];
            let last: &u32 = &small[99];
            format!("{:p} {:p} {:p} {:p}", &PLACE, &here, last, large.as_ptr())
        });
        reply.send(format!("{outer} {inner}").as_bytes());
    }

    #[test]
    fn addresses_are_equal_in_two_fork_servers() {
        let (mut first, mut second) = (fork_server(), fork_server());
        let seen = [
            frames(&mut first, addresses, b""),
            frames(&mut second, addresses, b""),
            frames(&mut first, addresses, b""),
        ];
        assert_eq!(seen[0], seen[2], "two explorers of one fork server");
        // If the system refuses to switch randomisation off, the fork server reports that.
        assert_eq!(first.aslr(), !wild::may_fix_addresses());
        assert_eq!(seen[0] == seen[1], !first.aslr());
        let said = first.notices().iter().any(|line| line.contains("aslr=on"));
        assert_eq!(said, first.aslr());
    }

    #[test]
    fn all_threads_share_one_heap() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let first = &raw const *Box::new(7) as usize;
            let distances = said_in_child(|| {
                let mut others = vec![&raw const *Box::new(7) as usize];
                std::thread::scope(|scope| {
                    let thread = scope.spawn(|| &raw const *Box::new(7) as usize);
                    others.push(thread.join().expect("it returns"));
                });
                let near = |other: &usize| other.abs_diff(first) < 16 << 20;
                format!("{:?}", others.iter().map(near).collect::<Vec<_>>())
            });
            reply.send(distances.as_bytes());
        }
        assert_eq!(answer(entry), "[true, true]");
    }

    #[test]
    fn the_environment_is_the_allow_list() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let said = said_in_child(|| {
                let names = std::env::vars_os()
                    .filter(|(name, _)| name != "LLVM_PROFILE_FILE")
                    .map(|(name, value)| format!("{}={}", name.display(), value.display()));
                let arguments = std::env::args();
                arguments.chain(names).collect::<Vec<_>>().join(" ")
            });
            reply.send(said.as_bytes());
        }
        let expected =
            "crashpoint-template CRASHPOINT_TEMPLATE=0 PATH=/usr/bin:/bin RUST_BACKTRACE=0 TZ=UTC";
        assert_eq!(answer(entry), expected);
    }

    #[test]
    fn no_descriptor_of_the_client_is_open_inside() {
        let file = std::fs::File::open("/proc/self/exe").expect("the binary");
        wild::let_children_inherit(file.as_raw_fd());
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            let open = std::fs::read_dir("/proc/self/fd").expect("the list");
            let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
            let names: Vec<_> = links.map(|link| link.display().to_string()).collect();
            reply.send(names.join(" ").as_bytes());
        }
        let open = answer(entry);
        let own = file_name(std::fs::read_link("/proc/self/exe").expect("a link"));
        assert!(open.contains("/dev/null") && !open.contains(&own), "{open}");
    }

    fn file_name(path: std::path::PathBuf) -> String {
        path.file_name().expect("a name").display().to_string()
    }

    #[test]
    fn signals_and_limits_are_as_a_rust_program_expects() {
        fn entry(_: &[u8], reply: &mut Reply<'_>) {
            reply.send(said_in_child(wild::signals_and_limits).as_bytes());
        }
        assert_eq!(answer(entry), "pipe ignored, child default, core 0, stack 8388608");
    }
}

mod deaths {
    use super::*;

    const CLIENT: &str = "CRASHPOINT_TEST_CLIENT";

    /// Sends the process ids of an explorer and of its child, which sleeps for ever.
    fn entry(_: &[u8], reply: &mut Reply<'_>) {
        let (mut reader, _writer) = io::pipe().expect("a pipe");
        let explorer = std::process::id();
        let limits = Limits { asleep: Duration::from_secs(600), ..Limits::default() };
        run(&region(), &limits, |_| {
            reply.send(format!("{explorer} {}", std::process::id()).as_bytes());
            let _ = reader.read(&mut [0]);
        });
    }

    /// Not a test but a client for the tests below, which start this binary again and kill it.
    #[test]
    fn client_that_waits_to_be_killed() {
        if std::env::var_os(CLIENT).is_none() {
            return;
        }
        let mut fork_server = fork_server();
        let id = fork_server.id();
        let result = fork_server.call(entry, b"", &mut |frame| {
            let line = format!("pids {id} {}\n", String::from_utf8_lossy(frame));
            io::stdout().write_all(line.as_bytes()).expect("the parent reads");
        });
        panic!("the explorer never ends: {result:?}");
    }

    /// A client in its own process, and its fork server, explorer and child.
    fn client() -> (Child, Vec<u32>) {
        let mut client = Command::new("/proc/self/exe")
            .args(["--exact", "deaths::client_that_waits_to_be_killed", "--nocapture"])
            .env(CLIENT, "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the client starts");
        let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines();
        let line = lines
            .find_map(|line| line.expect("text").split_once("pids ").map(|(_, p)| p.to_owned()))
            .expect("the client prints them");
        let processes = line.split(' ').map(|pid| pid.parse().expect("a number")).collect();
        (client, processes)
    }

    fn is_alive(process: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    /// Waits until all have ended; fails after a time that no loaded machine needs.
    fn wait_for_the_end(processes: &[u32]) {
        for _ in 0..6000 {
            if !processes.iter().any(|&process| is_alive(process)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("still alive: {processes:?}");
    }

    #[test]
    fn a_client_that_is_killed_takes_fork_server_explorer_and_child_with_it() {
        let (mut client, processes) = client();
        assert_eq!(processes.len(), 3);
        assert!(processes.iter().all(|&process| is_alive(process)));
        client.kill().expect("it is killed");
        client.wait().expect("it ends");
        wait_for_the_end(&processes);
    }

    #[test]
    fn a_fork_server_that_is_killed_takes_all_that_it_forked_with_it() {
        let (mut client, processes) = client();
        wild::kill(processes[0]);
        wait_for_the_end(&processes);
        let status = client.wait().expect("it ends");
        assert!(!status.success());
    }

    #[test]
    fn a_fork_server_outlives_the_thread_that_started_it_and_is_reaped_when_dropped() {
        fn done(_: &[u8], reply: &mut Reply<'_>) {
            reply.send(b"done");
        }
        let started = std::thread::scope(|scope| scope.spawn(fork_server).join());
        let mut fork_server = started.expect("it starts");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(frames(&mut fork_server, done, b""), [b"done"]);
        let id = fork_server.id();
        drop(fork_server);
        assert!(!std::fs::exists(format!("/proc/{id}")).expect("readable"));
    }
}
