-- Each author's reputation in millionths: the mean of the weekly probabilities, rounded half up.
-- in: weekly_messages    grain: user    invariant: 0 <= pred <= 1000000
SELECT user_id, CAST((2 * sum(pred) + count(*)) / (2 * count(*)) AS INT) AS pred, CAST(count(*) AS INT) AS weeks,
       sum(messages) AS messages
FROM (
    SELECT user_id, messages, CAST(reputation(clean_body, clean_link_desc) AS BIGINT) AS pred
    FROM weekly_messages
)
GROUP BY user_id
ORDER BY user_id
