//! Checks the direction of imports: a module of the crate imports only modules
//! that `lib.rs` declares above it. There can then be no circle either.

use std::{fs, path::Path};

#[test]
fn modules_import_only_modules_declared_above_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let layers = layers(&fs::read_to_string(src.join("lib.rs")).unwrap());
    assert!(layers.len() > 10, "{layers:?}");
    let mut backward = Vec::new();
    for (level, module) in layers.iter().enumerate() {
        let mut files = Vec::new();
        collect(&src.join(module), &mut files);
        let file = src.join(module).with_extension("rs");
        files.extend(file.exists().then_some(file));
        assert!(!files.is_empty(), "{module} has no file");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for import in imports(&text) {
                let allowed = layers.iter().position(|layer| *layer == import);
                if allowed.is_none_or(|imported| imported > level) {
                    backward.push(format!("{} imports crate::{import}", file.display()));
                }
            }
        }
    }
    assert!(backward.is_empty(), "{}", backward.join("\n"));
}

/// Returns the crate's public modules in the order of their declarations.
fn layers(lib: &str) -> Vec<String> {
    let declared = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    declared.map(str::to_owned).collect()
}

/// Collects the source files below a folder, without those of tests.
fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "tests" {
            continue;
        } else if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Returns the modules of the crate that a file names in `crate::` paths,
/// outside comments and tests.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut names = Vec::new();
    for path in code.split("crate::").skip(1) {
        match path.strip_prefix('{') {
            Some(tree) => names.extend(branches(tree)),
            None => names.push(identifier(path)),
        }
    }
    names
}

/// Returns the first identifier of each path in the tree of a `use`, after its
/// opening brace.
fn branches(tree: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 1;
    let mut begin = true;
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' => begin = begin || depth == 1,
            c if c.is_whitespace() => {}
            _ if begin => {
                names.push(identifier(&tree[at..]));
                begin = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn identifier(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn imports_are_found_in_any_form() {
    let text = "use crate::{\n    a::{B, C},\n    d::e::F,\n    g,\n};\nuse crate::h::I;\n\
                // crate::comment\nfn f(x: crate::j::K) {}\n\
                #[cfg(test)]\nmod tests {\n    use crate::test;\n}\n";
    assert_eq!(imports(text), ["a", "d", "g", "h", "j"]);
}
