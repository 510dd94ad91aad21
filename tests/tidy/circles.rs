//! Which file of src/ imports which, and the circles among them.
//!
//! An import is a path to an item of another file: in a `use`, or where the item is used. A path is followed through
//! re-exports to the file that defines the item. These are no imports: declaring a module, re-exporting an item of a
//! submodule, and naming a module without an item. Macros are not seen, nor are methods in another file than their type.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::source::{Source, entries};

/// A path is followed through at most this many imports: re-exports may form a circle.
const MOST_IMPORTS: usize = 8;

/// The files of a crate and what each of them imports.
pub struct Imports {
    files: Vec<File>,
    /// The file of each module, by its path in the crate.
    modules: HashMap<Vec<String>, usize>,
}

/// A file and the paths in it.
struct File {
    name: String,
    module: Vec<String>,
    uses: Vec<Use>,
    /// The paths elsewhere, each with its line.
    paths: Vec<(Vec<String>, usize)>,
    /// The words outside of `use`; of a path, the first.
    words: HashSet<String>,
}

/// One path of a `use`; the last word of one that ends in `::*` is `*`.
struct Use {
    path: Vec<String>,
    /// The name that it has here.
    name: String,
    is_public: bool,
    line: usize,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The module that is this file.
    Module(usize),
    /// An item in this file.
    Item(usize),
}

impl Imports {
    /// Reads the imports of all files of src/, except programs (src/bin/) and code that is only compiled for tests.
    pub fn of(sources: &[Source]) -> Self {
        let files: Vec<File> = sources.iter().filter_map(File::read).collect();
        let modules = files.iter().enumerate().map(|(at, file)| (file.module.clone(), at)).collect();
        Self { files, modules }
    }

    /// Returns the shortest circle through each file that is in one: its files, and `a.rs:1 -> b.rs:2 -> a.rs`, where the
    /// number is the line that imports the next file.
    pub fn circles(&self) -> BTreeMap<Vec<&str>, String> {
        let edges: Vec<BTreeMap<usize, usize>> = (0..self.files.len()).map(|at| self.imports(at)).collect();
        let mut circles = BTreeMap::new();
        for mut circle in (0..edges.len()).filter_map(|start| shortest_circle(&edges, start)) {
            // Each circle is found once from each of its files; keep one.
            let first = (0..circle.len()).min_by_key(|place| circle[*place]).unwrap_or(0);
            circle.rotate_left(first);
            let name = |at: &usize| self.files[*at].name.as_str();
            let next = circle.iter().cycle().skip(1);
            let steps =
                circle.iter().zip(next).map(|(at, next)| format!("{}:{}", name(at), edges[*at][next]));
            let text = format!("{} -> {}", steps.collect::<Vec<_>>().join(" -> "), name(&circle[0]));
            circles.insert(circle.iter().map(name).collect(), text);
        }
        circles
    }

    /// Returns the files that a file imports, each with the first line that does so.
    fn imports(&self, from: usize) -> BTreeMap<usize, usize> {
        let file = &self.files[from];
        let is_import =
            |one: &&Use| !one.is_public || file.words.contains(&one.name) || !self.is_own(from, one);
        let uses = file.uses.iter().filter(is_import).map(|one| (&one.path, one.line));
        let paths = file.paths.iter().map(|(path, line)| (path, *line));
        let mut imports = BTreeMap::new();
        for (path, line) in uses.chain(paths) {
            if let Some(Target::Item(to)) = self.resolve(from, path, MOST_IMPORTS)
                && to != from
            {
                let first = imports.entry(to).or_insert(line);
                *first = line.min(*first);
            }
        }
        imports
    }

    /// Returns whether `one` imports from a submodule of the file.
    fn is_own(&self, from: usize, one: &Use) -> bool {
        let target = self.resolve(from, &one.path, MOST_IMPORTS);
        let Some(Target::Item(to) | Target::Module(to)) = target else { return false };
        self.files[to].module.starts_with(&self.files[from].module)
    }

    /// Follows a path in file `from`. Returns nothing if it leads out of the crate.
    fn resolve(&self, from: usize, path: &[String], most: usize) -> Option<Target> {
        let (head, mut rest) = path.split_first()?;
        let mut at = match head.as_str() {
            "crate" => *self.modules.get(&Vec::new())?,
            "self" => from,
            "super" => self.parent(from)?,
            name => match self.step(from, name, most.checked_sub(1)?)? {
                Target::Module(at) => at,
                item @ Target::Item(_) => return Some(item),
            },
        };
        while let Some((name, after)) = rest.split_first() {
            at = match name.as_str() {
                "super" => self.parent(at)?,
                name => match self.step(at, name, most.checked_sub(1)?) {
                    Some(Target::Module(at)) => at,
                    Some(item) => return Some(item),
                    None => return Some(Target::Item(at)),
                },
            };
            rest = after;
        }
        Some(Target::Module(at))
    }

    /// Returns what `name` means in a module: a submodule, or something that it imports.
    fn step(&self, at: usize, name: &str, most: usize) -> Option<Target> {
        let mut child = self.files[at].module.clone();
        child.push(name.to_owned());
        if let Some(child) = self.modules.get(&child) {
            return Some(Target::Module(*child));
        }
        let import = self.files[at].uses.iter().find(|import| import.name == name)?;
        self.resolve(at, &import.path, most)
    }

    fn parent(&self, at: usize) -> Option<usize> {
        let (_, parent) = self.files[at].module.split_last()?;
        self.modules.get(parent).copied()
    }
}

/// Returns the shortest way from a file back to itself, without the last step.
fn shortest_circle(edges: &[BTreeMap<usize, usize>], start: usize) -> Option<Vec<usize>> {
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([vec![start]]);
    while let Some(way) = ways.pop_front() {
        for next in edges[*way.last()?].keys() {
            if *next == start {
                return Some(way);
            }
            if seen.insert(*next) {
                ways.push_back([&way[..], &[*next]].concat());
            }
        }
    }
    None
}

impl File {
    fn read(source: &Source) -> Option<Self> {
        let path = source.name.strip_prefix("src/").filter(|path| !path.starts_with("bin/"))?;
        let mut module: Vec<String> = path.strip_suffix(".rs")?.split('/').map(str::to_owned).collect();
        module.pop_if(|last| ["mod", "lib"].contains(&last.as_str()));
        let mut file = Self {
            name: source.name.clone(),
            module,
            uses: Vec::new(),
            paths: Vec::new(),
            words: HashSet::new(),
        };
        let mut lines = source.numbered().filter(|(number, _)| !source.is_test[number - 1]);
        while let Some((number, line)) = lines.next() {
            let (visibility, tree) = line.split_once("use ").unwrap_or_default();
            if tree.is_empty() || !["", "pub"].contains(&visibility.split('(').next()?.trim()) {
                file.add_paths(line, number);
                continue;
            }
            let mut tree = tree.to_owned();
            while !tree.contains(';') {
                tree += lines.next()?.1;
            }
            let is_public = visibility.trim().starts_with("pub");
            file.uses.extend(expand(&tree).iter().map(|tree| Use::read(tree, is_public, number)));
        }
        Some(file)
    }

    /// Adds the paths and words of a line outside of `use`.
    fn add_paths(&mut self, line: &str, number: usize) {
        let is_part = |c: char| c.is_alphanumeric() || "_:".contains(c);
        for word in line.split(|c| !is_part(c)) {
            let path: Vec<String> = word.trim_end_matches(':').split("::").map(str::to_owned).collect();
            self.words.insert(path[0].clone());
            if path.len() > 1 {
                self.paths.push((path, number));
            }
        }
    }
}

impl Use {
    fn read(tree: &str, is_public: bool, line: usize) -> Self {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
        let path = path.trim().trim_end_matches("::self");
        let path: Vec<String> = path.split("::").map(|word| word.trim().to_owned()).collect();
        let name = alias.map_or_else(|| path[path.len() - 1].clone(), |name| name.trim().to_owned());
        Self { path, name, is_public, line }
    }
}

/// Expands the lists of a `use`: `a::b` and `a::c as d` for `a::{b, c as d};`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.split(';').next().unwrap_or_default().trim();
    match tree.split_once('{') {
        Some((before, list)) => entries(list)
            .into_iter()
            .filter(|entry| !entry.trim().is_empty())
            .flat_map(|entry| expand(&format!("{before}{}", entry.trim())))
            .collect(),
        None => vec![tree.to_owned()],
    }
}

#[test]
fn a_circle_is_found_through_what_is_imported_where() {
    let circles = |files: &[(&str, &str)]| -> Vec<String> {
        let read = |(name, text): &(&str, &str)| Source::parse(format!("src/{name}.rs"), text, false);
        let sources: Vec<Source> = files.iter().map(read).collect();
        Imports::of(&sources).circles().into_values().collect()
    };
    let root = ("lib", "pub mod a;");
    let parent = ("a/mod", "mod b;\nmod c;\npub use b::B;\npub use c::{C, d::D as E};");
    // A re-export is followed; a path in code counts as well.
    let there = ("a/b", "use super::C;");
    assert_eq!(
        circles(&[root, parent, there, ("a/c", "\nfn f(b: super::B) {}")]),
        ["src/a/b.rs:1 -> src/a/c.rs:2 -> src/a/b.rs"]
    );
    assert_eq!(
        circles(&[root, parent, there, ("a/c", "use crate::a;\n\nfn f(b: a::B) {}")]),
        ["src/a/b.rs:1 -> src/a/c.rs:3 -> src/a/b.rs"]
    );
    // One with the parent, if that uses what it imports, or what it re-exports.
    let child = ("a/b", "use super::LIMIT;");
    for own in ["mod b;\nuse b::B;\n", "mod b;\npub use b::B;\nfn f(b: B) {}", "mod b;\nfn f(b: &b::B) {}"] {
        assert_eq!(circles(&[root, ("a/mod", own), child]).len(), 1, "{own}");
    }
    // A re-export, a module that is only named, another crate, a test and a comment are none.
    for (parent, child) in [
        ("mod b;\npub use b::{\n    B,\n};", "use super::LIMIT;"),
        ("mod b;\nuse b::B;", "use super::super::a;\npub(in crate::a) fn f() {}"),
        ("mod b;\nuse b::B;", "use std::a::B;\n#[cfg(test)]\nmod tests {\n    use super::super::LIMIT;\n}"),
        ("mod b;\nuse b::B;", "// super::LIMIT\n#[cfg(test)]\nuse super::LIMIT;"),
    ] {
        assert_eq!(circles(&[root, ("a/mod", parent), ("a/b", child)]), [""; 0], "{parent} and {child}");
    }
}
