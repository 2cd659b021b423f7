//! The unified diff that some error texts end with (contract/validation.md §A1, *Diff suffix*).
//!
//! Lines are matched as Python's difflib does it: longest matching block first, then left and right
//! of it; from 200 lines on, lines that make up more than 1% are not used to find blocks.

use std::collections::HashMap;

const CONTEXT: usize = 3;
const POPULAR_FROM: usize = 200;

/// The diff of two texts without file headers; every line ends in a newline.
pub fn unified(old: &str, new: &str) -> String {
    let a: Vec<&str> = old.lines().collect();
    let b: Vec<&str> = new.lines().collect();
    let mut out = String::new();
    for group in groups(&operations(&a, &b)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            continue;
        };
        out.push_str(&format!(
            "@@ -{} +{} @@\n",
            range(first.a0, last.a1),
            range(first.b0, last.b1)
        ));
        for op in &group {
            if op.equal {
                push_lines(&mut out, ' ', &a[op.a0..op.a1]);
            } else {
                push_lines(&mut out, '-', &a[op.a0..op.a1]);
                push_lines(&mut out, '+', &b[op.b0..op.b1]);
            }
        }
    }
    out
}

fn push_lines(out: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        out.push(mark);
        out.push_str(line);
        out.push('\n');
    }
}

fn range(start: usize, end: usize) -> String {
    match end - start {
        1 => (start + 1).to_string(),
        0 => format!("{start},0"),
        n => format!("{},{n}", start + 1),
    }
}

/// A run of lines that is equal in both, or replaced.
#[derive(Clone, Copy, Debug)]
struct Op {
    equal: bool,
    a0: usize,
    a1: usize,
    b0: usize,
    b1: usize,
}

fn operations(a: &[&str], b: &[&str]) -> Vec<Op> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (j, line) in b.iter().enumerate() {
        places.entry(line).or_default().push(j);
    }
    if b.len() >= POPULAR_FROM {
        let most = b.len() / 100 + 1;
        places.retain(|_, at| at.len() <= most);
    }
    let mut blocks = Vec::new();
    match_blocks(a, b, &places, (0, a.len()), (0, b.len()), &mut blocks);
    blocks.push((a.len(), b.len(), 0));
    let mut ops: Vec<Op> = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (ai, bj, len) in blocks {
        if i < ai || j < bj {
            ops.push(Op {
                equal: false,
                a0: i,
                a1: ai,
                b0: j,
                b1: bj,
            });
        }
        (i, j) = (ai + len, bj + len);
        match ops.last_mut() {
            _ if len == 0 => {}
            Some(last) if last.equal && last.a1 == ai => (last.a1, last.b1) = (i, j),
            _ => ops.push(Op {
                equal: true,
                a0: ai,
                a1: i,
                b0: bj,
                b1: j,
            }),
        }
    }
    ops
}

type Span = (usize, usize);

fn match_blocks(
    a: &[&str],
    b: &[&str],
    places: &HashMap<&str, Vec<usize>>,
    (a0, a1): Span,
    (b0, b1): Span,
    blocks: &mut Vec<(usize, usize, usize)>,
) {
    let (i, j, len) = longest_match(a, b, places, (a0, a1), (b0, b1));
    if len == 0 {
        return;
    }
    match_blocks(a, b, places, (a0, i), (b0, j), blocks);
    blocks.push((i, j, len));
    match_blocks(a, b, places, (i + len, a1), (j + len, b1), blocks);
}

fn longest_match(
    a: &[&str],
    b: &[&str],
    places: &HashMap<&str, Vec<usize>>,
    (a0, a1): Span,
    (b0, b1): Span,
) -> (usize, usize, usize) {
    let (mut best_i, mut best_j, mut best) = (a0, b0, 0);
    let mut lengths: HashMap<usize, usize> = HashMap::new();
    for (i, line) in a.iter().enumerate().take(a1).skip(a0) {
        let mut next = HashMap::new();
        for &j in places.get(line).into_iter().flatten() {
            if j < b0 {
                continue;
            }
            if j >= b1 {
                break;
            }
            let before = j.checked_sub(1).and_then(|j| lengths.get(&j)).copied();
            let len = before.unwrap_or_default() + 1;
            next.insert(j, len);
            if len > best {
                (best_i, best_j, best) = (i + 1 - len, j + 1 - len, len);
            }
        }
        lengths = next;
    }
    while best_i > a0 && best_j > b0 && a[best_i - 1] == b[best_j - 1] {
        (best_i, best_j, best) = (best_i - 1, best_j - 1, best + 1);
    }
    while best_i + best < a1 && best_j + best < b1 && a[best_i + best] == b[best_j + best] {
        best += 1;
    }
    (best_i, best_j, best)
}

/// Groups changes with up to three lines of context; far apart changes become separate groups.
fn groups(ops: &[Op]) -> Vec<Vec<Op>> {
    let mut groups = Vec::new();
    let mut group: Vec<Op> = Vec::new();
    let last = ops.len().saturating_sub(1);
    for (n, op) in ops.iter().enumerate() {
        let len = op.a1 - op.a0;
        if !op.equal {
            group.push(*op);
            continue;
        }
        let head = Op {
            a1: op.a0 + len.min(CONTEXT),
            b1: op.b0 + len.min(CONTEXT),
            ..*op
        };
        let tail = Op {
            a0: op.a1 - len.min(CONTEXT),
            b0: op.b1 - len.min(CONTEXT),
            ..*op
        };
        if n == 0 {
            group.push(tail);
        } else if n == last {
            group.push(head);
        } else if len > 2 * CONTEXT {
            group.push(head);
            groups.push(std::mem::take(&mut group));
            group.push(tail);
        } else {
            group.push(*op);
        }
    }
    if group.iter().any(|op| !op.equal) {
        groups.push(group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13";
        let new = "1\n2\n3\n4\nx\n6\n7\n8\n9\n10\n11\n12\n13\n14";
        assert_eq!(
            unified(old, new),
            "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n@@ -11,3 +11,4 @@\n 11\n 12\n 13\n+14\n"
        );
        assert_eq!(unified(old, old), "");
    }
}
