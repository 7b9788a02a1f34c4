//! Where lines of the access log are written, and how many it did not take.

use super::super::error;
use super::super::lost::Lost;
use super::super::sink::Sink;

/// Where lines are written.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) sink: Box<dyn Sink>,
    /// The lines lost since the last one that was written.
    pub(super) lost: Lost,
}

impl Destination {
    /// Writes lines, of which there are `count`. The error log reports failures when they begin and
    /// when they are over.
    pub(super) fn write(&self, lines: &[u8], count: u64) {
        match self.sink.write(lines) {
            Ok(()) => {
                let lost = self.lost.pending();
                if lost > 0 {
                    self.lost.told(lost);
                    error(format_args!(
                        "The access log can be written again; {lost} lines are lost"
                    ));
                }
            }
            Err(cause) => {
                if self.lost.add(count) == 0 {
                    error(format_args!("Cannot write the access log: {cause}"));
                }
            }
        }
    }
}
