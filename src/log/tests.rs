//! The error log: line format, levels, escaping, rotation, and files that refuse.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::pipe2;
use rcorn_settings::{LogFormat, LogTarget, Settings};

use super::writer::{Method, Writer};
use super::*;

fn file_log(path: &Path, level: Level) -> Log {
    new_log(open(path, None).unwrap(), &to_file(path, level))
}

fn to_file(path: &Path, level: Level) -> ErrorLogSettings {
    ErrorLogSettings {
        target: LogTarget::File(path.into()),
        level,
        form: ErrorForm::Gunicorn,
    }
}

fn formatted(formatter: &dyn Formatter, level: Level, text: fmt::Arguments<'_>) -> Vec<u8> {
    let mut record = Vec::new();
    formatter.format(&made_now(level, text), &mut record);
    record
}

/// A log to a descriptor without a path.
fn stream_log(fd: OwnedFd) -> Log {
    let settings = ErrorLogSettings {
        target: LogTarget::Standard,
        level: Level::Info,
        form: ErrorForm::Gunicorn,
    };
    new_log(fd, &settings)
}

fn new_log(fd: OwnedFd, settings: &ErrorLogSettings) -> Log {
    Log::new(fd, settings, WORKER_PATIENCE).unwrap()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_line_has_time_with_offset_pid_and_level() {
    let line = String::from_utf8(formatted(
        &GunicornFormatter,
        Level::Info,
        format_args!("Listening at: {}", 1),
    ))
    .unwrap();
    let pid = std::process::id();
    let (time, rest) = line.split_at("[2026-11-21 01:25:05 +0000]".len());
    assert_eq!(rest, format!(" [{pid}] [INFO] Listening at: 1\n"));
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape.replace('-', "+"), "[0000+00+00 00:00:00 +0000]");
}

#[test]
fn several_lines_stay_as_they_are_and_end_once() {
    let line = String::from_utf8(formatted(
        &GunicornFormatter,
        Level::Error,
        format_args!("a\n  b\n"),
    ))
    .unwrap();
    assert!(
        line.ends_with("[ERROR] a\n  b\n") && !line.ends_with("\n\n"),
        "{line}"
    );
}

#[test]
fn levels_are_in_pythons_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let log = file_log(&path, Level::Warning);
    let all = [
        Level::Debug,
        Level::Info,
        Level::Warning,
        Level::Error,
        Level::Critical,
    ];
    for level in all {
        log.record(level, format_args!("said"));
    }
    let names: Vec<&str> = ["[WARNING]", "[ERROR]", "[CRITICAL]"].to_vec();
    let written = text(&path);
    assert_eq!(written.lines().count(), 3);
    assert!(
        written
            .lines()
            .zip(names)
            .all(|(line, name)| line.contains(name))
    );
    assert!(!log.enabled(Level::Info) && log.enabled(Level::Warning));
}

#[test]
fn bytes_from_outside_cannot_begin_a_line_or_an_escape_sequence() {
    let shown = escaped(b"a\r\n[x] \x1b[2J \xc3\xa9 \\x0a \"\x7f\x00\t").to_string();
    assert_eq!(
        shown,
        r#"a\x0d\x0a[x] \x1b[2J \xc3\xa9 \\x0a "\x7f\x00\x09"#
    );
    assert_eq!(escaped(b"").to_string(), "");
    assert_eq!(escaped("/plain?a=b".as_bytes()).to_string(), "/plain?a=b");
}

#[test]
fn reopening_follows_the_path_and_keeps_number_and_flags() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let log = file_log(&path, Level::Info);
    let number = log.sink.descriptor().unwrap().as_raw_fd();
    log.record(Level::Info, format_args!("first"));
    let rotated = directory.path().join("error.log.1");
    fs::rename(&path, &rotated).unwrap();
    log.record(Level::Info, format_args!("second"));
    log.reopen();
    log.record(Level::Info, format_args!("third"));
    assert_eq!(text(&rotated).lines().count(), 2);
    assert!(text(&path).ends_with("third\n"));
    assert_eq!(log.sink.descriptor().unwrap().as_raw_fd(), number);
    let flags = fcntl(log.sink.descriptor().unwrap(), FcntlArg::F_GETFD).unwrap();
    assert!(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC));
    let flags =
        OFlag::from_bits_retain(fcntl(log.sink.descriptor().unwrap(), FcntlArg::F_GETFL).unwrap());
    assert!(flags.contains(OFlag::O_APPEND) && !flags.contains(OFlag::O_NONBLOCK));
}

#[test]
fn an_inheritable_descriptor_stays_inheritable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let log = file_log(&path, Level::Info);
    fcntl(
        log.sink.descriptor().unwrap(),
        FcntlArg::F_SETFD(FdFlag::empty()),
    )
    .unwrap();
    log.reopen();
    assert_eq!(
        fcntl(log.sink.descriptor().unwrap(), FcntlArg::F_GETFD).unwrap(),
        0
    );
}

#[test]
fn a_file_that_cannot_be_reopened_is_told_to_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("logs");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("error.log");
    let log = file_log(&path, Level::Info);
    let moved = directory.path().join("moved");
    fs::rename(&folder, &moved).unwrap();
    log.reopen();
    log.record(Level::Info, format_args!("still here"));
    let written = text(&moved.join("error.log"));
    assert!(
        written.contains("[ERROR] cannot open the log file"),
        "{written}"
    );
    assert!(written.contains("No such file or directory"), "{written}");
    assert!(written.ends_with("still here\n"), "{written}");
}

#[test]
fn new_settings_lead_the_same_number_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    let log = file_log(&one, Level::Info);
    let number = log.sink.descriptor().unwrap().as_raw_fd();
    log.redirect(&open(&two, None).unwrap(), &to_file(&two, Level::Debug));
    log.record(Level::Debug, format_args!("new"));
    assert_eq!(log.sink.descriptor().unwrap().as_raw_fd(), number);
    assert_eq!(text(&one), "");
    assert!(text(&two).ends_with("[DEBUG] new\n"));
    fs::remove_file(&two).unwrap();
    log.reopen();
    assert!(two.exists());
}

#[test]
fn new_settings_change_the_form() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let log = file_log(&path, Level::Info);
    log.record(Level::Info, format_args!("one"));
    let bare = ErrorLogSettings {
        form: ErrorForm::Bare,
        ..to_file(&path, Level::Info)
    };
    log.redirect(&open(&path, None).unwrap(), &bare);
    log.record(Level::Info, format_args!("two"));
    assert!(text(&path).ends_with("[INFO] one\ninfo|two\0"));
}

#[test]
fn a_record_in_json_is_an_object_on_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let json = ErrorLogSettings {
        form: ErrorForm::Json,
        ..to_file(&path, Level::Info)
    };
    let log = new_log(open(&path, None).unwrap(), &json);
    log.record(Level::Warning, format_args!("two\nlines \"{}\"\n", 'é'));
    log.raw(b"Traceback\n\xff");
    log.raw(b"\n");
    let written = text(&path);
    let lines: Vec<serde_json::Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [record, app] = lines.as_slice() else {
        panic!("{written}");
    };
    assert_eq!(record["message"], "two\nlines \"é\"");
    assert_eq!(record["level"], "WARNING");
    assert_eq!(record["pid"], std::process::id());
    assert!(record.get("logger").is_none(), "{record}");
    let time = record["time"].as_str().unwrap();
    assert_eq!(time.len(), "2026-11-21T01:25:05+00:00".len(), "{time}");
    assert_eq!(app["message"], "Traceback\n\u{fffd}");
    assert_eq!(app["logger"], "wsgi.errors");
}

#[test]
fn the_error_log_of_the_settings_differs_when_one_of_its_settings_does() {
    let settings = Settings::default();
    let log = ErrorLogSettings::of(&settings);
    assert_eq!(log, ErrorLogSettings::of(&settings));
    let other = [
        Settings {
            errorlog: LogTarget::File("x".into()),
            ..settings.clone()
        },
        Settings {
            loglevel: Level::Debug,
            ..settings.clone()
        },
        Settings {
            log_format: LogFormat::Json,
            ..settings.clone()
        },
    ];
    for other in other {
        assert_ne!(log, ErrorLogSettings::of(&other));
    }
}

#[test]
fn the_access_log_has_the_format_of_the_settings() {
    let settings = |format: &str| Settings {
        access_log_format: format.to_owned(),
        ..Settings::default()
    };
    let line = AccessFormat::compile("%(s)s %(m)s").unwrap();
    assert_eq!(
        AccessForm::of(&settings("%(s)s %(m)s")),
        Ok(AccessForm::Line(line))
    );
    assert_eq!(
        AccessForm::of(&settings("json")),
        Ok(AccessForm::Json(JsonFields))
    );
    let json = AccessForm::of(&settings(r#"{"s":%(s)s}"#));
    assert!(matches!(json, Ok(AccessForm::JsonLine(_))), "{json:?}");
    assert!(AccessForm::of(&settings("%h")).is_err());
}

#[test]
fn without_a_path_there_is_nothing_to_reopen() {
    let (mut reader, writer) = pipe();
    let log = stream_log(writer);
    log.reopen();
    log.record(Level::Info, format_args!("said"));
    drop(log);
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read.lines().count(), 1);
}

#[test]
fn a_reader_that_left_costs_records_but_no_panic() {
    let (reader, writer) = pipe();
    drop(reader);
    let log = stream_log(writer);
    log.record(Level::Info, format_args!("one"));
    log.record(Level::Info, format_args!("two"));
    assert_eq!(log.lost.pending(), 2);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    log.redirect(&open(&path, None).unwrap(), &to_file(&path, Level::Info));
    log.record(Level::Info, format_args!("three"));
    let written = text(&path);
    assert!(
        written.contains("[WARNING] 2 log records could not be written\n"),
        "{written}"
    );
    assert!(written.ends_with("three\n"));
    assert_eq!(log.lost.pending(), 0);
}

#[test]
fn a_full_disk_is_no_panic() {
    let full = Path::new("/dev/full");
    let log = file_log(full, Level::Info);
    log.record(Level::Critical, format_args!("nobody hears it"));
    assert_eq!(log.lost.pending(), 1);
}

#[test]
fn a_slow_reader_of_a_nonblocking_pipe_gets_everything() {
    let (mut reader, writer) = pipe();
    let flags = OFlag::from_bits_retain(fcntl(&writer, FcntlArg::F_GETFL).unwrap());
    fcntl(&writer, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    let log = stream_log(writer);
    let reading = std::thread::spawn(move || {
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        read
    });
    let long = "x".repeat(1 << 20);
    log.record(Level::Info, format_args!("{long}"));
    drop(log);
    let read = reading.join().unwrap();
    assert!(read.len() > long.len() && read.ends_with(b"x\n"));
}

#[test]
fn new_files_are_not_writable_by_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    drop(open(&path, None).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o022, 0);
}

#[test]
fn the_successor_belongs_to_the_owner_of_the_old_file() {
    if !nix::unistd::geteuid().is_root() {
        return; // Only root may give files away.
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("error.log");
    let nobody = (
        nix::unistd::Uid::from_raw(65534),
        nix::unistd::Gid::from_raw(65534),
    );
    let log = new_log(
        open(&path, Some(nobody)).unwrap(),
        &to_file(&path, Level::Info),
    );
    fs::remove_file(&path).unwrap();
    log.reopen();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid()), (65534, 65534));
}

#[test]
fn a_fifo_that_nobody_reads_is_an_error_not_a_hang() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = open(&path, None).unwrap_err();
    assert!(matches!(error, FileError::Open { .. }) && error.hint().is_some());
}

#[test]
fn dev_stdout_is_the_standard_output_itself() {
    let fd = open(Path::new("/dev/stdout"), None).unwrap();
    let same =
        |fd: &dyn AsRawFd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    assert_eq!(same(&fd), same(&io::stdout()));
}

#[test]
fn the_process_wide_log_can_be_set_twice() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    debug(format_args!(
        "before the log is set, to standard error, and below its level"
    ));
    init(
        open(&one, None).unwrap(),
        &to_file(&one, Level::Info),
        WORKER_PATIENCE,
    )
    .unwrap();
    warning(format_args!("to one"));
    init(
        open(&two, None).unwrap(),
        &to_file(&two, Level::Error),
        WORKER_PATIENCE,
    )
    .unwrap();
    warning(format_args!("below the new level"));
    critical(format_args!("to two"));
    assert!(enabled(Level::Error) && !enabled(Level::Info));
    fs::remove_file(&two).unwrap();
    reopen();
    raw(b"from the app ");
    error(format_args!("after rotation"));
    assert!(text(&one).contains("[WARNING] to one\n") && !text(&one).contains("new level"));
    assert!(text(&two).starts_with("from the app ["));
    assert!(text(&two).ends_with("[ERROR] after rotation\n"));
}

fn pipe() -> (fs::File, OwnedFd) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    (reader.into(), writer)
}

/// A destination that keeps the records; it fails as often as it is told.
#[derive(Debug, Default)]
struct Kept {
    records: std::sync::Mutex<Vec<Vec<u8>>>,
    failures: AtomicU8,
}

impl Sink for std::sync::Arc<Kept> {
    fn write(&self, record: &[u8]) -> io::Result<()> {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.fetch_sub(1, Ordering::Relaxed);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.records.lock().unwrap().push(record.to_vec());
        Ok(())
    }

    fn reopen(&self) -> Result<(), FileError> {
        Ok(())
    }

    fn redirect(&self, _fd: &OwnedFd, _path: Option<PathBuf>) -> Result<(), FileError> {
        Ok(())
    }

    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

/// Another form than gunicorn's.
#[derive(Debug)]
pub(super) struct BareFormatter;

impl Formatter for BareFormatter {
    fn format(&self, record: &ErrorRecord<'_>, out: &mut Vec<u8>) {
        write!(out, "{}|{}\0", record.level.name(), record.text).unwrap();
    }
}

#[test]
fn a_form_and_a_destination_know_nothing_of_each_other() {
    let kept = std::sync::Arc::new(Kept::default());
    let log = Log::with(
        Box::new(std::sync::Arc::clone(&kept)),
        ErrorForm::Bare,
        Level::Info,
    );
    log.record(Level::Debug, format_args!("not written"));
    log.record(Level::Info, format_args!("one"));
    kept.failures.store(2, Ordering::Relaxed);
    log.record(Level::Error, format_args!("lost"));
    log.raw(b"lost, too");
    log.record(Level::Error, format_args!("two"));
    let records = kept.records.lock().unwrap();
    let texts: Vec<&str> = records
        .iter()
        .map(|record| std::str::from_utf8(record).unwrap())
        .collect();
    let expected = [
        "info|one\0",
        "warning|2 log records could not be written\0error|two\0",
    ];
    assert_eq!(texts, expected);
}

/// A log's descriptor, which blocks as a shell opens it, and the other end, which nobody reads.
struct Unread {
    name: &'static str,
    fd: OwnedFd,
    reader: OwnedFd,
}

/// One of each kind that a log may be.
fn unread(directory: &Path) -> Vec<Unread> {
    let (reader, pipe) = pipe();
    let (stream_reader, stream) = UnixStream::pair().unwrap();
    let (datagram_reader, datagram) = UnixDatagram::pair().unwrap();
    let terminal = nix::pty::openpty(None, None).unwrap();
    let path = directory.join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut both = fs::OpenOptions::new();
    let fifo_reader = both.read(true).write(true).open(&path).unwrap();
    let fifo = open(&path, None).unwrap();
    let unread = |name, fd, reader| Unread { name, fd, reader };
    vec![
        unread("pipe", pipe, reader.into()),
        unread("FIFO", fifo, fifo_reader.into()),
        unread("stream socket", stream.into(), stream_reader.into()),
        unread("datagram socket", datagram.into(), datagram_reader.into()),
        unread("terminal", terminal.slave, terminal.master),
    ]
}

/// Reads what is there.
fn drain(reader: &OwnedFd) -> String {
    let flags = OFlag::from_bits_retain(fcntl(reader, FcntlArg::F_GETFL).unwrap());
    fcntl(reader, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).unwrap();
    let (mut all, mut one) = (Vec::new(), vec![0; 1 << 16]);
    while let Ok(length @ 1..) = nix::unistd::read(reader, &mut one) {
        all.extend_from_slice(&one[..length]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn a_log_that_nobody_reads_stops_nobody_and_says_what_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    for Unread { name, fd, reader } in unread(directory.path()) {
        let shared = fd.try_clone().unwrap();
        let lost_before = lost();
        let log = stream_log(fd);
        let begun = std::time::Instant::now();
        let line = "x".repeat(1000);
        while log.lost.pending() < 1000 {
            log.record(Level::Info, format_args!("{line}"));
        }
        assert!(begun.elapsed() < WORKER_PATIENCE * 8, "{name}: waits once");
        assert!(lost().saturating_sub(lost_before) >= 1000, "{name}");
        let flags = OFlag::from_bits_retain(fcntl(&shared, FcntlArg::F_GETFL).unwrap());
        assert!(!flags.contains(OFlag::O_NONBLOCK), "{name} is shared");
        drain(&reader);
        log.record(Level::Info, format_args!("it flows again"));
        let read = drain(&reader);
        let said = "[WARNING] 1000 log records could not be written";
        assert!(read.contains(said), "{name}: {read}");
        assert!(read.contains("[INFO] it flows again"), "{name}: {read}");
    }
}

#[test]
fn a_record_that_was_cut_off_does_not_spoil_the_next() {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let log = stream_log(terminal.slave);
    let long = "x".repeat(1 << 20);
    log.record(Level::Info, format_args!("{long}"));
    assert_eq!(log.lost.pending(), 1);
    assert!(drain(&terminal.master).ends_with('x'));
    log.record(Level::Info, format_args!("next"));
    let read = drain(&terminal.master);
    let lines: Vec<&str> = read.lines().collect();
    let [end, lost, next] = lines[..] else {
        panic!("{read}");
    };
    assert_eq!(end, "");
    assert!(lost.ends_with("1 log records could not be written"));
    assert!(next.ends_with("[INFO] next"));
}

/// A pipe with room for one page, and a socket with little room: writers that have more must wait
/// for the reader in the middle of it.
fn narrow() -> [(&'static str, fs::File, OwnedFd); 2] {
    let (reader, pipe) = pipe();
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let (socket_reader, socket) = UnixStream::pair().unwrap();
    setsockopt(&socket, sockopt::SndBuf, &20_000).unwrap();
    let socket_reader = fs::File::from(OwnedFd::from(socket_reader));
    [
        ("pipe", reader, pipe),
        ("socket", socket_reader, socket.into()),
    ]
}

/// Lets eight writers write, each with a descriptor and a letter of its own, while a slow reader
/// reads; returns the lines.
fn written_by_eight(
    mut reader: fs::File,
    fd: OwnedFd,
    write: impl Fn(OwnedFd, char) + Sync,
) -> Vec<String> {
    let mut read = Vec::new();
    std::thread::scope(|scope| {
        for letter in 'a'..='h' {
            let fd = fd.try_clone().unwrap();
            let write = &write;
            scope.spawn(move || write(fd, letter));
        }
        drop(fd);
        let mut part = [0; 1000];
        while let Ok(length @ 1..) = reader.read(&mut part) {
            read.extend_from_slice(&part[..length]);
        }
    });
    let text = String::from_utf8(read).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The lengths of records: those that fit into a page, and those that do not.
const LENGTHS: [usize; 6] = [100, 5000, 4000, 20_000, 1, 100_000];

/// The patience of a test that must lose nothing.
const PATIENT: Duration = Duration::from_mins(2);

#[test]
fn records_of_several_writers_stay_whole_and_keep_everything() {
    for (name, reader, fd) in narrow() {
        let settings = ErrorLogSettings {
            target: LogTarget::Standard,
            level: Level::Info,
            form: ErrorForm::Gunicorn,
        };
        let lines = written_by_eight(reader, fd, |fd, letter| {
            let log = Log::new(fd, &settings, PATIENT).unwrap();
            for length in LENGTHS.repeat(3) {
                let line = letter.to_string().repeat(length);
                log.record(Level::Info, format_args!("{line}\n{line}"));
            }
        });
        for line in &lines {
            let letters: String = line.chars().filter(char::is_ascii_lowercase).collect();
            let first = letters.chars().next().unwrap();
            assert_eq!(letters.trim_matches(first), "", "{name}: {line}");
        }
        let text = lines.concat();
        for letter in 'a'..='h' {
            let expected = 3 * 2 * LENGTHS.iter().sum::<usize>();
            assert_eq!(text.matches(letter).count(), expected, "{name}");
        }
    }
}

#[test]
fn lines_of_the_access_log_of_several_writers_stay_whole() {
    for (name, reader, fd) in narrow() {
        let lines = written_by_eight(reader, fd, |fd, letter| {
            let log = AccessLog::new(fd, None, PATIENT).unwrap();
            for length in LENGTHS.repeat(3) {
                let value = letter.to_string().repeat(length);
                let line = format!("{{\"from\":\"{value}\",\"status\":200}}\n");
                log.write(&mut line.into_bytes(), None);
            }
        });
        assert_eq!(lines.len(), 8 * 3 * LENGTHS.len());
        for line in lines {
            let object: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(object["status"], 200, "{name}: {line}");
            let value = object["from"].as_str().unwrap();
            let first = value.chars().next().unwrap();
            let (begin, end) = value.split_once("...[").unwrap_or((value, ""));
            let end = end.split_once("-bytes-cut]...").map_or("", |(_, end)| end);
            let both = [begin, end].concat();
            assert_eq!(both.trim_matches(first), "", "{name}: {line}");
        }
    }
}

#[test]
fn a_pipe_that_may_not_be_opened_again_does_not_block_either() {
    for method in [Method::NoWait, Method::Look] {
        let (reader, fd) = pipe();
        let reader = OwnedFd::from(reader);
        let patience = Duration::from_millis(50);
        let writer = Writer::with(fd, method, patience);
        let line = [b'x'; 1000];
        let failed = (0..1000).filter(|_| writer.write(&line).is_err()).count();
        assert!((900..1000).contains(&failed), "{method:?}: {failed}");
        drain(&reader);
        writer
            .write(
                b"flows
",
            )
            .unwrap();
        assert!(drain(&reader).ends_with(
            "flows
"
        ));
    }
}
