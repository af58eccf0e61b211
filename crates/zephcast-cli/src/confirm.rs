//! Asking before something is destroyed.

use std::io::{IsTerminal, Write, stderr, stdin};

use crate::exit::Failure;

/// Goes on with `--yes`, or when somebody at a terminal says so.
pub(crate) fn destroy(what: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        return Err(Failure::usage(format!("this would {what}, and there is no terminal to ask at"))
            .advise("add --yes if that is what you want"));
    }
    let mut answer = String::new();
    // A terminal that went away answers no.
    let asked = write!(stderr(), "This will {what}. Sure? [y/N] ").and_then(|()| stdin().read_line(&mut answer));
    match asked {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::failed("nothing was done")),
    }
}
