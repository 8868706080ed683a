//! The priority of lines. fq_codel (RFC 8290) calls a flow sparse as long as it sends less than its
//! share, and lets it overtake the bulk flows; here a flow is what one member says.

/// The class of a line, which is that of its speaker when it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The speaker has said no more than a person can read; or the server itself speaks.
    Sparse,
    /// The speaker has said more than anybody can read.
    Bulk,
}
