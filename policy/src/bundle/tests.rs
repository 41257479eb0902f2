//! What a bundle's author is told, and what is never taken.
//! Never checks a decision: that is `policy/tests`.

use super::*;

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

#[test]
fn no_files_are_a_bundle_of_nothing() {
    let bundle = Bundle::parse(&[]).unwrap();
    assert_eq!((bundle.operators().len(), bundle.targets().len(), bundle.grants().len()), (0, 0, 0));
    assert_eq!(bundle.login().factors().len(), 2);
}
