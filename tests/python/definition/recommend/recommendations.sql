-- The published table of recommendations.
-- in: top_candidates    grain: user, recommended    key: user_id, rec_id
SELECT user_id, rec_id, rank, ratio(score, $lookback_seconds * 1000000) AS score
FROM top_candidates
