//! Every public `async fn` of a library says what happens when its future is dropped, and how it fails if it does.
//!
//! A scan of the text, which rustfmt keeps regular: one item begins a line, its documentation and attributes stand above.

use std::fs;

use super::files::visit;
use crate::workspace::Workspace;

const CANCEL_SAFETY: &str = "# Cancel safety";
const ERRORS: &str = "# Errors";

pub(super) fn problems(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let root = workspace.root();
    let mut problems = Vec::new();
    for package in workspace.published() {
        let library = package.targets.iter().find(|target| target.is_lib());
        let Some(folder) = library.and_then(|target| target.src_path.parent()) else { continue };
        visit(folder.as_std_path(), &mut |file| {
            let name = file.strip_prefix(&root).unwrap_or(file).display().to_string();
            problems.extend(missing(&fs::read_to_string(file)?).into_iter().map(|what| format!("{name}:{what}")));
            Ok(())
        })?;
    }
    problems.sort_unstable();
    Ok(problems)
}

/// What is missing, each with the line of the function.
fn missing(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut documentation: Vec<&str> = Vec::new();
    // How the line is indented that ends the public trait around: its methods are public without saying so.
    let mut public_trait: Option<&str> = None;
    let mut in_attribute = false;
    for (index, line) in lines.iter().enumerate() {
        let item = line.trim_start();
        let indent = &line[..line.len() - item.len()];
        if in_attribute || item.starts_with("#[") {
            in_attribute = !item.ends_with(']');
            continue;
        }
        if let Some(said) = item.strip_prefix("///") {
            documentation.push(said.trim());
            continue;
        }
        if item.starts_with("//") {
            continue;
        }
        if item.starts_with("pub trait ") && !item.ends_with('}') {
            public_trait = Some(indent);
        } else if item == "}" && public_trait == Some(indent) {
            public_trait = None;
        } else if item.starts_with("pub async fn ") || item.starts_with("async fn ") && public_trait.is_some() {
            let signature = signature(&lines[index..]);
            let name = signature.split(['(', '<']).next().unwrap_or_default().trim();
            let mut lacks = |heading| found.push(format!("{}: `{name}` has no `{heading}`", index + 1));
            if !has(&documentation, CANCEL_SAFETY) {
                lacks(CANCEL_SAFETY);
            }
            if returns_result(&signature) && !has(&documentation, ERRORS) {
                lacks(ERRORS);
            }
        }
        documentation.clear();
    }
    found
}

/// Whether the heading is there and something is said below it.
fn has(documentation: &[&str], heading: &str) -> bool {
    let at = documentation.iter().position(|line| *line == heading);
    let below = at.and_then(|at| documentation.get(at + 1));
    below.is_some_and(|below| !below.is_empty() && !below.starts_with('#'))
}

/// From the function's name to the beginning of its body.
fn signature(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line.trim());
        text.push(' ');
        if line.ends_with(['{', ';', '}']) {
            break;
        }
    }
    text.split_once("fn ").map_or_else(String::new, |(_, rest)| rest.to_owned())
}

/// Whether it says so itself: an alias of another name is clippy's to see through.
fn returns_result(signature: &str) -> bool {
    let returned = after_arguments(signature).trim_start();
    let returned = returned.strip_prefix("->").unwrap_or_default();
    let returned = returned.split(" where ").next().unwrap_or_default();
    returned.split(|c: char| !c.is_alphanumeric()).any(|word| word == "Result")
}

/// What follows the parentheses of the arguments. Those of a function type among the generic parameters are deeper.
fn after_arguments(signature: &str) -> &str {
    let (mut depth, mut previous) = (0_u32, ' ');
    for (at, c) in signature.char_indices() {
        match c {
            '(' | '<' | '[' => depth += 1,
            '>' if previous == '-' || previous == '=' => {}
            ')' | '>' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ')' && depth == 0 {
            return &signature[at + 1..];
        }
        previous = c;
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::missing;

    const SAID: &str = "/// Does it.\n///\n/// # Errors\n/// Never.\n///\n/// # Cancel safety\n/// Cancel safe.\n";

    #[test]
    fn what_is_said_passes() {
        assert!(missing(&format!("{SAID}pub async fn f() -> Result<()> {{\n}}\n")).is_empty());
        let attributes = "#[must_use]\n#[expect(\n    clippy::all,\n    reason = \"why\"\n)]\n// A remark.\n";
        assert!(missing(&format!("{SAID}{attributes}pub async fn f() -> Result<()> {{\n}}\n")).is_empty());
        assert!(missing("/// # Cancel safety\n/// Cancel safe.\npub async fn f() -> Option<u8> {\n}\n").is_empty());
    }

    #[test]
    fn a_missing_heading_is_named_with_its_line() {
        assert_eq!(
            missing("mod a;\n\n/// Does it.\npub async fn f(&self) -> Result<()> {\n}\n"),
            ["4: `f` has no `# Cancel safety`", "4: `f` has no `# Errors`"]
        );
        let empty = "/// # Errors\n///\n/// # Cancel safety\npub async fn f() -> Result<()> {}\n";
        assert_eq!(missing(empty).len(), 2, "a heading with nothing below it says nothing");
        let of_another = format!("{SAID}pub fn g() {{\n}}\n\npub async fn f() {{\n}}\n");
        assert_eq!(missing(&of_another), ["11: `f` has no `# Cancel safety`"]);
    }

    #[test]
    fn private_functions_need_no_headings() {
        for private in ["async fn f()", "pub(crate) async fn f()", "pub(super) async fn f()", "pub fn f()"] {
            assert!(missing(&format!("{private} -> Result<()> {{\n}}\n")).is_empty(), "{private}");
        }
    }

    #[test]
    fn methods_of_a_public_trait_are_public_and_those_of_its_implementations_are_not_asked() {
        let text = "pub trait A: Send {\n    async fn f(&self) -> Result<()>;\n\n    fn g(&self);\n}\n\
                    trait B {\n    async fn f(&self);\n}\n\
                    impl A for C {\n    async fn f(&self) -> Result<()> {\n    }\n}\n";
        assert_eq!(missing(text), ["2: `f` has no `# Cancel safety`", "2: `f` has no `# Errors`"]);
    }

    #[test]
    fn only_what_is_returned_counts() {
        let said = "/// # Cancel safety\n/// Cancel safe.\n";
        for fails in [
            "pub async fn f() -> io::Result<()> {",
            "pub async fn f() -> Option<Result<Delivery>> {",
            "pub async fn f(\n    a: u8,\n) -> Vec<Result<Receipt, PublishError>> {",
            "pub async fn f<H: Fn(u8) -> u8>(handler: H) -> Result<u8>\nwhere\n    H: Send,\n{",
        ] {
            assert_eq!(missing(&format!("{said}{fails}\n}}\n")).len(), 1, "{fails}");
        }
        for cannot_fail in [
            "pub async fn f(done: impl Fn(Result<()>) -> Result<()>) {",
            "pub async fn f<H: Fn() -> Result<()>>(handler: H) -> u8 {",
            "pub async fn f<H>(handler: H) -> u8\nwhere\n    H: Fn() -> Result<()>,\n{",
            "pub async fn f() -> ResultOfMatch {",
        ] {
            assert!(missing(&format!("{said}{cannot_fail}\n}}\n")).is_empty(), "{cannot_fail}");
        }
    }
}
