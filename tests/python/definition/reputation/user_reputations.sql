-- Each author's reputation in millionths: the mean of the weekly probabilities, rounded half up. Of at
-- most 27 numbers the mean's eight places tell a half from what is near it.
-- in: weekly_messages    grain: user    key: user_id    invariant: 0 <= pred <= 1000000; weeks >= 1
SELECT user_id, CAST(round(ratio(CAST(sum(pred) AS BIGINT), count(*))) AS INT) AS pred, CAST(count(*) AS INT) AS weeks
FROM (
    SELECT user_id, CAST(reputation(clean_body, clean_link_desc) AS BIGINT) AS pred
    FROM weekly_messages
)
GROUP BY user_id
