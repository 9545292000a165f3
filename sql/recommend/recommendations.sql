-- The published table of recommendations.
-- in: user_recommendations    grain: user, recommended    key: user_id, rec_id
-- order: that of user_recommendations, by user_id; run in one partition
SELECT user_id, recommendation['rec_id'] AS rec_id, rank,
       ratio(recommendation['score'], $lookback_seconds * 1000000) AS score
FROM (
    SELECT user_id, unnest(recommendations) AS recommendation,
           unnest(ranks(recommendations)) AS rank
    FROM user_recommendations
)
