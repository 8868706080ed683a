//! What a program can rely on that runs the engine in a loop of its own.

use std::io;
use std::time::Instant;

use line_chat::engine::{Engine, Stream};
use line_chat::{Config, Interactive};

/// A stream that is never used.
#[derive(Debug)]
enum Never {}

impl io::Read for Never {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

impl io::Write for Never {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}

impl Stream for Never {
    fn shutdown_write(&mut self) -> io::Result<()> {
        match *self {}
    }
}

#[test]
fn an_engine_whose_password_file_cannot_be_read_does_not_come_up() {
    let config = Config {
        interactive: Interactive {
            password_file: Some("/nonexistent/password".into()),
            ..Interactive::default()
        },
        ..Config::default()
    };
    let engine = Engine::<Never>::new(config, (), Instant::now());
    let error = engine.expect_err("an open room").to_string();
    assert!(error.contains("/nonexistent/password"), "{error}");
}
