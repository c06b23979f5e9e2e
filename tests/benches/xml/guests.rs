//! The corpus' QEMU guests, made into guests of the test driver.

use std::{env, fs, path::PathBuf};

/// Every guest, or why there is none.
pub(crate) fn all() -> Result<Vec<String>, String> {
    let root = env::var_os("POLYVIRT_CORPUS").map(PathBuf::from);
    let root = root.ok_or("no corpus, set POLYVIRT_CORPUS to a directory with qemuxmlconf/in/*.xml below it")?;
    let below = ["qemuxmlconf/in", "visible/qemuxmlconf/in"].map(|dir| root.join(dir));
    let dir = below.iter().find(|dir| dir.is_dir());
    let dir = dir.ok_or_else(|| format!("there is no qemuxmlconf/in below {}", root.display()))?;
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let texts = paths.iter().filter_map(|path| fs::read_to_string(path).ok());
    Ok(texts.enumerate().filter_map(|(number, text)| renamed(&text, number)).collect())
}

/// The text with the type `test`, and a name and a UUID that no other has.
fn renamed(text: &str, number: usize) -> Option<String> {
    let tag = text.find("<domain")?;
    let end = tag + text[tag..].find('>')?;
    let kind = tag + text[tag..end].find(" type=")? + " type=".len();
    let quote = text[kind..].chars().next()?;
    let kind_end = kind + 1 + text[kind + 1..end].find(quote)?;
    let mut out = format!("{}test{}", &text[..=kind], &text[kind_end..]);
    replace(&mut out, "name", &format!("guest-{number}"))?;
    let uuid = format!("00000000-0000-4000-8000-{number:012x}");
    if replace(&mut out, "uuid", &uuid).is_none() {
        let at = out.find("</name>")? + "</name>".len();
        out.insert_str(at, &format!("<uuid>{uuid}</uuid>"));
    }
    Some(out)
}

/// Replaces the text of the first element of that name.
fn replace(text: &mut String, element: &str, value: &str) -> Option<()> {
    let start = text.find(&format!("<{element}>"))? + element.len() + 2;
    let end = start + text[start..].find("</")?;
    text.replace_range(start..end, value);
    Some(())
}
