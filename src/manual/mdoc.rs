//! Blocks as a manual page in mdoc(7), which mandoc and groff both read.

use super::block::{Block, pieces};

/// A whole page.
pub(super) fn page(name: &str, section: u8, about: &str, blocks: &[Block]) -> String {
    // `$Mdocdate$` is mdoc's own way to have no date: the page depends on the table alone.
    let mut out = format!(
        ".\\\" Made by rcorn --generate from the table of settings. Do not edit.\n\
         .Dd $Mdocdate$\n.Dt {} {section}\n.Os rcorn {}\n.Sh NAME\n.Nm {name}\n.Nd {about}\n",
        name.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
    );
    let mut before: Option<&Block> = None;
    for block in blocks {
        let listed = matches!(before, Some(Block::Item(..)));
        if listed && !matches!(block, Block::Item(..)) {
            out.push_str(".El\n");
        }
        let after_heading = matches!(
            before,
            Some(Block::Heading(_) | Block::Subheading(_)) | None
        );
        match block {
            Block::Heading(text) => line(&mut out, ".Sh ", text),
            Block::Subheading(text) => line(&mut out, ".Ss ", text),
            Block::Text(text) => {
                out.push_str(if after_heading { "" } else { ".Pp\n" });
                sentences(&mut out, text);
            }
            Block::Code(lines) => {
                // A display makes its own distance.
                out.push_str(".Bd -literal -offset indent\n");
                for code in lines {
                    out.push_str(&started(&escaped(code)));
                    out.push('\n');
                }
                out.push_str(".Ed\n");
            }
            Block::Item(term, paragraphs) => {
                if !listed {
                    out.push_str(".Bl -tag -width Ds\n");
                }
                // `\&` keeps words such as `No` from being taken for macros.
                let term = marked(term).replace('"', "\\(dq");
                out.extend([".It \"\\&", &term, "\"\n"]);
                for (number, paragraph) in paragraphs.iter().enumerate() {
                    out.push_str(if number == 0 { "" } else { ".Pp\n" });
                    sentences(&mut out, paragraph);
                }
            }
        }
        before = Some(block);
    }
    if matches!(before, Some(Block::Item(..))) {
        out.push_str(".El\n");
    }
    out
}

fn line(out: &mut String, begin: &str, text: &str) {
    out.push_str(begin);
    out.push_str(&marked(text));
    out.push('\n');
}

/// One sentence a line: mdoc widens the gap after it, and diffs are small.
fn sentences(out: &mut String, text: &str) {
    for sentence in text.replace(". ", ".\n").lines() {
        out.push_str(&started(&marked(sentence)));
        out.push('\n');
    }
}

/// What is between backquotes in bold.
fn marked(text: &str) -> String {
    pieces(text)
        .map(|(typed, piece)| {
            if typed {
                format!("\\fB{}\\fR", escaped(piece))
            } else {
                prose(piece)
            }
        })
        .collect()
}

fn prose(text: &str) -> String {
    text.replace('\\', "\\e").replace('\'', "\\(aq")
}

/// What can be copied from the page: a hyphen must not become a dash.
fn escaped(text: &str) -> String {
    prose(text)
        .replace('-', "\\-")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
}

/// A point at the begin of a line would make it a request.
fn started(line: &str) -> String {
    if line.starts_with('.') {
        format!("\\&{line}")
    } else {
        line.to_owned()
    }
}
