//! The prose files: headings after `# ` and `## `, paragraphs of one line, code indented by four
//! blanks, a term with its explanation in the next line after `: `, and `{{name}}` for what comes
//! from the table.

use super::block::Block;

/// Gives the blocks that stand for a name.
pub(super) type Named = dyn Fn(&str) -> Vec<Block>;

/// Turns prose into blocks.
pub(super) fn parse(prose: &str, named: &Named) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = prose.lines().peekable();
    let mut apart = true;
    while let Some(line) = lines.next() {
        if line.is_empty() {
            apart = true;
            continue;
        }
        let block = if let Some(heading) = line.strip_prefix("# ") {
            Block::Heading(heading.to_owned())
        } else if let Some(heading) = line.strip_prefix("## ") {
            Block::Subheading(heading.to_owned())
        } else if let Some(code) = line.strip_prefix("    ") {
            if let Some(Block::Code(before)) = blocks.last_mut().filter(|_| !apart) {
                before.push(code.to_owned());
                continue;
            }
            Block::Code(vec![code.to_owned()])
        } else if let Some(about) = lines.peek().and_then(|next| next.strip_prefix(": ")) {
            lines.next();
            Block::Item(line.to_owned(), vec![with_names(about, named)])
        } else if let Some(name) = line
            .strip_prefix("{{")
            .and_then(|rest| rest.strip_suffix("}}"))
        {
            blocks.extend(named(name));
            continue;
        } else {
            Block::Text(with_names(line, named))
        };
        apart = false;
        blocks.push(block);
    }
    blocks
}

/// Puts in what names within a line stand for.
fn with_names(line: &str, named: &Named) -> String {
    let Some((before, rest)) = line.split_once("{{") else {
        return line.to_owned();
    };
    let Some((name, after)) = rest.split_once("}}") else {
        return line.to_owned();
    };
    let texts: Vec<String> = named(name)
        .into_iter()
        .map(|block| match block {
            Block::Text(text) | Block::Heading(text) | Block::Subheading(text) => text,
            Block::Code(lines) => lines.join(" "),
            Block::Item(term, _about) => term,
        })
        .collect();
    format!("{before}{}{}", texts.join(" "), with_names(after, named))
}
