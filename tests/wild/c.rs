//! Threads and locks as C code uses them.
#![expect(unsafe_code, reason = "the C library's functions are unsafe to call")]

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::panic::AssertUnwindSafe;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

/// A thread that the C library started.
pub(crate) struct Thread(libc::pthread_t);

extern "C" fn run(body: *mut c_void) -> *mut c_void {
    // SAFETY: `start` made the box and gave up its ownership.
    let body = unsafe { Box::from_raw(body.cast::<Box<dyn FnOnce() + Send>>()) };
    body();
    ptr::null_mut()
}

impl Thread {
    pub(crate) fn start(body: impl FnOnce() + Send + 'static) -> Self {
        let body: Box<Box<dyn FnOnce() + Send>> = Box::new(Box::new(body));
        let mut thread = 0;
        // SAFETY: the thread takes ownership of the box.
        let result = unsafe {
            libc::pthread_create(&mut thread, ptr::null(), run, Box::into_raw(body).cast())
        };
        assert_eq!(result, 0);
        Self(thread)
    }

    pub(crate) fn join(self) {
        // SAFETY: it was started joinable, and is joined once.
        assert_eq!(unsafe { libc::pthread_join(self.0, ptr::null_mut()) }, 0);
    }
}

/// Starts a detached thread, with attributes in memory that may not be written to, as a constant's.
pub(crate) fn start_by_constant_attributes(body: impl FnOnce() + Send + 'static) {
    const PAGE: usize = 4096;
    let body: Box<Box<dyn FnOnce() + Send>> = Box::new(Box::new(body));
    let mut thread = 0;
    // SAFETY: the page has room for attributes, and is initialised before it is protected. The
    // thread takes ownership of the box.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let page = libc::mmap(ptr::null_mut(), PAGE, protection, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        let attributes = page.cast::<libc::pthread_attr_t>();
        assert_eq!(libc::pthread_attr_init(attributes), 0);
        libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED);
        assert_eq!(libc::mprotect(page, PAGE, libc::PROT_READ), 0);
        let result = libc::pthread_create(&mut thread, attributes, run, Box::into_raw(body).cast());
        assert_eq!(result, 0);
        assert_eq!(libc::munmap(page, PAGE), 0);
    }
}

/// A count under a mutex, with a condition variable for it.
pub(crate) struct Mutexed {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    cond: UnsafeCell<libc::pthread_cond_t>,
    count: AtomicU32,
}

// SAFETY: the C library's objects may be used from any thread.
unsafe impl Sync for Mutexed {}

impl Mutexed {
    pub(crate) const fn new() -> Self {
        Self {
            mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            cond: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
            count: AtomicU32::new(0),
        }
    }

    pub(crate) fn with<R>(&self, body: impl FnOnce(&AtomicU32) -> R) -> R {
        // SAFETY: the mutex is initialised.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.mutex.get()) }, 0);
        let result = body(&self.count);
        // SAFETY: it is held.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.mutex.get()) }, 0);
        result
    }

    pub(crate) fn add_and_signal(&self) {
        self.with(add_one);
        // SAFETY: it is initialised.
        assert_eq!(unsafe { libc::pthread_cond_signal(self.cond.get()) }, 0);
    }

    pub(crate) fn wait_for(&self, wanted: u32) {
        self.with(|count| {
            while count.load(Ordering::Relaxed) < wanted {
                // SAFETY: the mutex is held.
                let result = unsafe { libc::pthread_cond_wait(self.cond.get(), self.mutex.get()) };
                assert_eq!(result, 0);
            }
        });
    }

    /// Whether the time was up before the count was reached.
    pub(crate) fn wait_for_millis(&self, wanted: u32, millis: i64) -> bool {
        let mut until = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: fills a structure in.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut until) };
        until.tv_nsec += millis * 1_000_000;
        until.tv_sec += until.tv_nsec / 1_000_000_000;
        until.tv_nsec %= 1_000_000_000;
        self.with(|count| {
            while count.load(Ordering::Relaxed) < wanted {
                // SAFETY: the mutex is held.
                let result = unsafe {
                    libc::pthread_cond_timedwait(self.cond.get(), self.mutex.get(), &until)
                };
                if result == libc::ETIMEDOUT {
                    return true;
                }
            }
            false
        })
    }
}

/// Adds one in two steps, as a plain number would be.
pub(crate) fn add_one(count: &AtomicU32) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// A lock for readers and writers.
pub(crate) struct ReadWrite(UnsafeCell<libc::pthread_rwlock_t>);

// SAFETY: the C library's lock may be used from any thread.
unsafe impl Sync for ReadWrite {}

impl ReadWrite {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(libc::PTHREAD_RWLOCK_INITIALIZER))
    }

    pub(crate) fn read(&self, body: impl FnOnce()) {
        // SAFETY: it is initialised.
        assert_eq!(unsafe { libc::pthread_rwlock_rdlock(self.0.get()) }, 0);
        body();
        // SAFETY: it is held.
        assert_eq!(unsafe { libc::pthread_rwlock_unlock(self.0.get()) }, 0);
    }

    pub(crate) fn write(&self, body: impl FnOnce()) {
        // SAFETY: it is initialised.
        assert_eq!(unsafe { libc::pthread_rwlock_wrlock(self.0.get()) }, 0);
        body();
        // SAFETY: it is held.
        assert_eq!(unsafe { libc::pthread_rwlock_unlock(self.0.get()) }, 0);
    }
}

unsafe extern "C-unwind" {
    fn pthread_once(control: *mut c_int, routine: extern "C-unwind" fn()) -> c_int;
}

/// Runs a function once in the life of the process.
pub(crate) fn once(routine: fn()) {
    struct Control(UnsafeCell<c_int>);
    // SAFETY: the C library's control may be used from any thread.
    unsafe impl Sync for Control {}
    static CONTROL: Control = Control(UnsafeCell::new(0));
    static ROUTINE: std::sync::OnceLock<fn()> = std::sync::OnceLock::new();
    extern "C-unwind" fn call() {
        if let Some(routine) = ROUTINE.get() {
            routine();
        }
    }
    let _ = ROUTINE.set(routine);
    // SAFETY: the control is a static.
    assert_eq!(unsafe { pthread_once(CONTROL.0.get(), call) }, 0);
}

/// Runs a routine that unwinds, and then one that returns, under one control, as an engine may that
/// opens its library again after a failure. Returns whether both ran.
pub(crate) fn once_again() -> bool {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    extern "C-unwind" fn fail() {
        add_one(&RUNS);
        std::panic::resume_unwind(Box::new("on purpose"));
    }
    extern "C-unwind" fn work() {
        add_one(&RUNS);
    }
    let mut control = 0;
    // SAFETY: the control is initialised, and outlives both calls.
    let failed = std::panic::catch_unwind(AssertUnwindSafe(|| unsafe {
        pthread_once(&mut control, fail);
    }));
    // SAFETY: the same.
    let result = unsafe { pthread_once(&mut control, work) };
    failed.is_err() && result == 0 && RUNS.load(Ordering::Relaxed) == 2
}

/// A semaphore, a barrier and a spin lock.
pub(crate) struct Meeting {
    semaphore: UnsafeCell<MaybeUninit<libc::sem_t>>,
    barrier: UnsafeCell<MaybeUninit<libc::pthread_barrier_t>>,
    spin: UnsafeCell<libc::pthread_spinlock_t>,
}

// SAFETY: the C library's objects may be used from any thread.
unsafe impl Sync for Meeting {}

impl Meeting {
    pub(crate) const fn new() -> Self {
        Self {
            semaphore: UnsafeCell::new(MaybeUninit::uninit()),
            barrier: UnsafeCell::new(MaybeUninit::uninit()),
            spin: UnsafeCell::new(0),
        }
    }

    pub(crate) fn begin(&self, count: u32) {
        // SAFETY: nothing uses them yet.
        unsafe {
            assert_eq!(libc::sem_init(self.semaphore.get().cast(), 0, 0), 0);
            let barrier = self.barrier.get().cast();
            assert_eq!(libc::pthread_barrier_init(barrier, ptr::null(), count), 0);
            assert_eq!(libc::pthread_spin_init(self.spin.get(), 0), 0);
        }
    }

    pub(crate) fn take(&self) {
        // SAFETY: `begin` initialised it.
        assert_eq!(unsafe { libc::sem_wait(self.semaphore.get().cast()) }, 0);
    }

    pub(crate) fn post(&self) {
        // SAFETY: `begin` initialised it.
        assert_eq!(unsafe { libc::sem_post(self.semaphore.get().cast()) }, 0);
    }

    pub(crate) fn meet(&self) {
        // SAFETY: `begin` initialised it.
        let result = unsafe { libc::pthread_barrier_wait(self.barrier.get().cast()) };
        assert!(result == 0 || result == libc::PTHREAD_BARRIER_SERIAL_THREAD);
    }

    pub(crate) fn spin(&self, body: impl FnOnce()) {
        // SAFETY: `begin` initialised it.
        assert_eq!(unsafe { libc::pthread_spin_lock(self.spin.get()) }, 0);
        body();
        // SAFETY: it is held.
        assert_eq!(unsafe { libc::pthread_spin_unlock(self.spin.get()) }, 0);
    }
}

/// Locks a plain mutex twice.
pub(crate) fn lock_twice() {
    let mutex = UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER);
    // SAFETY: it is initialised.
    unsafe {
        libc::pthread_mutex_lock(mutex.get());
        libc::pthread_mutex_lock(mutex.get());
    }
}

/// Locks an error-checking mutex twice; returns the second result.
pub(crate) fn lock_twice_checked() -> c_int {
    let mutex = UnsafeCell::new(libc::PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP);
    // SAFETY: it is initialised.
    unsafe {
        libc::pthread_mutex_lock(mutex.get());
        libc::pthread_mutex_lock(mutex.get())
    }
}

/// Makes a system call without the C library.
pub(crate) fn raw(number: i64, arguments: [usize; 6]) -> i64 {
    // SAFETY: the tests make calls that read or write only what they name.
    unsafe { crashpoint::inner::host::probe::raw_call(number, arguments) }
}

/// Waits for another thread at a semaphore, by the C library's own functions: looked up past the
/// symbols of this program.
pub(crate) fn semaphore_past_the_symbols() -> &'static str {
    type OnSemaphore = extern "C" fn(*mut libc::sem_t) -> c_int;
    // SAFETY: the C library is loaded, and has functions of that type by these names.
    let find = |name: &std::ffi::CStr| unsafe {
        let library = libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOW);
        std::mem::transmute::<*mut c_void, OnSemaphore>(libc::dlsym(library, name.as_ptr()))
    };
    let (wait, post) = (find(c"sem_wait"), find(c"sem_post"));
    let semaphore: &'static mut MaybeUninit<libc::sem_t> =
        Box::leak(Box::new(MaybeUninit::uninit()));
    let at = semaphore.as_mut_ptr().expose_provenance();
    // SAFETY: there is room for a semaphore, which is used for ever.
    unsafe { libc::sem_init(ptr::with_exposed_provenance_mut(at), 0, 0) };
    let waiter = Thread::start(move || {
        wait(ptr::with_exposed_provenance_mut(at));
    });
    std::thread::yield_now();
    post(ptr::with_exposed_provenance_mut(at));
    waiter.join();
    "came"
}
