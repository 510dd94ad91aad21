//! The engine: finds the one that is the primary, and makes the connections to it.

use super::address::Address;
use super::connection::{Connection, Trouble};
use super::resp::Value;
use super::settings::Settings;
use super::state::ACTS;
use crate::chat::Cursor;

/// The oldest version that has all that is needed: explicit identifiers, and scripts that see the time.
const OLDEST: u64 = 7;

/// The names that the engine has given to the scripts.
#[derive(Clone, Debug)]
pub struct Scripts {
    pub append: String,
    pub open: String,
    pub bans: String,
    pub store: String,
    pub claim: String,
    pub leave: String,
    pub numbers: String,
}

/// Connections to an engine that is the primary, one for each task.
#[derive(Debug)]
pub struct Engine {
    /// The number of its address in the settings.
    pub index: usize,
    /// Its name and version.
    pub version: String,
    pub scripts: Scripts,
    pub writer: Connection,
    pub reader: Connection,
    pub keeper: Connection,
    /// What the engine calls the connection of the reader.
    pub reader_id: u64,
    /// Its last act.
    pub acts: Cursor,
}

/// Connects to an address, if the engine there is the primary.
///
/// # Errors
/// It cannot be reached, or it cannot be used.
pub async fn connect(settings: &Settings, index: usize) -> Result<Engine, Trouble> {
    let address = &settings.addresses[index];
    let mut writer = log_in(settings, address).await?;
    let (version, run) = version(&mut writer).await?;
    expect_primary(&mut writer).await?;
    let acts = last_act(&mut writer, settings).await?;
    let scripts = Scripts {
        append: load(&mut writer, &format!("{run}{}", include_str!("append.lua"))).await?,
        open: load(&mut writer, &format!("{run}{}", include_str!("open.lua"))).await?,
        bans: load(&mut writer, include_str!("bans.lua")).await?,
        store: load(&mut writer, include_str!("store.lua")).await?,
        claim: load(&mut writer, include_str!("claim.lua")).await?,
        leave: load(&mut writer, include_str!("leave.lua")).await?,
        numbers: load(&mut writer, include_str!("numbers.lua")).await?,
    };
    let mut reader = log_in(settings, address).await?;
    let reader_id = reader.ask(&[b"CLIENT", b"ID"]).await?.number().unwrap_or(0);
    let keeper = log_in(settings, address).await?;
    Ok(Engine { index, version, scripts, writer, reader, keeper, reader_id, acts })
}

/// Connects to an address, and says who it is.
///
/// # Errors
/// It cannot be reached, or refuses the password.
pub async fn log_in(settings: &Settings, address: &Address) -> Result<Connection, Trouble> {
    let mut connection = Connection::open(address).await?;
    if let Some(password) = &settings.password {
        let mut parts: Vec<&[u8]> = vec![b"AUTH"];
        parts.extend(settings.user.as_ref().map(|user| user.as_bytes()));
        parts.push(password.reveal().as_bytes());
        connection.ask(&parts).await?;
    }
    if address.database() > 0 {
        connection.ask(&[b"SELECT", address.database().to_string().as_bytes()]).await?;
    }
    Ok(connection)
}

/// Returns the name and the version of the engine, and a first line for scripts that names this run of it.
async fn version(connection: &mut Connection) -> Result<(String, String), Trouble> {
    let reply = connection.ask(&[b"INFO", b"server"]).await?;
    let info = String::from_utf8_lossy(reply.bytes().unwrap_or_default());
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
    let is_number = |version: &&str| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let redis = field("redis_version:").filter(is_number).unwrap_or("0");
    let major = redis.split('.').next().and_then(|major| major.parse::<u64>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        return Err(Trouble::Unfit(format!("it is version {redis}; chatd needs Redis 7.0 or Valkey")));
    }
    let version = match field("valkey_version:").filter(is_number) {
        Some(valkey) => format!("valkey {valkey}"),
        None => format!("redis {redis}"),
    };
    let is_run = |run: &&str| run.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Ok((version, format!("local run = '{}'\n", field("run_id:").filter(is_run).unwrap_or_default())))
}

async fn expect_primary(connection: &mut Connection) -> Result<(), Trouble> {
    let reply = connection.ask(&[b"ROLE"]).await?;
    match reply.parts().first().and_then(Value::text) {
        Some("master") => Ok(()),
        Some("sentinel") => Err(Trouble::Unfit(
            "it is a Sentinel; give the addresses of the engines that it watches".to_owned(),
        )),
        _ => Err(Trouble::Unfit("it is a replica, and not the primary".to_owned())),
    }
}

/// Returns the place of the last act that the engine has; that before all others if it has none.
async fn last_act(connection: &mut Connection, settings: &Settings) -> Result<Cursor, Trouble> {
    let key = format!("{}:state", settings.stream_key(ACTS));
    match connection.ask(&[b"HMGET", key.as_bytes(), b"epoch", b"entry"]).await {
        Ok(reply) => {
            let number = |at: usize| reply.parts().get(at).and_then(Value::number).unwrap_or(0);
            Ok(Cursor { epoch: number(0), entry: number(1) })
        }
        Err(trouble) if trouble.code() == "WRONGTYPE" => Ok(Cursor::default()),
        Err(trouble) => Err(trouble),
    }
}

async fn load(connection: &mut Connection, script: &str) -> Result<String, Trouble> {
    let reply = connection.ask(&[b"SCRIPT", b"LOAD", script.as_bytes()]).await?;
    reply.text().map(str::to_owned).ok_or(Trouble::from(super::resp::Malformed))
}
