//! Several servers, one room: what is said anywhere is an entry of one log, and every server does what the
//! log says, in its order. The log is kept by an engine, which is reached elsewhere: here are no sockets, no
//! clock and no members.
