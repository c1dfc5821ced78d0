//! The libraries that engines take their locks, channels, pools and timers from, unchanged.

use std::fs;
use std::future::pending;
use std::os::unix::thread::JoinHandleExt;
use std::sync::Arc;
use std::time::Duration;

use crate::rig::{at, same_in_every_process, scenes};

fn write(name: &str) -> u64 {
    fs::write(at(name), name).expect("the disk works");
    fs::metadata(at(name)).expect("it is there").len()
}

scenes! {
    ParkingLot {
        use parking_lot::{Condvar, Mutex, RwLock};
        let (shared, bell) = (Mutex::new(0u64), Condvar::new());
        let names = RwLock::new(Vec::new());
        std::thread::scope(|scope| {
            for index in 0..3 {
                let (shared, bell, names) = (&shared, &bell, &names);
                scope.spawn(move || {
                    names.write().push(index);
                    let mut sum = shared.lock();
                    *sum += write(&format!("f{index}"));
                    bell.notify_all();
                });
            }
            let mut sum = shared.lock();
            while *sum < 6 {
                bell.wait(&mut sum);
            }
        });
        let late = bell.wait_for(&mut shared.lock(), Duration::from_millis(70)).timed_out();
        format!("{} {} {late}", shared.into_inner(), names.read().len())
    }
    Crossbeam {
        use crossbeam_channel::{RecvTimeoutError, bounded, select};
        let (sender, receiver) = bounded::<u64>(1);
        let (stop, stopped) = bounded::<()>(0);
        let workers: Vec<_> = (0..2)
            .map(|index| {
                let (receiver, stopped) = (receiver.clone(), stopped.clone());
                std::thread::spawn(move || {
                    let mut sum = 0;
                    loop {
                        select! {
                            recv(receiver) -> number => match number {
                                Ok(number) => sum += number * write(&format!("w{index}")),
                                Err(_) => return sum,
                            },
                            recv(stopped) -> _ => return sum,
                        }
                    }
                })
            })
            .collect();
        for number in 1..=6 {
            sender.send(number).expect("a worker listens");
        }
        drop(sender);
        drop(stop);
        let (_keep, empty) = bounded::<()>(1);
        let late = empty.recv_timeout(Duration::from_millis(30)) == Err(RecvTimeoutError::Timeout);
        let sum: u64 = workers.into_iter().map(|worker| worker.join().expect("no panic")).sum();
        format!("{} {late}", sum <= 42)
    }
    Rayon {
        use rayon::prelude::*;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a pool");
        let sum: u64 = pool.install(|| {
            (0..20u64).into_par_iter().map(|index| write(&format!("{index:02}"))).sum()
        });
        let (one, other) = pool.join(|| write("one"), || write("other"));
        format!("{sum} {one} {other}")
    }
    TokioOnOneThread {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("builds");
        let said = runtime.block_on(async {
            let start = tokio::time::Instant::now();
            let blocking = tokio::task::spawn_blocking(|| write("blocking"));
            let slow = tokio::time::timeout(
                Duration::from_millis(50),
                tokio::time::sleep(Duration::from_secs(9)),
            );
            let late = slow.await.is_err();
            let length = blocking.await.expect("it does not panic");
            format!("{late} {length} {}", start.elapsed() >= Duration::from_millis(50))
        });
        drop(runtime);
        said
    }
    TokioWithItsDrivers {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("builds");
        let said = runtime.block_on(async {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || sender.send(write("elsewhere")));
            let tick = tokio::time::timeout(Duration::from_millis(20), pending::<()>());
            let task = tokio::spawn(async move { receiver.await.expect("it is sent") });
            format!("{} {}", tick.await.is_err(), task.await.expect("it does not panic"))
        });
        drop(runtime);
        said
    }
    TokioOnSeveralThreads {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(2)
            .enable_time()
            .build()
            .expect("builds");
        let said = runtime.block_on(async {
            let lock = Arc::new(tokio::sync::Mutex::new(0));
            let tasks: Vec<_> = (0..4u64)
                .map(|index| {
                    let lock = Arc::clone(&lock);
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(10 * index)).await;
                        let mut sum = lock.lock().await;
                        let name = format!("t{index}");
                        *sum += tokio::task::spawn_blocking(move || write(&name)).await.unwrap();
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("it does not panic");
            }
            lock.lock().await.to_string()
        });
        drop(runtime);
        said
    }
    Named {
        // A thread is named by another one, as C++ engines do it.
        let named = Arc::new(std::sync::Barrier::new(2));
        let wait = named.clone();
        let worker = std::thread::spawn(move || {
            wait.wait();
            write("named")
        });
        let handle = worker.as_pthread_t();
        let mut name = [0; 16];
        // SAFETY: the thread is joined below; the name is a string, and the room has its length.
        #[expect(unsafe_code, reason = "std names only the calling thread")]
        let results = unsafe {
            [
                libc::pthread_setname_np(handle, c"worker:0".as_ptr()),
                libc::pthread_getname_np(handle, name.as_mut_ptr(), name.len()),
            ]
        };
        named.wait();
        worker.join().expect("it does not panic");
        let name: Vec<u8> = name.iter().take_while(|&&byte| byte != 0).map(|&b| b as u8).collect();
        format!("{results:?} {}", String::from_utf8_lossy(&name))
    }
}

#[test]
fn parking_lot_waits_under_the_schedule() {
    for left in same_in_every_process::<ParkingLot>(0..6) {
        assert_eq!((left.said.as_str(), left.hung.as_deref()), ("6 3 true", None));
    }
}

#[test]
fn crossbeams_channels_wait_under_the_schedule() {
    for left in same_in_every_process::<Crossbeam>(0..6) {
        assert_eq!((left.said.as_str(), left.hung.as_deref()), ("true true", None));
    }
}

#[test]
fn rayons_pool_works_and_ends_under_the_schedule() {
    for left in same_in_every_process::<Rayon>(0..6) {
        assert_eq!((left.said.as_str(), left.hung.as_deref()), ("40 3 5", None));
        assert_eq!(left.leaked, 0);
    }
}

#[test]
fn tokios_timers_and_blocking_tasks_run_in_virtual_time() {
    for left in same_in_every_process::<TokioOnOneThread>(0..6) {
        assert_eq!((left.said.as_str(), left.hung.as_deref()), ("true 8 true", None));
        assert_eq!(left.leaked, 0);
    }
}

#[test]
fn tokios_threads_run_under_the_schedule() {
    for left in same_in_every_process::<TokioOnSeveralThreads>(0..6) {
        assert_eq!((left.said.as_str(), left.hung.as_deref()), ("8", None));
        assert_eq!(left.leaked, 0);
    }
}

#[test]
fn tokios_input_driver_waits_under_the_schedule() {
    for left in same_in_every_process::<TokioWithItsDrivers>(0..8) {
        assert_eq!((left.said.as_str(), left.hung.as_deref()), ("true 9", None));
        assert_eq!((left.leaked, left.refused.len()), (0, 0));
    }
}

/// The C library does it through a file whose name has the host's number of the thread.
#[test]
fn a_thread_is_named_by_another_one_without_a_trace_of_the_host() {
    for left in same_in_every_process::<Named>(0..8) {
        assert_eq!(left.said, "[0, 0] worker:0");
    }
}
