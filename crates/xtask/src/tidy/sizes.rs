//! A file is read in one sitting; a crate root is a table of contents.

use std::fs;

use super::files::visit;
use crate::workspace::Workspace;

const MOST_CODE_LINES: usize = 400;
const MOST_ROOT_LINES: usize = 90;

pub(super) fn problems(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let root = workspace.root();
    let mut problems = Vec::new();
    let mut files: Vec<(usize, String)> = Vec::new();
    for folder in ["crates", "examples", "integration-tests"] {
        visit(&root.join(folder), &mut |file| {
            let text = fs::read_to_string(file)?;
            let name = file.strip_prefix(&root).unwrap_or(file).display().to_string();
            problems.extend(problem(&name, &text));
            files.push((code_lines(&text), name));
            Ok(())
        })?;
    }
    files.sort_unstable();
    if let (Some((median, _)), Some((most, name))) = (files.get(files.len() / 2), files.last()) {
        eprintln!("{} Rust files; lines of code: median {median}, most {most} ({name})", files.len());
    }
    problems.sort_unstable();
    Ok(problems)
}

fn problem(name: &str, text: &str) -> Option<String> {
    let code = code_lines(text);
    if code > MOST_CODE_LINES {
        return Some(format!("{name}: {code} lines of code, more than {MOST_CODE_LINES}: split it by what it does"));
    }
    let lines = text.lines().count();
    (name.ends_with("/lib.rs") && lines > MOST_ROOT_LINES).then(|| {
        format!("{name}: {lines} lines, more than {MOST_ROOT_LINES}: a crate root names modules and exports, no more")
    })
}

/// Lines that are neither empty nor a comment alone.
fn code_lines(text: &str) -> usize {
    text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn comments_are_free_and_code_is_counted() {
        let commented = format!("//! Long story.\n{}{}", "    // why\n\n".repeat(500), "let x = 1;\n".repeat(400));
        assert_eq!(problem("crates/a/src/b.rs", &commented), None);
        let long = "let x = 1; // what\n".repeat(401);
        assert!(problem("crates/a/src/b.rs", &long).is_some_and(|problem| problem.contains("401")));
    }

    #[test]
    fn a_crate_root_is_short() {
        assert_eq!(problem("crates/a/src/lib.rs", &"mod a;\n".repeat(90)), None);
        assert!(problem("crates/a/src/lib.rs", &"mod a;\n".repeat(91)).is_some());
    }
}
