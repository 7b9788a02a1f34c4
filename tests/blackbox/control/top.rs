//! `rcorn top`, in a terminal.

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Gate, Screen, Server, Wire, lacks, program, wait_until};

const RCORN: &str = env!("CARGO_BIN_EXE_rcorn");

/// A script that runs `rcorn top` with these words, and says how it left and in which state the
/// terminal is then.
fn script(words: &str) -> String {
    format!(
        "before=$(stty -g)\n{RCORN} top -d 0.1 {words}\necho \"left with $?\"\n\
         [ \"$(stty -g)\" = \"$before\" ] && echo 'the terminal is as it was'"
    )
}

fn is_left(lines: &[String], code: u8) -> bool {
    let said = |text: &str| lines.iter().any(|line| line == text);
    said(&format!("left with {code}")) && said("the terminal is as it was")
}

/// Whether the screen has the row of this worker in this stage.
fn shows(lines: &[String], worker: Pid, stage: &str) -> bool {
    let pid = worker.to_string();
    lines.iter().any(|line| {
        let cells: Vec<&str> = line.split_whitespace().collect();
        cells.contains(&&*pid) && cells.contains(&stage)
    })
}

/// The stage of a worker, as the status tells it.
fn stage(server: &Server, worker: Pid) -> Option<String> {
    let status = server.status();
    let workers = status["workers"].as_array().unwrap();
    let worker = workers.iter().find(|seen| seen["pid"] == worker.as_raw());
    worker.map(|worker| worker["stage"].as_str().unwrap().to_owned())
}

/// Hangs a worker whose app catches the exception that is to end its request.
fn hang(server: &Server, gate: &Gate, wire: &mut Wire) -> Pid {
    wire.send("GET /stubborn HTTP/1.1\r\nHost: x\r\n\r\n");
    let hung = gate.expect(server.deadline());
    wait_until(server.deadline(), "the worker is to leave its app", || {
        stage(server, hung).as_deref() == Some("unwinding")
    });
    hung
}

/// Chooses a worker, and has it replaced.
fn retire(server: &Server, screen: &Screen, worker: Pid) {
    screen.press(&["/", &worker.to_string(), "Enter", "x"]);
    screen.wait_for(server.deadline(), "Replace worker ");
    screen.press(&["y"]);
    screen.wait(server.deadline(), "its leave", |lines| {
        shows(lines, worker, "leaving")
    });
    screen.press(&["Escape"]);
}

/// Orders one worker more, and waits until it stands at the gate in its import.
fn order_one_more(server: &Server, screen: &Screen, gate: &Gate, hung: Pid) -> Pid {
    screen.press(&["+"]);
    screen.wait_for(server.deadline(), "from 3 to 4 workers?");
    screen.press(&["y"]);
    loop {
        let booting = gate.expect(server.deadline());
        // What was raised in its app has sent the hung one to the gate again.
        if booting != hung {
            return booting;
        }
    }
}

#[test]
fn status_and_top_show_the_stage_of_each_worker() {
    if lacks(&[program("tmux")]) {
        return;
    }
    let gate = Gate::new();
    let folder = tempfile::TempDir::new().unwrap();
    let hold_import = folder.path().join("hold-import");
    let server = Server::app("stages:app")
        .env("HOLD_IMPORT", &hold_import)
        .args(["-w", "3", "--threads", "1", "--no-preload"])
        .args(["-t", "2", "--abort-timeout", "600"])
        .gate(&gate)
        .allow("WORKER TIMEOUT")
        .allow("is hung")
        .start();
    server.wait_serving(3);
    let mut stubborn = server.connect();
    let hung = hang(&server, &gate, &mut stubborn);
    // Its response is more than fits into the sockets, and nobody reads it.
    let mut large = server.connect();
    large.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    let draining = large.read_head().field("x-pid").unwrap().parse().unwrap();
    let draining = Pid::from_raw(draining);

    let screen = Screen::new(100, 24, &script(&format!("--pid {}", server.pid())));
    screen.wait_for(server.deadline(), "stages:app (pid ");
    retire(&server, &screen, draining);
    std::fs::write(&hold_import, "").unwrap();
    let booting = order_one_more(&server, &screen, &gate, hung);
    let idle = server.workers().into_iter().find(|worker| {
        ![hung, draining, booting].contains(worker)
            && stage(&server, *worker).as_deref() == Some("serving")
    });
    let expected = [
        (hung, "unwinding"),
        (draining, "leaving"),
        (booting, "booting"),
        (idle.unwrap(), "serving"),
    ];
    let request = "GET /stubborn HTTP/1.1 from 127.0.0.1";
    screen.wait(server.deadline(), "all stages", |lines| {
        let mut all = expected.iter();
        all.all(|(worker, stage)| shows(lines, *worker, stage))
            && lines.iter().any(|line| line.contains(request))
    });
    let said = server.ctl(&["status"]);
    let said: Vec<String> = said.done().lines().map(str::to_owned).collect();
    for (worker, expected) in expected {
        assert!(shows(&said, worker, expected), "{said:#?}");
    }
    screen.press(&["q"]);
    screen.wait(server.deadline(), "its end", |lines| is_left(lines, 0));

    std::fs::remove_file(&hold_import).unwrap();
    gate.open();
    large.skip(16 * 1024 * 1024);
    server.stop();
}

#[test]
fn orders_are_given_after_a_question() {
    if lacks(&[program("tmux")]) {
        return;
    }
    let server = Server::app("hello:app").args(["-w", "1"]).start();
    server.wait_serving(1);
    let screen = Screen::new(80, 24, &script(&format!("--pid {}", server.pid())));
    screen.wait_for(server.deadline(), "1 of 1 serving");
    screen.press(&["+"]);
    screen.wait_for(server.deadline(), "from 1 to 2 workers? y/n");
    screen.press(&["n"]);
    screen.wait_for(server.deadline(), "nothing was changed");
    screen.press(&["+", "y"]);
    screen.wait_for(server.deadline(), "2 of 2 serving");
    // A reload takes their number from the settings, as HUP does.
    screen.press(&["r", "y"]);
    screen.wait_for(server.deadline(), "gen 2  1 of 1 serving");
    screen.press(&["Enter"]);
    screen.wait_for(server.deadline(), "Stacks of worker ");
    screen.press(&["Escape"]);
    screen.wait_for(server.deadline(), "1 of 1 serving");
    screen.press(&["?"]);
    screen.wait_for(server.deadline(), "Keys of rcorn top");
    screen.press(&["Escape"]);
    screen.resize(60, 10);
    screen.wait(server.deadline(), "the smaller screen", |lines| {
        lines.len() == 10 && lines.iter().any(|line| line.starts_with("? help"))
    });
    screen.press(&["C-c"]);
    screen.wait(server.deadline(), "its end", |lines| is_left(lines, 0));
    server.stop();
}

#[test]
fn several_instances_come_and_go() {
    if lacks(&[program("tmux")]) {
        return;
    }
    let first = Server::app("hello:app").start();
    let second = Server::app("pid:app").start();
    first.wait_serving(1);
    second.wait_serving(1);
    let words = format!("-p {} -p {}", first.pid(), second.pid());
    let screen = Screen::new(80, 24, &script(&words));
    let both = [first.pid(), second.pid()];
    screen.wait(first.deadline(), "both", |lines| {
        both.iter().all(|pid| {
            lines
                .iter()
                .any(|line| line.contains(&format!("(pid {pid})  running")))
        }) && lines.iter().any(|line| line.contains("RCORN"))
    });
    let deadline = first.deadline();
    first.stop();
    screen.wait(deadline, "the second alone", |lines| {
        lines[0].contains(&format!("pid:app (pid {})", second.pid()))
            && !lines.iter().any(|line| line.contains("RCORN"))
    });
    second.stop();
    screen.wait_for(deadline, "No instance is running. Waiting for one.");
    screen.press(&["q"]);
    screen.wait(deadline, "its end", |lines| is_left(lines, 0));
}

#[test]
fn the_terminal_is_given_back_at_any_end() {
    if lacks(&[program("tmux")]) {
        return;
    }
    let server = Server::app("hello:app").start();
    server.wait_serving(1);
    for signal in [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
    ] {
        let screen = Screen::new(80, 24, &script(&format!("--pid {}", server.pid())));
        screen.wait_for(server.deadline(), "1 of 1 serving");
        let top = running_top(server.pid());
        kill(top, signal).unwrap();
        screen.wait(server.deadline(), "its end", |lines| is_left(lines, 0));
    }
    // Suspended by Ctrl-Z, and continued.
    let words = script(&format!("--pid {}", server.pid()));
    let screen = Screen::new(80, 24, &format!("set -m\n{words}\nfg\necho again"));
    screen.wait_for(server.deadline(), "1 of 1 serving");
    screen.press(&["C-z"]);
    screen.wait_for(server.deadline(), "? help");
    screen.press(&["q"]);
    screen.wait_for(server.deadline(), "again");
    server.stop();
}

/// The `rcorn top` that shows this instance.
fn running_top(server: Pid) -> Pid {
    let wanted = format!("--pid\0{server}\0");
    let processes = std::fs::read_dir("/proc").unwrap();
    let mut found = processes.filter_map(|entry| {
        let entry = entry.ok()?;
        let words = std::fs::read(entry.path().join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&words).into_owned();
        let is_it =
            words.starts_with(RCORN) && words.contains("\0top\0") && words.contains(&wanted);
        let pid = entry.file_name().to_str()?.parse().ok()?;
        is_it.then_some(Pid::from_raw(pid))
    });
    found.next().unwrap()
}

#[test]
fn no_color_is_obeyed() {
    if lacks(&[program("tmux")]) {
        return;
    }
    let server = Server::app("hello:app").start();
    server.wait_serving(1);
    let coloured = "\u{1b}[38;5;";
    for (variable, has_colour) in [("NO_COLOR=", true), ("NO_COLOR=1", false)] {
        let words = format!(
            "export {variable}\n{}",
            script(&format!("--pid {}", server.pid()))
        );
        let screen = Screen::new(80, 24, &words);
        screen.wait_for(server.deadline(), "serving  ");
        let styled = screen.styled_lines().join("\n");
        assert_eq!(styled.contains(coloured), has_colour, "{styled:?}");
        screen.press(&["q"]);
        screen.wait(server.deadline(), "its end", |lines| is_left(lines, 0));
    }
    server.stop();
}

#[test]
fn what_it_cannot_do_without_is_named() {
    let said = |words: &[&str]| {
        let output = Command::new(RCORN)
            .arg("top")
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), error)
    };
    let (code, error) = said(&[]);
    assert_eq!(code, 1);
    assert_eq!(
        error,
        "rcorn: error: rcorn top needs a terminal; hint: rcorn ctl status prints the same once\n"
    );
    let (code, error) = said(&["-d", "0"]);
    assert_eq!(code, 2);
    assert!(
        error.contains("is not a number of seconds from 0.1 to 3600"),
        "{error}"
    );
    if lacks(&[program("tmux")]) {
        return;
    }
    let server = Server::app("hello:app").start();
    for (variables, words, expected) in [
        (
            "TERM=dumb",
            "",
            "(TERM=dumb) cannot move its cursor; hint: ",
        ),
        ("", "--pid 1", "no running instance found; hint: "),
    ] {
        let words = format!("export X=1 {variables}\n{}", script(words));
        let screen = Screen::new(120, 24, &words);
        let lines = screen.wait(server.deadline(), "its end", |lines| is_left(lines, 1));
        assert!(
            lines.iter().any(|line| line.contains(expected)),
            "{lines:#?}"
        );
    }
    server.stop();
}
