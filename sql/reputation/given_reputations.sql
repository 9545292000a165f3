-- Reputations taken from a file instead of from the model. They stand for no weeks and no messages.
-- in: given_scores    grain: user
SELECT CAST(user_id AS INT) AS user_id, CAST(round(pred * 1000000) AS INT) AS pred, CAST(0 AS INT) AS weeks,
       CAST(0 AS BIGINT) AS messages
FROM given_scores
ORDER BY user_id
