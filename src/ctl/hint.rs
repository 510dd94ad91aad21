//! Sentences of chatd with a hint for those who type lines to it, as chatctl says them: with its own commands.

use crate::protocol::{Notice, Report};

/// Returns the sentence of a notice whose own one has such a hint; `None` for the others.
pub fn sentence(notice: &Notice) -> Option<String> {
    if *notice == Notice::Nobody {
        return Some("nobody is called that; see: chatctl sessions".to_owned());
    }
    let Notice::Report(report) = notice else { return None };
    Some(match &**report {
        Report::NotBanned { kind, subject } => {
            format!("there is no {kind} of exactly {subject}; see: chatctl bans")
        }
        Report::NoRoom { room } => format!("there is no room {room}; see: chatctl rooms"),
        Report::BansYourself { subject } => {
            format!("{subject} is not banned, because that covers you, too; add --force if you mean it")
        }
        Report::Watch { room } => {
            format!("you hear {}; Ctrl-C ends it", if room == "*" { "every room" } else { room })
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hint_has_a_command_that_a_shell_does_not_know() {
        let (kind, subject, room) = ("ban".to_owned(), "10.0.0.0/8".to_owned(), "ops".to_owned());
        for (notice, hint) in [
            (Notice::Nobody, "chatctl sessions"),
            (Report::NotBanned { kind, subject: subject.clone() }.into(), "chatctl bans"),
            (Report::NoRoom { room: room.clone() }.into(), "chatctl rooms"),
            (Report::BansYourself { subject }.into(), "--force"),
            (Report::Watch { room }.into(), "Ctrl-C"),
            (Report::Watch { room: "*".to_owned() }.into(), "every room; Ctrl-C"),
        ] {
            assert!(notice.to_string().contains(" /"), "{notice}");
            let sentence = sentence(&notice).unwrap();
            assert!(sentence.contains(hint) && !sentence.contains(" /"), "{sentence}");
        }
        assert_eq!(sentence(&Notice::Crashed), None);
    }
}
