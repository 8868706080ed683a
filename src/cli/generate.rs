//! The files that come with the program, printed by the program itself, so that none can be of another
//! version: the manual page and the completions are made of the flags, and the units, the Dockerfile and the
//! alerts are files in `src/dist/`.

use std::io::{self, Write};

use clap::{Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// A file to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub(crate) enum Generate {
    /// The manual page line-chat(1)
    Man,
    /// What completes flags in bash
    CompleteBash,
    /// What completes flags in zsh
    CompleteZsh,
    /// What completes flags in fish
    CompleteFish,
    /// The systemd unit of the server
    Service,
    /// The systemd unit of its sockets
    Socket,
    /// What the service is configured by, /etc/default/line-chat
    Default,
    /// How to build a container
    Dockerfile,
    /// Alerts on the metrics, for Prometheus
    AlertRules,
}

impl Generate {
    /// Prints the file, for the program with these flags.
    ///
    /// # Errors
    /// Standard output takes no more.
    pub(crate) fn print(self, command: &Command) -> io::Result<()> {
        let text = self.render(command)?;
        let mut out = io::stdout().lock();
        out.write_all(&text)?;
        out.flush()
    }

    fn render(self, command: &Command) -> io::Result<Vec<u8>> {
        let text = match self {
            Self::Man => return man(command),
            Self::CompleteBash => return Ok(complete(Shell::Bash, command)),
            Self::CompleteZsh => return Ok(complete(Shell::Zsh, command)),
            Self::CompleteFish => return Ok(complete(Shell::Fish, command)),
            Self::Service => include_str!("../dist/line-chat.service"),
            Self::Socket => include_str!("../dist/line-chat.socket"),
            Self::Default => include_str!("../dist/line-chat.default"),
            Self::Dockerfile => include_str!("../dist/Dockerfile"),
            Self::AlertRules => include_str!("../dist/prometheus.rules.yml"),
        };
        Ok(text.into())
    }
}

/// What the manual page says beside the flags, as sections of terms.
const SECTIONS: [(&str, &[(&str, &str)]); 4] = [
    (
        "SIGNALS",
        &[
            (
                "SIGINT, SIGTERM",
                "Tells every client, writes what is queued, and ends. A second one ends the server at once.",
            ),
            (
                "SIGHUP",
                "Reads the greeting and the passwords again, and opens the transcript anew.",
            ),
            ("SIGUSR1", "Writes the metrics to the log."),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            ("0", "The server was shut down."),
            (
                "1",
                "It cannot start; the line on standard error says why, and what to do.",
            ),
            ("2", "A flag or a variable has a value that it cannot have."),
        ],
    ),
    (
        "FILES",
        &[
            (
                "/etc/default/line-chat",
                "The variables of the service, if it was installed as a package.",
            ),
            (
                "/run/line-chat",
                "The place for Unix sockets of the service.",
            ),
            (
                "/var/log/line-chat",
                "The place for what the service records.",
            ),
        ],
    ),
    (
        "SEE ALSO",
        &[(
            "telnet(1), nc(1), systemd.service(5), systemd.socket(5)",
            "",
        )],
    ),
];

fn man(command: &Command) -> io::Result<Vec<u8>> {
    let examples = command.get_after_help().map(ToString::to_string);
    let man = Man::new(visible(command)).date(" ").manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut rest = Roff::new();
    if let Some(examples) = &examples {
        let examples = examples.strip_prefix("Examples:\n").unwrap_or(examples);
        rest.control("SH", ["EXAMPLES"]).control("nf", []);
        rest.text([roman(examples)]).control("fi", []);
    }
    for (title, terms) in SECTIONS {
        rest.control("SH", [title]);
        for (term, text) in terms.iter().copied() {
            if text.is_empty() {
                rest.text([roman(term)]);
            } else {
                rest.control("TP", [])
                    .text([bold(term)])
                    .text([roman(text)]);
            }
        }
    }
    rest.to_writer(&mut page)?;
    Ok(page)
}

fn complete(shell: Shell, command: &Command) -> Vec<u8> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut visible(command), name, &mut script);
    script
}

/// The command without its hidden flags, which clap hides in help only.
fn visible(command: &Command) -> Command {
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let mut visible = Command::new("line-chat")
        .version(env!("CARGO_PKG_VERSION"))
        .args(args);
    if let Some(about) = command.get_about() {
        visible = visible.about(about.clone());
    }
    if let Some(about) = command.get_long_about() {
        visible = visible.long_about(about.clone());
    }
    visible
}
