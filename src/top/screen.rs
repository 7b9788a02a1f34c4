//! The terminal while `rcorn top` has it.

use std::io::{self, Stdout};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ratatui::backend::TermionBackend;
use ratatui::layout::{Position, Rect};
use ratatui::termion::raw::{IntoRawMode, RawTerminal};
use ratatui::termion::screen::{AlternateScreen, IntoAlternateScreen};
use ratatui::{Frame, Terminal};

/// The terminal in raw mode, on its other screen. Each layer undoes what it did when it is dropped,
/// in a panic too.
type Raw = Terminal<TermionBackend<AlternateScreen<RawTerminal<Stdout>>>>;

/// The terminal. Dropping it gives it back.
pub(crate) struct Screen {
    /// `None` only while the process is suspended.
    terminal: Option<Raw>,
}

impl Screen {
    /// Takes the terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        let terminal = Some(take()?);
        Ok(Self { terminal })
    }

    /// Draws what has changed.
    pub(crate) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let terminal = self.terminal.as_mut();
        terminal.map_or(Ok(()), |terminal| terminal.draw(draw).map(drop))
    }

    /// The next drawing draws everything: something else has written to the terminal.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        let Some(terminal) = &mut self.terminal else {
            return Ok(());
        };
        // Not `Terminal::clear`: it asks the terminal where its cursor is, and the thread that
        // reads keys would take the answer.
        let size = terminal.size()?;
        terminal.resize(Rect::from((Position::ORIGIN, size)))
    }

    /// Gives the terminal back and stops, as Ctrl-Z does; takes it again when the shell continues
    /// the process.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        self.terminal = None;
        // To the whole group, as the terminal does: a script that has started this stops too.
        kill(Pid::from_raw(0), Signal::SIGTSTP)?;
        self.terminal = Some(take()?);
        Ok(())
    }
}

fn take() -> io::Result<Raw> {
    let screen = io::stdout().into_raw_mode()?.into_alternate_screen()?;
    let mut terminal = Terminal::new(TermionBackend::new(screen))?;
    terminal.hide_cursor()?;
    Ok(terminal)
}
