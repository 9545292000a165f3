-- All messages whose id is not their own. Of each id the smallest by (created_at, user_id, body) counts; `superseded`
-- are those that are greater than it in the first two. Equal ones go to one weekly document, which sees their bodies.
-- `copy` counts an id's messages from 1.
-- in: message_records    grain: record
SELECT id, created_at, user_id, week_of(created_at, $anchor_day) AS week,
       row_number() OVER (PARTITION BY id ORDER BY created_at, user_id) AS copy,
       rank() OVER (PARTITION BY id ORDER BY created_at, user_id) > 1 AS superseded
FROM (
    SELECT message['id'] AS id, message['created_at'] AS created_at, message['user_id'] AS user_id
    FROM (
        SELECT unnest(duplicates(id, created_at, user_id)) AS message
        FROM message_records
        WHERE left_out IS NULL
        GROUP BY id % 16384
    )
)
