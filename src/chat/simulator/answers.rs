//! Answers that a reader knows, by what is in them.

/// Returns whether somebody who asked to be moved stays.
pub fn is_refusal(text: &str) -> bool {
    text == "you are already in that room"
        || text.ends_with(" rooms already; see /rooms")
        || text == "there is 1 room already; see /rooms"
        || text.starts_with("chatd has little memory left")
        || text.contains(" is taken, or looks like a name that is")
        || text.contains(": the name is verified, and nobody can change it")
}

pub fn is_known(text: &str) -> bool {
    let is_help = text.starts_with('/');
    let parts = [
        " here: ",
        "told ",
        "nobody is called ",
        "nobody has exactly that name",
        "that is you",
        " ignores you, and did not get it",
        " is not reading, and did not get it",
        " rooms: ",
        " room: ",
        "nothing has been said yet",
        "the history is turned off here",
        "you already ignore 100",
        "closing: chatd is stopping",
        "welcome",
        "server full",
        "synced ",
        "no line has that text",
        "chatd has lost touch with the rest of its cluster",
        "chatd is in touch with the rest of its cluster again",
        "the cluster had a failure",
    ];
    is_help || parts.iter().any(|part| text.contains(part))
}
