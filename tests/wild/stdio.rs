//! Streams and walks of the C library, driven by a number: the same text must come out on the
//! simulated disk and in a real directory.
#![expect(unsafe_code, reason = "the C library's functions are unsafe to call")]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::fmt::Write as _;
use std::io::Read as _;
use std::ptr::{null, null_mut};
use std::sync::Mutex;

use libc::FILE;

unsafe extern "C" {
    fn fputws(text: *const i32, stream: *mut FILE) -> c_int;
    fn fgetwc(stream: *mut FILE) -> u32;
    fn fwide(stream: *mut FILE, mode: c_int) -> c_int;
    fn getw(stream: *mut FILE) -> c_int;
    fn fwrite_unlocked(a: *const c_void, b: usize, c: usize, stream: *mut FILE) -> usize;
    fn scandir(
        path: *const c_char,
        list: *mut *mut *mut libc::dirent,
        filter: Option<extern "C" fn(*const libc::dirent) -> c_int>,
        order: Option<
            unsafe extern "C" fn(*mut *const libc::dirent, *mut *const libc::dirent) -> c_int,
        >,
    ) -> c_int;
    fn alphasort(a: *mut *const libc::dirent, b: *mut *const libc::dirent) -> c_int;
    fn nftw(path: *const c_char, visit: Visit, open: c_int, flags: c_int) -> c_int;
    fn fts_open(paths: *const *const c_char, options: c_int, order: *const c_void) -> *mut c_void;
    fn fts_read(walk: *mut c_void) -> *mut c_void;
    fn fts_close(walk: *mut c_void) -> c_int;
    fn wordexp(words: *const c_char, found: *mut c_void, flags: c_int) -> c_int;
    fn ftok(path: *const c_char, project: c_int) -> c_int;
    fn mktemp(template: *mut c_char) -> *mut c_char;
}

type Visit = extern "C" fn(*const c_char, *const libc::stat, c_int, *mut c_void) -> c_int;

#[repr(C)]
struct Words {
    count: usize,
    words: *mut *mut c_char,
    before: usize,
}

/// Draws numbers.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn c(text: &str) -> CString {
    CString::new(text).expect("no NUL in it")
}

const MODES: [&CStr; 12] =
    [c"r", c"w", c"a", c"r+", c"w+", c"a+", c"rb", c"wx", c"w+e", c"re", c"r+b", c"a+b"];

/// A script of stream calls in a directory.
struct Script<'a> {
    dir: &'a str,
    drawn: Drawn,
    said: String,
    stream: *mut FILE,
    /// The stream was written to, and not read, since it was last moved or flushed.
    writes: Option<bool>,
    /// Buffers that were given to streams, which may use them until they are closed.
    kept: Vec<Box<[u8]>>,
}

/// Carries out `calls` calls on streams; the text has their results.
pub(crate) fn streams(dir: &str, seed: u64, calls: usize) -> String {
    let mut script = Script {
        dir,
        drawn: Drawn(seed),
        said: String::new(),
        stream: null_mut(),
        writes: None,
        kept: vec![],
    };
    for _ in 0..calls {
        script.step();
    }
    script.close();
    for name in ["a", "b", "c"] {
        // Of a file with a hole, the beginning.
        let mut bytes = Vec::new();
        let length = std::fs::File::open(format!("{dir}/{name}")).map_or(0, |file| {
            let length = file.metadata().map_or(0, |found| found.len());
            file.take(1 << 16).read_to_end(&mut bytes).expect("it can be read");
            length
        });
        let sum = bytes.iter().fold(7_u64, |sum, &byte| sum.wrapping_mul(31) + u64::from(byte));
        writeln!(script.said, "{name} {length} {sum:x}").expect("a string");
    }
    script.said
}

fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

impl Script<'_> {
    fn say(&mut self, call: &str, result: i64) {
        let why = if result < 0 { errno() } else { 0 };
        writeln!(self.said, "{call} {result} {why}").expect("a string");
    }

    fn path(&mut self) -> CString {
        let name = ["a", "b", "c", "none/a"][self.drawn.below(4) as usize];
        c(&format!("{}/{name}", self.dir))
    }

    fn mode(&mut self) -> &'static CStr {
        MODES[self.drawn.below(MODES.len() as u64) as usize]
    }

    fn close(&mut self) {
        if !self.stream.is_null() {
            // SAFETY: the stream is open.
            let closed = unsafe { libc::fclose(self.stream) };
            self.stream = null_mut();
            self.say("fclose", closed.into());
        }
    }

    fn open(&mut self) {
        self.close();
        let (path, mode) = (self.path(), self.mode());
        // SAFETY: two C strings.
        let by_descriptor = self.drawn.below(4) == 0;
        self.stream = if by_descriptor {
            let flags = libc::O_RDWR | libc::O_CREAT;
            // SAFETY: C strings; the stream becomes the owner of the descriptor.
            unsafe {
                let fd = libc::open(path.as_ptr(), flags, 0o644);
                if fd < 0 { null_mut() } else { libc::fdopen(fd, mode.as_ptr()) }
            }
        } else {
            // SAFETY: two C strings.
            unsafe { libc::fopen(path.as_ptr(), mode.as_ptr()) }
        };
        let opened = if self.stream.is_null() { -1 } else { 0 };
        self.say(&format!("open {mode:?} {by_descriptor}"), opened);
        // Later it would be undefined (setvbuf(3)).
        if opened == 0 && self.drawn.below(2) == 0 {
            self.buffer();
        }
    }

    fn step(&mut self) {
        if self.stream.is_null() {
            return self.open();
        }
        let draw = self.drawn.below(20);
        // Between reading and writing there must be a move or a flush (fopen(3)).
        let writes = match draw {
            2..5 | 18 => Some(true),
            5..7 | 10 | 11 | 17 | 19 => Some(false),
            0 | 1 | 7 | 15 => None,
            _ => self.writes,
        };
        if self.writes.is_some() && writes.is_some() && writes != self.writes {
            self.seek();
        }
        self.writes = writes;
        let length = [0, 1, 7, 100, 4096, 5000, 20_000][self.drawn.below(7) as usize];
        match draw {
            0 => self.open(),
            1 => self.close(),
            2..5 => self.write(length),
            5..7 => self.read(length),
            7 => self.seek(),
            15 => self.reopen(),
            16 => self.descriptor(),
            17 => self.line(),
            18 => self.format(),
            _ => self.character(draw),
        }
    }

    /// A call for one character, or about the state of the stream.
    fn character(&mut self, draw: u64) {
        let stream = self.stream;
        // SAFETY: the stream is open.
        let (call, result) = unsafe {
            match draw {
                8 => ("ftell", libc::ftello64(stream)),
                9 => ("fflush", libc::fflush(stream).into()),
                // Only of what was read: on a stream that cannot be read it destroys the heap.
                10 if libc::fgetc(stream) >= 0 => ("ungetc", libc::ungetc(65, stream).into()),
                10 | 11 => ("fgetc", libc::fgetc(stream).into()),
                12 => ("feof", i64::from(libc::feof(stream) != 0)),
                13 => ("ferror", i64::from(libc::ferror(stream) != 0)),
                14 => {
                    libc::clearerr(stream);
                    ("clearerr", 0)
                }
                _ => ("getw", getw(stream).into()),
            }
        };
        self.say(call, result);
    }

    fn write(&mut self, length: usize) {
        let byte = b'a' + self.drawn.below(26) as u8;
        let mut bytes = vec![byte; length];
        if let Some(last) = bytes.last_mut() {
            *last = b'\n';
        }
        let unlocked = self.drawn.below(2) == 0;
        // SAFETY: the stream is open, and the bytes have that length.
        let wrote = unsafe {
            if unlocked {
                fwrite_unlocked(bytes.as_ptr().cast(), 1, length, self.stream)
            } else {
                libc::fwrite(bytes.as_ptr().cast(), 1, length, self.stream)
            }
        };
        self.say("fwrite", wrote as i64);
    }

    fn read(&mut self, length: usize) {
        let mut bytes = vec![0_u8; length];
        // SAFETY: the stream is open, and there is room for as many bytes.
        let read = unsafe { libc::fread(bytes.as_mut_ptr().cast(), 1, length, self.stream) };
        let sum = bytes[..read].iter().fold(0, |sum, &byte| sum * 3 % 65_521 + i64::from(byte));
        self.say(&format!("fread {read}"), sum);
    }

    fn seek(&mut self) {
        let whence =
            [libc::SEEK_SET, libc::SEEK_CUR, libc::SEEK_END, 9][self.drawn.below(4) as usize];
        let to = self.drawn.below(9000) as i64 - 1000;
        // SAFETY: the stream is open.
        let moved = unsafe { libc::fseeko64(self.stream, to, whence) };
        self.say("fseek", moved.into());
    }

    fn buffer(&mut self) {
        let mode = [libc::_IOFBF, libc::_IOLBF, libc::_IONBF][self.drawn.below(3) as usize];
        let size = [0, 16, 4096, 9000][self.drawn.below(4) as usize];
        let mut space = vec![0_u8; size.max(1)].into_boxed_slice();
        let at = if size == 0 { null_mut() } else { space.as_mut_ptr().cast() };
        self.kept.push(space);
        // SAFETY: the stream is open; the buffer lives as long as the script.
        let set = unsafe { libc::setvbuf(self.stream, at, mode, size) };
        self.say("setvbuf", set.into());
    }

    fn reopen(&mut self) {
        let (path, mode) = (self.path(), self.mode());
        let anew = self.drawn.below(3) != 0;
        let path = if anew { path.as_ptr() } else { null() };
        // SAFETY: the stream is open; it is closed if this fails.
        self.stream = unsafe { libc::freopen(path, mode.as_ptr(), self.stream) };
        let opened = if self.stream.is_null() { -1 } else { 0 };
        self.say(&format!("freopen {mode:?} {anew}"), opened);
    }

    fn descriptor(&mut self) {
        // SAFETY: zeros are a value of the structure.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the stream is open.
        let (synced, found) = unsafe {
            let fd = libc::fileno(self.stream);
            (libc::fsync(fd), libc::fstat(fd, &raw mut stat))
        };
        self.say("fsync", synced.into());
        self.say(&format!("size {found}"), stat.st_size);
        if self.drawn.below(4) == 0 {
            let size = self.drawn.below(6000) as i64;
            // SAFETY: the same.
            let cut = unsafe { libc::ftruncate(libc::fileno(self.stream), size) };
            self.say("ftruncate", cut.into());
        }
    }

    fn line(&mut self) {
        let (mut line, mut size) = (null_mut::<c_char>(), 0);
        // SAFETY: the stream is open; the line is ours to free.
        let read = unsafe {
            let read = libc::getline(&raw mut line, &raw mut size, self.stream);
            libc::free(line.cast());
            read
        };
        self.say("getline", read as i64);
    }

    fn format(&mut self) {
        let number = self.drawn.below(1 << 30) as c_int;
        // SAFETY: the stream is open, and the format has these arguments.
        let printed =
            unsafe { libc::fprintf(self.stream, c"%d %s|".as_ptr(), number, c"text".as_ptr()) };
        self.say("fprintf", printed.into());
    }
}

/// Writes wide characters and reads them back.
pub(crate) fn wide(dir: &str) -> String {
    let path = c(&format!("{dir}/wide"));
    let text: Vec<i32> = "ab\u{e9}\n\0".chars().map(|c| c as i32).collect();
    // SAFETY: C strings, a wide string with its end, and streams that are open.
    unsafe {
        let locale = libc::newlocale(libc::LC_ALL_MASK, c"C.UTF-8".as_ptr(), null_mut());
        libc::uselocale(locale);
        let stream = libc::fopen(path.as_ptr(), c"w".as_ptr());
        let (wide, wrote) = (fwide(stream, 1), fputws(text.as_ptr(), stream));
        let narrow = libc::fputc(65, stream);
        libc::fclose(stream);
        let stream = libc::fopen(path.as_ptr(), c"r,ccs=UTF-8".as_ptr());
        let read: Vec<u32> = (0..5).map(|_| fgetwc(stream)).collect();
        libc::fclose(stream);
        format!("{} {} {narrow} {read:?}", wide > 0, wrote >= 0)
    }
}

static VISITED: Mutex<Vec<String>> = Mutex::new(Vec::new());

extern "C" fn visit(
    path: *const c_char,
    _: *const libc::stat,
    kind: c_int,
    _: *mut c_void,
) -> c_int {
    // SAFETY: the walk passes a C string.
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    VISITED.lock().expect("no panic").push(format!("{name}:{kind}"));
    0
}

/// Walks over a directory in all ways that the C library has.
pub(crate) fn walks(dir: &str) -> String {
    for name in ["w/x", "w/y/z", "w/.h"] {
        let path = format!("{dir}/{name}");
        let parent = std::path::Path::new(&path).parent().expect("it has one");
        std::fs::create_dir_all(parent).expect("a new folder");
        std::fs::write(&path, name).expect("a new file");
    }
    std::os::unix::fs::symlink("x", format!("{dir}/w/l")).expect("a new link");
    let said = [globs(dir), words(dir), scanned(dir), visited(dir), trees(dir), names(dir)];
    said.join("\n").replace(dir, "DIR")
}

fn strings(list: *mut *mut c_char, count: usize) -> String {
    // SAFETY: the list has as many C strings.
    let text = |at| unsafe { CStr::from_ptr(*list.add(at)) }.to_string_lossy().into_owned();
    (0..count).map(text).collect::<Vec<_>>().join(" ")
}

fn globs(dir: &str) -> String {
    let pattern = c(&format!("{dir}/w/*"));
    // SAFETY: zeros are a value of the structure, which the C library fills.
    unsafe {
        let mut found: libc::glob_t = std::mem::zeroed();
        let result = libc::glob(pattern.as_ptr(), libc::GLOB_MARK, None, &raw mut found);
        let text = strings(found.gl_pathv, found.gl_pathc);
        libc::globfree(&raw mut found);
        format!("glob {result} {text}")
    }
}

fn words(dir: &str) -> String {
    let pattern = c(&format!("{dir}/w/[xy] {dir}/w/no*"));
    let mut found = Words { count: 0, words: null_mut(), before: 0 };
    // SAFETY: a C string, and room for the result.
    let result = unsafe { wordexp(pattern.as_ptr(), (&raw mut found).cast(), 0) };
    format!("wordexp {result} {}", strings(found.words, found.count))
}

fn scanned(dir: &str) -> String {
    let path = c(&format!("{dir}/w"));
    let mut list = null_mut();
    // SAFETY: a C string and room for the list, whose entries have names.
    unsafe {
        let count = scandir(path.as_ptr(), &raw mut list, None, Some(alphasort));
        let name = |at: usize| CStr::from_ptr((**list.add(at)).d_name.as_ptr()).to_string_lossy();
        let names: Vec<_> = (0..count.max(0) as usize).map(name).collect();
        format!("scandir {count} {names:?}")
    }
}

fn visited(dir: &str) -> String {
    let path = c(&format!("{dir}/w"));
    let mut said = String::new();
    for flags in [0, 1, 8, 4] {
        // SAFETY: a C string, and a function of that type.
        let result = unsafe { nftw(path.as_ptr(), visit, 3, flags) };
        let mut names = std::mem::take(&mut *VISITED.lock().expect("no panic"));
        names.sort();
        writeln!(said, "nftw {result} {names:?}").expect("a string");
    }
    said
}

fn trees(dir: &str) -> String {
    let path = c(&format!("{dir}/w"));
    let paths = [path.as_ptr(), null()];
    let mut said = String::new();
    for options in [0x10, 0x10 | 0x4, 0x2] {
        // SAFETY: a list of C strings; the walk is closed once.
        let (count, closed) = unsafe {
            let walk = fts_open(paths.as_ptr(), options, null());
            let mut count = 0;
            while !fts_read(walk).is_null() {
                count += 1;
            }
            (count, fts_close(walk))
        };
        writeln!(said, "fts {count} {closed}").expect("a string");
    }
    said
}

fn names(dir: &str) -> String {
    let path = c(&format!("{dir}/w/x"));
    let template = c(&format!("{dir}/w/tXXXXXX")).into_raw();
    // SAFETY: C strings; the template is ours to change and to free.
    unsafe {
        let (key, none) = (ftok(path.as_ptr(), 1), ftok(c"/no/file".as_ptr(), 1));
        let made = CStr::from_ptr(mktemp(template)).to_bytes().len();
        drop(CString::from_raw(template));
        format!("ftok {} {none} mktemp {}", key != -1, made > dir.len())
    }
}

/// Locks a stream over a wait, and writes to it from another thread meanwhile.
pub(crate) fn shared(dir: &str) -> String {
    let path = c(&format!("{dir}/shared"));
    // SAFETY: C strings.
    let stream = unsafe { libc::fopen(path.as_ptr(), c"w".as_ptr()) }.expose_provenance();
    let write = move |byte: u8, times: usize| {
        let stream = std::ptr::with_exposed_provenance_mut::<FILE>(stream);
        let bytes = vec![byte; 20_000];
        for _ in 0..times {
            // SAFETY: the stream is open until all threads have ended.
            unsafe {
                libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), stream);
                libc::fflush(stream);
            }
        }
    };
    let threads: Vec<_> =
        (0..2).map(|at| std::thread::spawn(move || write(b'a' + at, 3))).collect();
    let stream = std::ptr::with_exposed_provenance_mut::<FILE>(stream);
    // SAFETY: the stream is open; the lock is released by its owner.
    unsafe {
        flockfile(stream);
        libc::fwrite(c"one".as_ptr().cast(), 1, 3, stream);
        std::thread::sleep(std::time::Duration::from_millis(5));
        libc::fwrite(c"two".as_ptr().cast(), 1, 3, stream);
        funlockfile(stream);
    }
    for thread in threads {
        thread.join().expect("it does not panic");
    }
    // SAFETY: no thread uses it any more.
    unsafe { libc::fclose(stream) };
    let bytes = std::fs::read(path.to_str().expect("ASCII")).expect("it is there");
    let together = bytes.windows(6).any(|part| part == b"onetwo");
    format!("{} {together}", bytes.len())
}

unsafe extern "C" {
    fn flockfile(stream: *mut FILE);
    fn funlockfile(stream: *mut FILE);
}

/// Writes behind a hole of 5 GiB.
pub(crate) fn far(dir: &str) -> String {
    let path = c(&format!("{dir}/far"));
    // SAFETY: C strings, and a stream that is open.
    unsafe {
        let stream = libc::fopen(path.as_ptr(), c"w+".as_ptr());
        let moved = libc::fseeko64(stream, 5 << 30, libc::SEEK_SET);
        let put = libc::fputc(65, stream);
        let (at, back) = (libc::ftello64(stream), libc::fseeko64(stream, -2, libc::SEEK_CUR));
        let read = [libc::fgetc(stream), libc::fgetc(stream), libc::fgetc(stream)];
        libc::fclose(stream);
        format!("{moved} {put} {at} {back} {read:?}")
    }
}

/// The position after one character was read, of a file of 10,000 bytes.
pub(crate) fn read_ahead(dir: &str) -> c_long {
    let path = format!("{dir}/long");
    std::fs::write(&path, vec![b'x'; 10_000]).expect("a new file");
    // SAFETY: C strings, and a stream that is open.
    unsafe {
        let stream = libc::fopen(c(&path).as_ptr(), c"r".as_ptr());
        libc::fgetc(stream);
        let position = libc::lseek(libc::fileno(stream), 0, libc::SEEK_CUR);
        libc::fclose(stream);
        position
    }
}
