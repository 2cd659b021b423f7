//! What a store says of itself when asked how it is, for whoever explains its failures.

/// The health of a store, as far as it answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examination {
    /// Its members.
    pub members: Vec<Member>,
    /// Alarms that are raised, for example `NOSPACE`.
    pub alarms: Vec<String>,
}

/// One member of the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Where it is.
    pub endpoint: String,
    /// Its state, or why it does not say.
    pub state: Result<MemberState, String>,
}

/// What a member says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemberState {
    /// Version.
    pub version: String,
    /// Whether it knows a leader.
    pub has_leader: bool,
    /// Bytes of the database file.
    pub size_bytes: u64,
    /// Bytes of it that are in use.
    pub used_bytes: u64,
    /// The largest size that it allows; zero when it does not say.
    pub quota_bytes: u64,
    /// What it complains of.
    pub errors: Vec<String>,
    /// 99 of 100 writes to its log were on disk within so many milliseconds, since it runs.
    pub log_sync_p99_ms: Option<f64>,
}

impl Examination {
    /// Sentences for people.
    pub fn in_words(&self) -> Vec<String> {
        let mut out: Vec<String> = self.members.iter().map(Member::in_words).collect();
        if self.alarms.is_empty() && self.members.iter().any(|m| m.state.is_ok()) {
            out.push("no alarm is raised".to_string());
        }
        out.extend(self.alarms.iter().map(|a| format!("alarm {a} is raised")));
        out
    }
}

impl Member {
    fn in_words(&self) -> String {
        const MIB: u64 = 1024 * 1024;
        let endpoint = &self.endpoint;
        let state = match &self.state {
            Ok(state) => state,
            Err(why) => return format!("{endpoint} does not answer: {why}"),
        };
        let leader = match state.has_leader {
            true => "has a leader",
            false => "has NO leader",
        };
        let mut out = format!(
            "{endpoint} answers: version {}, {leader}, database {} MiB, {} MiB in use",
            state.version,
            state.size_bytes / MIB,
            state.used_bytes / MIB
        );
        if state.quota_bytes > 0 {
            out.push_str(&format!(", quota {} MiB", state.quota_bytes / MIB));
        }
        if let Some(ms) = state.log_sync_p99_ms {
            out.push_str(&format!(", log writes on disk within {ms} ms (p99)"));
        }
        if !state.errors.is_empty() {
            out.push_str(&format!(", errors: {}", state.errors.join("; ")));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let member = |state| Member {
            endpoint: "http://e".into(),
            state,
        };
        let examination = Examination {
            members: vec![
                member(Err("timeout".into())),
                member(Ok(MemberState {
                    version: "3.6.0".into(),
                    size_bytes: 3 << 20,
                    quota_bytes: 16 << 20,
                    log_sync_p99_ms: Some(8.0),
                    ..MemberState::default()
                })),
            ],
            alarms: vec!["NOSPACE on member 1".into()],
        };
        assert_eq!(
            examination.in_words(),
            [
                "http://e does not answer: timeout",
                "http://e answers: version 3.6.0, has NO leader, database 3 MiB, 0 MiB in use, quota 16 MiB, log writes on disk within 8 ms (p99)",
                "alarm NOSPACE on member 1 is raised",
            ]
        );
    }
}
