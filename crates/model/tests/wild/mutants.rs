//! One mistake at a time in documents of the wild: it is reported where it is, with the name that was meant.
//!
//! What can be mistaken follows from the tables of the model: names of elements and attributes, words, whole numbers and sizes,
//! what is required. Documents that hold anything unknown are left out, and so is what is kept raw.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::inputs::with_inputs;
use polyvirt_model::{DomainConfig, ParseOptions, Unknown, XmlTree};
use polyvirt_xml::{Element as _, Field, Place, Table, ValueKind};

/// Mutants of one document.
const EACH: usize = 20;
/// A debug build reads every so-many-th document: all of them would take a minute of a machine that others use too.
const STRIDE: usize = if cfg!(debug_assertions) { 2 } else { 1 };
/// The same mutants every time.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where something can be mistaken: the children that lead to the element, and what about it.
#[derive(Clone, Debug)]
struct Site {
    at: Vec<usize>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// Another name for the element; the names its parent knows.
    Element(Vec<&'static str>),
    /// Another name for an attribute; the names the element knows.
    Attribute(usize, Vec<&'static str>),
    /// Another word in an attribute or, without one, the text; the words there are.
    Word(Option<usize>, Vec<&'static str>),
    /// A number that is too large in an attribute or, without one, the text.
    Number(Option<usize>),
    /// Without the attribute.
    NoAttribute(usize),
    /// Without the element.
    NoElement,
}

impl What {
    fn name(&self) -> &'static str {
        match self {
            Self::Element(_) => "element",
            Self::Attribute(..) => "attribute",
            Self::Word(..) => "word",
            Self::Number(_) => "number",
            Self::NoAttribute(_) => "no attribute",
            Self::NoElement => "no element",
        }
    }
}

/// What a mutant has to be answered with.
struct Mutant {
    text: String,
    path: String,
    line: u32,
    /// The name that was there, for what was misspelt.
    meant: Option<String>,
}

struct Random(u64);

impl Random {
    /// Below `bound`; xorshift64.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// The table of the variant that an element chooses.
fn chosen(table: &'static Table, tree: &XmlTree) -> Option<&'static Table> {
    let Some(choice) = table.choice else { return Some(table) };
    let word = choice.attribute.map_or(Some(tree.name.as_str()), |name| tree.attribute(name).or(choice.default))?;
    choice.variants.iter().find(|variant| variant.word == word).map(|variant| (variant.table)())
}

/// The fields of a table with those of its groups, and whether each is required.
fn fields(table: &'static Table) -> Vec<(&'static Field, bool)> {
    let mut out = Vec::new();
    for (index, field) in table.fields.iter().enumerate() {
        match field.place {
            Place::Group(access) => out.extend(fields(access.table()).into_iter().map(|(field, _)| (field, false))),
            _ => out.push((field, table.required & (1 << index) != 0)),
        }
    }
    out
}

fn names(fields: &[(&'static Field, bool)], attributes: bool) -> Vec<&'static str> {
    let mut out = Vec::new();
    for (field, _) in fields {
        match field.place {
            Place::Attribute(_) if attributes => out.push(field.xml),
            Place::Attribute(_) | Place::Text(_) => {}
            Place::Child(access) if field.xml.is_empty() && !attributes => {
                let variants = access.table().choice.map(|choice| choice.variants.iter().map(|variant| variant.word));
                out.extend(variants.into_iter().flatten());
            }
            _ if !attributes => out.push(field.xml),
            _ => {}
        }
    }
    out
}

/// Everything that can be mistaken about an element and below it.
fn sites(tree: &XmlTree, table: &'static Table, at: &[usize], out: &mut Vec<Site>) {
    let choice = table.choice.and_then(|choice| Some((choice.attribute?, choice)));
    let Some(table) = chosen(table, tree) else { return };
    let fields = fields(table);
    let mut add = |what| out.push(Site { at: at.to_vec(), what });
    let mut known = names(&fields, true);
    known.extend(choice.map(|(name, _)| name));
    for (index, (name, _)) in tree.attributes.iter().enumerate() {
        if let Some((_, choice)) = choice.filter(|(choosing, _)| choosing == name) {
            add(What::Attribute(index, known.clone()));
            add(What::Word(Some(index), choice.variants.iter().map(|variant| variant.word).collect()));
            continue;
        }
        let field = fields.iter().find(|(field, _)| matches!(field.place, Place::Attribute(_)) && field.xml == name);
        let Some((field, required)) = field else { continue };
        add(What::Attribute(index, known.clone()));
        value(field, Some(index)).into_iter().for_each(&mut add);
        if *required {
            add(What::NoAttribute(index));
        }
    }
    if let Some((text, _)) = fields.iter().find(|(field, _)| matches!(field.place, Place::Text(_)))
        && !tree.text.trim().is_empty()
    {
        value(text, None).into_iter().for_each(&mut add);
    }
    let known = names(&fields, false);
    for (index, child) in tree.children.iter().enumerate() {
        let below = [at, &[index]].concat();
        below_site(tree, child, &fields, &known, &below, out);
    }
}

fn below_site(
    parent: &XmlTree,
    child: &XmlTree,
    fields: &[(&'static Field, bool)],
    known: &[&'static str],
    at: &[usize],
    out: &mut Vec<Site>,
) {
    let by_variant = |field: &Field| match field.place {
        Place::Child(access) if field.xml.is_empty() => {
            access.table().choice.is_some_and(|choice| choice.variants.iter().any(|v| v.word == child.name))
        }
        _ => false,
    };
    let named = |field: &Field| {
        !matches!(field.place, Place::Attribute(_) | Place::Text(_)) && (field.xml == child.name || by_variant(field))
    };
    let Some((field, required)) = fields.iter().find(|(field, _)| named(field)) else { return };
    if child.namespace.is_some() {
        return;
    }
    let alone = parent.children.iter().filter(|other| other.name == child.name).count() == 1;
    out.push(Site { at: at.to_vec(), what: What::Element(known.to_vec()) });
    if *required && alone {
        out.push(Site { at: at.to_vec(), what: What::NoElement });
    }
    match field.place {
        // Of several where one counts only the first is read into the value, so nothing is said about the others.
        Place::Child(access) if alone || access.is_list() => sites(child, access.table(), at, out),
        Place::Leaf(_) if alone && !child.text.trim().is_empty() => {
            out.extend(value(field, None).map(|what| Site { at: at.to_vec(), what }));
        }
        _ => {}
    }
}

/// How the value of a field can be mistaken.
fn value(field: &Field, attribute: Option<usize>) -> Option<What> {
    let (Place::Attribute(access) | Place::Text(access) | Place::Leaf(access)) = field.place else { return None };
    match access.kind() {
        ValueKind::Words(words) => Some(What::Word(attribute, words.to_vec())),
        ValueKind::Integer { .. } | ValueKind::Size(_) => Some(What::Number(attribute)),
        _ => None,
    }
}

/// A typing mistake that is not another known name: two letters swapped, one missing, doubled, or the one beside it.
fn misspelt(name: &str, known: &[&'static str], random: &mut Random) -> Option<String> {
    let letters: Vec<char> = name.chars().collect();
    for _ in 0..8 {
        let mut out = letters.clone();
        let at = random.below(out.len());
        match random.below(4) {
            0 if at + 1 < out.len() => out.swap(at, at + 1),
            1 => drop(out.remove(at)),
            2 => out.insert(at, out[at]),
            _ => out[at] = if out[at] == 'z' { 'y' } else { 'z' },
        }
        let out: String = out.into_iter().collect();
        let is_name = out.starts_with(|first: char| first.is_ascii_alphabetic());
        if is_name && out != name && !known.contains(&out.as_str()) {
            return Some(out);
        }
    }
    None
}

fn find<'a>(tree: &'a mut XmlTree, at: &[usize]) -> &'a mut XmlTree {
    at.iter().fold(tree, |tree, &index| &mut tree.children[index])
}

fn path(tree: &XmlTree, at: &[usize]) -> String {
    let mut tree = tree;
    let mut out = format!("/{}", tree.name);
    for &index in at {
        let child = &tree.children[index];
        let same = tree.children.iter().filter(|other| other.name == child.name).count();
        let before = tree.children[..index].iter().filter(|other| other.name == child.name).count();
        let _ = if same > 1 { write!(out, "/{}[{}]", child.name, before + 1) } else { write!(out, "/{}", child.name) };
        tree = child;
    }
    out
}

fn escaped(text: &str, out: &mut String) {
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            letter => out.push(letter),
        }
    }
}

/// Prints every element on a line of its own, in document order: the line of the element `wanted`, counted from 1.
fn print(tree: &XmlTree, at: &mut Vec<usize>, wanted: &[usize], line: &mut Option<u32>, out: &mut String) {
    if at == wanted {
        *line = u32::try_from(out.matches('\n').count() + 1).ok();
    }
    let _ = write!(out, "<{}", tree.name);
    for (prefix, namespace) in &tree.declarations {
        let _ = if prefix.is_empty() { write!(out, " xmlns='") } else { write!(out, " xmlns:{prefix}='") };
        escaped(namespace, out);
        out.push('\'');
    }
    for (name, value) in &tree.attributes {
        let _ = write!(out, " {name}='");
        escaped(value, out);
        out.push('\'');
    }
    out.push('>');
    escaped(tree.text.trim(), out);
    for (index, child) in tree.children.iter().enumerate() {
        out.push('\n');
        at.push(index);
        print(child, at, wanted, line, out);
        at.pop();
    }
    let _ = write!(out, "</{}>", tree.name);
}

fn mutant(tree: &XmlTree, site: &Site, random: &mut Random) -> Option<Mutant> {
    let mut tree = tree.clone();
    let (parent, last) = match site.at.split_last() {
        Some((last, parent)) => (parent, *last),
        None => (&[][..], 0),
    };
    // A missing element is reported at the one around it.
    let at = if matches!(site.what, What::NoElement) { parent } else { &site.at };
    let mut suffix = String::new();
    let mut meant = None;
    let element = find(&mut tree, &site.at);
    match &site.what {
        What::Element(known) => {
            meant = Some(element.name.clone());
            element.name = misspelt(&element.name, known, random)?;
        }
        What::Attribute(index, known) => {
            let name = &mut element.attributes[*index].0;
            meant = Some(name.clone());
            *name = misspelt(name, known, random)?;
            suffix = format!("/@{name}");
        }
        What::Word(Some(index), words) => {
            let (name, word) = &mut element.attributes[*index];
            meant = Some(word.clone());
            *word = misspelt(word, words, random)?;
            suffix = format!("/@{name}");
        }
        What::Word(None, words) => {
            let word = element.text.trim().to_owned();
            element.text = misspelt(&word, words, random)?;
            meant = Some(word);
        }
        What::Number(attribute) => {
            let large = "99999999999999999999".to_owned();
            match attribute {
                Some(index) => {
                    element.attributes[*index].1 = large;
                    suffix = format!("/@{}", element.attributes[*index].0);
                }
                None => element.text = large,
            }
        }
        What::NoAttribute(index) => drop(element.attributes.remove(*index)),
        What::NoElement => drop(find(&mut tree, parent).children.remove(last)),
    }
    let (mut text, mut line) = (String::new(), None);
    print(&tree, &mut Vec::new(), at, &mut line, &mut text);
    Some(Mutant { text, path: path(&tree, at) + &suffix, line: line?, meant })
}

/// Why the answer to a mutant is not the right one.
fn judge(mutant: &Mutant) -> Result<(), String> {
    let Err(problems) = DomainConfig::parse(&mutant.text, &ParseOptions::with_unknown(Unknown::Reject)) else {
        return Err("accepted".to_owned());
    };
    let here = |line| line == Some(mutant.line);
    let Some(problem) = problems.errors().find(|problem| problem.path == mutant.path && here(problem.line)) else {
        return Err(format!("reported elsewhere: {problems}"));
    };
    if mutant.meant.is_some() && problem.suggestion != mutant.meant {
        return Err(format!("suggested {:?}: {problem}", problem.suggestion));
    }
    Ok(())
}

/// Answers by kind: how many, and how many right.
type Tally = BTreeMap<&'static str, (usize, usize)>;

fn document(text: &str, seed: u64) -> Option<(Tally, Vec<String>)> {
    let tree = XmlTree::parse(text).ok()?;
    let mut plain = String::new();
    print(&tree, &mut Vec::new(), &[], &mut None, &mut plain);
    DomainConfig::parse(&plain, &ParseOptions::with_unknown(Unknown::Reject)).ok()?;
    let mut all = Vec::new();
    sites(&tree, DomainConfig::describe(), &[], &mut all);
    let (mut random, mut tally, mut wrong) = (Random(seed), Tally::new(), Vec::new());
    // Some words are so short that no mistake but another word comes to mind.
    for _ in 0..2 * EACH {
        if tally.values().map(|(count, _)| count).sum::<usize>() == EACH {
            break;
        }
        let site = &all[random.below(all.len())];
        let Some(mutant) = mutant(&tree, site, &mut random) else { continue };
        let (count, right) = tally.entry(site.what.name()).or_default();
        *count += 1;
        match judge(&mutant) {
            Ok(()) => *right += 1,
            Err(why) => wrong.push(format!(
                "{}, {}, line {}, meant {:?}: {why}",
                site.what.name(),
                mutant.path,
                mutant.line,
                mutant.meant
            )),
        }
    }
    Some((tally, wrong))
}

#[test]
fn a_mistake_is_reported_where_it_is() {
    with_inputs(|inputs| {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut out = Vec::new();
            loop {
                let index = next.fetch_add(STRIDE, Ordering::Relaxed);
                let Some(input) = inputs.get(index) else { return out };
                // A seed of its own, so that the outcome does not depend on who takes the document.
                out.extend(document(&input.text, SEED ^ (u64::try_from(index).unwrap() + 1)));
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        let results: Vec<_> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
        });
        let mut tally = Tally::new();
        let mut wrong: Vec<String> = Vec::new();
        let documents = results.len();
        for (one, failures) in results {
            for (kind, (count, right)) in one {
                let sum = tally.entry(kind).or_default();
                (sum.0, sum.1) = (sum.0 + count, sum.1 + right);
            }
            wrong.extend(failures);
        }
        for (kind, (count, right)) in &tally {
            println!("{kind}: {right} of {count}");
        }
        wrong.sort();
        wrong.iter().for_each(|line| println!("wrong: {line}"));
        let (count, right) = tally.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        println!("{right} of {count} mutants of {documents} documents");
        assert!(count >= documents * EACH * 9 / 10, "{count} mutants of {documents} documents are too few");
        assert!(right * 100 >= count * 99, "{right} of {count} are reported rightly");
    });
}
