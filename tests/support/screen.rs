//! A terminal: tmux runs a program in it, takes keys for it and tells what is on the screen. A test
//! that uses it needs the program tmux.

use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::{Deadline, holds_within};

/// A terminal with a shell, in a tmux of its own.
#[derive(Debug)]
pub(crate) struct Screen {
    directory: TempDir,
}

impl Screen {
    /// A terminal of this size, in which `sh` runs this script; it stays when the script has ended.
    pub(crate) fn new(columns: u16, lines: u16, script: &str) -> Self {
        let screen = Self {
            directory: TempDir::with_prefix("rcorn-screen-").unwrap(),
        };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let kept = format!("{script}\nexec cat");
        // Without the user's own settings, and in a locale whose characters are bytes.
        let started = screen.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            &lines,
            "sh",
            "-c",
            &kept,
        ]);
        assert!(started.status.success(), "{started:?}");
        screen
    }

    fn tmux(&self, words: &[&str]) -> Output {
        let socket = self.directory.path().join("tmux");
        Command::new("tmux")
            .arg("-S")
            .arg(socket)
            .args(words)
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Presses keys, in tmux's names: `a`, `Enter`, `C-c`.
    pub(crate) fn press(&self, keys: &[&str]) {
        let sent = self.tmux(&[&["send-keys"], keys].concat());
        assert!(sent.status.success(), "{sent:?}");
    }

    /// What is on the screen, a string a line.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.captured(&[])
    }

    /// The same with the escape sequences of colours and of bold text.
    pub(crate) fn styled_lines(&self) -> Vec<String> {
        self.captured(&["-e"])
    }

    fn captured(&self, options: &[&str]) -> Vec<String> {
        let shown = self.tmux(&[&["capture-pane", "-p"], options].concat());
        let text = String::from_utf8(shown.stdout).unwrap();
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// Changes its size.
    pub(crate) fn resize(&self, columns: u16, lines: u16) {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let done = self.tmux(&["resize-window", "-x", &columns, "-y", &lines]);
        assert!(done.status.success(), "{done:?}");
    }

    /// Waits until the screen is as wanted.
    pub(crate) fn wait(
        &self,
        deadline: Deadline,
        what: &str,
        wanted: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        let holds = holds_within(deadline, || {
            lines = self.lines();
            wanted(&lines)
        });
        assert!(holds, "waited too long for {what}:\n{}", lines.join("\n"));
        lines
    }

    /// Waits until a line contains this.
    pub(crate) fn wait_for(&self, deadline: Deadline, part: &str) -> Vec<String> {
        self.wait(deadline, part, |lines| {
            lines.iter().any(|line| line.contains(part))
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It ends what runs in it.
        self.tmux(&["kill-server"]);
    }
}
