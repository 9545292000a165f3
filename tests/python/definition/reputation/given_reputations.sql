-- Reputations in millionths taken from a file instead of from the model. They stand for no weeks.
-- in: given_scores    grain: user    key: user_id    invariant: 0 <= pred <= 1000000; weeks = 0
SELECT CAST(user_id AS INT) AS user_id, CAST(round(pred * 1000000) AS INT) AS pred, CAST(0 AS INT) AS weeks
FROM given_scores
