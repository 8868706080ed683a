//! The model of `/help`: what the manual says of each command.

use super::Room;

const MANUAL: &str = include_str!("../../../src/manual/interactive.md");

/// The table of the manual: what is typed, and what that does.
fn commands() -> impl Iterator<Item = (String, String)> {
    let rows = MANUAL.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let row = row.trim_end_matches(" |").replace("\\|", "|");
        let (typed, what) = row.split_once("` | ").expect("two columns");
        (typed.to_owned(), what.replace('`', ""))
    })
}

/// The other names of a command, with their slashes.
fn aliases(command: &str) -> Vec<&'static str> {
    let (_, names) = MANUAL.split_once("Other names: ").expect("the names");
    let (names, _) = names.split_once(".\n").expect("their end");
    let mut names = names.split(';').map(|names| {
        let mut names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
        (names.pop().expect("the command"), names)
    });
    let found = names.find(|(name, _)| *name == command);
    found.map(|(_, names)| names).unwrap_or_default()
}

impl Room {
    pub(super) fn helps(&mut self, number: usize, command: &str) {
        if !command.is_empty() {
            return self.explains(number, command.trim_start_matches('/'));
        }
        let is_operator = self.clients[number].is_operator;
        let operators = commands().skip_while(|(typed, _)| typed != "/deop");
        let operators = operators.take_while(|(typed, _)| !typed.starts_with("//"));
        let operators: Vec<_> = operators.collect();
        self.seen.insert(match is_operator {
            true => "help for operators",
            false => "help",
        });
        for row in commands().filter(|row| is_operator || !operators.contains(row)) {
            self.show(number, &format!("* {}: {}", row.0, row.1));
        }
    }

    fn explains(&mut self, number: usize, name: &str) {
        self.seen.insert("help for a command");
        let (typed, what, aliases) = commands()
            .find_map(|(typed, what)| {
                let command = typed.split(' ').next()?;
                let aliases = aliases(command);
                let is_called = command[1..] == *name || aliases.iter().any(|it| it[1..] == *name);
                is_called.then(|| (typed.clone(), what, aliases))
            })
            .expect("a command");
        let also = match aliases[..] {
            [] => String::new(),
            _ => format!("; also {}", aliases.join(", ")),
        };
        self.show(number, &format!("* {typed}: {what}{also}"));
    }
}
