//! What chatc asks of the daemon by itself, and how the answers are known.
//!
//! `dialogue` keeps the steps that are not answered yet, in order, and shows each notice to the first of them. The words
//! of the answers are those of `protocol::Answer`; a test here fails when they change.

use crate::protocol::{Answer, NameError, View};

/// Something that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A name, in text: others are told of it, and not of a guest that is called something else at once. Since anybody
    /// could forge the answer it means nothing, and the name is asked for once more.
    Early,
    /// To be shown objects.
    View,
    /// A name.
    Nick,
    /// A room.
    Join,
    /// The last line, to know where the room is.
    Find,
    /// The last lines, for those that were missed.
    Missed,
    /// The last lines, for somebody has typed `/last`.
    Last,
    /// To be shown objects, as before, for somebody has typed `/view`.
    Look,
    /// Something that cannot be a name, for somebody has typed that as one.
    Mistyped,
    /// To be shown objects, as before, to know whether what was said before it has been taken.
    Taken,
}

/// What a notice is to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is done.
    Granted,
    /// It is not.
    Refused(Refusal),
    /// The last lines follow.
    Begun(Step),
    /// Those were the last lines.
    Ended,
    /// All that was said before has been taken.
    Taken,
}

/// Why a wish is not granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the daemon says.
    pub words: String,
    /// Whether another name might do.
    pub is_name: bool,
    /// Whether the name is somebody else's, who may give it back.
    pub is_taken: bool,
}

impl Step {
    /// Whether it is for what somebody wants, who has to know whether it was granted.
    pub fn is_wish(self) -> bool {
        matches!(self, Self::Early | Self::View | Self::Nick | Self::Join)
    }

    /// The command.
    pub fn name(self) -> &'static str {
        match self {
            Self::View | Self::Look | Self::Taken => "/view",
            Self::Early | Self::Nick | Self::Mistyped => "/nick",
            Self::Join => "/join",
            Self::Find | Self::Missed | Self::Last => "/last",
        }
    }

    /// What a notice, without what marks it as one, is to this step; none for one that has nothing to do with it.
    pub fn answered_by(self, text: &str) -> Option<Answered> {
        let is_taken = text.contains(" is taken, or looks like");
        let refused =
            |is_name| Some(Answered::Refused(Refusal { words: text.to_owned(), is_name, is_taken }));
        match self {
            Self::View => None,
            Self::Look | Self::Taken => {
                (text == Answer::Viewed(View::Json).to_string()).then_some(Answered::Taken)
            }
            Self::Early => Self::Nick.answered_by(text),
            Self::Mistyped => is_name_error(text).then_some(Answered::Ended),
            Self::Nick if name_given(text).is_some() => Some(Answered::Granted),
            Self::Nick if is_taken || is_name_error(text) => refused(true),
            // Nobody can change what the kernel says; another name will not do either.
            Self::Nick if name_verified(text).is_some() => refused(false),
            Self::Join if room_entered(text).is_some() || text == Answer::AlreadyThere.to_string() => {
                Some(Answered::Granted)
            }
            Self::Join if text.ends_with(" already; see /rooms") || is_name_error(text) => refused(false),
            Self::Nick | Self::Join => None,
            Self::Find | Self::Missed | Self::Last
                if text.starts_with("the last ") && text.ends_with(':') =>
            {
                Some(Answered::Begun(self))
            }
            Self::Find | Self::Missed | Self::Last => {
                let ends = [Answer::EndOfLast, Answer::Last(0), Answer::NoHistory];
                ends.iter().any(|end| end.to_string() == text).then_some(Answered::Ended)
            }
        }
    }
}

/// The name that a notice says one has now.
pub fn name_given(text: &str) -> Option<&str> {
    let name = text.strip_prefix("you are ")?.strip_suffix(" now; /help says what else there is")?;
    is_word(name).then_some(name)
}

/// The name that a notice says one has, and cannot change: the kernel says so.
pub fn name_verified(text: &str) -> Option<&str> {
    text.strip_prefix("you are +")?.strip_suffix(": this machine says so, and nobody can change it")
}

/// The room in which a notice says one is now.
pub fn room_entered(text: &str) -> Option<&str> {
    let (room, rest) = text.strip_prefix("you are in ")?.split_once(" now (")?;
    (rest.ends_with(" here)") && is_word(room)).then_some(room)
}

/// One that can be sent in a command again.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

fn is_name_error(text: &str) -> bool {
    let all = [
        NameError::Empty,
        NameError::TooLong,
        NameError::BadCharacter,
        NameError::BadStart,
        NameError::MixedScripts,
        NameError::Reserved,
    ];
    all.iter().any(|error| error.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Name;
    use crate::protocol::command::CommandError;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn refused(step: Step, answer: Answer) -> Option<bool> {
        match step.answered_by(&answer.to_string()) {
            Some(Answered::Refused(refusal)) => Some(refusal.is_name),
            _ => None,
        }
    }

    #[test]
    fn the_answers_of_chatd_are_known() {
        let granted =
            |step: Step, answer: Answer| step.answered_by(&answer.to_string()) == Some(Answered::Granted);
        assert!(granted(Step::Nick, Answer::Named(name("ann"))));
        assert!(granted(Step::Join, Answer::Entered { room: name("ops"), members: 3 }));
        assert!(granted(Step::Join, Answer::AlreadyThere));
        let taken = |hint| Answer::Taken { name: name("ann"), hint };
        assert_eq!(refused(Step::Nick, taken(None)), Some(true));
        assert_eq!(refused(Step::Nick, taken(Some(name("ann2")))), Some(true));
        for (answer, is_taken) in
            [(taken(None), true), (Answer::Refused(CommandError::Name(NameError::Reserved)), false)]
        {
            let refused = Step::Nick.answered_by(&answer.to_string());
            assert!(matches!(refused, Some(Answered::Refused(refusal)) if refusal.is_taken == is_taken));
        }
        assert_eq!(refused(Step::Nick, Answer::IsVerified(name("ann"))), Some(false));
        assert_eq!(refused(Step::Join, Answer::TooManyRooms(100)), Some(false));
        assert_eq!(refused(Step::Join, Answer::TooManyRooms(1)), Some(false));
    }

    #[test]
    fn the_last_lines_have_a_beginning_and_an_end() {
        let answered = |answer: Answer| Step::Missed.answered_by(&answer.to_string());
        assert_eq!(answered(Answer::Last(1)), Some(Answered::Begun(Step::Missed)));
        assert_eq!(answered(Answer::Last(20)), Some(Answered::Begun(Step::Missed)));
        for end in [Answer::EndOfLast, Answer::Last(0), Answer::NoHistory] {
            assert_eq!(answered(end), Some(Answered::Ended));
        }
    }

    #[test]
    fn other_notices_are_no_answers() {
        for step in [Step::View, Step::Nick, Step::Join, Step::Find] {
            for text in ["told ann", "3 here: ann, bob", "bob is now carl", ""] {
                assert_eq!(step.answered_by(text), None, "{step:?} {text}");
            }
        }
    }

    #[test]
    fn names_and_rooms_are_taken_from_answers() {
        assert_eq!(name_given(&Answer::Named(name("ann")).to_string()), Some("ann"));
        assert_eq!(room_entered(&Answer::Entered { room: name("ops"), members: 1 }.to_string()), Some("ops"));
        assert_eq!(name_verified(&Answer::IsVerified(name("ann")).to_string()), Some("ann"));
        assert_eq!(name_given("you are a b now; /help says what else there is"), None);
        assert_eq!(room_entered("you are there"), None);
    }
}
