//! Writes the completions of chatd and chatc for bash, zsh and fish into the folder that is named; `packaging/build-deb` calls it.

use std::error::Error;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use chatd::{client, service};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: completions FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut service::cli::Cli::command(), "chatd", &folder)?;
        clap_complete::generate_to(shell, &mut client::cli::Cli::command(), "chatc", &folder)?;
    }
    Ok(())
}
