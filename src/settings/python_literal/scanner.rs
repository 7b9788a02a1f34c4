//! A text that is read character by character, with errors that name the place.

use crate::refusal::Cause;

/// What may be written, for hints.
const ALLOWED: &str = "arguments may be None, True, False, numbers, 'texts', b'bytes', lists, tuples and dicts of these";

/// A text and how far it was read.
#[derive(Debug)]
pub(crate) struct Scanner {
    signs: Vec<char>,
    at: usize,
}

impl Scanner {
    pub(crate) fn new(text: &str, at: usize) -> Self {
        Self {
            signs: text.chars().collect(),
            at,
        }
    }

    /// An error at a place, counted from 1 as people count.
    pub(crate) fn wrong_at(place: usize, what: &str) -> Cause {
        Cause::because(
            format!("is wrong at character {}: {what}", place.saturating_add(1)),
            ALLOWED,
        )
    }

    pub(crate) fn wrong(&self, what: &str) -> Cause {
        Self::wrong_at(self.at, what)
    }

    pub(crate) fn place(&self) -> usize {
        self.at
    }

    pub(crate) fn back_to(&mut self, place: usize) {
        self.at = place;
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.signs.get(self.at).copied()
    }

    pub(crate) fn next(&mut self) -> Option<char> {
        let sign = self.peek()?;
        self.at = self.at.saturating_add(1);
        Some(sign)
    }

    pub(crate) fn takes(&mut self, sign: char) -> bool {
        let there = self.peek() == Some(sign);
        if there {
            self.at = self.at.saturating_add(1);
        }
        there
    }

    pub(crate) fn blanks(&mut self) {
        while self
            .peek()
            .is_some_and(|sign| matches!(sign, ' ' | '\t' | '\n' | '\r'))
        {
            self.at = self.at.saturating_add(1);
        }
    }

    /// The signs for which the test holds.
    pub(crate) fn run(&mut self, fits: impl Fn(char) -> bool) -> String {
        let mut run = String::new();
        while let Some(sign) = self.peek().filter(|sign| fits(*sign)) {
            run.push(sign);
            self.at = self.at.saturating_add(1);
        }
        run
    }
}
