//! Which rules another rule leaves nothing to.

use crate::audit::policy::{GroupResources, ResourcePattern, Rule};

/// Whether a rule has no conditions.
pub(super) fn matches_everything(rule: &Rule) -> bool {
    rule.users.is_empty()
        && rule.groups.is_empty()
        && rule.verbs.is_empty()
        && rule.resources.is_empty()
        && rule.namespaces.is_empty()
        && rule.non_resource_urls.is_empty()
}

/// Whether every request that `later` matches is matched by `earlier`. Answers no where that cannot
/// be told from the rules alone.
pub(super) fn covers(earlier: &Rule, later: &Rule) -> bool {
    within(&later.users, &earlier.users)
        && within(&later.groups, &earlier.groups)
        && within(&later.verbs, &earlier.verbs)
        && covers_objects(earlier, later)
}

/// Whether a list that restricts is no wider than another.
fn within(narrow: &[String], wide: &[String]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.contains(item)))
}

fn covers_objects(earlier: &Rule, later: &Rule) -> bool {
    let is_about_resources =
        |rule: &Rule| !rule.resources.is_empty() || !rule.namespaces.is_empty();
    if is_about_resources(earlier) {
        return is_about_resources(later)
            && within(&later.namespaces, &earlier.namespaces)
            && covers_resources(&earlier.resources, &later.resources);
    }
    if earlier.non_resource_urls.is_empty() {
        return true;
    }
    !is_about_resources(later)
        && !later.non_resource_urls.is_empty()
        && later
            .non_resource_urls
            .iter()
            .all(|url| earlier.non_resource_urls.iter().any(|e| covers_url(e, url)))
}

fn covers_resources(earlier: &[GroupResources], later: &[GroupResources]) -> bool {
    if earlier.is_empty() {
        return true;
    }
    let covers_entry = |entry: &GroupResources| {
        let mut wide = earlier.iter();
        wide.any(|e| covers_group(e, entry))
    };
    match later.is_empty() {
        // Any resource at all.
        true => earlier.iter().any(|e| e.group == "*" && is_whole_group(e)),
        false => later.iter().all(covers_entry),
    }
}

fn is_whole_group(entry: &GroupResources) -> bool {
    entry.resources.is_empty()
        || (entry.names.is_empty() && entry.resources.contains(&ResourcePattern::All))
}

fn covers_group(earlier: &GroupResources, later: &GroupResources) -> bool {
    if earlier.group != "*" && earlier.group != later.group {
        return false;
    }
    if is_whole_group(earlier) {
        return true;
    }
    within(&later.names, &earlier.names)
        && !later.resources.is_empty()
        && later.resources.iter().all(|pattern| {
            let mut wide = earlier.resources.iter();
            wide.any(|e| covers_pattern(e, pattern))
        })
}

fn covers_pattern(earlier: &ResourcePattern, later: &ResourcePattern) -> bool {
    use ResourcePattern::{All, AnySubresource, Resource, Subresource, WithSubresources};
    match (earlier, later) {
        (All, _) => true,
        (a, b) if a == b => true,
        (WithSubresources(r), Resource(l) | Subresource(l, _)) => r == l,
        (AnySubresource(s), Subresource(_, l)) => s == l,
        _ => false,
    }
}

fn covers_url(earlier: &str, later: &str) -> bool {
    match earlier.strip_suffix('*') {
        Some(prefix) => later.trim_end_matches('*').starts_with(prefix),
        None => earlier == later,
    }
}
