//! What a page consists of. Texts have one mark: backquotes around what is typed as it stands.

/// A part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// A heading.
    Heading(String),
    /// A heading below that.
    Subheading(String),
    /// A paragraph.
    Text(String),
    /// Lines to be shown as they are.
    Code(Vec<String>),
    /// A term and what is said about it, paragraph by paragraph.
    Item(String, Vec<String>),
}

/// The pieces of a text in turn outside and inside backquotes.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = (bool, &str)> {
    text.split('`')
        .enumerate()
        .map(|(number, piece)| (number % 2 == 1, piece))
}
