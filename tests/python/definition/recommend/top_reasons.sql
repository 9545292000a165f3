-- The paths that lead to somebody recommended, with the rank of that; `weight` is in seconds.
-- in: paths, top_candidates    grain: user, recommended, reason    key: user_id, rec_id, reason_id
SELECT paths.user_id, paths.rec_id, paths.reason_id, paths.weight, top_candidates.rank
FROM paths
JOIN top_candidates ON top_candidates.user_id = paths.user_id AND top_candidates.rec_id = paths.rec_id
