//! Runs in the forms that other programs read: `--json`, `--junit`, `--summary`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{print_json, say_nothing_on_stdout};
use crate::report::{Card, junit, markdown};

/// Where sums go.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "For other programs")]
pub(super) struct SumArgs {
    /// Print a JSON object for each run on standard output, and all else on standard error
    #[arg(long)]
    json: bool,
    /// Write all runs as a test suite in JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Append all runs to this file as a Markdown table; GitHub's variable names one
    #[arg(long, value_name = "FILE", env = "GITHUB_STEP_SUMMARY")]
    summary: Option<PathBuf>,
}

impl SumArgs {
    /// Keeps standard output for JSON, if that is wanted.
    pub(super) fn begin(&self) {
        if self.json {
            say_nothing_on_stdout();
        }
    }

    /// Writes the runs wherever they are wanted.
    ///
    /// # Errors
    /// A sentence about the file that cannot be written.
    pub(super) fn write(&self, cards: &[Card]) -> Result<(), String> {
        if self.json {
            cards.iter().for_each(|card| print_json(&card.to_json()));
        }
        if let Some(path) = &self.junit {
            fs::write(path, junit(cards)).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        // Other steps of a job have their lines in the same file.
        if let Some(path) = self.summary.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let written = file.and_then(|mut file| file.write_all(markdown(cards).as_bytes()));
            written.map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(())
    }
}
