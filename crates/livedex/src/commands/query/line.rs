//! Lines that a person types at a prompt, or a program writes to standard input.

use std::{
    fs,
    io::{BufRead, IsTerminal, Read},
    path::PathBuf,
};

use anyhow::{Context, bail};
use rustyline::{DefaultEditor, config::Config, error::ReadlineError};

/// Bytes of one line: a filter as large as one may be, several times over.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// Lines of the history.
const MAX_HISTORY: usize = 1000;

const PROMPT: &str = "livedex> ";

/// Where lines come from.
pub(super) enum Lines {
    /// A prompt with a history.
    Terminal(Box<DefaultEditor>, Option<PathBuf>),
    /// Standard input as it is.
    Input,
}

impl Lines {
    /// A prompt if a person sits there, else standard input.
    pub(super) fn open() -> anyhow::Result<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Ok(Self::Input);
        }
        let config = Config::builder().max_history_size(MAX_HISTORY)?.build();
        let mut editor = DefaultEditor::with_config(config).context("no prompt")?;
        let history = history_file();
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        Ok(Self::Terminal(Box::new(editor), history))
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(..))
    }

    /// The next line; `None` at the end, which on a terminal is Ctrl-D or Ctrl-C. Blocks.
    pub(super) fn read(&mut self) -> anyhow::Result<Option<String>> {
        match self {
            Self::Terminal(editor, history) => match editor.readline(PROMPT) {
                Ok(line) => {
                    if !line.trim().is_empty() && editor.add_history_entry(&line)? {
                        // A folder that cannot be written costs the history, not the session.
                        let _ = history.as_ref().map(|path| editor.append_history(path));
                    }
                    Ok(Some(line))
                }
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                Err(error) => Err(error).context("cannot read from the terminal"),
            },
            Self::Input => {
                let mut line = String::new();
                let mut input = std::io::stdin().lock().take(MAX_LINE_BYTES + 1);
                let n_bytes =
                    input.read_line(&mut line).context("cannot read standard input")? as u64;
                if n_bytes > MAX_LINE_BYTES {
                    bail!("a line of standard input has more than {MAX_LINE_BYTES} bytes");
                }
                Ok((n_bytes > 0).then_some(line))
            }
        }
    }
}

/// The history's file: `$XDG_STATE_HOME/livedex/history`, or the platform's place for such files.
/// It is made for its owner alone, since it holds what was asked.
fn history_file() -> Option<PathBuf> {
    let folder = dirs::state_dir().or_else(dirs::data_local_dir)?.join("livedex");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}
