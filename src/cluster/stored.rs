//! What the engine stores beside the orders: the roster and the bans, for a node that comes later.

use super::connection::{Connection, Trouble};
use super::resp::Value;
use super::settings::Settings;
use crate::chat::{ClusterBans, Cursor, Roster};

/// Most bytes of the roster.
const MAX_ROSTER: usize = 512 << 20;

/// Fetches the roster, and the last act in it.
pub async fn roster(connection: &mut Connection, settings: &Settings) -> Result<(Cursor, Roster), Trouble> {
    let key = settings.shared_key("roster");
    let parts = ["HMGET", &key, "epoch", "entry", "roster"];
    connection.longest = MAX_ROSTER;
    let reply = connection.ask(&parts.map(str::as_bytes)).await?;
    let [epoch, entry, roster] = reply.parts() else { return Ok(Default::default()) };
    let Some(((epoch, entry), json)) = epoch.number().zip(entry.number()).zip(roster.bytes()) else {
        return Ok(Default::default());
    };
    let roster = serde_json::from_slice(json).unwrap_or_else(|_| {
        log::error!("the roster in {key} cannot be read: it is built anew");
        Roster::default()
    });
    Ok((Cursor { epoch, entry }, roster))
}

/// Fetches the bans, and the last act that counts in them; `None` if the engine refuses them.
pub async fn bans(
    connection: &mut Connection,
    script: &str,
    settings: &Settings,
) -> Result<Option<(ClusterBans, Cursor)>, Trouble> {
    let [bans, acts] = ["bans", "acts"].map(|key| settings.shared_key(key));
    let parts = ["EVALSHA", script, "2", &bans, &format!("{acts}:state")];
    let reply = match connection.ask(&parts.map(str::as_bytes)).await {
        Err(trouble) if ["WRONGTYPE", "ERR"].contains(&trouble.code()) => {
            log::error!("the engine refuses {bans}: {trouble}; each node has its own bans");
            return Ok(None);
        }
        reply => reply?,
    };
    let [id, epoch, entry, rows @ ..] = reply.parts() else {
        return Err(Trouble::Unfit("a script returns nonsense".to_owned()));
    };
    let [id, epoch, entry] = [id, epoch, entry].map(|number| number.number().unwrap_or(0));
    // What is no text is an empty line, which is no ban.
    let line = |[subject, rest]: &[Value<'_>; 2]| Some(format!("{} {}", subject.text()?, rest.text()?));
    let lines = rows.as_chunks().0.iter().map(|row| line(row).unwrap_or_default()).collect();
    Ok(Some((ClusterBans { id, lines, has_lost: false }, Cursor { epoch, entry })))
}
