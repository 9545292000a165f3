-- The $recommendations candidates of each user with the highest score, ties by the smaller id.
-- in: scored_candidates, made by the ranking that was chosen    grain: user, recommended    key: user_id, rec_id
-- invariant: rank counts a user's recommended from 1
SELECT user_id, rec_id, score, CAST(place AS INT) AS rank
FROM (
    SELECT user_id, rec_id, score,
           row_number() OVER (PARTITION BY user_id ORDER BY score DESC, rec_id) AS place
    FROM scored_candidates
)
WHERE place <= $recommendations
