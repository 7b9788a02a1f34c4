//! Blocks as Markdown.

use super::block::Block;

/// One part of the reference, under its title.
pub(super) fn part(title: &str, blocks: &[Block]) -> String {
    let mut out = format!("\n## {title}\n");
    for block in blocks {
        out.push('\n');
        match block {
            Block::Heading(text) => {
                let (first, rest) = text.split_at_checked(1).unwrap_or((text, ""));
                out.extend(["### ", first, &rest.to_lowercase(), "\n"]);
            }
            Block::Subheading(text) => out.extend(["#### ", text, "\n"]),
            Block::Text(text) => out.extend([&shown(text), "\n"]),
            Block::Code(lines) => {
                for line in lines {
                    out.push_str(format!("    {line}").trim_end());
                    out.push('\n');
                }
            }
            Block::Item(term, paragraphs) => {
                out.extend(["- **", &shown(term), "**\n"]);
                for paragraph in paragraphs {
                    out.extend(["\n  ", &shown(paragraph), "\n"]);
                }
            }
        }
    }
    out
}

/// A star that stands for itself.
fn shown(text: &str) -> String {
    super::block::pieces(text)
        .map(|(typed, piece)| {
            if typed {
                format!("`{piece}`")
            } else {
                piece
                    .replace('*', "\\*")
                    .replace('<', "&lt;")
                    .replace('[', "\\[")
            }
        })
        .collect()
}
