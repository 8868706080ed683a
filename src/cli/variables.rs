//! Variables of the environment that look like ours and are not: a name that is mistyped would otherwise
//! leave a limit where it was, and nobody would know.

use std::env;

use log::warn;

/// What the names of our variables begin with.
const PREFIX: &str = "LINE_CHAT_";

/// What Kubernetes sets for a service that is called line-chat.
const OF_KUBERNETES: [&str; 2] = ["SERVICE_", "PORT_"];

/// A known name is suggested if at most one letter in this many is wrong.
const LETTERS_FOR_ONE_WRONG: usize = 3;

/// Warns of each variable that has our prefix and is not `known`.
pub(crate) fn warn_of_unknown(known: &[String]) {
    let mut names: Vec<String> = env::vars_os()
        .filter(|(_, value)| !value.to_string_lossy().starts_with("tcp://"))
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .filter(|name| is_unknown(name, known))
        .collect();
    names.sort();
    for name in names {
        match nearest(&name, known) {
            Some(meant) => warn!(
                target: "line_chat::server",
                "{name} is not a variable of line-chat: did you mean {meant}?"
            ),
            None => warn!(
                target: "line_chat::server",
                "{name} is not a variable of line-chat: line-chat --help names them"
            ),
        }
    }
}

fn is_unknown(name: &str, known: &[String]) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let is_another_programs = OF_KUBERNETES.iter().any(|it| rest.starts_with(it));
    !is_another_programs && !known.iter().any(|it| it == name)
}

fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let name = name.strip_prefix(PREFIX)?;
    let distances = known.iter().filter_map(|it| {
        let distance = strsim::damerau_levenshtein(name, it.strip_prefix(PREFIX)?);
        Some((distance, &**it))
    });
    let (distance, nearest) = distances.min()?;
    (distance <= name.chars().count() / LETTERS_FOR_ONE_WRONG).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_or_near_one_or_somebody_elses() {
        let known = ["LINE_CHAT_MAX_LINE", "LINE_CHAT_MAX_NICK"].map(str::to_owned);
        for (name, unknown, meant) in [
            ("LINE_CHAT_MAX_LINE", false, Some("LINE_CHAT_MAX_LINE")),
            ("LINE_CHAT_MAX_LINES", true, Some("LINE_CHAT_MAX_LINE")),
            ("LINE_CHAT_MAX_NCIK", true, Some("LINE_CHAT_MAX_NICK")),
            ("LINE_CHAT_MAXIMUM", true, None),
            ("LINE_CHAT_", true, None),
            ("LINE_CHAT_SERVICE_HOST", false, None),
            ("LINE_CHAT_PORT_6142_TCP_ADDR", false, None),
            ("LINE_CHAT", false, None),
            ("LINECHAT_MAX_LINE", false, None),
        ] {
            assert_eq!(is_unknown(name, &known), unknown, "{name}");
            assert_eq!(nearest(name, &known), meant, "{name}");
        }
    }
}
