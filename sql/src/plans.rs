//! The SQL files by name.

/// One statement of `sql/`.
#[derive(Debug)]
pub struct Plan {
    /// What the statement makes, the file's name without its ending.
    pub name: &'static str,
    /// The file, relative to `sql/`.
    pub path: &'static str,
    /// The statement.
    pub sql: &'static str,
}

macro_rules! plans {
    ($($folder:literal / $name:literal),* $(,)?) => {
        &[$(Plan {
            name: $name,
            path: concat!($folder, "/", $name, ".sql"),
            sql: include_str!(concat!("../", $folder, "/", $name, ".sql")),
        }),*]
    };
}

pub(crate) use plans;

/// Everything but the checks.
pub const PLANS: &[Plan] = plans![
    "staging" / "suspended_users",
    "staging" / "engagement_records",
    "staging" / "engagements",
    "staging" / "engagement_counts",
    "staging" / "left_out_engagements",
    "staging" / "unreadable_engagements",
    "staging" / "user_summary",
    "staging" / "message_records",
    "staging" / "message_summary",
    "staging" / "duplicate_messages",
    "staging" / "weekly_messages",
    "graph" / "user_connections",
    "staging" / "followed",
    "graph" / "closest_connections",
    "reputation" / "user_reputations",
    "reputation" / "given_reputations",
    "reputation" / "reputation_scores",
    "recommend" / "candidates",
    "recommend" / "all_candidates",
    "recommend" / "seed",
    "recommend" / "recommendations",
    "recommend" / "rec_reasons",
];

/// The quality checks, in the order in which they are reported.
pub const CHECKS: &[Plan] = plans![
    "checks" / "no_nulls",
    "checks" / "unique_keys",
    "checks" / "rows_of_this_run",
    "checks" / "at_most_k_connections",
    "checks" / "at_most_k_recommendations",
    "checks" / "ranks_without_gaps",
    "checks" / "weights_positive",
    "checks" / "pred_within_0_and_1",
    "checks" / "no_self_recommendation",
    "checks" / "no_followed_recommended",
    "checks" / "no_suspended_recommended",
    "checks" / "no_low_reputation_recommended",
    "checks" / "recommendations_have_reasons",
    "checks" / "reasons_are_connections",
    "checks" / "recommended_are_connections_of_reasons",
    "checks" / "reasons_add_up_to_scores",
    "checks" / "records_accounted_for",
    "checks" / "row_counts_near_last_run",
    "checks" / "scores_near_last_run",
    "checks" / "users_known",
    "checks" / "users_readable",
    "checks" / "suspended_users_known",
    "checks" / "suspended_users_near_last_run",
    "checks" / "columns_as_in_last_run",
];

/// The rankings by name: each a statement that makes `user_recommendations`.
pub const RANKINGS: &[&str] = &["seed"];

/// The statement that makes `name`.
pub fn plan(name: &str) -> Option<&'static Plan> {
    PLANS.iter().find(|plan| plan.name == name)
}

#[cfg(test)]
#[path = "plans_tests.rs"]
mod tests;
